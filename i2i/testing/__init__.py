"""The contract of every kind of component, as checks that a plugin's author runs: `i2i plugin check`, or in a test:

from i2i.testing import check

def test_contract():
    assert check("discriminator", Colour) == []
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import torch

from i2i.component import KINDS, Component, Factory, describe
from i2i.errors import I2IError, suggest
from i2i.registry import Registry
from i2i.testing import augmentations, games, losses, metrics, networks, parts, runs

Build = Callable[..., Any]
Check = Callable[[Build], Iterator[str]]

SUMMARY_LENGTH = 100
"""Characters that `i2i list` has for the first line of a docstring."""

CHECKS: Mapping[str, Sequence[Check]] = {
    "method": games.METHOD,
    "generator": networks.GENERATOR,
    "discriminator": networks.DISCRIMINATOR,
    "network": networks.NETWORK,
    "normalization": networks.NORMALIZATION,
    "loss": losses.PAIR,
    "adversarial_loss": losses.ADVERSARIAL,
    "buffer": parts.BUFFER,
    "initialization": parts.INITIALIZATION,
    "schedule": runs.SCHEDULE,
    "source": runs.SOURCE,
    "augmentation": augmentations.AUGMENTATION,
    "metric": metrics.METRIC,
    "watcher": runs.WATCHER,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One broken promise: a plain sentence, the component, and the file and line to look at."""

    component: str
    message: str
    place: str

    def __str__(self) -> str:
        return f"{self.component}: {self.message} ({self.place})"


def check(kind: str, factory: Factory, options: Mapping[str, Any] | None = None) -> list[Failure]:
    """Checks a class or function against what its kind promises; needs no registration.

    Args:
        kind: `discriminator`, `loss`, … as in `i2i list`.
        factory: what a plugin's hook returns.
        options: keyword arguments for it; its defaults if left out.

    Returns:
        What is broken, best read as text; empty if all is well. Raises I2IError for an unknown kind.
    """
    if kind not in KINDS:
        raise I2IError(f"there is no kind {kind!r}{suggest(kind, KINDS)}")
    name = getattr(factory, "__name__", "component").lower()
    try:
        component = describe(KINDS[kind], name, factory, "check")
    except I2IError as error:
        return [Failure(f"{kind} {name!r}", p.message, _place(factory)) for p in error.problems]
    return _run(component, partial(factory, **(options or {})))


def check_component(
    component: Component, registry: Registry, options: Mapping[str, Any] | None = None
) -> list[Failure]:
    """As `check`, for a registered component; `options` are what a recipe would say, slots included."""
    spec = {"name": registry.name_of(component), **(options or {})}
    return _run(component, registry.resolve(component.kind.name, spec, component.name))


def _run(component: Component, build: Build) -> list[Failure]:
    title, dtype = f"{component.kind.name} {component.name!r}", torch.get_default_dtype()
    failures = []
    if len(component.summary) > SUMMARY_LENGTH:
        message = f"the first line of its docstring has {len(component.summary)} characters, more than {SUMMARY_LENGTH}"
        failures.append(Failure(title, message, _place(component.factory)))
    for one in CHECKS[component.kind.name]:
        try:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.manual_seed(0)
                failures += [Failure(title, message, _place(component.factory)) for message in one(build)]
        except Exception as error:  # whatever a plugin raises is what its author has to read
            about = (inspect.getdoc(one) or "").split(".")[0].lower()
            text = str(error).strip().splitlines()[0] if str(error).strip() else ""
            message = f"raised {type(error).__name__}: {text} (while checking that {about})"
            failures.append(Failure(title, message, _place(component.factory, error.__traceback__)))
            if one is CHECKS[component.kind.name][0]:  # what cannot be built cannot be checked further
                break
        finally:
            torch.set_default_dtype(dtype)
    return failures


def _place(factory: Factory, trace: TracebackType | None = None) -> str:
    """File and line: the innermost of the factory's file in a trace, else where the factory begins."""
    try:
        file, line = inspect.getsourcefile(factory) or "?", inspect.getsourcelines(factory)[1]
    except (TypeError, OSError):
        return "?"
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{file}:{line}"
