"""The cache of prepared images: one memory-mapped file for each domain, so that later epochs and runs decode nothing.

A file holds two arrays in numpy's format: the images (N, C, size, size) uint8, and the indices of those that could not
be read (their rows are zero). It is written under another name and then renamed: what has its name is complete.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from i2i.data.pixels import Array, Decoded, Report, prepare_all
from i2i.data.source import Images, UnreadableImage

FORMAT_VERSION = 1

Unreadable = dict[int, UnreadableImage]


class Mapped:
    """Pixels in a file, mapped into memory when first used, in each process by itself. Raises OSError, ValueError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._array: Any = None

    @property
    def array(self) -> Any:
        if self._array is None:
            self._array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return self._array

    def __getitem__(self, index: int) -> Array:
        pixels: Array = self.array[index]
        return pixels

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_array": None}

    def unreadable(self) -> list[int]:
        """Indices of the rows that are empty."""
        with self.path.open("rb") as file:
            file.seek(self.array.offset + self.array.nbytes)
            indices: list[int] = np.load(file, allow_pickle=False).tolist()
            return indices


def cached(images: Images, channels: int, size: int, report: Report) -> tuple[Mapped, Unreadable] | None:
    """The images from the cache, prepared and written first if they are not there, and those that cannot be read.

    None, with a warning, if the cache cannot be written. Its folder is `$I2I_CACHE`, else `~/.cache/i2i`.
    """
    key = hashlib.sha256(f"{FORMAT_VERSION} {images.digest()} {size} {channels}".encode()).hexdigest()[:32]
    folder: Path | str = os.environ.get("I2I_CACHE") or "~/.cache/i2i"
    try:
        folder = Path(folder).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{key}.npy"
        if (found := _read(path, images, channels, size)) is not None:
            return found
        unreadable = _write(path, images, channels, size, report)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"the image cache {str(folder)!r} cannot be used ({reason}); images are decoded at each use. Make room, or "
            "set I2I_CACHE to another folder",
            stacklevel=2,
        )
        return None
    return Mapped(path), unreadable


def _read(path: Path, images: Images, channels: int, size: int) -> tuple[Mapped, Unreadable] | None:
    """What was written earlier, or None if there is nothing, it is damaged, or an image can be read by now.

    Raises OSError for a file that cannot be opened: it may be another user's.
    """
    if not path.exists():
        return None
    unreadable: Unreadable = {}
    try:
        mapped = Mapped(path)
        if mapped.array.shape != (len(images), channels, size, size) or mapped.array.dtype != np.uint8:
            return None
        indices = mapped.unreadable()
    except (ValueError, EOFError):
        return None
    decoded = Decoded(images, channels, size)
    for index in indices:
        try:
            decoded[index]
            return None
        except UnreadableImage as error:
            unreadable[index] = error
    return mapped, unreadable


def _write(path: Path, images: Images, channels: int, size: int, report: Report) -> Unreadable:
    """Plain writes, not through a map: on a full disk they raise, where a map would end the process."""
    unreadable: Unreadable = {}
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(images), channels, size, size)}
    temporary = path.with_name(f"{path.stem}-{uuid4().hex}.tmp")  # tempfile's would be for this user alone
    try:
        with temporary.open("xb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for index, result in enumerate(prepare_all(images, channels, size, report)):
                if isinstance(result, UnreadableImage):
                    unreadable[index] = result
                    result = np.zeros((channels, size, size), np.uint8)
                file.write(result.tobytes())
            np.save(file, np.array(sorted(unreadable), np.int64))
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
