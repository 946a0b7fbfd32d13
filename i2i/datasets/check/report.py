"""All that is to be said of a set of images: what is in it, what was found, what training on it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from i2i.data.pixels import held_as
from i2i.datasets.check import rules
from i2i.datasets.check.duplicates import repeated
from i2i.datasets.check.facts import facts
from i2i.datasets.check.findings import LEVELS, Finding, counted
from i2i.datasets.check.looking import N_VALUES, Progress
from i2i.datasets.check.opening import hearing
from i2i.datasets.check.sets import ImageSet
from i2i.measure import in_bytes
from i2i.watch.wording import duration

RULES: tuple[Callable[[ImageSet], Iterator[Finding]], ...] = (
    rules.source_says,
    rules.unreadable,
    rules.types,
    rules.ranges,
    rules.pairs,
    rules.batches,
    rules.masks,
    repeated,
    rules.empty,
    rules.classes,
    rules.numbers,
    rules.colours,
    rules.sizes,
    rules.partners,
    rules.passed_over,
)
"""By weight; those of one level are told in this order."""


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
    with hearing() as told:
        for part in images.parts:
            part.look(min(max(n_values, 16), 4096), progress)
    images = replace(images, heard=tuple(told))
    found = [finding.printable() for rule in RULES for finding in rule(images)]
    found.sort(key=lambda finding: LEVELS.index(finding.level))
    return Report(images, tuple(found), _estimate(images))


def _estimate(images: ImageSet) -> Estimate | None:
    """None without a recipe, which says how large images become."""
    trained = [part for part in images.parts if part.split == "train"]
    if images.training is None or not trained:
        return None
    disk = memory = 0
    for part in images.parts:
        assert part.how is not None
        n_channels = part.how.intake.channels
        n_bytes = sum(
            look.becomes[0] * look.becomes[1] * n_channels * held_as(look.dtype).itemsize
            for look in part.looks.values()
            if look.becomes is not None
        )
        n_bytes += sum(mask.becomes[0] * mask.becomes[1] for mask in part.mask_looks.values() if mask.becomes)
        if getattr(part.images, "in_memory", False):
            memory += n_bytes
        elif images.training.options.cache:
            disk += n_bytes
    looks = [look for part in images.parts for look in part.looks.values()]
    n_images = max(len(part.images) for part in trained)
    each = (sum(look.seconds for look in part.looks.values()) / len(part.looks) for part in trained if part.looks)
    largest = max((look.n_bytes for look in looks), default=0)
    return Estimate(disk, memory, largest, n_images * sum(each), n_images)
