"""The cache of prepared images: one memory-mapped file for each domain, so that later epochs and runs decode nothing.

A file holds the pixels of all images, one after the other; then an index in numpy's format, a row for each image:
height and width (zero for what could not be read), and the least and largest value before it was resized; then the name
of the pixels' type, and where the index begins. It is written under another name and then renamed: what has its name is
complete.
"""

from __future__ import annotations

import hashlib
import os
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from i2i.data.checksums import cache_folder
from i2i.data.geometry import Sides
from i2i.data.pixels import Array, Decoded, Preparation, Report, Unreadable, look, prepare_all
from i2i.data.source import Images
from i2i.images import UnreadableImage

FORMAT_VERSION = 2

_END = struct.Struct("<8sQ")
"""The last bytes: the name of the type, and where the index begins."""


class Mapped:
    """Pixels in a file, mapped into memory when first used, in each process by itself.

    Raises OSError for a file that cannot be opened; ValueError, TypeError, EOFError, IndexError or struct.error for one
    that is damaged.
    """

    def __init__(self, path: Path, channels: int) -> None:
        self.path, self.channels = path, channels
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _END.size))
            name, n_bytes = _END.unpack(file.read())
            self.dtype = np.dtype(name.rstrip(b"\0").decode("ascii"))
            file.seek(n_bytes)
            self.index: NDArray[np.float64] = np.load(file, allow_pickle=False)
        sizes = self.index[:, :2].astype(np.int64)
        self.sides: Sequence[Sides] = [(int(height), int(width)) for height, width in sizes]
        self._starts = np.concatenate([[0], np.cumsum(sizes.prod(1) * channels)])
        if self._starts[-1] * self.dtype.itemsize != n_bytes:
            raise ValueError("is damaged")
        self._array: Array | None = None

    def __getitem__(self, index: int) -> Array:
        if self._array is None:
            mapped = np.memmap(self.path, self.dtype, "r", shape=(int(self._starts[-1]),))
            self._array = np.asarray(mapped)  # of the plain class, whose slices are quicker
        pixels: Array = self._array[self._starts[index] : self._starts[index + 1]]
        return pixels.reshape(self.channels, *self.sides[index])

    def __reduce__(self) -> tuple[Any, ...]:
        return Mapped, (self.path, self.channels)

    def unreadable(self) -> list[int]:
        """Indices of the images that are not there."""
        return [index for index, sides in enumerate(self.sides) if sides == (0, 0)]

    def extremes(self) -> tuple[float, float]:
        there = self.index[self.index[:, 0] > 0]
        return (float(there[:, 2].min()), float(there[:, 3].max())) if len(there) else (0.0, 0.0)


def cached(images: Images, how: Preparation, report: Report) -> tuple[Mapped, Unreadable] | None:
    """The images from the cache, prepared and written first if they are not there, and those that cannot be read.

    None, with a warning, if the cache cannot be written. Its folder is `$I2I_CACHE`, else `~/.cache/i2i`.
    """
    key = hashlib.sha256(f"{FORMAT_VERSION} {images.digest()} {how.key}".encode()).hexdigest()[:32]
    folder: Path | str = "~/.cache/i2i"
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{key}.pixels"
        if (found := _read(path, images, how)) is not None:
            return found
        unreadable = _write(path, images, how, report)
        return Mapped(path, how.intake.channels), unreadable
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"the image cache {str(folder)!r} cannot be used ({reason}); images are decoded at each use. Make room, or "
            "set I2I_CACHE to another folder",
            stacklevel=2,
        )
        return None


def _read(path: Path, images: Images, how: Preparation) -> tuple[Mapped, Unreadable] | None:
    """What was written earlier, or None if there is nothing, it is damaged, or an image can be read by now.

    Raises OSError for a file that cannot be opened: it may be another user's.
    """
    if not path.exists():
        return None
    unreadable: Unreadable = {}
    try:
        mapped = Mapped(path, how.intake.channels)
    except (ValueError, TypeError, EOFError, IndexError, struct.error):
        return None
    if len(mapped.sides) != len(images):
        return None
    decoded = Decoded(images, how, mapped.dtype)
    for index in mapped.unreadable():
        try:
            decoded[index]
            return None
        except UnreadableImage as error:
            unreadable[index] = error
    return mapped, unreadable


def _write(path: Path, images: Images, how: Preparation, report: Report) -> Unreadable:
    """Plain writes, not through a map: on a full disk they raise, where a map would end the process."""
    dtype, _, _ = look(images, how, sizes=False)
    unreadable: Unreadable = {}
    rows = np.zeros((len(images), 4))
    temporary = path.with_name(f"{path.stem}-{uuid4().hex}.tmp")  # tempfile's would be for this user alone
    try:
        with temporary.open("xb") as file:
            for index, result in enumerate(prepare_all(Decoded(images, how, dtype), report)):
                if isinstance(result, UnreadableImage):
                    unreadable[index] = result
                else:
                    rows[index] = (*result.pixels.shape[1:], result.least, result.largest)
                    file.write(result.pixels.data)
            n_bytes = file.tell()
            np.save(file, rows)
            file.write(_END.pack(dtype.name.encode("ascii"), n_bytes))
            file.flush()
            os.fsync(file.fileno())
        try:
            temporary.replace(path)
        except PermissionError:  # Windows: another run has made the same file and maps it
            if not path.exists():
                raise
    finally:
        temporary.unlink(missing_ok=True)
    return unreadable
