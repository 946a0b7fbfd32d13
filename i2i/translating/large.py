"""Image files that memory does not hold, through a network in tiles: from disk to disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from i2i.images import Picture
from i2i.images.formats import FORMATS
from i2i.images.headers import MAX_BYTES
from i2i.images.picture import Pixels, Read
from i2i.images.raster import Raster
from i2i.images.regions import Regions
from i2i.images.writing import BY_BANDS, fitting
from i2i.translate import Translator
from i2i.translating.pictures import N_ROWS, Taken, give, plan, take
from i2i.translating.places import Place
from i2i.translating.tiling import Tiling


@dataclass(frozen=True)
class Translated:
    """A translation on disk.

    Args:
        outline: of its size, type and colours, with what its file will say; its pixels mean nothing.
        read: gives its samples.
        taken: of one pixel; but `clipped` is that of all.
    """

    outline: Picture
    read: Read
    taken: Taken


@contextmanager
def translated(
    translator: Translator,
    place: Place,
    format: str,
    tiling: Tiling,
    scratch: Path | None = None,
    advance: Callable[[float, float], None] = lambda done, total: None,
) -> Iterator[Translated]:
    """What an image becomes, equal to what `i2i.translating.through` gives but for what `tiling` may cost.

    Args:
        format: that it will be written in.
        scratch: folder for temporary files, none of which stays; None: the system's own.
        advance: told how much is done, and of how much.

    Raises UnreadableImage, I2IError, and ValueError for a picture that the domain or the format cannot take.
    """
    with closing(Regions(place.source, scratch, str(place), tiling.max_pixels)) as source:
        (width, height), planned = source.header.size, plan(translator, source.header)
        n_out = translator.intakes[1].channels
        pixel = take(translator, source.read(slice(0, 1), slice(0, 1)))
        outline = give(translator, pixel, np.zeros((planned.n_pages, n_out, 1, 1), np.float32))
        n_samples = outline.samples.shape[2]
        outline = _spread(outline, (height, width))
        fitting(outline, format)
        if format not in BY_BANDS and (n_bytes := height * width * n_samples * planned.dtype.itemsize) > MAX_BYTES:
            title, others = FORMATS[format].title, ", ".join(BY_BANDS)
            raise ValueError(f"becomes {n_bytes / 2**30:.1f} GiB, which is too much for {title}; --format: {others}")
        shape = (planned.n_pages, height, width, n_samples // planned.n_pages)
        with closing(Raster(scratch, shape, planned.dtype)) as raster:
            clipped = 0
            for page in range(planned.n_pages):

                def told(done: float, total: float, page: int = page) -> None:
                    advance(page * total + done, planned.n_pages * total)

                sink = _Sink(translator, source, raster, page)
                tiling.run(translator, _Source(translator, source, page), sink, scratch, told)
                clipped = sink.clipped
            yield Translated(outline, raster.read, replace(pixel, clipped=clipped))


def _spread(pixel: Picture, size: tuple[int, int]) -> Picture:
    """A picture of (H, W) that takes no memory, all of it as one pixel is."""

    def spread(values: Pixels) -> Pixels:
        return np.broadcast_to(values, (*size, *values.shape[2:]))

    return replace(pixel, pixels=spread(pixel.pixels), alpha=None if pixel.alpha is None else spread(pixel.alpha))


class _Source:
    """A page as the network takes it."""

    def __init__(self, translator: Translator, source: Regions, page: int) -> None:
        self.translator, self.source, self.page = translator, source, page
        self.channels = translator.intakes[0].channels
        self.width, self.height = source.header.size

    def read(self, rows: slice, columns: slice) -> Tensor:
        unit = take(self.translator, self.source.read(rows, columns)).unit
        return torch.from_numpy(unit[self.page : self.page + 1])


class _Sink:
    """A page as its file will hold it.

    Attributes:
        clipped: values of the input, of all pages, that lay outside the range of the domain.
    """

    def __init__(self, translator: Translator, source: Regions, raster: Raster, page: int) -> None:
        self.translator, self.source, self.raster, self.page = translator, source, raster, page
        self.clipped = 0

    def write(self, rows: slice, columns: slice, values: Tensor) -> None:
        for top in range(rows.start, rows.stop, N_ROWS):  # as `give` takes several times what it is given
            strip = slice(top, min(top + N_ROWS, rows.stop))
            # Read once more, for its alpha: the surroundings that tiles bring along are no part of this.
            taken = take(self.translator, self.source.read(strip, columns))
            self.clipped += taken.clipped
            picture = give(self.translator, taken, values[:, :, top - rows.start :][:, :, :N_ROWS].numpy())
            self.raster.write(top, columns.start, picture.samples, self.page)
