"""Sets made of folders of images: what is made of each file, in which half of the split, and where it is written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from i2i.data.folders import ImageFiles
from i2i.data.matching import Named
from i2i.device import memory_is_full
from i2i.errors import I2IError, Problem
from i2i.files import replacing, write_json
from i2i.images import Picture, write
from i2i.images.formats import FORMATS
from i2i.images.writing import target_format

Half = Literal["train", "test"]
Pieces = Iterator[tuple[str, Picture]]
"""Pictures made of one file, each with what its name ends in."""
Made = Mapping[str, Picture | Pieces | Path]
"""By folder, what is written there: a picture, several, or the very bytes of a file."""

RECORD = "prepared.json"


@dataclass(frozen=True)
class Maker:
    """What is made of each file.

    Args:
        name: of the command.
        make: from a file, and a generator for whatever is random about it, to what is written.
        folders: below `train` and `test`; for each, what the name of the first file made of one ends in, or None for
            a copy, which keeps its name.
        options: all that the result depends on.
        source: the one that reads the set, if it is more than one domain.
        domains: what both are called.
    """

    name: str
    make: Callable[[Path, np.random.Generator], Made]
    folders: Mapping[str, str | None]
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Literal["pairs", "side_by_side", "one domain"] = "pairs"
    domains: tuple[str, str] | None = None


@dataclass(frozen=True)
class Halves:
    """Which files are held out.

    That depends on a file's name without its suffix and on nothing else: files that are added later move none from one
    half to the other, and two folders with the same names are split alike. Raises I2IError for a broken `group`.

    Args:
        test_share: of the files, about.
        seed: another one holds out others.
        group: a regular expression; files in whose names it finds the same text stay together.
    """

    test_share: float = 0.1
    seed: int = 0
    group: str = ""

    def __post_init__(self) -> None:
        try:
            re.compile(self.group)
        except re.error as error:
            raise I2IError(Problem("--group", f"{self.group!r} is no regular expression: {error}")) from None

    def of(self, stem: str) -> Half:
        """The half of the file with this name, without its suffix."""
        found = re.search(self.group, stem) if self.group else None
        return "test" if self.number(found[0] if found else stem) < self.test_share * 2**64 else "train"

    def number(self, name: str) -> int:
        """64 bits that look random."""
        name = unicodedata.normalize("NFC", name)  # as macOS spells it, and as others do
        text = f"{self.seed} {name}".encode("utf-8", "surrogateescape")
        return int.from_bytes(hashlib.sha256(text).digest()[:8])


@dataclass
class Outcome:
    """How many files went into each half, how many of them had been made before, and what is wrong with the others."""

    halves: Counter[Half] = field(default_factory=Counter)
    n_kept: int = 0
    problems: list[Problem] = field(default_factory=list)


def prepare(
    files: ImageFiles,
    out: Path,
    maker: Maker,
    halves: Halves,
    outcome: Outcome,
    *,
    overwrite: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Makes a set in a folder; goes on after a file that cannot be used, and after a call that was interrupted.

    However it ends, files are whole, and `outcome` tells of those that were done by then. Raises I2IError if the folder
    is not the place for it or if two files would meet in one, OSError where nothing more can be written.
    """
    twice = [*Named.of(files.folder, files.names).twice()]
    if twice and any(end is not None for end in maker.folders.values()):
        raise I2IError(*twice)
    _claim(out, files.folder, maker, halves)

    def one(name: str) -> tuple[Half, bool]:
        stem = str(PurePosixPath(name).with_suffix(""))
        half = halves.of(stem)
        places = {folder: out / half / folder / stem for folder in maker.folders}
        if not overwrite and all(_is_made(places[f], end, name) for f, end in maker.folders.items()):
            return half, True
        made = maker.make(files.folder / name, np.random.default_rng(halves.number(stem)))
        for folder, what in made.items():
            try:
                _write(what, places[folder])
            except OSError as error:  # of which the temporary name means nothing to anyone
                raise OSError(error.errno, error.strerror or str(error), str(places[folder])) from error
        return half, False

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        jobs = {pool.submit(one, name): name for name in files.names}
        try:
            for job in as_completed(jobs):
                try:
                    half, kept = job.result()
                    outcome.halves[half] += 1
                    outcome.n_kept += kept
                except (I2IError, ValueError, MemoryError, RuntimeError) as error:
                    outcome.problems += _problems(error, files.folder / jobs[job])
                advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what has begun ends well
            raise


def shown(path: Path) -> str:
    """A path as text that can be written, whatever bytes its name has."""
    return os.fsencode(path).decode(errors="replace")


def _claim(out: Path, folder: Path, maker: Maker, halves: Halves) -> None:
    """Takes a folder that is new or empty, or that was begun in the same way. Raises I2IError for any other."""
    inputs = folder.resolve()
    if out.resolve().is_relative_to(inputs):
        raise I2IError(
            Problem(str(out), f"lies in {str(folder)!r}, which stays as it is; choose another folder with -o")
        )
    settings = {"made": maker.name, "from": shown(inputs)} | asdict(halves) | dict(maker.options)
    record = json.loads(json.dumps(settings))  # as it is read again
    out.mkdir(parents=True, exist_ok=True)
    try:
        before = dict(json.loads((out / RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        if any(not entry.name.startswith(".") for entry in out.iterdir()):
            message = "is not empty, and was not made by `i2i data prepare`; choose a new folder with -o"
            raise I2IError(Problem(str(out), message)) from None
        return write_json(out / RECORD, record)
    except (TypeError, ValueError) as error:
        raise I2IError(Problem(str(out / RECORD), f"is damaged: {error}")) from None
    others = [
        f"{key} = {before.get(key)!r}, not {value!r}" for key, value in record.items() if before.get(key) != value
    ]
    if others:
        raise I2IError(Problem(str(out), f"was made with {'; '.join(others)}; choose another folder with -o"))


def _is_made(place: Path, end: str | None, name: str) -> bool:
    suffixes = [PurePosixPath(name).suffix] if end is None else [format.suffixes[0] for format in FORMATS.values()]
    return any(Path(f"{place}{end or ''}{suffix}").exists() for suffix in suffixes)


def _write(what: Picture | Pieces | Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(what, Path):
        with replacing(Path(f"{place}{what.suffix}")) as temporary:
            shutil.copyfile(what, temporary)
        return
    with ExitStack() as stack:  # names are given when all are written, to the first piece last: where it is, all are
        for end, piece in [("", what)] if isinstance(what, Picture) else what:
            stack.enter_context(_saving(piece, f"{place}{end}"))


@contextmanager
def _saving(picture: Picture, place: str) -> Iterator[None]:
    n_channels = picture.pixels.shape[2] + (picture.alpha is not None)
    format = target_format(picture.stored, picture.pixels.dtype, n_channels)
    with replacing(Path(place + format.suffixes[0])) as temporary:
        write(picture, temporary, format.name)
        del picture  # the other pages of a large file are still to come
        yield


def _problems(error: Exception, file: Path) -> Iterable[Problem]:
    if isinstance(error, I2IError):
        return error.problems
    if isinstance(error, ValueError):
        return [Problem(str(file), str(error))]
    if not memory_is_full(error):
        raise error
    return [Problem(str(file), "is too large for the memory of this machine; make it smaller")]
