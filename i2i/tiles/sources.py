"""Images that are made of other images while they are read."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from i2i.tiles.graph import Box
from i2i.tiles.resampling import reflect, taken
from i2i.tiles.tracing import too_small

BAND = 1 << 22
"""Pixels that are reduced at once."""
SIDE = 256
"""Pixels that the shorter side keeps."""


class Source(Protocol):
    """An image that is read in pieces.

    Args:
        channels, height, width: of the whole.
    """

    channels: int
    height: int
    width: int

    def read(self, rows: slice, columns: slice) -> Tensor:
        """(1, channels, h, w), float32, in [-1, 1]. Pieces overlap, and may be asked for again."""
        ...


class Sink(Protocol):
    """An image that is written in pieces."""

    def write(self, rows: slice, columns: slice, values: Tensor) -> None:
        """(1, channels, h, w), float32: each pixel once, in bands from top to bottom, in each from left to right."""


class Padded:
    """An image continued by reflection below and to the right, up to multiples of a number.

    Raises I2IError if it is too small for that.
    """

    def __init__(self, source: Source, multiple: int) -> None:
        self.source = source
        self.height, self.width = (n + -n % multiple for n in (source.height, source.width))
        if self.height >= 2 * source.height or self.width >= 2 * source.width:
            raise too_small(source.height, source.width)

    def read(self, box: Box) -> Tensor:
        """(1, channels, h, w)."""
        places = [
            reflect(torch.arange(*span), n)
            for span, n in zip(box, (self.source.height, self.source.width), strict=True)
        ]
        rows, columns = (slice(int(p.min()), int(p.max()) + 1) for p in places)
        piece = self.source.read(rows, columns)
        return taken(taken(piece, -2, places[0] - rows.start), -1, places[1] - columns.start)


class Reduced:
    """An image reduced to at most `n_pixels` by the mean of squares of pixels, held in memory."""

    def __init__(self, source: Source, n_pixels: int) -> None:
        least = min(source.height, source.width) // SIDE
        self.factor = max(1, min(least, math.ceil(math.sqrt(source.height * source.width / n_pixels))))
        self.channels = source.channels
        bands = []
        step = max(1, BAND // source.width // self.factor) * self.factor
        for top in range(0, source.height, step):
            band = source.read(slice(top, min(top + step, source.height)), slice(0, source.width))
            # Squares that the border cuts have fewer pixels; ceil_mode counts those that are there.
            bands.append(F.avg_pool2d(band, self.factor, ceil_mode=True))
        self.pixels = torch.cat(bands, 2)
        self.height, self.width = self.pixels.shape[2:]

    def read(self, rows: slice, columns: slice) -> Tensor:
        return self.pixels[:, :, rows, columns]
