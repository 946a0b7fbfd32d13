"""Which columns of a table a manifest has, by their own names or by those that a recipe says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from i2i.errors import I2IError, Problem, suggest

PAIRS = ("a", "b", "split", "mask_a", "mask_b", "label_a", "label_b")
SINGLE = ("path", "domain", "split", "mask", "label")


@dataclass(frozen=True)
class Part:
    """The columns of one domain."""

    domain: str
    path: str
    mask: str
    label: str


PAIRED_PARTS = (Part("a", "a", "mask_a", "label_a"), Part("b", "b", "mask_b", "label_b"))
SINGLE_PARTS = (Part("a", "path", "mask", "label"), Part("b", "path", "mask", "label"))


def choose(file: Path, renamed: Mapping[str, str], there: Sequence[str]) -> dict[str, str]:
    """The columns to read, each with its name in the file.

    Args:
        file: for messages.
        renamed: names that a recipe says.
        there: names of all columns in the file.

    Raises I2IError for columns that are needed or said and not there, and for those that are nearly called right.
    """
    problems = list(_misnamed(renamed, there))
    called = {column: renamed.get(column, column) for column in dict.fromkeys(PAIRS + SINGLE)}
    present = {column: name for column, name in called.items() if name in there}
    layouts = [layout for layout in (PAIRS, SINGLE) if all(column in present for column in layout[:2])]
    if problems:
        raise I2IError(*problems)
    if len(layouts) != 1:
        raise I2IError(Problem(str(file), _ambiguous(called, there) if layouts else _lacking(called, present, there)))
    (layout,) = layouts
    chosen = {column: present[column] for column in layout if column in present}
    for column in layout:
        near = [name for name in there if name not in chosen.values() and _plain(name) == column]
        if column not in chosen and near:
            message = f"the column {near[0]!r} is not read: it is called {column!r}, or by columns = {{ {column} = … }}"
            problems.append(Problem(str(file), message))
    if problems:
        raise I2IError(*problems)
    return chosen


def _misnamed(renamed: Mapping[str, str], there: Sequence[str]) -> Iterator[Problem]:
    for column, name in renamed.items():
        where = f"data.source.columns.{column}"
        if column not in PAIRS + SINGLE:
            yield Problem(where, f"there is no such column of a manifest{suggest(column, {*PAIRS, *SINGLE})}")
        elif name not in there:
            yield Problem(where, f"the file has no column {name!r}{suggest(name, there)}")


def _lacking(called: Mapping[str, str], present: Mapping[str, str], there: Sequence[str]) -> str:
    has = f"it has: {', '.join(there[:24])}" + (", …" if len(there) > 24 else "")
    for layout in (PAIRS, SINGLE):
        found, lacks = ([c for c in layout[:2] if (c in present) is wanted] for wanted in (True, False))
        if found:
            return f"has a column {called[found[0]]!r}, but none called {called[lacks[0]]!r}; {has}"
    return f"has no columns 'a' and 'b', for pairs, nor 'path' and 'domain'; {has}; `columns` says which they are"


def _ambiguous(called: Mapping[str, str], there: Sequence[str]) -> str:
    pair, single = (" and ".join(repr(called[column]) for column in layout[:2]) for layout in (PAIRS, SINGLE))
    return f"has {pair}, as a list of pairs, and {single}, as one of single images; it can be one of them"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]+", "_", name.lower()).strip("_")
