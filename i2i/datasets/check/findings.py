"""What would end or spoil a training on a set of images, in plain words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from i2i.data.opening import PAIRS_FROM
from i2i.data.pixels import held_as
from i2i.data.table import DataOptions
from i2i.datasets.check.looking import Part
from i2i.errors import Problem

N_SHOWN = 10
RARE = 10
"""A class is rare if another has more than so many times as many images."""
UNUSED = 0.25
"""A range of values of which less is used leaves images nearly one grey."""

Level = Literal["error", "warning", "note"]
Place = tuple[int, int]
"""An image: which part, and its index there."""


@dataclass(frozen=True)
class Example:
    """Images that a finding is about, and how they are called in it."""

    text: str
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing to know of a set.

    Args:
        level: `error`: training would refuse it; `warning`: it would spoil a training; `note`: good to know.
        message: what was found, with its number.
        advice: what to do.
        examples: the first ten.
        n_more: how many more examples there are.
    """

    level: Level
    message: str
    advice: str
    examples: tuple[Example, ...] = ()
    n_more: int = 0


@dataclass(frozen=True)
class ImageSet:
    """All parts of a set, looked at.

    Args:
        options: how a recipe prepares them; None: nobody has said yet.
        needs_pairs: the recipe's method learns from pairs.
        problems: why the source could not be opened as the recipe says.
        warnings: what the source has warned of.
    """

    parts: tuple[Part, ...]
    options: DataOptions | None = None
    needs_pairs: bool = False
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def refuses(self) -> Level:
        """What an image that training cannot use is."""
        return "warning" if self.options is not None and self.options.unreadable == "skip" else "error"

    def name(self, place: Place) -> str:
        part, index = place
        return self.parts[part].images.name(index)

    def about(self, level: Level, what: str, advice: str, part: int, indices: Iterable[int]) -> Iterator[Finding]:
        """A finding about images of a part, if there are any."""
        yield from self.told(level, what, advice, part, [Example(self.name((part, i)), ((part, i),)) for i in indices])

    def told(
        self, level: Level, what: str, advice: str, part: int, examples: Sequence[Example], n: int | None = None
    ) -> Iterator[Finding]:
        """A finding with these examples, if there are any; n: of how many images of the part, if not one in each."""
        if examples:
            n, n_more = len(examples) if n is None else n, max(0, len(examples) - N_SHOWN)
            message = f"{what}: {n:,} of {counted(len(self.parts[part].images))} of {self.parts[part].title}"
            yield Finding(level, message, advice, tuple(examples[:N_SHOWN]), n_more)


def counted(n: int, what: str = "image") -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def source_says(images: ImageSet) -> Iterator[Finding]:
    for problem in images.problems:
        yield Finding("error", str(problem), "")
    for text in images.warnings:
        yield Finding("warning", text, "")


def unreadable(images: ImageSet) -> Iterator[Finding]:
    advice = 'Mend them or take them out; or data.unreadable = "skip" leaves them out.'
    for number, part in enumerate(images.parts):
        misfits = {i: Problem(part.images.name(i), look.misfit) for i, look in part.looks.items() if look.misfit}
        usable = part.looks.keys() - part.unreadable.keys() - misfits.keys()
        level = images.refuses if usable else "error"
        for problems, what in ((part.unreadable, "cannot be read"), (misfits, "not as the recipe wants them")):
            told = sorted(problems.items())
            examples = [Example(f"{part.images.name(i)} {p.message}", ((number, i),)) for i, p in told]
            yield from images.told(level, what, advice, number, examples)


def mixed_types(images: ImageSet) -> Iterator[Finding]:
    """Images of another depth than the most of their domain."""
    for number, part in enumerate(images.parts):
        types = {index: held_as(look.dtype).name for index, look in part.looks.items()}
        usual = Counter(types.values()).most_common(1)[0][0] if types else ""
        others = [index for index, dtype in types.items() if dtype != usual]
        kinds = " or ".join(sorted({*types.values()} - {usual}))
        advice = "Bring all to one type: they are kept in one array, and one range of values holds for all."
        yield from images.about(images.refuses, f"{kinds}, the others {usual}", advice, number, others)


def ranges(images: ImageSet) -> Iterator[Finding]:
    """What the values of deep images come to, beside what the recipe makes -1 and 1 of."""
    both: list[Any] = list(images.options.both_ranges) if images.options else ["type", "type"]
    for part in (part for part in images.parts if part.split == "train"):
        place = "ab".index(part.domain)
        wanted = both[place]
        limits = part_range(part)
        if limits is None or wanted == "auto":
            continue
        least, low, high, largest = limits
        values = f"its values go from {least:g} to {largest:g}, 99.8 % of them from {low:g} to {high:g}"
        if not isinstance(wanted, str):
            if least < wanted[0] or largest > wanted[1]:
                yield Finding("warning", f"{part.title} is clipped to data.range = {list(wanted)}: {values}", "")
            continue
        dtype = next(look.picture.dtype for look in part.looks.values() if look.values is not None)
        if dtype.startswith("float"):
            level: Level = "error" if images.options else "note"
            what = f"{part.title} holds {dtype}, which says nothing of its range"
        elif high - low < UNUSED * (np.iinfo(dtype).max - np.iinfo(dtype).min):
            level, what = "note", f"{part.title} uses little of what {dtype} holds, and would be nearly one grey"
        else:
            continue
        both_then = [*both[:place], proposed(least, low, high, largest), *both[place + 1 :]]
        yield Finding(level, f"{what}: {values}", f'Set data.range = {json.dumps(both_then)}, or "auto".')


def part_range(part: Part) -> tuple[float, float, float, float] | None:
    """Of deep images: the least value, the 0.1 and 99.9 percentiles, and the largest one."""
    deep = [look for look in part.looks.values() if look.values is not None]
    if not deep:
        return None
    low, high = np.percentile(np.concatenate([look.values for look in deep if look.values is not None]), [0.1, 99.9])
    return min(look.low for look in deep), float(low), float(high), max(look.high for look in deep)


def proposed(least: float, low: float, high: float, largest: float) -> tuple[float, float]:
    """A range for values with these percentiles: a usual one if it is mostly used, else the percentiles, rounded."""
    usual = [(0.0, 1.0), (-1.0, 1.0), *((0.0, 2.0**bits - 1) for bits in (8, 10, 12, 14, 16))]
    for first, last in usual:
        if first <= least and largest <= last and high - low >= (last - first) / 2:
            return first, last
    unit = 10.0 ** np.floor(np.log10(high - low) - 1) if high > low else 1.0
    return float(f"{np.floor(low / unit) * unit:.6g}"), float(f"{np.ceil(high / unit) * unit:.6g}")


def pairs(images: ImageSet) -> Iterator[Finding]:
    """Pairs that are missing, that no crop fits, or whose images have two shapes."""
    if images.needs_pairs and not images.problems and not all(part.paired for part in images.parts[:2]):
        yield Finding("error", "the method learns from pairs, and its source gives none", f"{PAIRS_FROM.capitalize()}.")
    for (number, a), (_, b) in pairwise(enumerate(images.parts)):
        if not (a.paired and b.paired and a.split == b.split):
            continue
        both = [(i, a.looks[i], b.looks[i]) for i in a.looks if i in b.looks]
        uneven = [i for i, one, other in both if one.becomes != other.becomes and one.becomes and other.becomes]
        advice = 'data.preprocess = "resize_and_crop" brings all to one size.'
        what = f"another size than the partner of {b.title}, so that no crop fits both"
        if images.needs_pairs and a.split == "train":
            yield from images.about("error", what, advice, number, uneven)
        shapes = [(i, np.divide(*one.picture.size) / np.divide(*other.picture.size)) for i, one, other in both]
        odd = [i for i, factor in shapes if abs(factor - 1) > 0.02]
        advice = "Their content lies in other places: cut both images of a pair alike."
        what = f"another shape than the partner of {b.title}"
        yield from images.about("warning", what, advice, number, odd)


def batches(images: ImageSet) -> Iterator[Finding]:
    """Sizes that make no batch."""
    options = images.options
    if options is not None and options.batch_size > 1 and options.geometry().window is None:
        for part in images.parts:
            sizes = {look.becomes for look in part.looks.values()}
            if part.split == "train" and len(sizes) > 1:
                what = f"{part.title} comes in {len(sizes)} sizes, which make no batch of {options.batch_size}"
                yield Finding("error", what, "Set data.batch_size = 1, or a data.preprocess that crops.")


def empty(images: ImageSet) -> Iterator[Finding]:
    """Images without content, and masks that mark nothing."""
    for number, part in enumerate(images.parts):
        empty = [i for i, look in part.looks.items() if look.constant]
        yield from images.about("warning", "one colour all over", "Take them out.", number, empty)
        bad = sorted(part.bad_masks.items())
        examples = [Example(f"{problem.where} {problem.message}", ((number, i),)) for i, problem in bad]
        yield from images.told("warning", "masks to look at", "", number, examples)


def classes(images: ImageSet) -> Iterator[Finding]:
    trained = {p.domain: {*p.labels} for p in images.parts if p.split == "train" and p.labels is not None}
    for number, part in enumerate(images.parts):
        if part.split == "test" and part.labels is not None and part.domain in trained:
            new = [i for i, label in enumerate(part.labels) if label not in trained[part.domain]]
            advice = "Nothing can be learnt about these classes."
            yield from images.about("warning", "of a class that no training image has", advice, number, new)
        if part.split == "train" and part.labels:
            counts = Counter(part.labels).most_common()
            (most, n_most), (least, n_least) = counts[0], counts[-1]
            if n_most > RARE * n_least:
                message = f"class {most} of {part.title} has {n_most:,} images, class {least} only {n_least:,}"
                yield Finding("note", message, "Rare classes are learnt late, if at all.")
