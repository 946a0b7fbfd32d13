"""NumPy's files: one array in `.npy`, or one in an `.npz`. Nothing in them is ever unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any, BinaryIO

import numpy as np

from i2i.images.headers import Header, Refused
from i2i.images.picture import Picture, Stored

_VERSION = (1, 0)  # of the format; later ones are for arrays with names, and allow headers of gigabytes
_FEW, _MANY = 16, 32  # (C, H, W) shows where there are no more channels than the one, and as many pixels as the other

Shape = tuple[int, ...]


def header(file: BinaryIO) -> Header:
    """What the file says of its array, without reading it."""
    with _array(file) as (_, shape, _, dtype, stored):
        return _described(shape, dtype, stored.format)


def read(file: BinaryIO) -> Picture:
    """The array as a picture."""
    with _array(file) as (content, shape, fortran, dtype, stored):
        _described(shape, dtype, stored.format)
        n_bytes = math.prod(shape) * dtype.itemsize
        if len(data := content.read(n_bytes + 1)) != n_bytes:  # one more tells whether there is more
            raise Refused(f"is damaged: its array takes {n_bytes} bytes, and it holds {_held(len(data), n_bytes)}")
        values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        native = np.ascontiguousarray(values, dtype.newbyteorder("="))
        return replace(Picture.of(native), stored=replace(stored, other={**stored.other, "ndim": len(shape)}))


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


def _declared(file: IO[bytes]) -> tuple[Shape, bool, np.dtype[Any]]:
    if np.lib.format.read_magic(file) != _VERSION:
        raise Refused("holds an array with named fields; save plain numbers")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, fortran, dtype


def _described(shape: Shape, dtype: np.dtype[Any], format: str) -> Header:
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
    ).checked()


def _held(n: int, wanted: int) -> str:
    return str(n) if n < wanted else "more"
