"""Components of one kind side by side: what they cost, what they see, and their options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from i2i import layers
from i2i.component import Kind
from i2i.errors import I2IError, Problem, suggest
from i2i.manual import find, toml
from i2i.measure import Timing, feature_maps, gmacs, in_bytes, n_parameters, pass_memory, three_digits, timing
from i2i.receptive_field import ReceptiveField, receptive_field
from i2i.registry import Builder, Registry

NORM_SHAPE = (1, 64, 64, 64)
"""What normalizations are measured on, whatever the size: (N, C, H, W)."""
N_STEPS = (100_000, 100_000)
"""Steps of the constant part and of the decay at which schedules are compared."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A component with what was measured; None where it makes no sense for its kind, or did not run.

    Args:
        input, output: shapes of what it was measured on, and of its output maps.
        memory: peak bytes of a forward and backward pass, with weights and their gradients.
        factors: of a schedule, after 0, 25, 50, 75 and 100 % of the steps.
    """

    name: str
    plugin: str
    options: Mapping[str, Any]
    parameters: int | None = None
    input: tuple[int, ...] | None = None
    gmacs: float | None = None
    output: tuple[tuple[int, ...], ...] | None = None
    field: ReceptiveField | None = None
    memory: int | None = None
    timing: Timing | None = None
    factors: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the comparison; `best` are the places of the lowest values, none where all are equal."""

    label: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


def builders(registry: Registry, kinds: Sequence[Kind], names: Sequence[str], settings: Sequence[str]) -> list[Builder]:
    """Builders of these components, with options set by `NAME.key=value`. Raises I2IError with every mistake."""
    tables: dict[str, Any] = {name: {"name": name} for name in names}
    for setting in settings:
        layer = layers.parse_setting(setting, tables)
        (name,) = layer
        if name not in tables:
            raise I2IError(Problem(f"--set {setting}", f"{name!r} is not compared here{suggest(name, tables)}"))
        tables = layers.merge(tables, layer)
    components = {name: find(registry, kinds, name) for name in names}
    if len({c.kind for c in components.values()}) > 1:
        told = ", ".join(f"{name!r} is of kind {c.kind.name}" for name, c in components.items())
        raise I2IError(f"these are of different kinds and cannot stand for each other: {told}")
    problems: list[Problem] = []
    found: list[Builder] = []
    for name, component in components.items():
        try:
            found.append(registry.resolve(component.kind.name, tables[name], name))
        except I2IError as error:
            problems.extend(error.problems)
    if problems:
        raise I2IError(*problems)
    return found


def measure(builder: Builder, registry: Registry, *, size: int, channels: int, device: torch.device) -> Measured:
    """Builds a component and measures it on one image of `size` px. Raises I2IError if it does not take that size."""
    kind, name = builder.component.kind.name, builder.qualified
    common: dict[str, Any] = {"name": name, "plugin": builder.component.plugin, "options": _options(builder)}
    wired = {"channels": NORM_SHAPE[1], "n_steps": N_STEPS[0], "n_steps_decay": N_STEPS[1]}
    if kind in ("source", "augmentation", "watcher", "initialization"):
        return Measured(**common)
    built = builder(*(wired.get(argument, channels) for argument in builder.component.kind.wired))
    if kind == "schedule":
        return Measured(**common, factors=tuple(float(built(sum(N_STEPS) * i // 4)) for i in range(5)))
    weights = 0
    if isinstance(built, nn.Module):
        built.to(device)
        weights = sum(p.nbytes for p in built.parameters())
        common["parameters"] = n_parameters(built)
    if kind == "method":
        return Measured(**common)
    generator = torch.Generator().manual_seed(0)
    shape = NORM_SHAPE if kind == "normalization" else (1, channels, size, size)
    images = (torch.rand(shape, generator=generator) * 2 - 1).to(device)
    f = _as_function(kind, built, images)
    try:
        images.requires_grad_()
        shapes: list[tuple[int, ...]] = []
        if kind in ("generator", "discriminator", "network"):
            common["gmacs"] = gmacs(lambda x: shapes.extend(tuple(m.shape) for m in feature_maps(f(x))), images)
            common["output"] = tuple(shapes)
            common["field"] = _field(built, channels, registry)
        memory = pass_memory(f, images) + weights
        return Measured(**common, input=shape, memory=memory, timing=timing(f, images))
    except (RuntimeError, ValueError, TypeError) as error:
        if kind not in ("generator", "discriminator", "normalization"):
            return Measured(**common)  # it takes something else than images
        message = f"does not take {' x '.join(map(str, shape))}; choose another --size ({_first_line(error)})"
        raise I2IError(Problem(name, message)) from error


def _as_function(kind: str, built: Any, images: Tensor) -> Callable[[Tensor], Any]:
    """What is run and timed, as a function of one tensor."""
    if kind == "loss":
        target = images.flip(-1)
        return lambda x: built(x, target)
    if kind == "adversarial_loss":
        real, judge = images.flip(-1), nn.LeakyReLU(1.0)  # the images are their own scores, behind an activation
        return lambda x: [side(judge, real, x) for side in (built.for_generator, built.for_discriminator)]
    return lambda x: built(x)


def _field(module: nn.Module, channels: int, registry: Registry) -> ReceptiveField | None:
    registered = tuple(c.factory for c in registry.components("normalization") if isinstance(c.factory, type))
    try:
        return receptive_field(module, channels, normalizations=registered)
    except (RuntimeError, ValueError):
        return None


def _options(builder: Builder) -> dict[str, Any]:
    """Every option by its path: `norm` is "group", `norm.groups` is 32."""
    return dict(_flat(builder.spec(), ""))


def _flat(spec: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in spec.items():
        if key == "name":
            continue
        if isinstance(value, Mapping) and "name" in value:
            yield path + key, value["name"]
            yield from _flat(value, f"{path}{key}.")
        else:
            yield path + key, value


def rows(measured: Sequence[Measured]) -> list[Row]:
    """The table, without the lines that say nothing."""
    table = [
        _row("parameters", [m.parameters for m in measured], lambda v: f"{v:,}"),
        _row("GMACs", [m.gmacs for m in measured], three_digits),
        Row("output", tuple(_shapes(m.output) for m in measured)),
        Row("receptive field", tuple(_seen(m.field) for m in measured)),
        _row("memory", [m.memory for m in measured], in_bytes),
        _row("forward", [m.timing and m.timing.forward for m in measured], lambda v: f"{three_digits(v)} ms"),
        _row("backward", [m.timing and m.timing.backward for m in measured], lambda v: f"{three_digits(v)} ms"),
    ]
    if any(m.factors for m in measured):
        table += [
            Row(f"rate after {25 * i} %", tuple(three_digits(m.factors[i]) for m in measured if m.factors))
            for i in range(5)
        ]
    for option in dict.fromkeys(key for m in measured for key in m.options):
        table.append(Row(option, tuple(_plain(m.options.get(option)) for m in measured)))
    return [row for row in table if any(row.cells)]


def notes(measured: Sequence[Measured], device: torch.device) -> list[str]:
    """What the marks in the table mean, and what was measured on what."""
    found = ["* lowest of its row"] if any(row.best for row in rows(measured)) else []
    coupling = sorted({m.field.coupled_by for m in measured if m.field and m.field.coupled_by})
    if coupling:
        found.append(
            f"+ statistics of {' and '.join(coupling)} run over the whole image in training: every output depends a "
            "little on all pixels. The receptive field is that without them."
        )
    if shape := next((m.input for m in measured if m.input), None):
        text = f"Input {' x '.join(map(str, shape))}, float32, on {device}."
        found.append(text + " Memory is the peak of a forward and a backward pass, with weights and gradients.")
    return found


def _row(label: str, values: Sequence[Any], text: Callable[[Any], str]) -> Row:
    known = [v for v in values if v is not None]
    lowest = min(known, default=None)
    best = frozenset(i for i, v in enumerate(values) if v is not None and v == lowest)
    if len(best) == len(known):
        best = frozenset()
    return Row(label, tuple("" if v is None else text(v) for v in values), best)


def _shapes(shapes: tuple[tuple[int, ...], ...] | None) -> str:
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes or ())


def _seen(field: ReceptiveField | None) -> str:
    if field is None:
        return ""
    return f"{field} +" if field.coupled_by else str(field)


def _plain(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else toml(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
