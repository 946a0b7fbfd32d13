"""A picture in memory: its pixels, what they mean, and what its file said beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from i2i.errors import I2IError

Colour = Literal["grey", "rgb", "bands"]
Pixels = NDArray[Any]

TYPES = ("uint8", "int16", "uint16", "float16", "float32", "float64")
"""The types that pixels may have."""

_LUMA = (19595, 38470, 7471)  # of red, green and blue, in 65,536ths: ITU-R 601, as Pillow has it


class UnreadableImage(I2IError):  # noqa: N818 (as I2IError: users read it)
    """One image that cannot be used; its only problem names the file and says why."""


@dataclass(frozen=True)
class Stored:
    """How a file held its picture, as far as another file of the same kind should hold it as well.

    Args:
        format: a name in `i2i.images.formats.FORMATS`; empty for a picture that comes from no file.
        profile: the ICC profile, as bytes.
        exif: the EXIF block, as bytes, its orientation removed: pixels are upright.
        dpi: dots per inch, across and down.
        pages: of a file with several, whose pages became channels.
        other: what else the format's writer keeps, by names that the reader chose.
    """

    format: str = ""
    profile: bytes = b""
    exif: bytes = b""
    dpi: tuple[float, float] | None = None
    pages: int = 1
    other: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """An image, decoded and upright.

    Args:
        pixels: (H, W, C), of one of TYPES, without the alpha.
        colour: `grey` (C = 1), `rgb` (C = 3), or `bands`, which mean whatever they mean.
        alpha: (H, W), of the pixels' type: 0 is transparent, the largest integer or 1.0 is opaque. Not premultiplied.
        stored: how its file held it.
    """

    pixels: Pixels
    colour: Colour
    alpha: Pixels | None = None
    stored: Stored = field(default_factory=Stored)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def samples(self) -> Pixels:
        """(H, W, C): the pixels and, after them, the alpha, as most files hold them."""
        return self.pixels if self.alpha is None else np.concatenate([self.pixels, self.alpha[:, :, None]], 2)

    @classmethod
    def of(cls, image: Image.Image | Pixels | Picture) -> Picture:
        """A picture from an 8-bit Pillow image or an array (H, W) or (H, W, C). Raises ValueError for others.

        Of an array, C = 1 is grey, C = 3 is RGB, and 8 bits with C = 2 or 4 have an alpha at the end.
        """
        if isinstance(image, Picture):
            return image
        if isinstance(image, Image.Image):
            alpha = image.has_transparency_data
            grey = image.mode in ("1", "L", "LA", "La")
            mode = ("LA" if grey else "RGBA") if alpha else "L" if grey else "RGB"
            return cls.of(np.asarray(image if image.mode == mode else image.convert(mode)))  # convert always copies
        pixels = image[:, :, None] if image.ndim == 2 else image
        if pixels.ndim != 3 or 0 in pixels.shape:
            raise ValueError(f"has the shape {image.shape}; an image is (H, W) or (H, W, C)")
        if pixels.dtype.name not in TYPES:
            raise ValueError(f"holds {pixels.dtype.name}; pixels are {', '.join(TYPES)}")
        n = pixels.shape[2]
        if n in (2, 4) and pixels.dtype == np.uint8:
            return cls(pixels[:, :, :-1], "grey" if n == 2 else "rgb", pixels[:, :, -1])
        colour: Colour = "grey" if n == 1 else "rgb" if n == 3 else "bands"
        return cls(pixels, colour)

    def with_channels(self, n: int, background: tuple[int, int, int] = (255, 255, 255)) -> Picture:
        """The picture with n channels and no alpha: grey to RGB or back, what is transparent on the background.

        An alpha is kept as the last channel if exactly that makes n.

        Args:
            n: channels.
            background: 8-bit RGB.

        Raises ValueError for a number that it cannot be brought to.
        """
        pixels, alpha = self.pixels, self.alpha
        if alpha is not None and n == pixels.shape[2] + 1 and n in (2, 4):
            return replace(self, pixels=self.samples, colour="bands", alpha=None)
        if alpha is not None:
            pixels = composed(pixels, alpha, background)
        if n == pixels.shape[2]:
            return replace(self, pixels=pixels, alpha=None)
        if self.colour == "grey" and n == 3:
            return replace(self, pixels=np.repeat(pixels, 3, 2), colour="rgb", alpha=None)
        if self.colour == "rgb" and n == 1:
            return replace(self, pixels=luma(pixels), colour="grey", alpha=None)
        raise ValueError(f"has {_counted(pixels.shape[2])} and cannot be brought to {n}")


Read = Callable[[slice, slice], Pixels]
"""A region of a picture, rows and columns, as samples (h, w, C), the alpha last."""


class Piece(NamedTuple):
    """A part of a picture, from a column and a row on. Of a file with several pages, a part of one of them."""

    left: int
    top: int
    page: int
    picture: Picture


def pieces(picture: Picture) -> Iterator[Piece]:
    """A picture that is in memory, in bands of rows."""
    each = 256
    for top in range(0, picture.size[1], each):
        rows = slice(top, top + each)
        alpha = None if picture.alpha is None else picture.alpha[rows]
        yield Piece(0, top, 0, replace(picture, pixels=picture.pixels[rows], alpha=alpha))


def composed(pixels: Pixels, alpha: Pixels, background: tuple[int, int, int]) -> Pixels:
    """Pixels (H, W, C) over a background (8-bit RGB, of which grey pixels take the luma and bands the mean)."""
    n, most = pixels.shape[2], opaque(pixels.dtype)
    rgb = np.array(background, np.float64) / 255
    behind = rgb if n == 3 else rgb @ np.array(_LUMA) / 65536 if n == 1 else rgb.mean()
    share = alpha[:, :, None].astype(np.float64) / most
    mixed = pixels * share + behind * most * (1 - share)
    return (np.rint(mixed) if pixels.dtype.kind in "iu" else mixed).astype(pixels.dtype)


def luma(pixels: Pixels) -> Pixels:
    """(H, W, 3) to (H, W, 1), by ITU-R 601; integers are rounded as Pillow rounds them."""
    if pixels.dtype.kind in "iu":
        grey: Pixels = (pixels.astype(np.int64) @ np.array(_LUMA, np.int64) + 0x8000) >> 16
    else:
        grey = pixels.astype(np.float64) @ (np.array(_LUMA) / 65536)
    return grey[:, :, None].astype(pixels.dtype)


def opaque(dtype: np.dtype[Any]) -> float:
    """What a fully opaque alpha is, and full brightness where nothing else is known: the largest integer, or 1."""
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0


def _counted(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"
