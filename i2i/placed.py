"""Components that a recipe lists with their place in the training: `[[extra_loss]]` and `[[augment]]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Generic, Literal, TypeVar

import numpy as np
import torch
from annotated_types import Gt, Le

from i2i.data.augment import Augment, Augmentation, misfit
from i2i.errors import I2IError, Problem
from i2i.options import Options, validate
from i2i.registry import Builder, Registry
from i2i.slots import Slot

Place = TypeVar("Place", bound=Options)


class ExtraLossOptions(Options):
    """`[[extra_loss]]` without the loss itself: where a pair loss is added."""

    weight: Annotated[float, Gt(0)] = 1.0
    between: tuple[str, str] | tuple[str, str, str]
    player: str
    label: str | None = None


class AugmentOptions(Options):
    """`[[augment]]` without the augmentation itself: whose images are changed, and how often."""

    probability: Annotated[float, Gt(0), Le(1)] = 1.0
    domain: Literal["both", "a", "b"] = "both"
    shared: bool = True


@dataclass(frozen=True)
class Placed(Generic[Place]):
    """A component and its place."""

    component: Builder
    options: Place

    def document(self) -> dict[str, Any]:
        return self.component.spec() | self.options.model_dump(mode="json")


def augment(placed: Placed[AugmentOptions], channels: tuple[int, int]) -> Augment:
    """The augmentation, built, and tried on as many channels as its domains have. Raises I2IError."""
    options = placed.options
    augmentation: Augmentation = replace(placed.component, needs=Augmentation)()
    for domain, n in zip("ab", channels, strict=True):
        if options.domain in ("both", domain):
            drawn, trial = augmentation.draw(np.random.default_rng(0)), torch.zeros(n, 16, 16, dtype=torch.uint8)
            try:
                wrong = misfit(augmentation.image(trial, drawn), trial)
            except ValueError as error:
                raise I2IError(Problem(placed.component.where, str(error))) from error
            if wrong:
                raise I2IError(Problem(placed.component.where, f"image() {wrong}"))
    return Augment(augmentation, options.probability, options.domain, options.shared)


def label(extra: Placed[ExtraLossOptions]) -> str:
    """What the term of an extra loss is called in the log."""
    return extra.options.label or extra.component.qualified


def read_list(
    document: Mapping[str, Any],
    key: str,
    kind: str,
    place: type[Place],
    registry: Registry,
    problems: list[Problem],
) -> tuple[Placed[Place], ...]:
    """The tables `[[key]]`: each a component of this kind, and its place. Adds what is wrong to `problems`."""
    found: list[Placed[Place]] = []
    for i, table in enumerate(tables(document, key, problems)):
        where = f"{key}.{i}"
        if not isinstance(table, Mapping):
            problems.append(Problem(where, f"must be a table, not {table!r}"))
            continue
        placing = {k: v for k, v in table.items() if k in place.model_fields}
        options = validate(place, placing, where, problems)
        rest = {k: v for k, v in table.items() if k not in placing}
        component = registry.settle(Slot(kind), None, rest, where, problems)
        if options and component:
            found.append(Placed(component, options))
    return tuple(found)


def tables(document: Mapping[str, Any], key: str, problems: list[Problem]) -> list[Any]:
    """The list `[[key]]`, empty if it is none."""
    value = document.get(key, [])
    if not isinstance(value, list):
        problems.append(Problem(key, f"is a list of tables; write [[{key}]]"))
        return []
    return value
