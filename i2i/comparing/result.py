"""What a comparison found: means over seeds, differences to the first variant, and which of them are real."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from i2i.comparing.trained import Trained
from i2i.intervals import LEVEL, Difference, difference, mean_over_seeds
from i2i.measure import in_bytes
from i2i.watch.wording import Measure, directed, measure, number, where


@dataclass(frozen=True)
class Side:
    """The trainings of one variant, in the order of their seeds."""

    name: str
    trained: list[Trained]

    @property
    def done(self) -> list[Trained]:
        """Those that came to their end."""
        return [one for one in self.trained if not one.failed]

    def value(self, what: str) -> float | None:
        """The median of `seconds_per_step`, `memory`, … over the trainings that know it."""
        known = [value for one in self.done if (value := getattr(one, what)) is not None]
        return median(known) if known else None


@dataclass(frozen=True)
class Cell:
    """A metric of one variant.

    Args:
        mean: over the seeds; None without a training that could be judged by it.
        values: of each seed.
        difference: to the first variant; None for the first, and where the two cannot be subtracted.
        real: whether there is one, by Holm's correction over the variants.
    """

    mean: Difference | None = None
    values: tuple[float, ...] = ()
    difference: Difference | None = None
    real: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "mean": _document(self.mean),
            "values": list(self.values),
            "difference": _document(self.difference),
            "real": self.real,
        }


def _document(found: Difference | None) -> dict[str, Any] | None:
    """What is not finite, as the interval of a single image, is null."""
    return {k: v if math.isfinite(v) else None for k, v in asdict(found).items()} if found else None


@dataclass(frozen=True)
class Row:
    """A metric in one direction, by variant."""

    name: str
    title: str
    where: str
    kind: Measure
    untouched: float | None
    cells: Sequence[Cell]

    @property
    def better(self) -> str:
        return {-1: "lower is better", 1: "higher is better", 0: ""}[self.kind.better]

    def verdict(self, cell: Cell) -> str:
        """The difference in words; nothing where there is none."""
        if cell.difference is None:
            return ""
        if not cell.real:
            return "not shown"
        sign = self.kind.better * (1 if cell.difference.value > 0 else -1)
        word = {1: "better", -1: "worse", 0: "different"}[sign]
        return word if cell.difference.n_seeds > 1 else f"{word}, one seed"


@dataclass(frozen=True)
class Result:
    """A comparison of at least one variant."""

    sides: Sequence[Side]

    @property
    def done(self) -> list[Trained]:
        return [one for side in self.sides for one in side.done]

    @property
    def names(self) -> tuple[str, str]:
        """Of the domains, as the first training calls them."""
        return self.done[0].names if self.done else ("a", "b")

    def rows(self) -> list[Row]:
        """Every metric and direction that any variant was judged by."""
        return [self._row(name) for name in dict.fromkeys(name for one in self.done for name in one.estimates)]

    def _row(self, name: str) -> Row:
        one = next(one for one in self.done if name in one.estimates)
        label, part = directed(name)
        kind = measure(label, one.about)
        known = [[one for one in side.done if name in one.estimates] for side in self.sides]
        differences = [None, *(_difference(name, known[0], other) for other in known[1:])]
        cells = [
            Cell(
                mean_over_seeds([one.estimates[name] for one in trained]) if trained else None,
                tuple(one.estimates[name].value for one in trained),
                found,
                real,
            )
            for trained, found, real in zip(
                known, differences, holm([d.p if d else None for d in differences]), strict=True
            )
        ]
        return Row(name, kind.title, where(part, self.names), kind, one.untouched.get(name), cells)

    def costs(self) -> list[tuple[str, list[str]]]:
        """What a training took, and in words how much of it, by variant."""
        how: dict[str, tuple[str, Callable[[float], str]]] = {
            "seconds per step": ("seconds_per_step", number),
            "memory of a step": ("memory", in_bytes),
            "parameters": ("parameters", lambda value: f"{value:,.0f}"),
        }
        return [
            (label, ["" if (value := side.value(what)) is None else said(value) for side in self.sides])
            for label, (what, said) in how.items()
        ]

    def notes(self) -> list[str]:
        """What one must know to read the table."""
        found = list(self._failures())
        n_seeds = min((len(side.done) for side in self.sides if side.done), default=0)
        n_judged = max((e.n for one in self.done for e in one.estimates.values()), default=0)
        images = {one.protocol["images"] for one in self.done}
        judged = f"{n_judged} {' and '.join(sorted(images))} images"
        if n_seeds == 1:
            found.append(
                f"± is half of a 95 % interval over {judged}. There is one training of each: that says nothing of the "
                "chance of training, and another seed may turn a difference round."
            )
        elif n_seeds:
            found.append(f"± is half of a 95 % interval over {n_seeds} trainings and {judged}.")
        n = max((sum(cell.difference is not None for cell in row.cells) for row in self.rows()), default=0)
        if n > 1:
            found.append(
                f"Each interval is of one difference. Whether there is one is said of all {n} of a row together, by "
                "Holm's correction, so it may be 'not shown' though the interval leaves out zero."
            )
        epochs = {side.name: side.value("epoch") or 0 for side in self.sides if side.done}
        if epochs and max(epochs.values()) > 1.01 * min(epochs.values()):
            told = ", ".join(f"{name} {epoch:.1f}" for name, epoch in epochs.items())
            found.append(f"They saw unequally many images, in epochs: {told}.")
        return [*found, *self._unlike()]

    def _failures(self) -> Iterator[str]:
        reasons: dict[tuple[str, str], list[Trained]] = {}
        for side in self.sides:
            for one in side.trained:
                if one.failed:
                    reasons.setdefault((side.name, one.failed), []).append(one)
        for (name, reason), trained in reasons.items():
            seeds = ", ".join(str(one.seed) for one in trained)
            yield f"{name} failed with seed{'s' if len(trained) > 1 else ''} {seeds}: {reason}."
        if files := [one.file for trained in reasons.values() for one in trained if one.file.exists()]:
            yield f"To try what failed again, delete {' and '.join(map(str, files))}."

    def _unlike(self) -> Iterator[str]:
        first, *others = self.sides
        for side in others:
            if first.done and side.done and (what := _unlike(first.done, side.done)):
                yield f"{side.name} and {first.name} cannot be subtracted: they were judged on {what}."

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        costs = ("seconds_per_step", "memory", "parameters", "step", "epoch")
        return {
            "names": list(self.names),
            "variants": {
                side.name: {
                    "seeds": [one.seed for one in side.done],
                    "runs": [str(one.run) for one in side.done],
                    "failed": {str(one.seed): one.failed for one in side.trained if one.failed},
                    **{what: side.value(what) for what in costs},
                }
                for side in self.sides
            },
            "metrics": {
                row.name: {
                    "title": row.title,
                    "better": row.better.partition(" ")[0],
                    "unit": row.kind.unit.strip(),
                    "untouched": row.untouched,
                    "variants": {side.name: cell.document() for side, cell in zip(self.sides, row.cells, strict=True)},
                }
                for row in self.rows()
            },
            "notes": self.notes(),
        }


def plus_minus(found: Difference | None, sign: str = "") -> str:
    """With as many decimals as give the interval two digits; `sign` is that of format strings."""
    if found is None:
        return ""
    reach = found.high - found.value
    decimals = max(0, 1 - math.floor(math.log10(reach))) if 0 < reach < math.inf else 4
    return f"{found.value:{sign}.{decimals}f}" + (f" ± {reach:.{decimals}f}" if reach < math.inf else "")


def holm(ps: Sequence[float | None]) -> list[bool]:
    """Which null hypotheses are refused if all together may be refused wrongly in 5 % of cases (Holm 1979).

    Args:
        ps: two-sided; None where there is nothing to refuse.
    """
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    refused = [False] * len(ps)
    for n_before, (p, i) in enumerate(order):
        if p >= (1 - LEVEL) / (len(order) - n_before):
            break
        refused[i] = True
    return refused


def _difference(name: str, first: Sequence[Trained], other: Sequence[Trained]) -> Difference | None:
    """Of trainings with the same seed; where no seed is in both, in their order."""
    if not first or not other or _unlike(first, other, directed(name)[0]):
        return None
    by_seed = {one.seed: one for one in first}
    pairs = [(by_seed[one.seed], one) for one in other if one.seed in by_seed] or list(zip(first, other, strict=False))
    return difference([a.estimates[name] for a, _ in pairs], [b.estimates[name] for _, b in pairs])


def _unlike(first: Sequence[Trained], other: Sequence[Trained], label: str = "") -> str:
    """What keeps estimates from being subtracted: judged on other images, or otherwise; empty if nothing does."""
    one, *rest = (*first, *other)
    for it in rest:
        for key, value in one.protocol.items():
            if it.protocol.get(key) != value:
                told = f"{key} {value}, and on {key} {it.protocol.get(key)}"
                return "other images" if key == "domains" else told
        if label and it.about[label].get("component") != one.about[label].get("component"):
            return "other settings of the metric"
    return ""
