"""What would end or spoil a training on a set of images, and what is good to know of it before."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from i2i.data.folders import FOREIGN
from i2i.data.matching import Named
from i2i.data.pixels import held_as
from i2i.datasets.check.facts import part_range, proposed
from i2i.datasets.check.findings import Example, Finding, Level, counted
from i2i.datasets.check.sets import N_SHOWN, ImageSet
from i2i.errors import Problem

RARE = 10
"""A class is rare if another has more than so many times as many images."""
UNUSED = 0.25
"""A range of values of which less is used leaves images nearly one grey."""
FEW, UNBALANCED = 100, 3
"""Fewer training images than the first are learnt by heart; domains that differ by more than the second are told."""
SQUEEZED = 1.25
"""Images whose shape changes by more than this factor look stretched."""


def source_says(images: ImageSet) -> Iterator[Finding]:
    for problem in images.problems:
        yield Finding("error", str(problem), "")
    for text in images.warnings:
        yield Finding("warning", text, "")
    if n := len(images.heard):
        examples = tuple(map(Example, images.heard[:N_SHOWN]))
        yield Finding("warning", f"read, but not without a warning: {counted(n)}", "", examples, n - len(examples))


def unreadable(images: ImageSet) -> Iterator[Finding]:
    advice = 'Mend them or take them out; or data.unreadable = "skip" leaves them out.'
    seen: set[Problem] = set()  # a file may hold both images of a pair
    for number, part in enumerate(images.parts):
        misfits = {i: Problem(part.images.name(i), look.misfit) for i, look in part.looks.items() if look.misfit}
        usable = part.looks.keys() - part.unreadable.keys() - misfits.keys()
        level = images.refuses if usable else "error"
        for problems, what in ((part.unreadable, "cannot be read"), (misfits, "not as the recipe wants them")):
            told = [(i, problem) for i, problem in sorted(problems.items()) if problem not in seen]
            seen.update(problems.values())
            examples = [Example(f"{part.images.name(i)} {p.message}", ((number, i),)) for i, p in told]
            yield from images.told(level, what, advice, number, examples)


def types(images: ImageSet) -> Iterator[Finding]:
    """Images of another type than the most of their domain, and held-out ones of another than those to train on."""
    trained: dict[str, str] = {}
    for number, part in enumerate(images.parts):
        types = {index: held_as(look.dtype).name for index, look in part.looks.items()}
        if not types:
            continue
        usual = Counter(types.values()).most_common(1)[0][0]
        others = [index for index, dtype in types.items() if dtype != usual]
        kinds = " or ".join(sorted({*types.values()} - {usual}))
        advice = "Bring all to one type: they are kept in one array, and one range of values holds for all."
        yield from images.about(images.refuses, f"{kinds}, the others {usual}", advice, number, others)
        if part.split == "train":
            trained[part.domain] = usual
        elif usual != trained.get(part.domain, usual):
            what = f"{part.title} holds {usual}, and the images to train on {trained[part.domain]}"
            yield Finding("error", what, "Bring all to one type.")


def ranges(images: ImageSet) -> Iterator[Finding]:
    """What the values of deep images come to, beside what the recipe makes -1 and 1 of."""
    both: list[Any] = list(images.training.options.both_ranges) if images.training else ["type", "type"]
    then, told = [*both], []
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
            level: Level = "error" if images.training else "note"
            what = f"{part.title} holds {dtype}, which says nothing of its range"
        elif high - low < UNUSED * (np.iinfo(dtype).max - np.iinfo(dtype).min):
            level, what = "note", f"{part.title} uses little of what {dtype} holds, and would be nearly one grey"
        else:
            continue
        then[place] = proposed(least, low, high, largest)
        told.append((level, f"{what}: {values}"))
    for level, message in told:
        yield Finding(level, message, f'Set data.range = {json.dumps(then)}, or "auto".')


def pairs(images: ImageSet) -> Iterator[Finding]:
    """Pairs that no crop fits, or whose images have two shapes."""
    for (number, a), (_, b) in pairwise(enumerate(images.parts)):
        if not (a.paired and b.paired and a.split == b.split):
            continue
        both = [(i, a.looks[i], b.looks[i]) for i in a.looks if i in b.looks]
        uneven = [i for i, one, other in both if one.becomes != other.becomes and one.becomes and other.becomes]
        advice = 'data.preprocess = "resize_and_crop" brings all to one size.'
        what = f"another size than the partner of {b.title}, so that no crop fits both"
        if images.training and images.training.paired and a.split == "train":
            yield from images.about("error", what, advice, number, uneven)
        shapes = [(i, np.divide(*one.picture.size) / np.divide(*other.picture.size)) for i, one, other in both]
        odd = [i for i, factor in shapes if abs(factor - 1) > 0.02]
        advice = "Their content lies in other places: cut both images of a pair alike."
        what = f"another shape than the partner of {b.title}"
        yield from images.about("warning", what, advice, number, odd)


def batches(images: ImageSet) -> Iterator[Finding]:
    """Sizes that make no batch."""
    training = images.training
    n = training.options.batch_size * training.n_batches if training else 1
    if training is not None and n > 1 and training.options.geometry().window is None:
        for part in images.parts:
            sizes = {look.becomes for look in part.looks.values()}
            if part.split == "train" and len(sizes) > 1:
                what = f"{part.title} comes in {len(sizes)} sizes, which make no batch of {n}"
                once = "Set data.batch_size = 1, or a data.preprocess that crops."
                yield Finding("error", what, once if training.n_batches == 1 else "Set a data.preprocess that crops.")


def masks(images: ImageSet) -> Iterator[Finding]:
    """Masks that do not fit their images, or mark nothing."""
    for number, part in enumerate(images.parts):
        uneven, odd = [], []
        for index, mask in sorted(part.mask_looks.items()):
            if (image := part.looks.get(index)) is None or part.masks is None:
                continue
            name, place = part.masks.name(index), ((number, index),)
            sizes = "{}x{} px, and its image {}x{}".format(*mask.size, *image.picture.size)
            if mask.becomes != image.becomes and mask.becomes and image.becomes:
                uneven.append(Example(f"{name} is {sizes}", place))
            elif mask.empty:
                odd.append(Example(f"{name} marks nothing: it is black all over", place))
            elif mask.size != image.picture.size:
                odd.append(Example(f"{name} is {sizes}", place))
        advice = 'data.preprocess = "resize_and_crop" brings both to one size.'
        level: Level = "error" if part.split == "train" else "warning"
        yield from images.told(level, "masks of another size than their image", advice, number, uneven)
        yield from images.told("warning", "masks to look at", "", number, odd)


def empty(images: ImageSet) -> Iterator[Finding]:
    for number, part in enumerate(images.parts):
        empty = [i for i, look in part.looks.items() if look.constant]
        yield from images.about("warning", "one colour all over", "Take them out.", number, empty)


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


def colours(images: ImageSet) -> Iterator[Finding]:
    """Grey images among colour, and colour where the recipe wants none."""
    for number, part in enumerate(images.parts):
        grey = [i for i, look in part.looks.items() if look.colourful is False]
        colour = [i for i, look in part.looks.items() if look.colourful]
        if part.how is not None and part.how.intake.channels == 1:
            if colour:
                share = f"{len(colour):,} of {counted(len(part.images))} of {part.title}"
                yield Finding("note", f"in colour, and made grey as data.channels says: {share}", "")
        elif grey and not colour and part.how is not None and part.how.intake.channels == 3:
            advice = f"data.channels = 1 for {part.name} is quicker, and cannot invent colours."
            yield from images.about("note", "grey, and the recipe wants 3 channels", advice, number, grey)
        elif grey and colour:
            advice = "If that is not meant, take them out, or they are learnt as part of the look."
            if len(grey) <= len(colour):
                yield from images.about("note", "grey, the others in colour", advice, number, grey)
            else:
                yield from images.about("note", "in colour, the others grey", advice, number, colour)


def sizes(images: ImageSet) -> Iterator[Finding]:
    """Images that are enlarged or squeezed on the way to the size that is trained on."""
    for number, part in enumerate(images.parts):
        enlarged, squeezed = {}, {}
        for index, look in part.looks.items():
            if look.becomes is not None and part.split == "train":
                (width, height), (high, wide) = look.picture.size, look.becomes
                factor = (wide / width) / (high / height)
                enlarged[index] = max(high / height, wide / width)
                squeezed[index] = max(factor, 1 / factor)
        if most := _above(1, enlarged):
            what = f"enlarged, up to {enlarged[most[0]]:.1f} times"
            advice = "There is no such detail to learn: a smaller data.load_size and data.crop_size would be faster."
            yield from images.about("note", what, advice, number, most)
        if most := _above(SQUEEZED, squeezed):
            what = f"squeezed to another shape, up to {squeezed[most[0]]:.1f} times"
            advice = 'data.preprocess = "scale_shorter_and_crop" keeps shapes.'
            yield from images.about("note", what, advice, number, most)


def _above(least: float, factors: Mapping[int, float]) -> list[int]:
    """Those with more than that, the largest first."""
    return sorted((index for index in factors if factors[index] > least), key=lambda index: -factors[index])


def numbers(images: ImageSet) -> Iterator[Finding]:
    """Few images, and domains of very different size."""
    trained = [part for part in images.parts if part.split == "train"]
    for part in trained:
        if len(part.images) < FEW:
            message = f"{part.title} has only {counted(len(part.images))}"
            yield Finding("note", message, "So few are learnt by heart; augmentations help.")
    if len(trained) == 2:
        few, many = sorted(trained, key=lambda part: len(part.images))
        if len(many.images) > UNBALANCED * len(few.images):
            message = f"{many.title} has {len(many.images):,} images, {few.title} only {len(few.images):,}"
            yield Finding("note", message, "The larger domain sets the length of an epoch.")


def partners(images: ImageSet) -> Iterator[Finding]:
    """Files of two folders that have equal names, though nobody has said that they are pairs."""
    for a, b in combinations(images.parts, 2):
        if images.training is not None or a.paired or a.split != b.split:
            continue
        one, other = (Named.of(Path(p.name), (p.images.name(i) for i in range(len(p.images)))) for p in (a, b))
        both = one.names.keys() & other.names.keys()
        if 2 * len(both) >= min(len(one.names), len(other.names)):
            alone = [problem.message for problem in (*one.alone(other), *other.alone(one))]
            message = f"{a.title} and {b.title} have {counted(len(both), 'name')} in common: perhaps they are pairs"
            advice = "; ".join(["The source `pairs` reads them as such", *alone])
            yield Finding("note", message, f"{advice}.")


def passed_over(images: ImageSet) -> Iterator[Finding]:
    """Files beside the images."""
    for part in images.parts:
        others: dict[str, int] = getattr(part.images, "passed_over", {})
        rest = {suffix: n for suffix, n in others.items() if suffix not in FOREIGN.split()}
        if rest:
            kinds = ", ".join(f"{n} {suffix or 'without a suffix'}" for suffix, n in sorted(rest.items()))
            yield Finding("note", f"files that are no images, beside those of {part.title}: {kinds}", "")
