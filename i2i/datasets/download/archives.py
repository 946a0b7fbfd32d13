"""Archives from strangers: a zip or tar file is taken apart into an empty folder, or refused for its first bad entry.

Nothing in an archive is trusted: not its names, not its sizes, not its kinds of entries, not its permission bits.
"""

from __future__ import annotations

import gzip
import re
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from i2i.datasets.download.damage import damage_told
from i2i.errors import I2IError, Problem

MEBIBYTE = 2**20
BLOCK = 64 * 1024
NEGLIGIBLE = 16 * MEBIBYTE  # what unpacks to less may be packed as tightly as it likes: tar pads with zeros
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)", re.I)  # devices, not files, on Windows
# Not possible in a name on Windows, or a separator there; what could move a terminal's cursor; what is no Unicode.
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\\ud800-\udfff]')
Wanted = Callable[[PurePosixPath], PurePosixPath | None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold: entries, bytes in all of them, bytes in one, and bytes for each packed byte."""

    n_entries: int = 500_000
    total: int = 32 * 2**30
    single: int = 256 * MEBIBYTE
    ratio: int = 100


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Extracted:
    """How many files were written, and how many ordinary files were not asked for."""

    n_written: int
    n_left_out: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an archive, before anything of it is believed. `trouble` says why its kind is not taken."""

    name: str
    size: int
    is_folder: bool
    trouble: str
    open: Callable[[], IO[bytes]]


def extract(archive: Path, folder: Path, wanted: Wanted = lambda path: path, limits: Limits = LIMITS) -> Extracted:
    """Writes the files of a zip or (gzipped) tar archive into an empty folder.

    `wanted` gives the place in `folder` of a path in the archive, or None to leave the file out. Links, devices,
    encrypted entries, absolute paths, `..`, names that some system cannot hold, two entries of one name (case and
    accents do not tell names apart everywhere), and whatever is beyond the limits are errors, asked for or not.

    Raises I2IError; what was written until then stays, so that `folder` should be a temporary one.
    """
    seen: set[str] = set()
    n_written = n_left_out = total = 0
    with damage_told(archive), _entries(archive, limits) as entries:
        for n, entry in enumerate(entries, 1):
            if n > limits.n_entries:
                raise _refused(archive, f"holds more than {limits.n_entries:,} entries")
            path = _checked(archive, entry)
            if entry.is_folder:
                continue
            total += entry.size
            if not 0 <= entry.size <= limits.single:
                raise _refused(archive, f"has {entry.size:,} bytes; at most {limits.single:,} are taken", entry.name)
            if total > limits.total:
                raise _refused(archive, f"unpacks to more than {limits.total:,} bytes")
            key = unicodedata.normalize("NFC", str(path)).casefold()
            if key in seen:
                raise _refused(archive, "is in it twice, or twice but for upper and lower case", entry.name)
            seen.add(key)
            place = wanted(path)
            if place is None:
                n_left_out += 1
            else:
                _write(entry, folder / place, archive)
                n_written += 1
    return Extracted(n_written, n_left_out)


def _checked(archive: Path, entry: Entry) -> PurePosixPath:
    """The entry's path. Raises I2IError for a kind or a name that is not taken."""
    if entry.trouble:
        raise _refused(archive, entry.trouble, entry.name)
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts:
        raise _refused(archive, "leads out of the folder", entry.name)
    if len(entry.name) > 1024:
        raise _refused(archive, "is longer than 1,024 letters", entry.name)
    for part in path.parts:
        if FORBIDDEN.search(part) or RESERVED.match(part) or part[-1] in ". " or len(part.encode()) > 255:
            raise _refused(archive, "is no name that every system can hold", entry.name)
    if not path.parts and not entry.is_folder:
        raise _refused(archive, "holds a file without a name")
    return path


def _write(entry: Entry, path: Path, archive: Path) -> None:
    """Copies the bytes alone: neither permission bits nor times nor owners. Raises I2IError for another length."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except (FileExistsError, NotADirectoryError) as error:
        raise _refused(archive, "stands where another entry is", entry.name) from error
    left = entry.size
    with file, entry.open() as content:
        while block := content.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                break
            file.write(block)
    if left:
        raise _refused(archive, f"does not have the {entry.size:,} bytes that it claims", entry.name)


@contextmanager
def _entries(archive: Path, limits: Limits) -> Iterator[Iterator[Entry]]:
    if zipfile.is_zipfile(archive):
        with archive.open("rb") as raw:
            bounded = _Bounded(raw, archive, limits, at_once=max(2 * BLOCK, 128 * limits.n_entries))
            with zipfile.ZipFile(bounded) as packed:
                yield (_of_zip(packed, info, archive, limits) for info in packed.infolist())
    else:
        with archive.open("rb") as raw, _unpacked(raw) as stream:
            bounded = _Bounded(stream, archive, limits, at_once=2 * BLOCK)
            with tarfile.open(fileobj=bounded, mode="r:") as tar:  # type: ignore[call-overload]
                yield _of_whole_tar(tar, bounded, archive)


def _of_zip(packed: zipfile.ZipFile, info: zipfile.ZipInfo, archive: Path, limits: Limits) -> Entry:
    if info.file_size > max(NEGLIGIBLE, limits.ratio * info.compress_size):
        raise _refused(archive, f"unpacks to more than {limits.ratio} times its size: a bomb", info.orig_filename)
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was made on Windows
    trouble = ""
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        trouble = "is a link" if kind == stat.S_IFLNK else "is no ordinary file"
    elif info.flag_bits & 0x1:
        trouble = "is encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        trouble = f"is packed by method {info.compress_type}; only plain and deflated entries are taken"
    # The name before zipfile cut it at a zero byte and, on Windows, turned backslashes around.
    return Entry(info.orig_filename, info.file_size, info.is_dir(), trouble, lambda: packed.open(info))


def _of_whole_tar(tar: tarfile.TarFile, stream: _Bounded, archive: Path) -> Iterator[Entry]:
    while (info := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
        yield _of_tar(tar, info)
    if stream.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes a broken header for the end
        raise _refused(archive, "is cut off, or damaged in the middle")
    while stream.read(BLOCK):  # gzip compares its checksum at the very end
        pass


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Entry:
    trouble = ""
    if info.islnk() or info.issym():
        trouble = "is a link"
    elif not (info.isfile() or info.isdir()) or info.issparse():
        trouble = "is no ordinary file"

    def content() -> IO[bytes]:
        if data_filter := getattr(tarfile, "data_filter", None):  # a second belt; Python before 3.11.4 has none
            data_filter(info, "/somewhere")
        found = tar.extractfile(info)
        assert found is not None, "an ordinary file"
        return found

    return Entry(info.name, info.size, info.isdir(), trouble, content)


@contextmanager
def _unpacked(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    magic = raw.read(2)
    raw.seek(0)
    if magic == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=raw) as stream:
            yield stream  # type: ignore[misc]  # it reads, seeks and tells, which is all that is asked of it
    else:
        yield raw


class _Bounded:
    """What zipfile and tarfile read through. They read headers, and zipfile its list of entries, in one go, as long as
    the archive says: that length is bounded here, and so is how much a small archive may unpack to."""

    def __init__(self, stream: IO[bytes], archive: Path, limits: Limits, at_once: int) -> None:
        self._stream, self._archive, self._at_once, self.last = stream, archive, at_once, b""
        size = archive.stat().st_size
        self._most = max(NEGLIGIBLE, size, min(limits.ratio * size, limits.total + limits.n_entries * 1024))

    def read(self, n: int = -1) -> bytes:
        """At most n bytes; -1: all that there are, if they are few."""
        if not -1 <= n <= self._at_once:
            raise _refused(self._archive, "has an oversized header")
        self.last = self._stream.read(self._at_once if n == -1 else n)
        self._check(self._stream.tell())
        return self.last

    def seek(self, place: int, whence: int = 0) -> int:
        self._check(place)
        return self._stream.seek(place, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def _check(self, place: int) -> None:
        if place > self._most:
            raise _refused(self._archive, f"unpacks to more than {self._most:,} bytes: a bomb")


def _refused(archive: Path, message: str, entry: str = "") -> I2IError:
    shown = repr(entry)
    shown = shown if len(shown) <= 120 else f"{shown[:117]}..."
    return I2IError(Problem(str(archive), f"{shown} {message}" if entry else message))
