"""Images larger than memory through a network: piece by piece, as if they had gone through it whole.

A network is taken apart into its operators. Each piece brings along as many pixels of its surroundings as they look at,
and what normalizes by the whole image is told the statistics of the whole image, so that pieces fit without seams.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

Mode = Literal["exact", "thumbnail", "independent"]
"""Where normalizations take their statistics from: the whole image; a reduced copy of it; each tile by itself."""


class Source(Protocol):
    """An image that is read in pieces."""

    channels: int
    height: int
    width: int

    def read(self, rows: slice, columns: slice) -> Tensor:
        """(1, channels, h, w), float32, in [-1, 1]. Pieces overlap, and may be asked for again."""


class Sink(Protocol):
    """An image that is written in pieces."""

    def write(self, rows: slice, columns: slice, values: Tensor) -> None:
        """(1, channels, h, w), float32: each pixel once, in bands from top to bottom, in each from left to right."""


def translate(
    network: nn.Module,
    source: Source,
    sink: Sink,
    *,
    mode: Mode = "exact",
    memory: int = 2 << 30,
    scratch: Path | None = None,
    dtype: torch.dtype = torch.float32,
    advance: Callable[[float, float], None] = lambda done, total: None,
) -> None:
    """An image of any size through a network, in evaluation mode, the random state untouched.

    Args:
        network: from (1, n_in, H, W) to (1, n_out, H, W), of operators that look at a neighbourhood, and of statistics
            of the image.
        source: the image.
        sink: takes the translation, of the same size.
        mode: `exact`: statistics are those of the whole image, gathered pass by pass; what one pass leaves to the next
            is kept on disk, so that no layer is computed twice. `thumbnail`: one pass, with the statistics of a reduced
            image. `independent`: one pass, each tile by its own statistics.
        memory: bytes that tensors may take at one time, besides the weights.
        scratch: the folder for what is kept on disk; that of temporary files if left out. Nothing stays behind.
        dtype: float32; or bfloat16, which convolutions and what is kept on disk then have. Statistics are float32.
        advance: told how much of the work is done, and how much there is.

    Raises I2IError for a network that mixes the whole image in other ways, for images too small for it, and for a disk
    without room.
    """
    raise NotImplementedError


def whole_image_memory(network: nn.Module, channels: int, height: int, width: int) -> int:
    """Bytes of tensors that one pass of a whole image would hold at its peak, besides the weights; nothing is run."""
    raise NotImplementedError


def check(network: nn.Module, channels: int) -> None:
    """Raises I2IError for a network that cannot go tile by tile, and names the layer that mixes the whole image."""
    raise NotImplementedError
