"""Files that are whole or absent: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends well, and is removed when it does not."""
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]  # its own may leave no room for a mark
    temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes plain JSON values, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes safetensors, whole or not at all, readable by whom the user's umask says. Raises OSError."""
    with replacing(path) as temporary:
        # Contiguous, since the format refuses channels_last; cloned, since it refuses tensors that share memory.
        whole = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        try:
            save_file(whole, temporary, metadata=dict(metadata) if metadata else None)  # {} breaks an empty file
        except SafetensorError as error:  # it wraps the system's error: "… (os error 28)"
            number = re.search(r"os error (\d+)", str(error))
            code = int(number[1]) if number else errno.EIO
            raise OSError(code, os.strerror(code) if number else str(error), str(path)) from error
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)


def sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names where the system can, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
