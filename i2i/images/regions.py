"""A picture of any size, of which regions are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from i2i.images.picture import Picture, Stored
from i2i.images.raster import Raster
from i2i.images.reading import header, read_pieces


class Regions:
    """A picture file, decoded once, piece by piece, into a temporary file from which any region is read quickly.

    So damage is found before anything is computed, and it does not matter how a file lays out its pixels.

    Args:
        file, name, max_pixels: as `i2i.images.read` takes them.
        folder: of the temporary file; None: the system's own.

    To be closed. Raises UnreadableImage as `i2i.images.read` does, and I2IError where the disk has no room.
    """

    def __init__(self, file: Path | bytes, folder: Path | None, name: str = "", max_pixels: int | None = None) -> None:
        self.header = header(file, name, max_pixels)
        self._stored = Stored()
        (width, height), n = self.header.size, self.header.channels + self.header.alpha
        shape = (self.header.pages, height, width, n // self.header.pages)
        self._raster = Raster(folder, shape, np.dtype(self.header.dtype))
        try:
            for left, top, page, picture in read_pieces(file, name, max_pixels):
                self._raster.write(top, left, picture.samples, page)
                self._stored = picture.stored
        except BaseException:
            self._raster.close()
            raise

    def close(self) -> None:
        self._raster.close()

    def read(self, rows: slice, columns: slice) -> Picture:
        """The region, equal to that of the picture that `i2i.images.read` gives."""
        samples, colour = self._raster.read(rows, columns), self.header.colour
        if self.header.alpha:
            return Picture(samples[:, :, :-1], colour, samples[:, :, -1], self._stored)
        return Picture(samples, colour, stored=self._stored)
