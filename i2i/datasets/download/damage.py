"""What Python's readers of archives and compressed files raise for damaged ones, as one message."""

from __future__ import annotations

import errno
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

from i2i.errors import I2IError, Problem

DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, ArithmeticError, LookupError, RuntimeError),  # odd fields; headers of headers of headers
)


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Raises I2IError for what a damaged file leads its reader to raise. A full disk stays an OSError."""
    try:
        yield
    except DAMAGE as error:
        # Without a number it is gzip's or bz2's own. EINVAL: the file names a place that is not in it.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = shorten(str(error), 160) or type(error).__name__
        raise I2IError(Problem(str(path), f"is damaged, or no file of its kind: {reason}")) from error
