"""Samples of a picture that memory need not hold: in a temporary file, read and written by regions."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from i2i.errors import I2IError, Problem
from i2i.images.picture import Pixels
from i2i.scratch import Scratch


class Raster:
    """(pages, H, W, C) on disk, of a file whose pages' samples are taken together. Gone when it is closed.

    Args:
        folder: of the temporary file; None: the system's own.
        shape: pages, height, width, samples.

    To be closed. Raises I2IError where the disk has no room for it.
    """

    def __init__(self, folder: Path | None, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        n_bytes = math.prod(shape) * dtype.itemsize
        where = folder or Path(tempfile.gettempdir())
        self._where = where
        try:
            free = shutil.disk_usage(where).free
        except OSError as error:
            raise self._fault(error) from None
        if free < n_bytes:
            needs = f"a temporary file of {n_bytes / 1e6:,.1f} MB, and {where} has {free / 1e6:,.1f} MB left"
            raise I2IError(Problem("image", f"needs {needs}; make room, or name another folder by TMPDIR"))
        self._file = Scratch(where)
        self._file.extend(n_bytes)

    def close(self) -> None:
        self._file.close()

    def read(self, rows: slice, columns: slice) -> Pixels:
        """(h, w, pages * C); 0 where nothing was written."""
        (top, bottom, _), (left, right, _) = rows.indices(self.shape[1]), columns.indices(self.shape[2])
        values = np.empty((self.shape[0], bottom - top, right - left, self.shape[3]), self.dtype)
        for page, samples in enumerate(values):
            for place, line in self._lines(samples, top, left, page):
                self._file.read(place, line)
        return values[0] if len(values) == 1 else np.concatenate(values, 2)

    def write(self, top: int, left: int, values: Pixels, page: int = 0) -> None:
        """Samples (h, w, C) of a page from a row and a column on. Raises I2IError where the disk is full."""
        values = np.ascontiguousarray(values, self.dtype)
        try:
            for place, line in self._lines(values, top, left, page):
                self._file.write(place, line)
        except OSError as error:
            raise self._fault(error) from None

    def _fault(self, error: OSError) -> I2IError:
        message = f"its temporary file in {self._where} cannot be written: {error.strerror}; TMPDIR names another"
        return I2IError(Problem("image", message))

    def _lines(self, values: Pixels, top: int, left: int, page: int) -> Iterator[tuple[int, memoryview]]:
        """Parts of `values` that lie together in the file, each with its place there: rows, or all at once."""
        _, height, width, n = self.shape
        view = values.data.cast("B")
        n_lines = 1 if values.shape[1] == width else len(values)
        for number in range(n_lines):
            place = (((page * height + top + number) * width + left) * n) * self.dtype.itemsize
            yield place, view[number * len(view) // n_lines : (number + 1) * len(view) // n_lines]
