"""Kinds and components: what a factory's signature says about it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, NoReturn, get_args, get_origin

from pydantic.errors import PydanticUserError
from torch import nn

from i2i.errors import I2IError, Problem
from i2i.layers import RESERVED_TABLES
from i2i.options import Options, options_model, validate
from i2i.slots import Slot

Factory = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of component: its name, the hook that registers it, and what the engine passes, in this order."""

    name: str
    plural: str
    wired: tuple[str, ...] = ()

    @property
    def hook(self) -> str:
        return f"register_{self.plural}"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("method", "methods", ("channels_a", "channels_b")),
        Kind("generator", "generators", ("in_channels", "out_channels")),
        Kind("discriminator", "discriminators", ("in_channels",)),
        Kind("network", "networks", ("in_channels", "out_channels")),
        Kind("normalization", "normalizations", ("channels",)),
        Kind("loss", "losses"),
        Kind("adversarial_loss", "adversarial_losses"),
        Kind("buffer", "buffers"),
        Kind("initialization", "initializations"),
        Kind("schedule", "schedules", ("n_steps", "n_steps_decay")),
        Kind("source", "sources"),
        Kind("augmentation", "augmentations"),
        Kind("metric", "metrics"),
        Kind("watcher", "watchers"),
    )
}


@dataclass(frozen=True, slots=True)
class SlotOption:
    """An option that is filled by a component; `repeated` for a tuple of them."""

    slot: Slot
    default: Any
    repeated: bool = False

    @property
    def defaults(self) -> tuple[Any, ...]:
        return tuple(self.default) if self.repeated else (self.default,)


@dataclass(frozen=True)
class Component:
    """A registered factory with its options (a pydantic model) and slots, both read from its signature."""

    kind: Kind
    name: str
    factory: Factory
    plugin: str
    options: type[Options]
    slots: Mapping[str, SlotOption]

    @property
    def summary(self) -> str:
        return (self.factory.__doc__ or "").strip().splitlines()[0]

    def translating(self) -> Component:
        """A method with nothing in the slots that its translators do without (`Method.translates_with`)."""
        used = getattr(self.factory, "translates_with", None)
        if used is None:
            return self
        empty = {
            name: (partial(Nothing, name),) if option.repeated else partial(Nothing, name)
            for name, option in self.slots.items()
            if name not in used
        }
        slots = {name: option for name, option in self.slots.items() if name in used}
        return replace(self, factory=partial(self.factory, **empty), slots=slots)

    @property
    def source_file(self) -> tuple[str, int]:
        """File and line of the factory."""
        return inspect.getsourcefile(self.factory) or "?", inspect.getsourcelines(self.factory)[1]


class Nothing(nn.Module):
    """Stands in a slot that the translators of a method do without; a translator that needs it all the same says so."""

    def __init__(self, slot: str, *wired: Any) -> None:
        super().__init__()
        self.slot = slot

    def forward(self, *inputs: Any) -> NoReturn:
        message = f"the method translates with its slot {self.slot!r}, which is not named there"
        raise I2IError(Problem("translates_with", message))


def describe(kind: Kind, name: str, factory: Factory, plugin: str) -> Component:
    """Reads a factory's signature. Raises I2IError with everything that breaks the contract of its kind."""
    problems: list[Problem] = []
    where = f"{plugin}: {kind.name} {name!r}"
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        problems.append(Problem(where, "a name has lower-case letters, digits, _ and -"))
    if not callable(factory):
        raise I2IError(Problem(where, f"is {factory!r}, not a class or function"))
    if not (factory.__doc__ or "").strip():
        problems.append(Problem(where, "needs a docstring; `i2i list` prints its first line"))
    bare = getattr(factory, "__init__", None) is nn.Module.__init__  # takes nothing, though its signature says *args
    try:
        parameters = [] if bare else list(inspect.signature(factory, eval_str=True).parameters.values())
    except Exception as error:  # annotations written as strings are code of the plugin's
        problems.append(Problem(where, f"its signature cannot be read: {type(error).__name__}: {error}"))
        raise I2IError(*problems) from error
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) != len(kind.wired):
        expected = ", ".join((*kind.wired, "*"))
        got = ", ".join(p.name for p in positional) or "none"
        problems.append(Problem(where, f"takes ({expected}, options…), but its positional parameters are: {got}"))
    plain: dict[str, tuple[Any, Any]] = {}
    slots: dict[str, SlotOption] = {}
    for p in parameters:
        if p in positional:
            continue
        if p.kind is not p.KEYWORD_ONLY:
            problems.append(Problem(where, f"{p}: options are named one by one, after a *"))
        elif p.name == "name":
            problems.append(Problem(where, "option 'name': there a recipe says which component it is; take another"))
        elif p.annotation is p.empty or p.default is p.empty:
            problems.append(Problem(where, f"option {p.name!r} needs a type and a default"))
        elif slot := _slot(p):
            slots[p.name] = slot
            if kind.name == "method" and p.name in (*RESERVED_TABLES, "extends", "requires"):
                problems.append(Problem(where, f"slot {p.name!r} is the name of a table that every recipe has"))
        elif wrong := _unusable(p):
            problems.append(Problem(where, f"option {p.name!r} {wrong}"))
        else:
            plain[p.name] = (p.annotation, p.default)
    if problems:
        raise I2IError(*problems)
    return Component(kind, name, factory, plugin, options_model(name, plain), slots)


def _unusable(parameter: inspect.Parameter) -> str:
    """Why an option cannot be read from a recipe, if it cannot: its type, or a default of another type."""
    wrong: list[Problem] = []
    try:
        model = options_model("probe", {parameter.name: (parameter.annotation, parameter.default)})
        validate(model, {parameter.name: parameter.default}, "", wrong)
    except (PydanticUserError, TypeError):
        kind = inspect.formatannotation(parameter.annotation)
        return f"has the type {kind}; a recipe holds bool, int, float, str, Literal, and tuple, list and dict of them"
    return "; ".join(f"has a default that does not fit its type: it {problem.message}" for problem in wrong)


def _slot(parameter: inspect.Parameter) -> SlotOption | None:
    annotation, repeated = parameter.annotation, False
    if get_origin(annotation) is tuple and (inner := get_args(annotation))[1:] == (...,):
        annotation, repeated = inner[0], True
    if get_origin(annotation) is Annotated:
        for mark in annotation.__metadata__:
            if isinstance(mark, Slot):
                return SlotOption(mark, parameter.default, repeated)
    return None
