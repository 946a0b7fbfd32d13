"""What `i2i eval` says of a run: metrics of its translators, beside the untouched input and beside real images.

RUN/eval.json is an `Appraisal.document()`:

step        of the translators, by direction: {"ab": 1500, "ba": 1500}
checkpoint  latest, best, or the step as a text
names       of the domains a and b
metrics     by label, how to read them: {"title": "KID", "better": "lower", "unit": "", "network": "", "component": {…}}
estimates   by label and direction: {"kid_efficientnet_lite0_ab": {"value": 0.031, "interval": [0.02, 0.04], "n": 120}}
untouched   the same of the input as it is
floor       the same of real images of the target domain, of those to train on; of metrics of sets alone
left_out    by label and direction, why there is no estimate
protocol    what was judged and how; estimates of one metric can be compared where it and `component` are equal

`interval` is null for fewer than two images, and a value that is not finite is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from i2i import layers
from i2i.data import Data, Source, Split
from i2i.device import pick_device
from i2i.distributed import World
from i2i.engine import Engine
from i2i.errors import I2IError, Problem, collecting
from i2i.evaluation import Evaluator
from i2i.intervals import Estimate
from i2i.method import Method
from i2i.recipe import Recipe, resolve
from i2i.registry import Builder, Registry
from i2i.run import Run
from i2i.training import data_for
from i2i.translate import find_translator
from i2i.weights import described

Estimates = Mapping[str, Estimate]
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Appraisal:
    """Estimates of the translators of a run, by metric and direction: `kid_efficientnet_lite0_ab`.

    Args:
        steps: of the translators, by direction.
        names: of the domains a and b.
        untouched: of the input as it is.
        floor: of real images of the target domain, in place of translations.
        about: how to read the metrics, by label: `title`, `better`, `unit`, `network`, `component`.
        left_out: why there is no estimate.
        protocol: what was judged and how, as JSON values.
    """

    run: Run
    checkpoint: str
    steps: Mapping[str, int]
    names: tuple[str, str]
    estimates: Estimates
    untouched: Estimates
    floor: Estimates
    about: Mapping[str, Mapping[str, Any]]
    left_out: Mapping[str, str]
    protocol: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """As JSON values, in the format that this module describes."""
        estimates = {"estimates": self.estimates, "untouched": self.untouched, "floor": self.floor}
        return {
            "step": dict(self.steps),
            "checkpoint": self.checkpoint,
            "names": list(self.names),
            "metrics": {label: dict(about) for label, about in self.about.items()},
            **{key: {name: _as_json(e) for name, e in found.items()} for key, found in estimates.items()},
            "left_out": dict(self.left_out),
            "protocol": dict(self.protocol),
        }


def appraise(
    run: Run,
    engine: Engine,
    *,
    metrics: Sequence[str | Mapping[str, Any]] | None = None,
    checkpoint: str = "latest",
    n_images: int = 0,
    device: str = "auto",
    folders: tuple[Path, Path] | None = None,
    progress: Tell = lambda what, done, total: None,
) -> Appraisal:
    """Judges the translators of a run on its held-out images, or on those to train on where none are held out.

    Args:
        metrics: by name, or as a recipe writes them; a name alone is the recipe's, if it has one. By default those of
            the recipe, and all others that are registered.
        checkpoint: `latest`, `best`, or the step of one.
        n_images: at most, of each domain, evenly spaced; 0 for all.
        folders: of domain a and b, with images to judge on instead; files of the same name are a pair if the run has
            pairs.
        progress: told what is looked at, how many images are done, and how many there are.

    Raises I2IError: for a run without translators, images or plugins, for metrics that are not there, and if none of
    them can be computed.
    """
    with _said_of(run):
        recipe = resolve(run.recipe, engine.registry, list(engine.plugins))
        chosen = _chosen(metrics, recipe, engine.registry)
        where = pick_device(device, "--device")
        with torch.device("meta"):
            method: Method = recipe.method(*recipe.data.both_channels)
        both = list(method.translators())
        directions = [d for d in both if checkpoint != "best" or run.weights(d, best=True).is_file()] or both
        if not both:
            raise I2IError(f"its method, {recipe.method.qualified}, translates nothing; there is nothing to judge")
        networks = {
            d: find_translator(run.folder, engine.registry, engine.plugins, to=d[1], at=checkpoint).module.to(where)
            for d in directions
        }
        source, knows_real = _source(recipe, method, folders, engine.registry)
        data = data_for(recipe, method, source, World(), lambda name, *n: progress(f"preparing {name}", *n))
        evaluator = Evaluator(
            chosen,
            data,
            directions,
            device=where,
            n_images=n_images,
            excused=(ValueError, I2IError),
            progress=progress,
        )
        estimates = evaluator(networks) if evaluator.names else {}
        if not estimates:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in evaluator.left_out.items())
            raise I2IError(f"none of the metrics can be computed ({reasons})")
    untouched, floor = evaluator.untouched(), evaluator.floor() if knows_real else {}
    steps = {d: int(checkpoint) if checkpoint.isdigit() else _step(run, d, checkpoint) for d in directions}
    no_best = {
        f"{m.label}_{d}": "its best was not kept" for m in evaluator.metrics for d in both if d not in directions
    }
    return Appraisal(
        run,
        checkpoint,
        steps,
        data.names,
        estimates,
        untouched,
        floor,
        {m.label: m.about() | {"network": m.metric.network, "component": m.spec} for m in evaluator.metrics},
        evaluator.left_out | no_best,
        _protocol(data, source, evaluator, given=folders is not None),
    )


@dataclass(frozen=True)
class _Elsewhere:
    """The images of a run to train on, and others to judge on."""

    own: Split
    given: Split

    def train(self) -> Split:
        return self.own

    def test(self) -> Split:
        return self.given


def _source(
    recipe: Recipe, method: Method, folders: tuple[Path, Path] | None, registry: Registry
) -> tuple[Source, bool]:
    """Where the images come from, and whether those to train on are there too: given folders can do without."""
    if folders is None:
        return recipe.source(), True
    train: Split | None = None
    paired = method.paired
    with suppress(I2IError):
        source: Source = recipe.source()
        train, test = source.train(), source.test()
        paired = paired or (test or train).paired
    source = registry.resolve("source", layers.two_folders(*folders, paired=paired), "--a/--b")()
    given = source.train()
    return _Elsewhere(train or given, given), train is not None


def _chosen(metrics: Sequence[str | Mapping[str, Any]] | None, recipe: Recipe, registry: Registry) -> list[Builder]:
    """Builders of what was asked for. Raises I2IError with all that is wrong."""
    own = [builder.qualified for builder in recipe.metrics]
    if metrics is None:
        others = [name for name in registry.names("metric") if name not in own]
        return [*recipe.metrics, *(registry.resolve("metric", name, name) for name in others)]
    found: list[Builder] = []
    problems: list[Problem] = []
    for spec in metrics:
        with collecting(problems):
            known = [builder for builder in recipe.metrics if builder.qualified == spec]
            found += known or [registry.resolve("metric", spec, "--metric")]
    if problems:
        raise I2IError(*problems)
    return found


def _step(run: Run, direction: str, checkpoint: str) -> int:
    step: int = described(run.weights(direction, best=checkpoint == "best")).get("step", 0)
    return step


def _protocol(data: Data, source: Source, evaluator: Evaluator, *, given: bool) -> dict[str, Any]:
    """What was judged and how."""
    split = source.test() or source.train()
    domains = zip("ab", data.names, (split.a, split.b), data.n_shown, strict=True)
    return {
        "images": "given" if given else "held out" if data.held_out else "to train on",
        "pairs": data.shown_in_pairs,
        "domains": {
            key: {"name": name, "n": len(evaluator.places[key]), "of": n, "sha256": images.digest()}
            for key, name, images, n in domains
        },
        "size": data.options.geometry().crop,
        "preprocess": data.options.preprocess,
        "interpolation": data.options.interpolation,
    }


def _as_json(estimate: Estimate) -> dict[str, Any]:
    value, interval = (estimate.value, estimate.interval) if math.isfinite(estimate.value) else (None, None)
    return {"value": value, "interval": interval, "n": estimate.n}


@contextmanager
def _said_of(run: Run) -> Iterator[None]:
    """Says of which run a mistake is."""
    try:
        yield
    except I2IError as error:
        folder = str(run.folder)
        if all(p.where.startswith(folder) for p in error.problems):
            raise
        problems = (Problem(": ".join(filter(None, (folder, p.where))), p.message) for p in error.problems)
        raise I2IError(*problems) from error
