"""Maps that wait on disk for the next pass."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from i2i.errors import I2IError, Problem
from i2i.measure import in_bytes
from i2i.scratch import Scratch
from i2i.tiles.graph import Box


def check_space(folder: Path, needed: int) -> None:
    """Raises I2IError if a folder is missing or its disk has less room."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise I2IError(Problem("scratch", f"{folder} cannot be used: {error.strerror}")) from None
    if free < needed:
        raise _no_room(folder, needed, free)


def _no_room(folder: Path, needed: int, free: int) -> I2IError:
    room = f"{folder} has {in_bytes(free)} free, and exact tiles keep {in_bytes(needed)} there"
    instead = "choose a folder with more room (TMPDIR), or statistics of a thumbnail"
    return I2IError(Problem("scratch", f"{room}; {instead}"))


class Stored:
    """A map in a temporary file, of which nothing stays behind.

    Args:
        shape: of the map.
        axes: of its rows and columns, counted from the end.
        dtype: of its numbers.
    """

    def __init__(self, shape: tuple[int, ...], axes: tuple[int, int], dtype: torch.dtype, folder: Path) -> None:
        self.axes, self.dtype, self.folder = axes, dtype, folder
        self.lead = torch.Size(n for axis, n in enumerate(shape, -len(shape)) if axis not in axes)
        self.height, self.width = shape[axes[0]], shape[axes[1]]
        self.file = Scratch(folder)

    def __enter__(self) -> Stored:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()

    def write(self, box: Box, piece: Tensor) -> None:
        """A piece of the map. Raises I2IError if the disk is full."""
        plain = piece.to("cpu", self.dtype).movedim(self.axes, (-2, -1)).contiguous()
        try:
            for buffer, place in self._runs(box, plain):
                self.file.write(place, buffer)
        except OSError as error:
            whole = self.lead.numel() * self.height * self.width * self.dtype.itemsize
            raise _no_room(self.folder, whole, shutil.disk_usage(self.folder).free) from error

    def read(self, box: Box) -> Tensor:
        """A piece of the map."""
        (top, bottom), (left, right) = box
        plain = torch.empty((*self.lead, bottom - top, right - left), dtype=self.dtype)
        for buffer, place in self._runs(box, plain):
            self.file.read(place, buffer)
        return plain.movedim((-2, -1), self.axes)

    def _runs(self, box: Box, plain: Tensor) -> list[tuple[memoryview, int]]:
        """What lies side by side both in a piece and in the file, with its place there: channels, or rows of them."""
        (top, bottom), (left, right) = box
        n_channels, n_rows, n_columns = self.lead.numel(), bottom - top, right - left
        pieces = plain.view(torch.uint8).numpy().reshape(n_channels, n_rows, -1)
        size = self.dtype.itemsize
        starts = [((c * self.height + top) * self.width + left) * size for c in range(n_channels)]
        if n_columns == self.width:
            return [(memoryview(pieces[c].reshape(-1)), starts[c]) for c in range(n_channels)]
        step = self.width * size
        return [
            (memoryview(pieces[c, row]), starts[c] + row * step) for c in range(n_channels) for row in range(n_rows)
        ]
