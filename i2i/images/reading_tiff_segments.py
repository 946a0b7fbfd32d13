"""The strips or tiles of a TIFF page, one by one: of a page that memory does not hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from tifffile import COMPRESSION, TiffPage

from i2i.images.headers import MAX_BYTES, Refused
from i2i.images.picture import Pixels

_JPEG = (COMPRESSION.JPEG, COMPRESSION.OJPEG)  # whose decoders may want what stands in tags
_N_BYTES = 16 << 20
"""Of uncompressed rows that are read at once."""


def check_complete(page: TiffPage, n: int = 1) -> None:
    """Raises Refused if pixels of the page, or of n that follow each other without tags, lie beyond the file's end."""
    n_segments, size = math.prod(page.chunked), page.parent.filehandle.size
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if page.is_contiguous:
        ends, n_segments = [page.dataoffsets[0] + n * page.nbytes], 1
    if len(ends) < n_segments or max(ends) > size:
        raise Refused("is truncated: its pixels go beyond its end")


def segments(page: TiffPage, number: int = 0) -> Iterator[tuple[int, int, Pixels]]:
    """Row, column, and (h, w, samples) as they are stored, until all of the page was there.

    Args:
        number: of the image, where several follow each other without tags.
    """
    if page.is_final:
        yield from _bands(page, page.dataoffsets[0] + number * page.nbytes)
        return
    if (n_bytes := math.prod(page.chunks) * cast(Any, page.dtype).itemsize) > MAX_BYTES:
        kind = "a tile" if page.is_tiled else "a strip"
        raise Refused(f"has {kind} of {n_bytes / 2**30:.1f} GiB, which is decoded as a whole; save it in smaller tiles")
    (n_planes, _, height, width, _), file = page.shaped, page.parent.filehandle
    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in _JPEG else {}
    each = math.prod(page.chunked) // n_planes
    for place in range(each):
        planes = []
        for index in range(place, n_planes * each, each):
            n_encoded = page.databytecounts[index]
            file.seek(page.dataoffsets[index])
            encoded = file.read(n_encoded) if n_encoded else None
            values, (_, _, top, left, _), shape = page.decode(encoded, index, **tables)
            if values is None:  # nothing is stored for it
                values = np.full(shape, page.nodata, page.dtype)
            planes.append(values[0, : height - top, : width - left])
        yield top, left, planes[0] if n_planes == 1 else np.concatenate(planes, 2)


def _bands(page: TiffPage, start: int) -> Iterator[tuple[int, int, Pixels]]:
    """Of samples that lie in the file as in memory."""
    n_planes, _, height, width, n = page.shaped
    dtype, file = np.dtype(page.parent.byteorder + cast(Any, page.dtype).char), page.parent.filehandle
    each = max(1, _N_BYTES // (width * n * dtype.itemsize))
    for top in range(0, height, each):
        rows = min(each, height - top)
        planes = []
        for plane in range(n_planes):
            file.seek(start + (plane * height + top) * width * n * dtype.itemsize)
            planes.append(file.read_array(dtype, rows * width * n).reshape(rows, width, n))
        yield top, 0, planes[0] if n_planes == 1 else np.concatenate(planes, 2)
