"""Metrics while a run trains: when they are taken, whose translators are the best so far, and how long ago it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from i2i.errors import I2IError, Problem, suggest
from i2i.evaluation import NEEDED, Evaluator
from i2i.intervals import Estimate
from i2i.recipe import EvalOptions
from i2i.training import Training


class Best:
    """Keeps track of one metric, in each direction by itself, or in the one that is named.

    Args:
        by: its label, `kid_efficientnet_lite0`, or that of one direction, `kid_efficientnet_lite0_ab`; a label may
            leave out its network, `kid`, where only one metric begins so. None keeps track of nothing.
        names: of the estimates that will come.
        better: `lower`, `higher` or nothing, by label.
        left_out: why other estimates will not come, by name.

    Raises I2IError for a metric that is not there, and for one that has no better way. One that is left out keeps
    track of nothing.
    """

    def __init__(
        self, by: str | None, names: list[str], better: Mapping[str, str], left_out: Mapping[str, str] = {}
    ) -> None:
        self.by = _find(by, names, left_out) if by else []
        for name in self.by:
            if not better[name.rpartition("_")[0]]:
                raise I2IError(Problem("eval.best_by", f"{by!r} says what is, not which way is better"))
        self._sign = {name: -1 if better[name.rpartition("_")[0]] == "lower" else 1 for name in self.by}
        self.found: dict[str, dict[str, Any]] = {}
        """By direction: `step`, `metric`, `value`."""
        self.stale = 0
        """Evaluations since one was better in any direction; 0 as long as none had a value."""

    def better(self, step: int, estimates: Mapping[str, Estimate]) -> list[str]:
        """The directions that are now better than ever; keeps their values."""
        directions = []
        for name in self.by:
            value, direction = estimates[name].value if name in estimates else math.nan, name.rpartition("_")[2]
            before = self.found.get(direction)
            if math.isfinite(value) and (before is None or self._sign[name] * (value - before["value"]) > 0):
                self.found[direction] = {"step": step, "metric": name.rpartition("_")[0], "value": value}
                directions.append(direction)
        self.stale = 0 if directions or not self.found else self.stale + 1
        return directions

    def state_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"found": self.found, "stale": self.stale}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict()`, with what it says of the same metric; from nothing at all for imported runs."""
        found = state.get("found", {}).items()
        self.found = {direction: dict(v) for direction, v in found if f"{v['metric']}_{direction}" in self.by}
        self.stale = state.get("stale", 0) if self.found else 0


class Judge:
    """Judges the translators of a training at the steps that its recipe says.

    Tells what the recipe asks for and the images do not allow. Raises I2IError for metrics that cannot be computed at
    all, for a `best_by` that is none of them, and for patience that nothing could end.

    Attributes:
        names: of the estimates that translators get.
        about: how the values of each metric are to be read, as JSON values.
        baseline: what the untouched input scores, by `test.NAME`.
        best: the best of each direction so far.
    """

    def __init__(self, training: Training, tell: Callable[[str], None] = lambda text: None) -> None:
        recipe, trainer = training.recipe, training.trainer
        self.options = recipe.eval
        self._trainer, self._n_steps = trainer, training.n_steps
        directions = list(trainer.translators())
        self._evaluator = Evaluator(
            recipe.metrics,
            training.data,
            directions,
            device=trainer.device,
            n_images=self.options.n_images,
            world=training.world,
        )
        self.about = self._evaluator.about()
        self.baseline = {f"test.{name}": estimate.value for name, estimate in self._evaluator.untouched().items()}
        better, left_out = {label: about["better"] for label, about in self.about.items()}, self._evaluator.left_out
        self.names = [name for name in self._evaluator.names if name not in left_out]  # some turned out to lack images
        self.best = Best(self.options.best_by, self.names, better, left_out)
        for note in _notes(self.options, self.best, left_out):
            tell(note)

    def is_due(self, step: int, samples: bool, ends: bool) -> bool:
        """Whether to judge after this step: with the regular samples, if the recipe says nothing else, and at the end.

        Never because somebody stops a run: that must not change what comes after.
        """
        return ends or (step % self.options.every == 0 if self.options.every else samples)

    def __call__(self) -> tuple[dict[str, float], list[str]]:
        """The metrics, as watchers are told them, and the directions that are better than ever."""
        estimates = self._evaluator(self._trainer.translators())
        told: dict[str, float] = {}
        for name, estimate in estimates.items():
            told[f"test.{name}"] = estimate.value
            if estimate.interval:
                told[f"low.{name}"], told[f"high.{name}"] = estimate.interval
        return told, self.best.better(self._trainer.step, estimates)

    def lost_patience(self) -> str:
        """Why to stop, if the metrics have not become better for as long as the recipe allows."""
        ends = self._trainer.step == self._n_steps
        if ends or not self.options.patience or self.best.stale < self.options.patience:
            return ""
        step = max((found["step"] for found in self.best.found.values()), default=0)
        return f"{self.best.stale} evaluations were not better than that of step {step:,}"


def _find(by: str, names: list[str], left_out: Mapping[str, str]) -> list[str]:
    """The estimates that a recipe's `best_by` means: one for each direction, or one; none of a metric that is left out.

    Raises I2IError for what is no metric.
    """
    for told in ({name: name.rpartition("_")[0] for name in names}, {name: name for name in names}):
        if exact := [name for name, label in told.items() if label == by]:
            return exact
    asked, _, direction = by.rpartition("_")
    short = {name: name.rpartition("_") for name in names}
    for beginning, directions in ((by, ("ab", "ba")), (asked, (direction,))):
        found = [name for name, (label, _, d) in short.items() if label.startswith(f"{beginning}_") and d in directions]
        labels = sorted({name.rpartition("_")[0] for name in found})
        if len(labels) > 1:
            raise I2IError(Problem("eval.best_by", f"{by!r} may mean {' or '.join(labels)}; write the whole name"))
        if found:
            return found
    if _reasons(by, left_out):
        return []
    known = sorted({name.rpartition("_")[0] for name in names})
    reason = suggest(by, known) if known else ": nothing is judged, see eval.metrics"
    reason += '; --set eval.best_by="" keeps none'
    raise I2IError(Problem("eval.best_by", f"{by!r} is none of the metrics that can be computed here{reason}"))


def _reasons(by: str, left_out: Mapping[str, str]) -> str:
    """Why a metric, in short or with its direction, is left out; empty if it is not."""
    return "; ".join(dict.fromkeys(why for name, why in left_out.items() if f"{name}_".startswith(f"{by}_")))


def _notes(options: EvalOptions, best: Best, left_out: Mapping[str, str]) -> list[str]:
    """What is left out though the images could have what it needs. Raises I2IError if nothing could end patience.

    That a recipe's metrics of pairs say nothing without pairs is no news: recipes name them for those that have some.
    """
    by = options.best_by
    if by and not best.by:
        why = f"{by!r} cannot be computed here ({_reasons(by, left_out)})"
        if options.patience:
            message = f"waits for a better value of eval.best_by, but {why}; --set eval.patience=0 waits for nothing"
            raise I2IError(Problem("eval.patience", message))
        deciding = [f"eval.best_by: {why}: no best translators are kept; --set eval.best_by=METRIC names another"]
    else:
        deciding = []
    news = {name: why for name, why in left_out.items() if why not in NEEDED.values()}
    return deciding + [
        f"not judged: {', '.join(name for name in news if news[name] == why)}: {why}"
        for why in dict.fromkeys(news.values())
    ]
