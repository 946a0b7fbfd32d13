"""Sources of pairs, for methods that need the same scene in both domains: equal file names, or side by side."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from i2i import hookimpl
from i2i.data import Split
from i2i.data.folders import ImageFiles, find_all, subfolders, two_folders
from i2i.errors import I2IError, Problem
from i2i.images import Header, Picture, UnreadableImage
from i2i.options import LocalPath

N_SHOWN = 10


class Pairs:
    """Two folders in which files of the same name, whatever their suffix, are a pair.

    Args:
        a, b: folders to train on; the same folders and names below them.
        test_a, test_b: held-out pairs, or neither.
    """

    def __init__(self, *, a: LocalPath = "", b: LocalPath = "", test_a: LocalPath = "", test_b: LocalPath = "") -> None:
        self._train, self._test = two_folders(a, b, test_a, test_b, matched)

    def train(self) -> Split:
        return self._train

    def test(self) -> Split | None:
        return self._test


def matched(a: ImageFiles, b: ImageFiles) -> Split:
    """The pairs of two folders. Raises I2IError that names the files without exactly one partner."""
    stems_a, stems_b = _by_stem(a), _by_stem(b)
    problems: list[Problem] = []
    for stems, others, files, other in ((stems_a, stems_b, a, b), (stems_b, stems_a, b, a)):
        alone = [names[0] for stem, names in stems.items() if stem not in others]
        if alone:
            message = f"{len(alone)} of {len(files)} files have no partner in {str(other.folder)!r}: {_listed(alone)}"
            problems.append(Problem(str(files.folder), message))
        twice = [" and ".join(names) for names in stems.values() if len(names) > 1]
        if twice:
            problems.append(Problem(str(files.folder), f"have the same name but for the suffix: {_listed(twice)}"))
    if problems:
        raise I2IError(*problems)
    stems = sorted(stems_a)
    names_a, names_b = ([names[stem][0] for stem in stems] for names in (stems_a, stems_b))
    return Split(ImageFiles(a.folder, names_a), ImageFiles(b.folder, names_b), paired=True)


def _by_stem(files: ImageFiles) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = defaultdict(list)
    for name in files.names:
        stems[str(PurePosixPath(name).with_suffix(""))].append(name)
    return stems


def _listed(names: list[str]) -> str:
    return ", ".join(names[:N_SHOWN]) + (f" and {len(names) - N_SHOWN} more" if len(names) > N_SHOWN else "")


class SideBySide:
    """Both images of a pair side by side in one file: the left half is a, unless said otherwise.

    Args:
        path: a folder of such files; or one with `train` in it, and `test` or `val` for held-out pairs.
        test: a folder of held-out pairs, where it is elsewhere.
        left: the domain of the left half.
    """

    def __init__(self, *, path: LocalPath = "", test: LocalPath = "", left: Literal["a", "b"] = "a") -> None:
        inside = subfolders(path, "data.source.path")
        root = Path(path).expanduser()
        held_out: str | Path = test
        if "train" in inside:
            held_out = test or next((root / name for name in ("test", "val") if name in inside), "")
            root /= "train"
        wanted: list[tuple[str | Path, str]] = [(root, "data.source.path")]
        wanted += [(held_out, "data.source.test" if test else "data.source.path")] if held_out else []
        a, b = (0, 1) if left == "a" else (1, 0)
        self._splits = [Split(Half(files, a), Half(files, b), paired=True) for files in find_all(*wanted)]

    def train(self) -> Split:
        return self._splits[0]

    def test(self) -> Split | None:
        return self._splits[1] if len(self._splits) > 1 else None


class Half:
    """One half of each of these files: 0 for the left one, 1 for the right one."""

    def __init__(self, files: ImageFiles, half: int) -> None:
        self._files, self._half = files, half

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        return self._files.name(index)

    def read(self, index: int) -> Picture:
        whole = self._files.read(index)
        width = self._width(index, whole.size[0])
        half = slice(self._half * width, (self._half + 1) * width)
        return replace(
            whole, pixels=whole.pixels[:, half], alpha=whole.alpha[:, half] if whole.alpha is not None else None
        )

    def header(self, index: int) -> Header:
        whole = self._files.header(index)
        width, height = whole.size
        return replace(whole, size=(self._width(index, width), height))

    def digest(self) -> str:
        return hashlib.sha256(f"half {self._half} of {self._files.digest()}".encode()).hexdigest()

    def _width(self, index: int, whole: int) -> int:
        if whole % 2:
            path = self._files.folder / self._files.name(index)
            raise UnreadableImage(Problem(str(path), f"is {whole} px wide, which cannot be halved"))
        return whole // 2


@hookimpl
def register_sources() -> dict[str, Callable[..., Any]]:
    return {"pairs": Pairs, "side_by_side": SideBySide}
