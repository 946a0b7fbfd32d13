"""Sources of pairs, for methods that need the same scene in both domains: equal file names, or side by side."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from i2i import hookimpl
from i2i.data import Split
from i2i.data.folders import ImageFiles, find_all, two_folders
from i2i.data.matching import Named, usual_patterns
from i2i.data.paths import subfolders
from i2i.errors import I2IError, Problem
from i2i.images import Header, Picture, UnreadableImage
from i2i.options import LocalPath


def one_star(pattern: str) -> str:
    """The pattern. Raises ValueError if it has not one * and no /."""
    if pattern.count("*") != 1 or "/" in pattern:
        raise ValueError(f"a pattern has one * and no folder, not {pattern!r}")
    return pattern


Pattern = Annotated[str, AfterValidator(one_star)]


class Pairs:
    """Two folders in which files of the same name, whatever their suffix, are a pair.

    Args:
        a, b: folders to train on; the same folders and names below them.
        test_a, test_b: held-out pairs, or neither.
        mask_a, mask_b, test_mask_a, test_mask_b: folders of masks, each called as its image is; any suffix.
        pattern_a, pattern_b: what files of a and of b are called, without folder and suffix: `*_photo`. A pair has the
            same in place of *, and other files are not looked at.
    """

    def __init__(
        self,
        *,
        a: LocalPath = "",
        b: LocalPath = "",
        test_a: LocalPath = "",
        test_b: LocalPath = "",
        mask_a: LocalPath = "",
        mask_b: LocalPath = "",
        test_mask_a: LocalPath = "",
        test_mask_b: LocalPath = "",
        pattern_a: Pattern = "*",
        pattern_b: Pattern = "*",
    ) -> None:
        masks = {"mask_a": mask_a, "mask_b": mask_b, "test_mask_a": test_mask_a, "test_mask_b": test_mask_b}
        match = partial(matched, patterns=(pattern_a, pattern_b))
        self._train, self._test = two_folders(a, b, test_a, test_b, match, masks)

    def train(self) -> Split:
        return self._train

    def test(self) -> Split | None:
        return self._test


def matched(a: ImageFiles, b: ImageFiles, patterns: tuple[str, str]) -> Split:
    """The pairs of two folders. Raises I2IError that names the files without exactly one partner."""
    named_a, named_b = (Named.of(f.folder, f.names, p) for f, p in zip((a, b), patterns, strict=True))
    problems = [
        Problem(f"data.source.pattern_{domain}", f"no name in {str(f.folder)!r} is like {p!r}, such as {f.names[0]}")
        for domain, f, p, named in zip("ab", (a, b), patterns, (named_a, named_b), strict=True)
        if not named.names
    ]
    if not problems:
        problems += [*named_a.alone(named_b), *named_a.twice(), *named_b.alone(named_a), *named_b.twice()]
    if problems:
        raise I2IError(*problems, *_advice(named_a, named_b))
    keys = sorted(named_a.names)
    names_a, names_b = ([named.names[key][0] for key in keys] for named in (named_a, named_b))
    return Split(ImageFiles(a.folder, names_a), ImageFiles(b.folder, names_b), paired=True)


def _advice(a: Named, b: Named) -> Iterator[Problem]:
    """How the names would match, or where pairs of any names are listed."""
    if found := usual_patterns(a, b):
        n, (one, other) = found
        wanted = f"pattern_a = {json.dumps(one)}, pattern_b = {json.dumps(other)}"
        yield Problem("data.source", f"with {wanted} there would be {n} pairs")
    elif not a.names.keys() & b.names.keys():
        yield Problem("data.source", "the source `manifest` reads pairs of any names, from a table that lists them")


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

    def path(self, index: int) -> Path:
        return self._files.path(index)

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
            raise UnreadableImage(Problem(str(self.path(index)), f"is {whole} px wide, which cannot be halved"))
        return whole // 2


@hookimpl
def register_sources() -> dict[str, Callable[..., Any]]:
    return {"pairs": Pairs, "side_by_side": SideBySide}
