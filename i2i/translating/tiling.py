"""Which pictures go through a network in tiles, and how: those of which a whole pass would take too much memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from i2i.errors import I2IError
from i2i.images import Header
from i2i.measure import in_bytes
from i2i.memory import free_memory
from i2i.tiles import Mode, Sink, Source, check, translate, whole_image_memory
from i2i.translate import Translator
from i2i.translating.pictures import Unit

Tiles = Literal["auto", "exact", "thumbnail", "independent", "never"]
TILES: tuple[Tiles, ...] = get_args(Tiles)

MEMORY = 1 << 30
"""Bytes that tiles take where nobody says otherwise."""
_PER_PIXEL = 8192
"""Bytes: pictures of which so many for each pixel fit are not looked at closer."""
_COSTS = {
    "thumbnail": "brightness and colours may be far off: where it was measured, by 3 to 7 grey levels on average, and "
    "by up to 145 at single pixels",
    "independent": "brightness and colours change from tile to tile, and seams may show: where it was measured, 3 to "
    "16 grey levels off on average, and up to 218 at single pixels",
}
"""Measured: the table "What each mode costs" of docs/any-size.md."""


@dataclass(frozen=True)
class Tiling:
    """When a picture goes through the network in tiles.

    Args:
        tiles: where normalizations take their statistics from, see `i2i.tiles.Mode`; `auto` is exact; `never` lets
            everything through whole.
        memory: bytes that the translation of a picture may take; None: for `auto` most of what is free, else MEMORY.
        max_pixels: of the largest image that is read; None: `i2i.images.headers.MAX_PIXELS`.
        bf16: tiles compute in it, with statistics in float32; else all is float32.
    """

    tiles: Tiles = "auto"
    memory: int | None = None
    max_pixels: int | None = None
    bf16: bool = False

    @property
    def mode(self) -> Mode:
        """Where tiles take their statistics from."""
        return self.tiles if self.tiles == "thumbnail" or self.tiles == "independent" else "exact"

    def lets_pass(self, translator: Translator, header: Header) -> bool:
        """Whether a picture goes whole, whatever the network; else `cuts` tells."""
        width, height = header.size
        return self.tiles == "never" or width * height * _PER_PIXEL <= self._limit(translator)

    def _limit(self, translator: Translator) -> int:
        return self.memory or (free_memory(translator.device) * 4 // 5 if self.tiles == "auto" else MEMORY)

    def cuts(self, translator: Translator, header: Header) -> bool:
        """Whether a picture goes in tiles. Raises ValueError if it must, and the network does not allow it.

        Not to be called while another thread computes: the network is looked at without its weights.
        """
        if self.lets_pass(translator, header):
            return False
        (width, height), limit = header.size, self._limit(translator)
        n_in, n_out = (intake.channels for intake in translator.intakes)
        n_bytes = np.dtype(header.dtype).itemsize * (header.channels + header.alpha)
        around = width * height * (3 * n_bytes + 4 * (n_in + 2 * n_out))  # the picture, what goes in, what comes out
        whole = around
        if around <= limit:  # or else no matter what else it takes, of sizes that torch may not even count
            try:
                whole += _whole_pass(translator.module, n_in, height, width)
            except I2IError:  # too small for the network, which then says so; or nobody knows, and it may well fit
                return False
            if whole <= limit:
                return False
        try:
            _check(translator.module, n_in)
        except I2IError as error:
            why = error.problems[0]
            message = f"would take at least {in_bytes(whole)} of memory, and {in_bytes(limit)} are there"
            raise ValueError(f"{message}; in tiles, {why.where}: {why.message}; make it smaller") from None
        return True

    def run(
        self,
        translator: Translator,
        source: Source,
        sink: Sink,
        scratch: Path | None = None,
        advance: Callable[[float, float], None] = lambda done, total: None,
    ) -> None:
        """One page through the network in tiles."""
        memory = self.memory or min(MEMORY, free_memory(translator.device) // 2)
        if cost := _COSTS.get(self.mode):
            warnings.warn(f"--tiles {self.mode}: {cost}; --tiles exact gives what the whole image would", stacklevel=2)
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        translate(
            translator.module, source, sink,
            mode=self.mode, memory=memory, scratch=scratch, dtype=dtype, advance=advance,
        )  # fmt: skip


@lru_cache(maxsize=64)
def _whole_pass(module: nn.Module, channels: int, height: int, width: int) -> int:
    return whole_image_memory(module, channels, height, width)


@lru_cache(maxsize=8)
def _check(module: nn.Module, channels: int) -> None:
    check(module, channels)


def in_memory(translator: Translator, unit: Unit, tiling: Tiling) -> Unit:
    """A picture that memory holds, (pages, n_in, H, W), through the network in tiles."""
    pages, _, height, width = unit.shape
    out = np.empty((pages, translator.intakes[1].channels, height, width), np.float32)
    for page, result in zip(unit, out, strict=True):
        tiling.run(translator, _Array(page[None]), _Array(result[None]))
    return out


class _Array:
    """(1, C, H, W) as a source and a sink."""

    def __init__(self, values: Unit) -> None:
        self.values = values
        _, self.channels, self.height, self.width = values.shape

    def read(self, rows: slice, columns: slice) -> Tensor:
        return torch.from_numpy(self.values[:, :, rows, columns].copy())

    def write(self, rows: slice, columns: slice, values: Tensor) -> None:
        self.values[:, :, rows, columns] = values.cpu().numpy()
