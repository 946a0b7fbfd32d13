"""The source `manifest`: the images that a table lists."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from i2i.data import Images, Split
from i2i.data.folders import ImageFiles
from i2i.data.paths import find_file
from i2i.errors import I2IError, Problem
from i2i.options import LocalPath
from i2i_plugins.manifest.checks import Group, classes, empty, gaps, leaked, missing, repeated, unknown
from i2i_plugins.manifest.columns import PAIRED_PARTS, PAIRS, SINGLE, SINGLE_PARTS, choose
from i2i_plugins.manifest.table import Table, read_table

SETS = ("train", "test", "val")


class Manifest:
    """A CSV or Parquet file that lists images, or pairs of them, with their sets, masks and labels.

    Columns of pairs: `a`, `b`, and perhaps `split`, `mask_a`, `mask_b`, `label_a`, `label_b`. Columns of single images:
    `path`, `domain`, and perhaps `split`, `mask`, `label`. Others are not looked at. Paths are relative to the file.

    Args:
        path: that file.
        columns: what these columns are called, where they have other names: `{ a = "photo", b = "map" }`.
        domains: what the column `domain` says for a and for b.
        held_out: the set that is held out; left out, `test`, or `val` where there is no `test`.
    """

    def __init__(
        self,
        *,
        path: LocalPath = "",
        columns: dict[str, str] | None = None,
        domains: tuple[str, str] = ("a", "b"),
        held_out: Literal["test", "val"] | None = None,
    ) -> None:
        file = find_file(path, "data.source.path")
        listing = Listing(read_table(file, partial(choose, file, columns or {})), domains)
        there = [name for name in SETS[1:] if name in listing.sets]
        if held_out and held_out not in there:
            raise I2IError(Problem("data.source.held_out", f"{file.name} lists no image for {held_out!r}"))
        if len(there) == 2 and not held_out:
            message = f"{file.name}: images for test are held out, those for val not used; `held_out` can change it"
            warnings.warn(message, stacklevel=2)
        self._train = listing.split("train")
        self._test = listing.split(held_out or there[0]) if there else None

    def train(self) -> Split:
        return self._train

    def test(self) -> Split | None:
        return self._test


class Listing:
    """The rows of a table by domain and set. Raises I2IError with what is wrong with them.

    Args:
        table: with the columns of `i2i_plugins.manifest.columns`.
        domains: what its column `domain` says.

    Attributes:
        sets: those that have images, `train` among them.
    """

    def __init__(self, table: Table, domains: tuple[str, str] = ("a", "b")) -> None:
        self.table, self.paired = table, "a" in table.columns
        cells, n = table.columns, len(table.numbers)
        layout, parts = (PAIRS, PAIRED_PARTS) if self.paired else (SINGLE, SINGLE_PARTS)
        problems = [problem for column in layout[:3] for problem in empty(table, column)]
        _raise([*problems, *unknown(table, "split", SETS), *unknown(table, "domain", domains)])

        sets = cells.get("split", ["train"] * n)
        self.sets = [name for name in SETS if name == "train" or name in sets]
        rows = [range(n)] * 2 if self.paired else [[r for r in range(n) if cells["domain"][r] == d] for d in domains]
        self._groups = {
            (name, part.domain): Group(part, name, [row for row in own if sets[row] == name])
            for name in self.sets
            for part, own in zip(parts, rows, strict=True)
        }
        groups = list(self._groups.values())
        listed = {column for part in parts for column in (part.path, part.mask) if column in cells}
        self._files = {column: located(table.file.parent, cells[column]) for column in sorted(listed)}
        problems = [problem for column in self._files for problem in missing(table, column, self._files)]
        for group in groups:
            if not group.rows:
                problems.append(table.problem(f"lists no image of {group.part.domain} for {group.name}"))
            problems += [*gaps(table, group, group.part.mask), *gaps(table, group, group.part.label)]
        _raise(problems)

        keys = zip(sets, *(self._files.get(column, cells[column]) for column in layout[:2]), strict=True)
        problems = [*repeated(table, keys), *leaked(table, groups, self._files)]
        self._classes = classes(table, groups, problems)
        _raise(problems)

    def split(self, name: str) -> Split:
        """The images of one set, with their masks and labels."""
        a, b = (self._groups[name, domain] for domain in "ab")
        images = [self._gathered(group, group.part.path) for group in (a, b)]
        return Split(images[0], images[1], self.paired, {**self._extras(a), **self._extras(b)})

    def _extras(self, group: Group) -> dict[str, Sequence[int] | Images]:
        part, cells, first = group.part, self.table.columns, group.rows[0]
        found: dict[str, Sequence[int] | Images] = {}
        if part.mask in cells and cells[part.mask][first]:
            found[f"mask_{part.domain}"] = self._gathered(group, part.mask)
        if part.label in cells and cells[part.label][first]:
            found[f"label_{part.domain}"] = [self._classes[cells[part.label][row]] for row in group.rows]
        return found

    def _gathered(self, group: Group, column: str) -> ImageFiles:
        """Files from anywhere, named from the innermost folder that holds all of them."""
        paths = [self._files[column][row] for row in group.rows]
        try:
            common = os.path.commonpath(paths)
        except ValueError as error:  # Windows
            raise I2IError(self.table.problem("lists images on several drives; bring them to one")) from error
        folder = Path(common).parent if common in paths else Path(common)  # of one file it is the file itself
        start = str(folder / "_")[:-1]
        return ImageFiles(folder, [path.removeprefix(start).replace(os.sep, "/") for path in paths])


def located(folder: Path, cells: Iterable[str]) -> list[str]:
    """The file of each cell, absolute; empty for those that are not there, and for empty cells.

    Found from the folder, in either form of accented letters, with / or Windows' backslash between folders.
    """
    start = str(folder.absolute())
    found = {cell: _located(start, cell) for cell in {*cells} - {""}}
    return [found.get(cell, "") for cell in cells]


def _located(folder: str, cell: str) -> str:
    for text in (cell, unicodedata.normalize("NFC", cell), unicodedata.normalize("NFD", cell)):
        for written in (text, text.replace("\\", "/")):
            path = os.path.normpath(os.path.join(folder, written))  # noqa: PTH118 (a list may be long, Path is slow)
            if os.path.isfile(path):  # noqa: PTH113
                return path
    return ""


def _raise(problems: Sequence[Problem]) -> None:
    if problems:
        raise I2IError(*problems)
