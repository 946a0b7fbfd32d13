"""What became of the files of a command, in numbers and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from i2i.errors import Problem
from i2i.images.formats import FORMATS, Format
from i2i.translate import Translator
from i2i.translating.pictures import Taken
from i2i.watch.wording import number

_TILED = {
    "exact": "exactly",
    "thumbnail": "by the statistics of a reduced copy",
    "independent": "each tile by its own statistics",
}


@dataclass
class Summary:
    """Counts of files.

    Args:
        n_files: all of them.
        written: translated.
        present: left as they are, since there are files called as their translations would be.
        problems: what is wrong with each of the others.
        clipped: values outside the range of the domain, by the files they are in.
        tiled: how many went through the network in tiles, by where these took their statistics from.
        types: how many have another type of pixels than their input, by (type, other type).
        formats: how many have another format, in the same way.
        seconds: from the first to the last.
    """

    n_files: int
    written: int = 0
    present: int = 0
    problems: list[Problem] = field(default_factory=list)
    clipped: dict[str, int] = field(default_factory=dict)
    tiled: Counter[str] = field(default_factory=Counter)
    types: Counter[tuple[str, str]] = field(default_factory=Counter)
    formats: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0

    def count(self, name: str, taken: Taken, format: Format) -> None:
        """Counts a file that was written."""
        self.written += 1
        if taken.clipped:
            self.clipped[name] = taken.clipped
        picture, dtype = taken.picture, taken.plan.dtype
        if picture.pixels.dtype != dtype:
            self.types[picture.pixels.dtype.name, dtype.name] += 1
        if picture.stored.format != format.name:
            self.formats[picture.stored.format, format.name] += 1

    def pace(self) -> str:
        return f"{number(self.written / self.seconds)} images/s" if self.written and self.seconds else ""

    def notes(self, translator: Translator) -> Iterator[str]:
        """What is not as one would expect, a line for each."""
        taken, given = (intake.range for intake in translator.intakes)
        if n := len(self.problems):
            yield f"{n:,} could not be translated; the errors say why"
        if n := self.present:
            yield f"{n:,} left as they are: they were there already; --overwrite replaces them"
        for tiles, n in self.tiled.items():
            whole = "it would" if n == 1 else "they would"
            yield f"{n:,} in tiles, {_TILED[tiles]}: whole {whole} take too much memory"
        for (before, after), n in self.formats.items():
            yield f"{n:,} written as {FORMATS[after].title}: they were {FORMATS[before].title}"
        for (before, after), n in self.types.items():
            assert given is not None
            limits = f"{given.low:g} to {given.high:g}, the range of {translator.names[1]!r}"
            yield f"{n:,} written as {after}: {before} does not hold {limits}"
        if self.clipped:
            assert taken is not None
            most = max(self.clipped, key=self.clipped.__getitem__)
            values = f"{sum(self.clipped.values()):,} values outside {taken.low:g} to {taken.high:g}"
            yield f"{len(self.clipped):,} had {values}, which were clipped; most in {most} ({self.clipped[most]:,})"
