"""What a file says of its picture before it is decoded, and how much a file may ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from i2i.images.picture import TYPES, Colour

MAX_PIXELS = 178_000_000
"""Larger images are refused: a small file may decode to more than memory holds. Pillow's own limit is just above."""
MAX_BYTES = 2 << 30
"""Of all decoded channels together."""
MAX_PAGES = 10_000

_INSTEAD = {
    "b": "uint8, true as 255",
    "i": "uint8, uint16, int16 or float32",
    "u": "uint8, uint16, int16 or float32",
    "c": "float32, with the real and the imaginary part as two channels",
}


class Refused(ValueError):  # noqa: N818 (it becomes an UnreadableImage, which names the file)
    """Why a file is not read, as the end of a sentence that begins with its name."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its picture.

    Args:
        size: width and height, upright.
        channels: without the alpha; of all pages.
        dtype: one of `i2i.images.picture.TYPES`.
        colour: what the channels mean.
        alpha: whether there is one.
        pages: 1 but for files with several.
        format: a name in `i2i.images.formats.FORMATS`.
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

    def checked(self) -> Header:
        """The header itself, if a picture of this kind and size is read. Raises Refused."""
        width, height = self.size
        if min(width, height, self.channels) < 1:
            raise Refused(f"is {width}x{height} with {self.channels} channels: there is nothing in it")
        if self.dtype not in TYPES:
            instead = _INSTEAD.get(_kind(self.dtype), "uint8, uint16 or float32")
            raise Refused(f"holds {self.dtype}, which is not supported; save it as {instead}")
        if width * height > MAX_PIXELS:
            raise Refused(f"is {width}x{height}, more than {MAX_PIXELS // 1_000_000} million pixels; make it smaller")
        n = self.channels + self.alpha
        if (n_bytes := width * height * n * np.dtype(self.dtype).itemsize) > MAX_BYTES:
            shape = f"{width}x{height} with {n} channels of {self.dtype}"
            raise Refused(f"is {shape}: {n_bytes / 2**30:.1f} of at most {MAX_BYTES >> 30} GiB; make it smaller")
        return self

    def turned(self) -> Header:
        """With width and height exchanged."""
        return replace(self, size=self.size[::-1])


def _kind(dtype: str) -> str:
    try:
        return np.dtype(dtype).kind
    except TypeError:
        return ""
