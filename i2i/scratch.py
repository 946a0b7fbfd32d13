"""Temporary files for numbers that memory need not hold."""

from __future__ import annotations

import tempfile
from pathlib import Path


class Scratch:
    """Bytes on disk, gone when it is closed or the process ends, in whatever way: where the system can, without a name.

    They are read and written by calls, since the pages of a memory map would count as memory of the process; without a
    buffer, so that a full disk is an error of the write that does not fit, and not of a later one or of `close`.

    Args:
        folder: of the file.

    To be closed. Raises OSError, here and in `write`.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (closed by `close`)
        except OSError as error:
            error.filename = str(folder)  # not the temporary name, which tells nobody anything
            raise

    def close(self) -> None:
        self._file.close()

    def extend(self, n_bytes: int) -> None:
        """Makes it n bytes long, of which those never written are 0, and take no room where the system can."""
        self._file.truncate(n_bytes)

    def write(self, place: int, values: memoryview) -> None:
        """Bytes from a place on."""
        self._file.seek(place)
        while values:  # systems write as much at once as they like
            values = values[self._file.write(values) :]

    def read(self, place: int, values: memoryview) -> None:
        """Fills `values` with the bytes from a place on; they are there."""
        self._file.seek(place)
        while values:
            n = self._file.readinto(values)
            assert n, "what is read was written before"
            values = values[n:]
