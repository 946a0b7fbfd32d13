"""What is good to know of a set of images before training on it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from i2i.data.folders import FOREIGN
from i2i.data.matching import Named
from i2i.datasets.check.findings import Finding, ImageSet, counted

FEW, UNBALANCED = 100, 3
"""Fewer training images than the first are learnt by heart; domains that differ by more than the second are told."""
SQUEEZED = 1.25
"""Images whose shape changes by more than this factor look stretched."""


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
        enlarged, squeezed = [], []
        for index, look in part.looks.items():
            if look.becomes is not None and part.split == "train":
                (width, height), (high, wide) = look.picture.size, look.becomes
                enlarged += [(max(high / height, wide / width), index)] if high > height or wide > width else []
                factor = (wide / width) / (high / height)
                squeezed += [(max(factor, 1 / factor), index)]
        if enlarged:
            most = sorted(enlarged, reverse=True)
            what = f"enlarged, up to {most[0][0]:.1f} times"
            advice = "There is no such detail to learn: a smaller data.load_size and data.crop_size would be faster."
            yield from images.about("note", what, advice, number, [i for _, i in most])
        odd = sorted(((factor, i) for factor, i in squeezed if factor > SQUEEZED), reverse=True)
        if odd:
            what = f"squeezed to another shape, up to {odd[0][0]:.1f} times"
            advice = 'data.preprocess = "scale_shorter_and_crop" keeps shapes.'
            yield from images.about("note", what, advice, number, [i for _, i in odd])


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
        if images.options is not None or a.paired or a.split != b.split:
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
