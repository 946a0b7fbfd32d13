"""Checks before the first step: sizes that do not fit, layers that see too little, patches as large as the image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from i2i.data.geometry import Sides
from i2i.errors import I2IError
from i2i.forecast import Forecast
from i2i.measure import in_bytes
from i2i.method import Method, size_multiple
from i2i.receptive_field import receptive_field
from i2i.recipe import Recipe
from i2i.registry import Builder
from i2i.rehearsal import Rehearsal, Shape, Shown, Stage

SMALL_MAP = 4
"""Sides below this give instance normalization so few values that its statistics are noise."""
LARGEST_CROP = 1024
"""Larger sizes are not tried when looking for one that fits, in px."""
LARGEST_PLAYED = 128
"""The same where a step has to be played for real, which takes time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: an error ends the run before it starts, a warning is told."""

    level: Literal["error", "warning"]
    where: str
    message: str


def examine(
    method: Method,
    *,
    crop_size: int | Sides,
    channels: tuple[int, int],
    batch_size: int = 1,
    builder: Builder | None = None,
    largest: Sides | None = None,
    size_key: str = "data.crop_size",
) -> list[Finding]:
    """Checks a built method against the images it will be trained on.

    A copy plays one step with grey images and made-up extras; the method and torch's generators stay as they are.

    Args:
        crop_size: height and width of the images, in px; where nothing is cropped, of the smallest.
        channels: of both domains.
        batch_size: images per batch.
        builder: what the method was built by, to say how many layers of a discriminator would fit.
        largest: height and width of the largest image, where sizes differ from step to step.
        size_key: what in the recipe makes the images as large as they are.
    """
    sides = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
    if wrong := list(_multiples(method, sides)):
        return wrong
    stage = Stage(method, Shown(channels, batch_size))
    seen = stage.play(sides)
    if seen.error is None and largest not in (None, sides) and (uneven := stage.play(sides, largest)).error is not None:
        return [_uneven(sides, uneven)]
    layers = dict(method.named_modules())
    findings = [*_failure(method, seen, stage, size_key), *_normalizations(method, layers, seen, stage)]
    return [*findings, *_fields(method, layers, seen, builder)]


def shortage(step: Forecast, free: int, recipe: Recipe) -> list[Finding]:
    """A warning if a step takes more memory than the `free` bytes that there are, and what would need less."""
    if step.growth <= free:
        return []
    data, train = recipe.data, recipe.train
    helps = [f"a smaller {data.size_key}"]
    if data.batch_size > 1:
        helps.append(f"data.batch_size = 1 with train.accumulate = {data.batch_size * train.accumulate}")
    if not train.checkpoint_activations:
        helps.append("train.checkpoint_activations = true")
    needs = f"training takes about {in_bytes(step.growth)} of memory, and {in_bytes(free)} are free"
    return [Finding("warning", "train", f"{needs}; less need {', '.join(helps)}")]


def _uneven(smallest: Sides, seen: Rehearsal) -> Finding:
    message = f"a step with images of {_px(seen.sides)} fails after one of {_px(smallest)}: {seen.error}"
    return Finding("error", "data.preprocess", f"{message}; take a preprocess that crops, or no buffer of images")


def _px(sides: Sides) -> str:
    return f"{sides[0]} px" if sides[0] == sides[1] else f"{sides[1]}x{sides[0]} px"


def _multiples(method: Method, sides: Sides) -> Iterator[Finding]:
    names = {module: name for name, module in method.named_modules()}
    told: dict[int, list[str]] = {}
    for direction, translator in method.translators().items():
        told.setdefault(size_multiple(translator), []).append(names.get(translator, f"the translator {direction}"))
    for multiple, translators in told.items():
        for side in sorted({side for side in sides if side % multiple}):
            below = side // multiple * multiple
            fitting = f"{below} or {below + multiple}" if below else f"{multiple}"
            who = f"{' and '.join(translators)} need{'s' if len(translators) == 1 else ''}"
            yield Finding("error", "data.crop_size", f"{who} a multiple of {multiple}, not {side}: {fitting}")


def _failure(method: Method, seen: Rehearsal, stage: Stage, size_key: str) -> Iterator[Finding]:
    error = seen.error
    if isinstance(error, I2IError):
        yield from (Finding("error", p.where, p.message) for p in error.problems)
    elif error is not None:
        layer = f" (in {seen.failed_in})" if seen.failed_in else ""
        least = _least(method, min(seen.sides), stage)
        if least is None:
            reason = f"{type(error).__name__}: {error}"
            yield Finding("error", "method", f"a step with images of {_px(seen.sides)} fails{layer}: {reason}")
        else:
            message = f"images of {_px(seen.sides)} are too small for this method{layer}; at least {least} px"
            yield Finding("error", size_key, message)


def _normalizations(
    method: Method, layers: Mapping[str, nn.Module], seen: Rehearsal, stage: Stage
) -> Iterator[Finding]:
    single: dict[str, list[str]] = {}
    small: dict[str, list[str]] = {}
    for name, shapes in seen.inputs.items():
        for shape in shapes:
            if _n_values(layers[name], shape) == 1:
                single.setdefault(f"{type(layers[name]).__name__} sees {_maps(shape)}", []).append(name)
            elif isinstance(layers[name], _InstanceNorm) and 0 < min(shape[2:], default=0) < SMALL_MAP:
                small.setdefault(f"{type(layers[name]).__name__} sees {_maps(shape)}", []).append(name)
    if single:
        least = _least(method, min(seen.sides), stage)
        larger = f"crops of at least {least} px" if least else "larger crops"
        for what, names in single.items():
            why = "the mean of one value is the value, so that nothing is left of it"
            yield Finding(
                "error", names[0], f"{what}: {why}{_also(names)}; take {larger}, fewer layers or another norm"
            )
    for what, names in small.items():
        yield Finding(
            "warning", names[0], f"{what}, so few values that their statistics are mostly noise{_also(names)}"
        )


def _maps(shape: Shape) -> str:
    return f"maps of {' x '.join(map(str, shape[2:]))}" if len(shape) > 2 else "vectors"


def _also(names: list[str]) -> str:
    others = names[1:]
    if not others:
        return ""
    return f" (the same in {others[0]})" if len(others) == 1 else f" (the same in {len(others)} other layers)"


def _n_values(layer: nn.Module, shape: Shape) -> int | None:
    """How many values each statistic of a normalization is taken over; None for other layers."""
    n_pixels = math.prod(shape[2:])
    if isinstance(layer, _InstanceNorm):
        return n_pixels
    if isinstance(layer, _BatchNorm) and layer.training:  # a frozen one has its statistics already
        return n_pixels * shape[0]
    if isinstance(layer, nn.GroupNorm):
        return n_pixels * (layer.num_channels // layer.num_groups)
    return None


def _least(method: Method, size: int, stage: Stage) -> int | None:
    """The smallest crop above `size` that a step gets through; None if there is none, or if trying would take long."""
    found = _least_on("meta", LARGEST_CROP, method, size, stage)
    return found if found is not None else _least_on("cpu", LARGEST_PLAYED, method, size, stage)


def _least_on(device: Literal["meta", "cpu"], largest: int, method: Method, size: int, stage: Stage) -> int | None:
    unit = size_multiple(*method.translators().values())
    layers = dict(method.named_modules())

    def fits(n_units: int) -> bool:
        seen = stage.try_out((n_units * unit, n_units * unit), on=device)
        shapes = ((layers[name], shape) for name, shapes in seen.inputs.items() for shape in shapes)
        return seen.error is None and all(_n_values(layer, shape) != 1 for layer, shape in shapes)

    low = size // unit
    high = max(2 * low, 1)
    while high * unit <= largest and not fits(high):
        low, high = high, 2 * high
    if high * unit > largest:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high * unit


def _fields(
    method: Method, layers: Mapping[str, nn.Module], seen: Rehearsal, builder: Builder | None
) -> Iterator[Finding]:
    """Discriminators whose scores all see the whole crop: those are players' modules that make one map of images."""
    translating = {m for translator in method.translators().values() for m in translator.modules()}
    learning = {m for modules in method.players().values() for m in modules}
    norms = _normalization_classes(builder)
    told: dict[tuple[str, int], list[str]] = {}
    for name, layer in layers.items():
        shapes = [s for s in seen.inputs.get(name, ()) if s[2:] == seen.sides]
        scores = [s for s in seen.outputs.get(name, ()) if len(s) == 4 and s[1] == 1 and s[2:].count(1) < 2]
        if layer not in learning or not shapes or not scores or translating & {*layer.modules()}:
            continue
        try:
            field = receptive_field(layer, shapes[0][1], normalizations=norms)
        except Exception:  # it takes something else than one image
            continue
        if field.pixels is None or field.pixels > min(seen.sides):
            told.setdefault((str(field), shapes[0][1]), []).append(name)
    for (sees, n_channels), names in told.items():
        message = (
            f"each score sees {sees}, more than a crop of {_px(seen.sides)}: it judges the whole image and not a patch"
            f"{_also(names)}{_fewer_layers(builder, n_channels, min(seen.sides))}"
        )
        yield Finding("warning", names[0], message)


def _fewer_layers(builder: Builder | None, channels: int, size: int) -> str:
    """Which `n_layers` of a discriminator would see less than the crop, where it has such an option."""
    for b in builder.walk() if builder else ():
        n_layers = b.options.get("n_layers")
        if b.component.kind.name != "discriminator" or not isinstance(n_layers, int):
            continue
        for fewer in range(n_layers - 1, 0, -1):
            with torch.random.fork_rng(devices=[]):
                smaller = b.component.factory(channels, **{**b.options, "n_layers": fewer})
            field = receptive_field(smaller, channels, normalizations=_normalization_classes(builder))
            if field.pixels is not None and field.pixels <= size:
                return f"; {b.where}.n_layers = {fewer} sees {field}"
    return ""


def _normalization_classes(builder: Builder | None) -> tuple[type[nn.Module], ...]:
    """Those that the method was built with, for receptive fields without them."""
    factories = (
        (b.component.factory for b in builder.walk() if b.component.kind.name == "normalization") if builder else ()
    )
    return tuple(f for f in factories if isinstance(f, type))
