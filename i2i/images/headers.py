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

    def checked(self, max_pixels: int | None = None) -> Header:
        """The header itself, if a picture of this kind and size is read. Raises Refused.

        Args:
            max_pixels: in place of MAX_PIXELS; more pixels may take more bytes, in proportion.
        """
        most = max_pixels or MAX_PIXELS
        most_bytes = max(MAX_BYTES, MAX_BYTES * most // MAX_PIXELS)
        width, height = self.size
        if min(width, height, self.channels) < 1:
            raise Refused(f"is {width}x{height} with {self.channels} channels: there is nothing in it")
        if self.dtype not in TYPES:
            instead = _INSTEAD.get(_kind(self.dtype), "uint8, uint16 or float32")
            raise Refused(f"holds {self.dtype}, which is not supported; save it as {instead}")
        if width * height > most:
            instead = "make it smaller, or let `i2i translate` take it by --max-pixels"
            raise Refused(f"is {width}x{height}, more than {_counted(most)} pixels; {instead}")
        n = self.channels + self.alpha
        if (n_bytes := width * height * n * np.dtype(self.dtype).itemsize) > most_bytes:
            shape = f"{width}x{height} with {n} channels of {self.dtype}"
            raise Refused(f"is {shape}: {n_bytes / 2**30:.1f} of at most {most_bytes / 2**30:.3g} GiB; make it smaller")
        return self

    def turned(self) -> Header:
        """With width and height exchanged."""
        return replace(self, size=self.size[::-1])


def _counted(n: int) -> str:
    return f"{n / 1e6:.6g} million" if n >= 1_000_000 else f"{n:,}"


def _kind(dtype: str) -> str:
    try:
        return np.dtype(dtype).kind
    except TypeError:
        return ""
