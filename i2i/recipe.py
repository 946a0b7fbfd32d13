"""Recipes: TOML files, layered and resolved into builders. Every mistake is reported at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le, Lt

from i2i import optim
from i2i.component import Component
from i2i.data.table import DataOptions
from i2i.device import Compile, DeviceName, Precision
from i2i.errors import I2IError, Problem, suggest
from i2i.layers import RESERVED_TABLES
from i2i.options import Options, validate
from i2i.placed import AugmentOptions, ExtraLossOptions, Placed, label, read_list, tables
from i2i.registry import Builder, Registry
from i2i.slots import Slot

DEFAULT_METRICS = ("l1", "psnr")
"""Cheap ones, for pairs; whatever else a recipe wants it names."""
DEFAULT_WATCHERS = ("health",)
"""Watch every run, with their defaults where a recipe says nothing of them."""

Epochs = Annotated[float, Ge(0), Le(1e6)]
Steps = Annotated[int, Ge(0), Le(10**9)]


class TrainOptions(Options):
    """`[train]`: how the loop runs."""

    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    device: DeviceName = "auto"
    precision: Precision = "auto"
    compile: Compile = "auto"
    accumulate: Annotated[int, Ge(1)] = 1
    checkpoint_activations: bool = False
    clip: Annotated[float, Ge(0)] = 0.0
    ema: Annotated[float, Ge(0), Lt(1)] = 0.0
    log_every: Annotated[int, Ge(1)] = 50
    sample_every: Annotated[int, Ge(1)] = 500
    save_every: Annotated[int, Ge(1)] = 1000
    keep_checkpoints: Annotated[int, Ge(2)] = 2


class EvalOptions(Options):
    """`[eval]` without its metrics: when held-out images are judged, and what follows from it."""

    every: Annotated[int, Ge(1)] | None = None
    n_images: Annotated[int, Ge(0)] = 256
    best_by: str | None = None
    patience: Annotated[int, Ge(0)] = 0


class Length(Options):
    """The keys of `[schedule]` that say how long: in epochs or in steps, constant and then decaying."""

    n_epochs: Epochs | None = None
    n_epochs_decay: Epochs | None = None
    n_steps: Steps | None = None
    n_steps_decay: Steps | None = None

    def steps(self, steps_per_epoch: float) -> tuple[int, int]:
        """Steps of the constant part and of the decay. Raises I2IError if there is not one in all."""
        constant, decay = self.document().values()
        if not self.in_steps:
            end = math.ceil((constant + decay) * steps_per_epoch)
            constant = math.ceil(constant * steps_per_epoch)
            decay = end - constant
        steps = (constant, decay)
        if sum(steps) < 1:
            raise I2IError(Problem("schedule", "is 0 steps long"))
        return steps

    @property
    def in_steps(self) -> bool:
        return self.n_steps is not None or self.n_steps_decay is not None

    def document(self) -> dict[str, Any]:
        if self.in_steps:
            return {"n_steps": self.n_steps or 0, "n_steps_decay": self.n_steps_decay or 0}
        if self.n_epochs is None and self.n_epochs_decay is None:
            return {"n_epochs": 100, "n_epochs_decay": 100}
        return {"n_epochs": self.n_epochs or 0, "n_epochs_decay": self.n_epochs_decay or 0}


@dataclass(frozen=True)
class Recipe:
    """A recipe with every default filled in and every component found."""

    method: Builder
    source: Builder
    data: DataOptions
    optim: Mapping[str, Any]
    schedule: Builder
    length: Length
    train: TrainOptions
    extra_losses: tuple[Placed[ExtraLossOptions], ...]
    augment: tuple[Placed[AugmentOptions], ...]
    metrics: tuple[Builder, ...]
    eval: EvalOptions
    watch: tuple[Builder, ...]

    @property
    def masks(self) -> set[str]:
        """Those that extra losses ask for: a source that gives none is told of before the first step."""
        return {name for extra in self.extra_losses for name in extra.options.between if name.startswith("mask_")}

    def document(self) -> dict[str, Any]:
        """The resolved recipe as plain JSON values; reading it gives the same recipe again."""
        method = self.method.spec()
        slots = {name: method.pop(name) for name in self.method.component.slots}
        document = {
            "requires": sorted(self.plugins()),
            "method": method,
            **slots,
            "data": {"source": self.source.spec(), **self.data.model_dump(mode="json")},
            "optim": dict(self.optim),
            "schedule": {**self.schedule.spec(), **self.length.document()},
            "train": self.train.model_dump(mode="json"),
            "augment": [placed.document() for placed in self.augment],
            "extra_loss": [placed.document() for placed in self.extra_losses],
            "eval": {"metrics": [m.spec() for m in self.metrics], **self.eval.model_dump(mode="json")},
            "watch": [w.spec() for w in self.watch],
        }
        return {key: value for key, value in document.items() if value or key == "requires"}

    def plugins(self) -> set[str]:
        """The plugins, beside the reference, whose components this recipe uses."""
        placed = [p.component for p in self.augment] + [p.component for p in self.extra_losses]
        roots = (self.method, self.source, self.schedule, *placed, *self.metrics, *self.watch)
        return set().union(*(root.plugins() for root in roots))


def resolve(document: Mapping[str, Any], registry: Registry, plugins: Sequence[str] = ()) -> Recipe:
    """Finds every component and checks every value. Raises I2IError with all mistakes, each with its path.

    Args:
        document: a recipe as `layers.read` gives it.
        plugins: names of the loaded ones, for `requires`.
    """
    problems: list[Problem] = []
    check_required(document, plugins, problems)
    method = resolve_method(document, registry, problems)
    if component := _method_component(document, registry):
        _check_tables(document, component.slots, problems)

    data = dict(_table(document, "data", problems))
    source = registry.settle(Slot("source"), None, data.pop("source", {}), "data.source", problems)
    data_options = validate(DataOptions, data, "data", problems, also=("source",))

    optim_table = optim.complete(_table(document, "optim", problems))
    optim.check(optim_table, problems)

    schedule = dict(_table(document, "schedule", problems))
    keys = {k: schedule.pop(k) for k in list(schedule) if k in Length.model_fields}
    length = validate(Length, keys, "schedule", problems)
    if length and length.in_steps and (length.n_epochs is not None or length.n_epochs_decay is not None):
        problems.append(Problem("schedule", "is given in epochs and in steps; keep n_epochs… or n_steps…"))
    schedule_builder = registry.settle(Slot("schedule"), None, {"name": "linear", **schedule}, "schedule", problems)

    train = validate(TrainOptions, _table(document, "train", problems), "train", problems)
    augment = read_list(document, "augment", "augmentation", AugmentOptions, registry, problems)
    extra_losses = read_list(document, "extra_loss", "loss", ExtraLossOptions, registry, problems)
    labels = [label(extra) for extra in extra_losses]
    for twice in {name for name in labels if labels.count(name) > 1}:
        problems.append(Problem("extra_loss", f"two are called {twice!r}; give each a label"))
    judging = dict(_table(document, "eval", problems))
    metrics = _settle_all("metric", judging.pop("metrics", None), DEFAULT_METRICS, "eval.metrics", registry, problems)
    evaluation = validate(EvalOptions, judging, "eval", problems, also=("metrics",))
    if evaluation and evaluation.patience and not evaluation.best_by:
        problems.append(Problem("eval.patience", "waits for a better value; name the metric: best_by"))
    watching = tables(document, "watch", problems)
    watch = _settle_all("watcher", watching, (), "watch", registry, problems)
    for name in {*DEFAULT_WATCHERS} & {*registry.names("watcher")} - {w.component.name for w in watch}:
        watch += (registry.resolve("watcher", name, "watch"),)
    if problems:
        raise I2IError(*problems)
    assert method and source and data_options and schedule_builder and length and train and evaluation
    return Recipe(
        method, source, data_options, optim_table, schedule_builder, length, train,
        extra_losses, augment, metrics, evaluation, watch,
    )  # fmt: skip


def _settle_all(
    kind: str, specs: Any, defaults: Sequence[str], where: str, registry: Registry, problems: list[Problem]
) -> tuple[Builder, ...]:
    """A list of components; those of `defaults` that are registered if it is None."""
    if specs is None:
        specs = [name for name in defaults if name in registry.names(kind)]
    elif not isinstance(specs, list):
        problems.append(Problem(where, "is a list of components"))
        return ()
    found = [registry.settle(Slot(kind), None, spec, f"{where}.{i}", problems) for i, spec in enumerate(specs)]
    return tuple(builder for builder in found if builder)


def resolve_method(
    document: Mapping[str, Any], registry: Registry, problems: list[Problem], *, translating: bool = False
) -> Builder | None:
    """The method with its slots, which stand as tables beside it; or with those alone that its translators need."""
    table = dict(_table(document, "method", problems))
    if component := _method_component(document, registry):
        component = component.translating() if translating else component
        for slot in component.slots.keys() & table.keys():
            problems.append(Problem(f"method.{slot}", f"is a slot; write it as a table of its own, [{slot}]"))
            del table[slot]
        table |= {slot: document[slot] for slot in component.slots if slot in document}
        return registry.fill(component, table, "method", problems)
    return registry.settle(Slot("method"), None, table, "method", problems)


def _method_component(document: Mapping[str, Any], registry: Registry) -> Component | None:
    """The method that a recipe names, if there is one of that name; `resolve_method` says what is wrong otherwise."""
    table = document.get("method")
    name = table.get("name") if isinstance(table, Mapping) else table
    try:
        return registry.get("method", name) if isinstance(name, str) else None
    except I2IError:
        return None


def needs_pairs(document: Mapping[str, Any], registry: Registry) -> bool:
    """Whether the method that a recipe names is learned from pairs."""
    component = _method_component(document, registry)
    return bool(component and getattr(component.factory, "paired", False))


def check_required(document: Mapping[str, Any], plugins: Sequence[str], problems: list[Problem]) -> None:
    """Adds a problem for every plugin in `requires` that is not among the loaded `plugins`."""
    required = document.get("requires", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        problems.append(Problem("requires", f"must be a list of plugin names, not {required!r}"))
        return
    for name in required:
        if name not in plugins:
            problems.append(Problem("requires", f"plugin {name!r} is not loaded; add -p {name}.py, or install it"))


def _check_tables(document: Mapping[str, Any], slots: Mapping[str, Any], problems: list[Problem]) -> None:
    known = {*RESERVED_TABLES, *slots, "requires"}
    for key in document:
        if key not in known:
            problems.append(Problem(key, f"is no table of this method{suggest(key, known)}"))


def _table(document: Mapping[str, Any], key: str, problems: list[Problem]) -> Mapping[str, Any]:
    value = document.get(key, {})
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, Mapping):
        problems.append(Problem(key, f"must be a table, not {value!r}"))
        return {}
    return value
