"""Files of two folders that belong together by their names, whatever their suffix."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from i2i.errors import Problem

N_SHOWN = 10


@dataclass(frozen=True)
class Named:
    """Files of a folder, by what is compared of their names.

    Args:
        folder: where they lie.
        names: for each key, the files that have it: one, unless they differ in their suffix alone.
    """

    folder: Path
    names: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, folder: Path, names: Iterable[str], pattern: str = "*") -> Named:
        """Files whose name, without folder and suffix, is like the pattern; what * stands for is compared.

        In the composed form of Unicode: a file from macOS matches the same name from elsewhere.
        """
        before, _, after = _composed(pattern).partition("*")
        found: dict[str, list[str]] = defaultdict(list)
        for name in names:
            folder_of, stem = _parts(name)
            if len(stem) >= len(before) + len(after) and stem.startswith(before) and stem.endswith(after):
                found[f"{folder_of}/{stem[len(before) : len(stem) - len(after)]}"].append(name)
        return cls(folder, found)

    def alone(self, others: Named, what: str = "partner") -> Iterator[Problem]:
        """The files that have no partner among the others, as one message."""
        if alone := [name for key, names in self.names.items() if key not in others.names for name in names]:
            n = sum(map(len, self.names.values()))
            message = f"have no {what} in {str(others.folder)!r}: {listed(sorted(alone))}"
            yield Problem(str(self.folder), f"{len(alone)} of {n} files {message}")

    def twice(self) -> Iterator[Problem]:
        """The files that have a name together, as one message."""
        if twice := [" and ".join(sorted(names)) for names in self.names.values() if len(names) > 1]:
            yield Problem(str(self.folder), f"have the same name but for the suffix: {listed(sorted(twice))}")


def usual_patterns(a: Named, b: Named) -> tuple[int, tuple[str, str]] | None:
    """Patterns of names under which the most files are pairs, the shortest if several are equal; and how many.

    None if no beginning or end of the names, up to three words long, makes more of them pairs.
    """
    names_a, names_b = ([name for names in named.names.values() for name in names] for named in (a, b))
    keys_a, keys_b = (
        {pattern: Named.of(Path(), names, pattern).names.keys() for pattern in _usual(names)}
        for names in (names_a, names_b)
    )
    counted = {(p, q): len(keys_a[p] & keys_b[q]) for p in keys_a for q in keys_b}
    best = max(counted, key=lambda both: (counted[both], -len("".join(both))))
    return (counted[best], best) if counted[best] > len(a.names.keys() & b.names.keys()) else None


def listed(names: Sequence[str]) -> str:
    """The first ten, and how many more there are."""
    return ", ".join(names[:N_SHOWN]) + (f" and {len(names) - N_SHOWN} more" if len(names) > N_SHOWN else "")


def _usual(names: Sequence[str]) -> list[str]:
    """Patterns with the most usual one, two or three words that the names begin or end with."""
    found = ["*"]
    stems = [_parts(name)[1] for name in names]
    for n in (1, 2, 3):
        words = rf"(?:[^_\-. ]+[_\-. ]){{{n}}}", rf"(?:[_\-. ][^_\-. ]+){{{n}}}$"
        for words_of, place in ((re.compile(words[0]).match, "{}*"), (re.compile(words[1]).search, "*{}")):
            counted = Counter(match[0] for stem in stems if (match := words_of(stem)))
            found += [place.format(most) for most, _ in counted.most_common(1)]
    return found


def _parts(name: str) -> tuple[str, str]:
    """The folder of a file, and its name without the suffix."""
    folder, _, file = _composed(name).rpartition("/")
    return folder, posixpath.splitext(file)[0]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
