"""Image files: which are read, and how. Whatever cannot be read without loss is refused, never clipped."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from i2i.errors import Problem
from i2i.images.picture import Colour, Picture, Stored, UnreadableImage

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MAX_PIXELS = 178_000_000
"""Larger images are refused: a small file may decode to more than memory holds. Pillow's own limit is just above."""

_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF: the tag, and its values for a quarter turn
_DEEP = re.compile(r";16[BLN]'")


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its picture before it is decoded.

    Args:
        size: width and height, upright.
        channels: without the alpha; of all pages.
        dtype: one of `i2i.images.picture.TYPES`.
        colour: what the channels mean.
        alpha: whether there is one.
        pages: 1 but for files with several.
        format: a name in FORMATS.
        mode: how the file itself calls its colours, to tell users: `CMYK`, `P`, `I;16`, `RGBA`.
    """

    size: tuple[int, int]
    channels: int
    dtype: str
    colour: Colour
    alpha: bool
    pages: int
    format: str
    mode: str


def read(path: Path) -> Picture:
    """The picture of a file, decoded and turned upright by its orientation. Raises UnreadableImage."""
    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        picture = Picture.of(upright)
        return replace(picture, stored=Stored(format=str(image.format).lower()))


def header(path: Path) -> Header:
    """What the file says of its picture, without decoding it. Raises UnreadableImage."""
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION, 1) in _TURNED
        grey = image.mode in ("1", "L", "LA", "La")
        return Header(
            (height, width) if turned else (width, height), 1 if grey else 3, "uint8", "grey" if grey else "rgb",
            image.has_transparency_data, 1, str(image.format).lower(), image.mode,
        )  # fmt: skip


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():  # MAX_PIXELS is the limit, and a large image below it is nothing to warn of
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=FORMATS)
        with image:
            if reason := _refusal(image):
                raise UnreadableImage(Problem(str(path), reason))
            yield image
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise whatever broken bytes lead them to
        raise UnreadableImage(Problem(str(path), _why(error))) from error


def _refusal(image: Image.Image) -> str:
    n_frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a photo with previews behind it
    if image.width * image.height > MAX_PIXELS:
        return f"is {image.width}x{image.height}, more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller"
    if image.mode.startswith("I") or image.mode == "F" or _is_deep(image):
        return "has more than 8 bits per channel, which is not supported yet; save it with 8 bits"
    if image.mode not in _MODES:
        return f"has the colour mode {image.mode}, which is not supported; save it as RGB or greyscale"
    if n_frames > 1:
        return f"is an animation or has several pages ({n_frames}); save the one you mean as a file of its own"
    return ""


def _is_deep(image: Image.Image) -> bool:
    """Whether the file stores 16 bits for a channel: Pillow drops half of them and calls the image RGB."""
    return any(_DEEP.search(repr(tile.args)) for tile in getattr(image, "tile", ()))


def _why(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"is no image of a known format ({', '.join(FORMATS)}), or is damaged"
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller"
    if isinstance(error, MemoryError):
        return "is too large for the memory of this machine; make it smaller"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"cannot be read: {error}"
