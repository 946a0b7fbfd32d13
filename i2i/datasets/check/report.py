"""All that is to be said of a set of images: what is in it, what was found, what training on it takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from i2i.data.folders import find_images
from i2i.data.pixels import Preparation, held_as
from i2i.data.source import Images, Source, Split
from i2i.data.table import DataOptions
from i2i.datasets.check import duplicates, findings, notes
from i2i.datasets.check.facts import facts
from i2i.datasets.check.findings import Finding, ImageSet, counted
from i2i.datasets.check.looking import N_VALUES, Part, Progress
from i2i.errors import I2IError, Problem, collecting
from i2i.measure import in_bytes
from i2i.watch.wording import duration

RULES: tuple[Callable[[ImageSet], Iterator[Finding]], ...] = (
    findings.source_says,
    findings.unreadable,
    findings.mixed_types,
    findings.ranges,
    findings.pairs,
    findings.batches,
    duplicates.repeated,
    findings.empty,
    findings.classes,
    notes.numbers,
    notes.colours,
    notes.sizes,
    notes.partners,
    notes.passed_over,
)
"""By weight; those of one level are told in this order."""
LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Estimate:
    """What training on a set takes.

    Args:
        disk: bytes of the cache.
        memory: bytes of images that are held in memory instead.
        largest: bytes of the largest image when it is decoded.
        seconds: of one processor, to decode and resize what an epoch shows, if there is no cache.
        n_images: of each domain that an epoch shows.
    """

    disk: int
    memory: int
    largest: int
    seconds: float
    n_images: int

    def lines(self) -> list[tuple[str, str]]:
        """In words: what, and how much."""
        found = [("an epoch", f"{counted(self.n_images)} of each domain")]
        found += [("cache on disk", in_bytes(self.disk))] if self.disk else []
        found += [("images in memory", in_bytes(self.memory))] if self.memory else []
        how_often = "once" if self.disk or self.memory else "in every epoch, since there is no cache"
        takes = duration(self.seconds) if self.seconds >= 1 else "under 1 s"
        found.append(("decoding and resizing", f"{takes} of one processor, {how_often}"))
        return [*found, ("largest image", f"{in_bytes(self.largest)} when it is decoded")]


@dataclass(frozen=True)
class Report:
    """A set of images, looked at, and what is to be said of it, by weight."""

    images: ImageSet
    findings: tuple[Finding, ...]
    estimate: Estimate | None

    @property
    def refused(self) -> bool:
        """Whether training would refuse the set as it is."""
        return any(finding.level == "error" for finding in self.findings)

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        estimate = self.estimate
        return {
            "parts": [facts(part).document() for part in self.images.parts],
            "findings": [
                {"level": f.level, "message": f.message, "advice": f.advice}
                | {"examples": [example.text for example in f.examples], "n_more": f.n_more}
                for f in self.findings
            ],
            "estimate": vars(estimate) if estimate else None,
        }


def check(images: ImageSet, progress: Progress = lambda part, done, total: None) -> Report:
    """Looks at every image of a set, once, and says what there is to say.

    Args:
        progress: told the part's title, the images done, and how many there are.
    """
    n_values = N_VALUES // max(1, sum(len(part.images) for part in images.parts))
    for part in images.parts:
        part.look(min(max(n_values, 16), 4096), progress)
    found = [finding for rule in RULES for finding in rule(images)]
    found = [_printable(finding) for finding in found]
    found.sort(key=lambda finding: LEVELS.index(finding.level))
    return Report(images, tuple(found), _estimate(images))


def printable(text: str) -> str:
    """The text, with what could move the cursor or is no Unicode written out: names of files may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def _printable(finding: Finding) -> Finding:
    examples = tuple(replace(example, text=printable(example.text)) for example in finding.examples)
    return replace(finding, message=printable(finding.message), advice=printable(finding.advice), examples=examples)


def of_folders(folders: Mapping[str, Path | None]) -> ImageSet:
    """The images of some folders, by their option: `a`, `b`, `test_a`, `test_b`. Raises I2IError."""
    problems: list[Problem] = []
    parts: list[Part] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for option, folder in folders.items():
            with collecting(problems):
                if folder is not None:
                    split: Literal["train", "test"] = "test" if option.startswith("test") else "train"
                    domain: Literal["a", "b"] = "a" if option.endswith("a") else "b"
                    name = f"--{option.replace('_', '-')}"
                    trained_on = folders.get(domain) or folder
                    title = printable(trained_on.resolve().name)
                    parts.append(Part(split, domain, title, find_images(folder, name)))
    if problems:
        raise I2IError(*problems)
    return ImageSet(tuple(parts), warnings=tuple(str(warning.message) for warning in told))


def of_source(
    make: Callable[[], Source], options: DataOptions, folders: Mapping[str, Any], needs_pairs: bool = False
) -> ImageSet:
    """The images of a recipe's source.

    Args:
        make: makes the source.
        options: how the recipe prepares its images.
        folders: the source's options. If it refuses what it finds, the folders `a`, `b`, `test_a` and `test_b` among
            them are looked at as they are, so that all there is to say is said at once.
        needs_pairs: the recipe's method learns from pairs.

    Raises I2IError if there is nothing to look at.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            source = make()
            splits = {"train": source.train(), "test": source.test()}
        except I2IError as error:
            given = {option: Path(folders[option]) for option in ("a", "b", "test_a", "test_b") if folders.get(option)}
            if not given:
                raise
            try:
                found = of_folders(given)
            except I2IError:
                raise error from None
            parts = tuple(_prepared(part, options) for part in found.parts)
            return ImageSet(parts, options, needs_pairs, error.problems, found.warnings)
        parts = tuple(
            _prepared(part, options) for split, images in splits.items() if images for part in _parts(split, images)
        )
    return ImageSet(parts, options, needs_pairs, warnings=tuple(str(warning.message) for warning in told))


def _parts(split: str, images: Split) -> Iterator[Part]:
    for domain, of_domain in (("a", images.a), ("b", images.b)):
        label, mask = (images.extras.get(f"{extra}_{domain}") for extra in ("label", "mask"))
        yield Part(
            "test" if split == "test" else "train",
            "a" if domain == "a" else "b",
            domain,
            of_domain,
            images.paired,
            None if label is None or isinstance(label, Images) else [int(value) for value in label],
            mask if isinstance(mask, Images) else None,
        )


def _prepared(part: Part, options: DataOptions) -> Part:
    """The part, with what the recipe does with its images."""
    place = "ab".index(part.domain)
    geometry = options.geometry() if part.split == "train" else options.geometry().shows
    return replace(part, name=printable(options.names[place]), how=Preparation(options.intakes[place], geometry))


def _estimate(images: ImageSet) -> Estimate | None:
    """None without a recipe, which says how large images become."""
    trained = [part for part in images.parts if part.split == "train"]
    if images.options is None or not trained:
        return None
    disk = memory = 0
    for part in images.parts:
        assert part.how is not None
        n_bytes = sum(
            look.becomes[0] * look.becomes[1] * part.how.intake.channels * held_as(look.dtype).itemsize
            for look in part.looks.values()
            if look.becomes is not None
        )
        if getattr(part.images, "in_memory", False):
            memory += n_bytes
        elif images.options.cache:
            disk += n_bytes
    looks = [look for part in images.parts for look in part.looks.values()]
    n_images = max(len(part.images) for part in trained)
    each = (sum(look.seconds for look in part.looks.values()) / len(part.looks) for part in trained if part.looks)
    largest = max((look.n_bytes for look in looks), default=0)
    return Estimate(disk, memory, largest, n_images * sum(each), n_images)
