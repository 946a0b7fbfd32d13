"""Files that Pillow opens: JPEG, PNG, WebP, BMP and GIF."""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from i2i.images import reading_png
from i2i.images.headers import MAX_PIXELS, Header, Refused
from i2i.images.orientation import reset_exif, reset_xmp, turned, upright
from i2i.images.picture import Picture, Stored
from i2i.images.profiles import from_cmyk

# Of damaged tags it warns without naming the file. What matters of them, we refuse by name.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")

_OPENERS: dict[bytes, Callable[[BinaryIO], ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"RIFF": WebPImageFile,
    b"BM": BmpImageFile,
    b"GIF8": GifImageFile,
}
"""By the first bytes of a file."""

_GREY = ("1", "L", "LA", "La", "I;16")
_MODES = (*_GREY, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")


def header(file: BinaryIO, max_pixels: int | None = None) -> Header:
    """What the file says of its picture, without decoding it."""
    image = _opened(file)
    _, orientation = _stored(image, file)
    found = _described(image, file, max_pixels)
    return found.turned() if turned(orientation) else found


def read(file: BinaryIO, max_pixels: int | None = None) -> Picture:
    """The picture, upright."""
    image = _opened(file)
    _described(image, file, max_pixels)
    stored, orientation = _stored(image, file)
    if image.format == "PNG" and reading_png.is_deep(file):
        picture = reading_png.decoded(file)
    elif image.mode == "CMYK":
        rgb, profile = from_cmyk(np.asarray(image), stored.profile)
        picture, stored = Picture(rgb, "rgb"), replace(stored, profile=profile)
    else:
        picture = Picture.of(image)
    return upright(replace(picture, stored=stored), orientation)


def _opened(file: BinaryIO) -> ImageFile:
    """By Pillow's class for the format: `Image.open` tries others, and warns where our limit is higher than its own."""
    file.seek(0)
    start = file.read(8)
    file.seek(0)
    try:
        image = next(opener for magic, opener in _OPENERS.items() if start.startswith(magic))(file)
    except DecompressionBombError as error:
        raise Refused(f"has more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller") from error
    if (n_frames := getattr(image, "n_frames", 1)) > 1:
        raise Refused(f"is an animation or has several pages ({n_frames}); save the one you mean as a file of its own")
    if image.mode not in _MODES:
        raise Refused(f"has the colour mode {image.mode}, which is not supported; save it as RGB or greyscale")
    return image


def _described(image: ImageFile, file: BinaryIO, max_pixels: int | None) -> Header:
    """As the pixels lie in the file."""
    deep = image.format == "PNG" and reading_png.is_deep(file)
    grey = image.mode in _GREY or (deep and str(image.tile[0].args).startswith("LA"))
    return Header(
        size=image.size,
        channels=1 if grey else 3,
        dtype="uint16" if deep else "uint8",
        colour="grey" if grey else "rgb",
        alpha=image.has_transparency_data,
        pages=1,
        format=str(image.format).lower(),
        mode=str(image.tile[0].args).removesuffix("B") if deep else image.mode,
    ).checked(max_pixels)


def _stored(image: ImageFile, file: BinaryIO) -> tuple[Stored, int]:
    """What the file says beside the pixels, and its orientation."""
    info, exif = image.info, image.info.get("exif", b"")
    other: dict[str, Any] = {}
    if image.format == "PNG":
        other["chunks"], exif = reading_png.chunks(file)
        if not exif and (text := info.get("Raw profile type exif")):
            with suppress(ValueError):  # the third line says how long the hexadecimal numbers after it are
                exif = bytes.fromhex("".join(text.split("\n")[3:]))
    elif image.format == "WEBP":
        other["lossless"] = _is_lossless(file)
    if isinstance(comment := info.get("comment"), bytes):
        other["comment"] = comment
    if image.format in ("JPEG", "WEBP") and (xmp := info.get("xmp")):
        other["xmp"] = reset_xmp(xmp)
    exif, orientation = reset_exif(exif if exif.startswith(b"Exif\0\0") or not exif else b"Exif\0\0" + exif)
    dpi = dots(*info.get("dpi", (0, 0)))
    return Stored(
        format=str(image.format).lower(),
        profile=info.get("icc_profile") or b"",
        exif=exif,
        dpi=dpi[::-1] if dpi and turned(orientation) else dpi,
        other=other,
    ), orientation


def dots(across: float, down: float) -> tuple[float, float] | None:
    """Dots per inch, if both are numbers that make sense."""
    dpi = float(across), float(down)
    return dpi if all(math.isfinite(n) and n > 0 for n in dpi) else None


def _is_lossless(file: BinaryIO) -> bool:
    """Of a WebP: whether its first picture is."""
    file.seek(12)
    while len(start := file.read(8)) == 8:
        kind, length = struct.unpack("<4sI", start)
        if kind in (b"VP8L", b"VP8 "):
            return bool(kind == b"VP8L")
        file.seek(length + length % 2, 1)
    return False
