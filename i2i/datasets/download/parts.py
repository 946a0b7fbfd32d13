"""A file that is to be downloaded, what there is of it so far, and whether it is the right one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from rich.filesize import decimal

from i2i.errors import I2IError, Problem


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file with a known checksum, wherever it comes from.

    Args:
        name: what it is called on disk.
        urls: where it is, the preferred place first.
        size: bytes; more are never read.
        algorithm, digest: `sha256` or `md5`, and its value in hexadecimal.
        exact: `size` is its very size; else it has at most as many bytes.
    """

    name: str
    urls: tuple[str, ...]
    size: int
    algorithm: str
    digest: str
    exact: bool = True


@dataclass
class Part:
    """An unfinished file, `NAME.part`, and beside it `NAME.part.json`: where it came from and what it should become.

    Any mirror may go on with the part of another: the checksum has the last word.
    """

    file: RemoteFile
    path: Path
    url: str = field(default="", init=False)
    validator: str = field(default="", init=False)

    @classmethod
    def of(cls, file: RemoteFile, folder: Path) -> Part:
        """What an earlier download of this very file left in the folder. A part of anything else is removed."""
        part = cls(file, folder / f"{file.name}.part")
        with suppress(OSError, ValueError, AttributeError):  # not written to the end, or not by us
            note = json.loads(part.note.read_text(encoding="utf-8"))
            if note.get("digest") == file.digest and part.size <= file.size:
                part.url, part.validator = str(note.get("url", "")), str(note.get("validator", ""))
        if not part.url:
            part.discard()
        return part

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def complete(self) -> bool:
        return self.file.exact and self.size == self.file.size

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.url = self.validator = ""

    def begin(self, url: str, validator: str) -> None:
        """Notes whose bytes come next, and what tells this server whether its file is still the same."""
        self.url, self.validator = url, validator
        note = {"url": url, "validator": validator, "size": self.file.size, "digest": self.file.digest}
        self.note.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")

    def finish(self, path: Path) -> None:
        self.path.replace(path)
        self.note.unlink(missing_ok=True)


def wrong_checksum(path: Path, file: RemoteFile) -> str:
    """What is wrong with these bytes, naming both checksums; empty if they are the file's."""
    names = {"sha256": "SHA-256", "md5": "MD5"}
    with path.open("rb") as stream:
        # Systems that forbid MD5 for security allow it for a comparison.
        found = hashlib.file_digest(stream, lambda: hashlib.new(file.algorithm, usedforsecurity=False)).hexdigest()
    return "" if found == file.digest else f"its {names[file.algorithm]} is {found}, not {file.digest}"


def set_aside(path: Path) -> Path:
    """Renames a file or folder to a free name beside it, and returns that."""
    names = (path.with_name(f"{path.name}.old{n or ''}") for n in count())
    return path.rename(next(name for name in names if not os.path.lexists(name)))


def check_space(folder: Path, wanted: int, what: str) -> None:
    """Raises I2IError if the folder's disk has fewer free bytes than wanted."""
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise I2IError(Problem(str(folder), f"{what} needs {decimal(wanted)} of disk space; {decimal(free)} are free"))
