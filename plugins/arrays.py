"""A source of images in NumPy's files: one array holds all images of a domain, and is mapped into memory."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from i2i import hookimpl
from i2i.data import Split
from i2i.data.checksums import content_digest
from i2i.data.paths import find_file
from i2i.errors import I2IError, Problem, collecting, suggest
from i2i.images import Header, UnreadableImage
from i2i.images.picture import Colour
from i2i.options import LocalPath

MOST_IN_MEMORY = 4 << 30
"""Bytes of a compressed array, which cannot be mapped."""

FEW = 4
"""Channels that images usually have at most: whatever has a longer axis in their place is told what it looks like."""


class Arrays:
    """Images in NumPy arrays (N, H, W) or (N, H, W, C), from .npy and .npz files.

    Of an .npz with several arrays the one that is called like the option is meant, or the one named behind a colon:
    `digits.npz:x_train`.

    Args:
        a, b: images to train on.
        test_a, test_b: held-out images, or neither.
        label_a, label_b, test_label_a, test_label_b: (N,) integers from 0, a class for each image.
        mask_a, mask_b, test_mask_a, test_mask_b: (N, H, W), a mask for each image; bool, or as images are.
        paired: one index is one scene in both domains.
    """

    def __init__(
        self,
        *,
        a: LocalPath = "",
        b: LocalPath = "",
        test_a: LocalPath = "",
        test_b: LocalPath = "",
        label_a: LocalPath = "",
        label_b: LocalPath = "",
        test_label_a: LocalPath = "",
        test_label_b: LocalPath = "",
        mask_a: LocalPath = "",
        mask_b: LocalPath = "",
        test_mask_a: LocalPath = "",
        test_mask_b: LocalPath = "",
        paired: bool = False,
    ) -> None:
        train = {"a": a, "b": b, "label_a": label_a, "label_b": label_b, "mask_a": mask_a, "mask_b": mask_b}
        test = {"a": test_a, "b": test_b, "label_a": test_label_a, "label_b": test_label_b}
        test |= {"mask_a": test_mask_a, "mask_b": test_mask_b}
        problems: list[Problem] = []
        self._train = _split(train, "", paired, problems)
        self._test = _split(test, "test_", paired, problems) if any(test.values()) else None
        if problems:
            raise I2IError(*problems)

    def train(self) -> Split:
        assert self._train is not None
        return self._train

    def test(self) -> Split | None:
        return self._test


def _split(given: Mapping[str, str], prefix: str, paired: bool, problems: list[Problem]) -> Split | None:
    """The split of these files, by what they are for; None if there are problems, which are added."""
    found: dict[str, Any] = {}
    for name, file in given.items():
        if file or name in "ab":
            with collecting(problems):
                where = f"data.source.{prefix}{name}"
                array = Array.find(file, prefix + name, where)
                found[name] = array.labels(where) if name.startswith("label") else ArrayImages(array, where)
    return None if problems else Split(found.pop("a"), found.pop("b"), paired, found)


class Array:
    """One array of a file, mapped into memory where it is not compressed; opened anew in each process.

    Args:
        path: an .npy or .npz file.
        key: the array's name in an .npz.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.values = _member(path, key) if key else _mapped(path, 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return Array, (self.path, self.key)

    @classmethod
    def find(cls, file: str, option: str, where: str) -> Array:
        """The array that an option says. Raises I2IError."""
        named = re.fullmatch(r"(.*\.npz):([^:/\\]+)", file, re.I | re.S)
        path = find_file(named[1] if named else file, where)
        try:
            keys = _keys(path)
            if keys and not named and option not in keys and len(keys) > 1:
                raise ValueError(f"holds {len(keys)} arrays; say which: {path.name}:{keys[0]}{suggest(option, keys)}")
            key = named[2] if named else option if option in keys else keys[0] if keys else ""
            if key and key not in keys:
                raise ValueError(f"holds no array {key!r}{suggest(key, keys)}")
            return cls(path, key)
        except (ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        except Exception as error:  # NumPy and zipfile raise whatever broken bytes lead them to
            reason = f"is damaged: {error}"
        raise I2IError(Problem(where, shorten(f"{path.name} {reason}", 1000, placeholder=" …")))  # it may cite the file

    def labels(self, where: str) -> list[int]:
        """As a list. Raises I2IError if the array is not one of labels."""
        values = self.values
        if values.ndim != 1 or values.dtype.kind not in "iu":
            message = f"is {values.dtype.name} of the shape {values.shape}; labels are integers of the shape (N,)"
            raise I2IError(Problem(where, message))
        if len(values) and not 0 <= values.min() <= values.max() < 1 << 31:
            raise I2IError(Problem(where, f"goes from {values.min()} to {values.max()}; labels count from 0"))
        labels: list[int] = values.tolist()
        return labels


class ArrayImages:
    """The images of an array (N, H, W) or (N, H, W, C); of bool, 0 and 255. Raises I2IError for another array."""

    def __init__(self, array: Array, where: str) -> None:
        self._array = array
        try:
            self._header = _header_of(array)
        except ValueError as error:
            raise I2IError(Problem(where, f"{array.path.name} {error}")) from error

    def __len__(self) -> int:
        return len(self._array.values)

    def name(self, index: int) -> str:
        return f"{self._array.path.name}[{index}]"

    def read(self, index: int) -> NDArray[Any]:
        pixels = self._array.values[index]
        if pixels.dtype.kind == "b":
            return np.where(pixels, np.uint8(255), np.uint8(0))
        if pixels.dtype.kind == "f" and not (finite := np.isfinite(pixels)).all():
            row, column = np.argwhere(~finite)[0][:2]
            message = f"holds {(~finite).sum()} values that are not finite, the first at row {row}, column {column}"
            raise UnreadableImage(Problem(self.name(index), message))
        return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))

    def header(self, index: int) -> Header:
        return self._header

    def digest(self) -> str:
        contents = content_digest(self._array.path.parent, [self._array.path.name])
        return hashlib.sha256(f"{self._array.key} {contents}".encode()).hexdigest()


def _header_of(array: Array) -> Header:
    """What each image of an array is. Raises ValueError if they are no images."""
    shape = array.values.shape
    if len(shape) == 3 and 0 < shape[2] <= FEW < shape[0]:
        raise ValueError(f"has the shape {shape}; if it is one image, (H, W, C), save x[None] or take `single`")
    if len(shape) == 4 and shape[1] <= FEW < min(shape[2:]):
        raise ValueError(f"has the shape {shape}, which looks like (N, C, H, W); save np.moveaxis(x, 1, -1)")
    if len(shape) not in (3, 4) or not len(array.values):
        raise ValueError(f"has the shape {shape}; images are (N, H, W) or (N, H, W, C)")
    dtype = np.dtype(np.uint8) if array.values.dtype.kind == "b" else array.values.dtype
    _, height, width, n = (*shape, 1)[:4]
    alpha = n in (2, 4) and dtype == np.uint8
    n -= alpha
    colour: Colour = "grey" if n == 1 else "rgb" if n == 3 else "bands"
    kind = array.path.suffix[1:].lower()
    return Header((width, height), n, dtype.name, colour, alpha, 1, kind, array.values.dtype.name).checked()


def _keys(path: Path) -> list[str]:
    """Names of the arrays in an .npz; none for an .npy. Raises ValueError for another file."""
    with path.open("rb") as file:
        start = file.read(6)
    if start == npy.MAGIC_PREFIX:
        return []
    if not zipfile.is_zipfile(path):
        raise ValueError("is neither an .npy nor an .npz file")
    with zipfile.ZipFile(path) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if not keys:
        raise ValueError("holds no array")
    return keys


def _member(path: Path, key: str) -> NDArray[Any]:
    """An array of an .npz: mapped, or loaded if it is compressed. Raises ValueError."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{key}.npy")
        if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
            with path.open("rb") as file:
                file.seek(info.header_offset)
                # The local header may differ in length from the central one: its own two lengths end its 30 bytes.
                n_name, n_extra = struct.unpack("<26x2H", file.read(30))
            return _mapped(path, info.header_offset + 30 + n_name + n_extra)
        with archive.open(info) as stream:
            shape, _, dtype = _header(stream)
        if (n_bytes := math.prod(shape) * dtype.itemsize) > MOST_IN_MEMORY:
            size = f"{n_bytes / 2**30:.1f} GiB"
            raise ValueError(f"{key} is {size}, compressed; np.savez keeps it so that it can be mapped")
        with archive.open(info) as stream:  # np.load could take another member: `a` for `a.npy`
            loaded: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
            return loaded


def _mapped(path: Path, start: int) -> NDArray[Any]:
    """The array whose .npy begins at that byte of a file. Raises ValueError, also if the file ends too early."""
    with path.open("rb") as file:
        file.seek(start)
        shape, fortran, dtype = _header(file)
        n_bytes, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
        if n_bytes > there:
            raise ValueError(f"is cut off: of the {n_bytes:,} bytes of its array {there:,} are there")
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type. Raises ValueError, also for objects, which only pickle could read."""
    if (version := npy.read_magic(file)) != (1, 0):  # later ones allow headers of gigabytes
        raise ValueError(f"has version {version} of the format, which is for tables")
    shape, fortran, dtype = npy.read_array_header_1_0(file)
    if dtype.hasobject:
        raise ValueError("holds Python objects; images are plain arrays, all of one size")
    if min(shape, default=0) < 0:
        raise ValueError(f"has the shape {shape}")
    return shape, fortran, dtype


@hookimpl
def register_sources() -> dict[str, Callable[..., Any]]:
    return {"arrays": Arrays}
