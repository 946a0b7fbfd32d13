"""Images larger than memory through a network: piece by piece, as if they had gone through it whole.

A network is taken apart into its operators. Each piece brings along as many pixels of its surroundings as they look at,
and what normalizes by the whole image is told the statistics of the whole image, so that pieces fit without seams.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from i2i.errors import I2IError, Problem
from i2i.measure import peak_memory
from i2i.method import size_multiple
from i2i.tiles.graph import Box, Graph
from i2i.tiles.running import Run
from i2i.tiles.sources import Padded, Reduced, Sink, Source
from i2i.tiles.tracing import too_small, trace
from i2i.translate import evaluating

__all__ = ["Mode", "Sink", "Source", "check", "translate", "whole_image_memory"]

Mode = Literal["exact", "thumbnail", "independent"]
"""Where normalizations take their statistics from: the whole image; a reduced copy of it; each tile by itself."""

THUMBNAIL = 1 << 20
"""Pixels of the reduced image."""
SMALL = 64
"""Pixels of the side of an image that tells whether a network can go tile by tile."""


def translate(
    network: nn.Module,
    source: Source,
    sink: Sink,
    *,
    mode: Mode = "exact",
    memory: int = 1 << 30,
    scratch: Path | None = None,
    dtype: torch.dtype = torch.float32,
    advance: Callable[[float, float], None] = lambda done, total: None,
) -> None:
    """An image of any size through a network, in evaluation mode, the random state untouched.

    Args:
        network: from (1, n_in, H, W) to (1, n_out, H, W), of operators that look at a neighbourhood, and of statistics
            of the image.
        source: the image. Sizes other than multiples of the network's `size_multiple` are continued by reflection.
        sink: takes the translation, of the same size.
        mode: `exact`: statistics are those of the whole image, gathered pass by pass; what one pass leaves to the next
            is kept on disk, so that no layer is computed twice. `thumbnail`: one pass, with the statistics of a reduced
            image. `independent`: one pass, each tile by its own statistics.
        memory: bytes that tensors may take at one time, besides the weights.
        scratch: the folder for what is kept on disk; that of temporary files if left out. Nothing stays behind.
        dtype: float32; or bfloat16, which convolutions and what is kept on disk then have. Statistics are float32.
        advance: told how much of the work is done, and how much there is.

    Raises I2IError for a network that mixes the whole image in other ways, for images too small for it, for too little
    memory, and for a disk without room.
    """

    def write(box: Box, values: Tensor) -> None:
        (top, bottom), (left, right) = box
        rows, columns = slice(top, min(bottom, source.height)), slice(left, min(right, source.width))
        if top < rows.stop and left < columns.stop:  # or else it is what the image was continued by
            values = values[..., : rows.stop - top, : columns.stop - left]
            sink.write(rows, columns, values.to("cpu", torch.promote_types(values.dtype, torch.float32)))

    def taken_apart(image: Source) -> tuple[Graph, Callable[[Box], Tensor]]:
        padded = Padded(image, size_multiple(network))
        return trace(network, image.channels, padded.height, padded.width), padded.read

    folder = scratch or Path(tempfile.gettempdir())
    with evaluating(network):
        whole = taken_apart(source)
        given = None
        if mode == "thumbnail":
            small = Run(*taken_apart(Reduced(source, THUMBNAIL)), memory, folder, dtype)
            small(lambda box, values: None, lambda done: advance(done, small.work))
            given = small.statistics
        run = Run(*whole, memory, folder, dtype, given=given, own=mode == "independent")
        run(write, lambda done: advance(done, run.work))


def whole_image_memory(network: nn.Module, channels: int, height: int, width: int) -> int:
    """Bytes of tensors that one pass of a whole image would hold at its peak, besides the weights; nothing is run.

    Raises I2IError for images too small for the network, and for a network whose steps depend on the numbers.
    """
    multiple = size_multiple(network)
    weights = {name: t.to("meta") for name, t in (*network.named_parameters(), *network.named_buffers())}
    dtype = next(network.parameters()).dtype
    image = torch.empty(1, channels, height + -height % multiple, width + -width % multiple, dtype=dtype, device="meta")
    with evaluating(network), torch.no_grad():
        try:
            return image.nbytes + peak_memory(lambda: functional_call(network, weights, (image,)), torch.device("cpu"))
        except Exception as error:  # of operators, or of the network itself
            if min(height, width) < max(32, multiple):
                raise too_small(height, width) from error
            first = str(error).strip().partition("\n")[0]
            message = f"what it takes cannot be told without running it: {first}"
            raise I2IError(Problem("the network", message)) from error


def check(network: nn.Module, channels: int) -> None:
    """Raises I2IError for a network that cannot go tile by tile, and names the layer that mixes the whole image."""
    multiple = size_multiple(network)
    height = -(-SMALL // multiple) * multiple
    with evaluating(network):
        trace(network, channels, height, height + multiple)
