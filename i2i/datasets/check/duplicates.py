"""Findings about images that are there more than once: held out as well as trained on, in both domains, in one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np

from i2i.datasets.check.findings import Example, Finding, Level
from i2i.datasets.check.fingerprints import ALIKE, groups, nearest
from i2i.datasets.check.sets import N_SHOWN, ImageSet, Part

LEAK = "Scores on them say nothing about new images: take them out of the training, or out of the test."
BOTH = "A domain is learnt from what sets it apart from the other: take out what does not belong to it."
AGAIN = "They are shown more often than the others: keep one of each."
PAIRS = "If they are pairs, a source of pairs makes use of that."
VERSIONS = "Frames of a film, or versions of a picture? If that is not meant, keep one of each."

Match = tuple[float, int, int]
"""Likeness, index in the one part, index in the other."""


def repeated(images: ImageSet) -> Iterator[Finding]:
    """Equal and nearly equal images, the worst first: between training and test, between domains, within one."""
    numbers = range(len(images.parts))
    between = sorted(combinations(numbers, 2), key=lambda pair: not _leaks(images, *pair))
    for one, other in between:
        yield from _same(images, one, other)
    for number in numbers:
        yield from _more_than_once(images, number)
    for one, other in (*between, *((number, number) for number in numbers)):
        yield from _alike(images, one, other)


def _leaks(images: ImageSet, one: int, other: int) -> bool:
    return images.parts[one].split != images.parts[other].split


def _are_pairs(a: Part, b: Part) -> bool:
    return a.paired and b.paired and a.split == b.split and a.domain != b.domain


def _same(images: ImageSet, one: int, other: int) -> Iterator[Finding]:
    """Equal pixels in two parts; of each image of the later part one partner."""
    these, others = images.parts[one], images.parts[other]
    sums, other_sums = ({index: look.checksum for index, look in part.looks.items()} for part in (these, others))
    if _are_pairs(these, others) and sums == other_sums:
        return  # a set with itself is meant
    where = {checksum: index for index, checksum in reversed(sums.items())}
    found = [(1.0, where[checksum], index) for index, checksum in other_sums.items() if checksum in where]
    if _leaks(images, one, other):
        what, advice = f"held out, and a training image of {these.name} as well", LEAK
    else:
        what, advice = f"an image of {these.title} as well", BOTH
    yield from images.told("warning", what, advice, other, _examples(images, one, other, found, "="))


def _more_than_once(images: ImageSet, number: int) -> Iterator[Finding]:
    part = images.parts[number]
    indices = list(part.looks)
    equal = [[indices[i] for i in group] for group in groups(part.looks[i].checksum for i in indices).values()]
    if equal:
        n = sum(len(group) - 1 for group in equal)
        examples = [
            Example(" = ".join(map(part.images.name, group[:N_SHOWN])), tuple((number, i) for i in group[:N_SHOWN]))
            for group in equal
        ]
        yield from images.told("warning", "the same as another one", AGAIN, number, examples, n)


def _alike(images: ImageSet, one: int, other: int) -> Iterator[Finding]:
    """Images of the later part that are nearly an image of the other, each with the most similar."""
    these = images.parts[one]
    found = _matches(images.parts[other], these)
    n = len(found)
    level: Level = "note"
    if one == other:
        what, advice = "almost like another one", VERSIONS
        found = list({frozenset((index, partner)): (like, index, partner) for like, index, partner in found}.values())
    elif _leaks(images, one, other):
        level, what, advice = "warning", f"held out, and almost like a training image of {these.name}", LEAK
    else:
        what, advice = f"almost like an image of {these.title}", PAIRS
    yield from images.told(level, what, advice, other, _examples(images, one, other, found, "≈"), n)


def _matches(these: Part, others: Part) -> list[Match]:
    """The most similar of the others for each of these that has one, the most similar first.

    Partners of a pair are not compared, nor equal images, of which each is taken once.
    """
    once = [list({look.checksum: i for i, look in reversed(part.looks.items())}.values()) for part in (these, others)]
    if not all(once):
        return []
    looks = [[part.looks[i] for i in indices] for part, indices in zip((these, others), once, strict=True)]
    if _are_pairs(these, others):
        kinds = [np.array(indices) for indices in once]
    else:
        seen: dict[bytes, int] = {}
        kinds = [np.array([seen.setdefault(look.checksum, len(seen)) for look in part]) for part in looks]
    prints = [np.stack([look.fingerprint for look in part]) for part in looks]
    likeness, nearest_ones = nearest(prints[0], prints[1], (kinds[0], kinds[1]))
    rows = np.flatnonzero(likeness >= ALIKE)
    found = [(float(likeness[row]), once[1][nearest_ones[row]], once[0][row]) for row in rows]
    return sorted(found, key=lambda match: (-match[0], match[2]))


def _examples(images: ImageSet, one: int, other: int, found: Iterable[Match], sign: str) -> list[Example]:
    these, others = images.parts[one], images.parts[other]
    examples = []
    for likeness, index, partner in found:
        first, second = images.name((other, partner)), images.name((one, index))
        if one != other:
            first, second = f"{others.title}: {first}", f"{these.title}: {second}"
        like = f" ({math.floor(1000 * likeness) / 10} %)" if sign == "≈" else ""
        examples.append(Example(f"{first} {sign} {second}{like}", ((other, partner), (one, index))))
    return examples
