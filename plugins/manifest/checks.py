"""What may be wrong with the rows of a manifest: each kind of mistake is one message, which says where."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from i2i.data.matching import N_SHOWN, listed
from i2i.errors import Problem, suggest
from i2i_plugins.manifest.columns import Part
from i2i_plugins.manifest.table import Table, shorten

NUMBER = re.compile(r"(-?\d{1,9})(?:\.0+)?")
"""A label that is one; `3.0` is what some programs make of 3 where another cell of the column is empty."""

Files = Mapping[str, Sequence[str]]
"""For each column of paths the file of each row, absolute; empty for those that are not there."""


@dataclass(frozen=True)
class Group:
    """The rows of one domain and set."""

    part: Part
    name: str
    rows: Sequence[int]


def empty(table: Table, column: str) -> Iterator[Problem]:
    """Cells that must say something."""
    if rows := [row for row, cell in enumerate(table.columns.get(column, [])) if not cell]:
        yield table.problem(f"the column {table.names[column]!r} is empty in {table.at(rows)}")


def unknown(table: Table, column: str, known: Sequence[str]) -> Iterator[Problem]:
    """Values that the column cannot have."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, cell in enumerate(table.columns.get(column, [])):
        if cell and cell not in known:
            rows[cell].append(row)
    for cell in list(rows)[:N_SHOWN]:
        name = table.names[column]
        yield table.problem(
            f"the column {name!r} says {shorten(cell)!r} in {table.at(rows[cell])}{suggest(cell, known)}"
        )


def missing(table: Table, column: str, files: Files) -> Iterator[Problem]:
    """Files that are not there."""
    cells = table.columns[column]
    if rows := [row for row, cell in enumerate(cells) if cell and not files[column][row]]:
        n = sum(map(bool, cells))
        message = f"{len(rows)} of {n} files of the column {table.names[column]!r} are not there"
        yield table.problem(f"{message}, looked for from {str(table.file.parent)!r}: {table.each(rows, column)}")


def repeated(table: Table, keys: Iterable[Hashable]) -> Iterator[Problem]:
    """Rows that say the same.

    Args:
        keys: what each row says.
    """
    seen: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        seen[key].append(row)
    column = "a" if "a" in table.columns else "path"
    yield from _told(table, "listed more than once", {tuple(rows): column for rows in seen.values() if len(rows) > 1})


def leaked(table: Table, groups: Sequence[Group], files: Files) -> Iterator[Problem]:
    """Images that are trained on and held out."""
    seen: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for group in groups:
        for row in group.rows:
            seen[group.part.domain, files[group.part.path][row]].setdefault(group.name, row)
    path_of = {group.part.domain: group.part.path for group in groups}
    both: dict[tuple[int, ...], str] = {}  # a whole pair is told of once
    for (domain, _), rows in seen.items():
        if "train" in rows and len(rows) > 1:
            both.setdefault(tuple(rows.values()), path_of[domain])
    yield from _told(table, "in train and in another set", both)


def _told(table: Table, what: str, places: Mapping[tuple[int, ...], str]) -> Iterator[Problem]:
    """One message about rows that belong together, and the column that shows why."""
    if places:
        shown = (f"{shorten(table.columns[column][rows[0]])} ({table.at(rows)})" for rows, column in places.items())
        yield table.problem(f"{what}: {listed([*shown])}")


def classes(table: Table, groups: Sequence[Group], problems: list[Problem]) -> dict[str, int]:
    """The number of each label: itself, or the place of a name among the names in train. Adds what is wrong."""
    rows: dict[str, tuple[str, int]] = {}
    names: set[str] = set()
    for group in groups:
        for row in group.rows if group.part.label in table.columns else ():
            if cell := table.columns[group.part.label][row]:
                rows.setdefault(cell, (table.names[group.part.label], row))
                names |= {cell} if group.name == "train" else set()
    found = {cell: int(match[1]) for cell in rows if (match := NUMBER.fullmatch(cell))}
    places = {
        cell: f"{shorten(cell)!r} in {table.at([row])} of the column {column!r}" for cell, (column, row) in rows.items()
    }
    if found and (words := rows.keys() - found.keys()):
        number, word = min(found), min(words)
        message = f"not {places[number]} and {places[word]}"
        problems.append(table.problem(f"labels are all whole numbers, of at most 9 digits, or all names, {message}"))
    elif found and (least := min(found, key=found.__getitem__)) and found[least] < 0:
        problems.append(table.problem(f"labels count from 0, not {places[least]}"))
    elif not found:
        for strange in sorted(rows.keys() - names)[:N_SHOWN]:
            problems.append(
                table.problem(f"no image in train has the label {places[strange]}{suggest(strange, names)}")
            )
    return found or {name: number for number, name in enumerate(sorted(names))}


def gaps(table: Table, group: Group, column: str) -> Iterator[Problem]:
    """Masks or labels that some images of a group have and others not."""
    cells = table.columns.get(column, [])
    lacking = [row for row in group.rows if cells and not cells[row]]
    if lacking and len(lacking) < len(group.rows):
        of = f"{group.part.domain} in {group.name}"
        message = f"the column {table.names[column]!r} is empty in {table.at(lacking)}, but not for the rest of {of}"
        yield table.problem(message)
