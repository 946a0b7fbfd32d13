"""Checksums over the contents of many files, remembered while no file changes: not all are read at every start."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

SETTLED = 2.0
"""Seconds after which a file's times tell of any further change: the coarsest clock of a file system, that of FAT."""


def cache_folder() -> Path:
    """`$I2I_CACHE`, else `~/.cache/i2i`; perhaps not there yet. Raises RuntimeError where there is no home."""
    return Path(os.environ.get("I2I_CACHE") or "~/.cache/i2i").expanduser()


def content_digest(folder: Path, names: Sequence[str]) -> str:
    """SHA-256 over the names and contents of files in a folder, hexadecimal; a file that cannot be read counts as such.

    It is remembered in the cache's folder under the place, size, times and number (inode) of each file.
    """
    state = _state(folder, names)
    with suppress(OSError, RuntimeError):
        if state and len(found := (cache_folder() / "digests" / state).read_text(encoding="ascii")) == 64:
            return found
    total = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        contents = pool.map(_digest, [folder / name for name in names])
        for name, content in zip(names, contents, strict=True):
            total.update(os.fsencode(name) + b"\0" + content)
    digest = total.hexdigest()
    with suppress(OSError, RuntimeError):
        if state and state == _state(folder, names):
            _remember(cache_folder() / "digests" / state, digest)
    return digest


def _state(folder: Path, names: Sequence[str]) -> str:
    """Whatever changes with a file, as a hash; empty if one has just changed or is not there."""
    total = hashlib.sha256(os.fsencode(folder.absolute()))
    newest = time.time() - SETTLED
    for name in names:
        try:
            stat = (folder / name).stat()
        except OSError:
            return ""
        if max(stat.st_mtime, stat.st_ctime) > newest:
            return ""
        values = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        total.update(os.fsencode(name) + b"\0" + repr(values).encode())
    return total.hexdigest()


def _digest(path: Path) -> bytes:
    if not path.is_file():  # a pipe or a device might never end
        return b"unreadable"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b"unreadable"


def _remember(path: Path, digest: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{uuid4().hex}.tmp")
    try:
        temporary.write_text(digest, encoding="ascii")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
