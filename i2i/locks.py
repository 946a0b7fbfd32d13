"""Folders that one process at a time may write to."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from i2i.errors import I2IError, Problem


@contextmanager
def locked(path: Path, problem: Problem) -> Iterator[None]:
    """Keeps other processes out while the block lasts, by a lock on this file, which is gone at the end.

    The system gives the lock back when the process ends, however it ends. Raises I2IError with the problem if another
    process has it.
    """
    with path.open("w") as file:
        if not _lock(file):
            raise I2IError(problem)
        try:
            yield
        finally:
            if sys.platform == "win32":
                file.close()  # what is open cannot be deleted there
            with suppress(OSError):
                path.unlink()


def _lock(file: TextIO) -> bool:
    """Whether the file is now ours alone; where the file system has no locks, nobody is kept out."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True
