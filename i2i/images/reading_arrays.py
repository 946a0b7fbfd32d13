"""NumPy's files: one array in `.npy`, or one in an `.npz`. Nothing in them is ever unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from i2i.images.headers import Header, Refused
from i2i.images.picture import Picture, Piece, Stored, pieces

_VERSION = (1, 0)  # of the format; later ones are for arrays with names, and allow headers of gigabytes
_FEW, _MANY = 16, 32  # (C, H, W) shows where there are no more channels than the one, and as many pixels as the other
_N_BYTES = 16 << 20  # of rows that are read at once

Shape = tuple[int, ...]


def header(file: BinaryIO, max_pixels: int | None = None) -> Header:
    """What the file says of its array, without reading it."""
    with _array(file) as (_, shape, _, dtype, stored):
        return _described(shape, dtype, stored.format, max_pixels)


def read(file: BinaryIO, max_pixels: int | None = None) -> Picture:
    """The array as a picture."""
    with _array(file) as (content, shape, fortran, dtype, stored):
        _described(shape, dtype, stored.format, max_pixels)
        n_bytes = math.prod(shape) * dtype.itemsize
        if len(data := content.read(n_bytes + 1)) != n_bytes:  # one more tells whether there is more
            raise Refused(f"is damaged: its array takes {n_bytes} bytes, and it holds {_held(len(data), n_bytes)}")
        values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        return _pictured(values, stored)


def read_pieces(file: BinaryIO, max_pixels: int | None = None) -> Iterator[Piece]:
    """The same, in bands of rows where rows lie one after the other."""
    with _array(file) as (content, shape, fortran, dtype, stored):
        _described(shape, dtype, stored.format, max_pixels)
        n_bytes = math.prod(shape[1:]) * dtype.itemsize
        each = max(1, _N_BYTES // n_bytes)
        for top in range(0, 0 if fortran else shape[0], each):
            rows = min(each, shape[0] - top)
            if len(data := content.read(rows * n_bytes)) != rows * n_bytes:
                raise Refused(f"is damaged: its array takes {shape[0] * n_bytes} bytes, and it holds fewer")
            values = np.frombuffer(data, dtype).reshape(rows, *shape[1:])
            yield Piece(0, top, 0, _pictured(values, stored))
        if content.read(1) and not fortran:
            raise Refused(f"is damaged: its array takes {shape[0] * n_bytes} bytes, and it holds more")
    if fortran:
        yield from pieces(read(file, max_pixels))


@contextmanager
def _array(file: BinaryIO) -> Iterator[tuple[IO[bytes], Shape, bool, np.dtype[Any], Stored]]:
    """Its bytes, shape, whether columns come first, type, and how the file holds it."""
    file.seek(0)
    if file.read(2) == b"PK":
        with zipfile.ZipFile(file) as archive:
            arrays = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            if len(arrays) != 1:
                names = ", ".join(member.filename for member in arrays[:5]) + (", …" if len(arrays) > 5 else "")
                raise Refused(f"holds {len(arrays)} arrays ({names}); one is an image" if arrays else "holds no array")
            (found,) = arrays
            other = {"name": found.filename[:-4], "compressed": found.compress_type != zipfile.ZIP_STORED}
            with archive.open(found) as member:
                yield member, *_declared(member), Stored("npz", other=other)
    else:
        file.seek(0)
        yield file, *_declared(file), Stored("npy")


def _pictured(values: NDArray[Any], stored: Stored) -> Picture:
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    return replace(Picture.of(native), stored=replace(stored, other={**stored.other, "ndim": values.ndim}))


def _declared(file: IO[bytes]) -> tuple[Shape, bool, np.dtype[Any]]:
    if np.lib.format.read_magic(file) != _VERSION:
        raise Refused("holds an array with named fields; save plain numbers")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, fortran, dtype


def _described(shape: Shape, dtype: np.dtype[Any], format: str, max_pixels: int | None) -> Header:
    if len(shape) not in (2, 3):
        raise Refused(f"has the shape {shape}; an image is (H, W) or (H, W, C)")
    height, width, n = (*shape, 1)[:3]
    if 0 < height <= _FEW and min(width, n) >= _MANY:
        raise Refused(f"has the shape {shape}, which looks like (C, H, W); an image is (H, W, C): move the first axis")
    alpha = n in (2, 4) and dtype == np.uint8
    n -= alpha
    return Header(
        size=(width, height),
        channels=n,
        dtype=dtype.name,
        colour="grey" if n == 1 else "rgb" if n == 3 else "bands",
        alpha=alpha,
        pages=1,
        format=format,
        mode=f"{dtype.name} {shape}",
    ).checked(max_pixels)


def _held(n: int, wanted: int) -> str:
    return str(n) if n < wanted else "more"
