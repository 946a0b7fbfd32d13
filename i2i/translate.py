"""Translators: networks that carry their recipe in their weights file, and images through them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from i2i import __version__, checkpoint
from i2i.data.table import DataOptions
from i2i.device import memory_is_full
from i2i.errors import I2IError, Problem
from i2i.files import write_tensors
from i2i.images.intake import Intake
from i2i.method import Method, size_multiple
from i2i.options import validate
from i2i.recipe import check_required, resolve_method
from i2i.registry import Registry
from i2i.run import Run

Direction = Literal["ab", "ba"]


@dataclass(frozen=True)
class Translator:
    """A network from one domain to the other, ready for images of any size.

    Args:
        module: from (N, n_in, H, W) to (N, n_out, H, W), in [-1, 1].
        names: of the domain it takes and of the one it gives.
        intakes: the channels and values of both.
        direction: from domain a to domain b, or back.
    """

    module: nn.Module
    names: tuple[str, str] = ("a", "b")
    intakes: tuple[Intake, Intake] = (Intake(), Intake())
    direction: Direction = "ab"

    @property
    def device(self) -> torch.device:
        """Where the module computes."""
        return next(self.module.parameters()).device

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(N, n_in, H, W) to (N, n_out, H, W), in [-1, 1], float32, in evaluation mode, the random state untouched.

        Sizes other than multiples of the network's `size_multiple` are padded by reflection and cropped back. Raises
        I2IError for images that are too small.
        """
        height, width = images.shape[-2:]
        multiple = size_multiple(self.module)
        padding = (0, -width % multiple, 0, -height % multiple)
        with evaluating(self.module):
            try:
                padded = F.pad(images, padding, mode="reflect") if any(padding) else images
                out: Tensor = self.module(padded)
            except (RuntimeError, ValueError) as error:
                if min(height, width) >= max(32, multiple) or memory_is_full(error):
                    raise
                message = f"{width}x{height} px is too small for this network; enlarge the image"
                raise I2IError(Problem("image", message)) from error
        return out[..., :height, :width].float()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and a copy of the random state, for as long as the block lasts."""
    modes = {m: m.training for m in module.modules()}
    device = next(module.parameters()).device
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            module.eval()
            yield
    finally:
        for m, training in modes.items():
            m.training = training


def save_translator(
    path: Path, module: nn.Module, *, recipe: Mapping[str, Any], direction: str, step: int, names: tuple[str, str]
) -> None:
    """Writes weights that describe themselves: the resolved recipe travels in the metadata. Raises OSError."""
    about = {"i2i": __version__, "direction": direction, "step": step, "names": list(names), "recipe": recipe}
    write_tensors(path, module.state_dict(), {"i2i": json.dumps(about)})


def described(path: Path) -> dict[str, Any]:
    """What a weights file says of itself: recipe, direction, step, names. Raises I2IError for any other file."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("i2i", "null"))
    except (OSError, SafetensorError, ValueError) as error:
        raise I2IError(Problem(str(path), f"is no safetensors file, or is damaged: {error}")) from None
    if not isinstance(about, dict) or not {"recipe", "direction", "names"} <= about.keys():
        message = (
            "says nothing of its recipe; i2i writes it into ab.safetensors and ba.safetensors, and `i2i import` too"
        )
        raise I2IError(Problem(str(path), message))
    return about


def load_translator(path: Path, registry: Registry, plugins: Mapping[str, Any]) -> Translator:
    """A translator from its weights file. Raises I2IError for any other file and for plugins that are missing."""
    about, weights = described(path), load_file(path)
    return build_translator(about["recipe"], about["direction"], weights, about["names"], registry, plugins, str(path))


def build_translator(
    recipe: Mapping[str, Any],
    direction: Direction,
    weights: Mapping[str, Tensor],
    names: tuple[str, str],
    registry: Registry,
    plugins: Mapping[str, Any],
    where: str,
) -> Translator:
    """A translator from a recipe and weights: the method is laid out without memory, then given the weights."""
    method, intakes = _lay_out(recipe, direction, registry, plugins, where)
    module = method.translators()[direction]
    try:
        module.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise I2IError(Problem(where, f"the weights do not fit the recipe: {error}")) from None
    module.eval().requires_grad_(False)
    if direction == "ab":
        return Translator(module, (names[0], names[1]), intakes, "ab")
    return Translator(module, (names[1], names[0]), (intakes[1], intakes[0]), "ba")


def _lay_out(
    recipe: Mapping[str, Any], direction: Direction, registry: Registry, plugins: Mapping[str, Any], where: str
) -> tuple[Method, tuple[Intake, Intake]]:
    """The method of a recipe, without memory, and what its domains a and b take.

    Raises I2IError if a plugin is missing or it does not translate so.
    """
    problems: list[Problem] = []
    check_required(recipe, list(plugins), problems)
    builder = resolve_method(recipe, registry, problems) if not problems else None
    table = {key: value for key, value in recipe.get("data", {}).items() if key != "source"}
    options = validate(DataOptions, table, "data", problems)
    if problems or builder is None or options is None:
        raise I2IError(*(Problem(f"{where}: {p.where}", p.message) for p in problems))
    with torch.device("meta"):
        method: Method = builder(*options.both_channels)
    if direction not in (translators := method.translators()):
        what = f"does not translate {direction[0]} to {direction[1]}" if translators else "translates nothing"
        raise I2IError(Problem(where, f"its method, {builder.qualified}, {what}"))
    return method, options.intakes


def find_translator(
    source: Path, registry: Registry, plugins: Mapping[str, Any], *, to: str | None = None, at: str = "latest"
) -> Translator:
    """A translator from a run or a weights file.

    Args:
        source: a run's folder or a safetensors file.
        to: the domain to translate to, `a`, `b` or its name; a run translates to b by default.
        at: `latest`, `best` (by the metric that the recipe names), or the step of a checkpoint.

    Raises I2IError.
    """
    if source.is_file():
        translator = load_translator(source, registry, plugins)
        if at != "latest":
            raise I2IError(Problem("--checkpoint", "goes with a run, not with a weights file"))
        there = translator.names if translator.direction == "ab" else translator.names[::-1]
        if to is not None and direction_to(to, there) != translator.direction:
            raise I2IError(Problem("--to", f"{source.name} translates to {translator.names[1]!r}, not to {to!r}"))
        return translator
    run = Run.open(source)
    recipe = run.recipe
    names = tuple(recipe["data"]["names"])
    direction = direction_to(to, names)
    if at in ("latest", "best"):
        path = run.weights(direction, best=at == "best")
        if not path.is_file():
            _lay_out(recipe, direction, registry, plugins, str(source))  # says so if there can be none
            why = "the run stopped before its first save"
            if at == "best":
                why = "the run kept none: it judged nothing yet, or its recipe has no eval.best_by"
            raise I2IError(Problem(str(path), f"is not there; {why}"))
        return load_translator(path, registry, plugins)
    have = checkpoint.steps(run.checkpoints)
    if not at.isdigit() or int(at) not in have:
        raise I2IError(
            Problem("--checkpoint", f"{at!r} is not there; there is: {', '.join(['latest', 'best', *map(str, have)])}")
        )
    state, _ = checkpoint.load(checkpoint.folder_of(run.checkpoints, int(at)))
    method, _ = _lay_out(recipe, direction, registry, plugins, str(source))
    weights = _weights_in(state, direction, method)
    return build_translator(recipe, direction, weights, names, registry, plugins, str(source))


def direction_to(to: str | None, names: tuple[str, ...]) -> Direction:
    """To a domain, `a`, `b` or its name; letters go before names, which may be these letters in another order.

    Raises I2IError if there is none of that name.
    """
    given: dict[str | None, Direction] = {names[0]: "ba", names[1]: "ab", "a": "ba", "b": "ab", None: "ab"}
    if to in given:
        return given[to]
    letters = "" if tuple(names) == ("a", "b") else " (or a, b)"
    raise I2IError(Problem("--to", f"there is no domain {to!r}; there is: {names[0]}, {names[1]}{letters}"))


def _weights_in(state: Mapping[str, Any], direction: Direction, method: Method) -> dict[str, Tensor]:
    """The translator's share of a checkpoint: of its moving average where there is one."""
    if state["average"]:
        prefix = f"{direction}."
        return {k.removeprefix(prefix): v for k, v in state["average"].items() if k.startswith(prefix)}
    names = {id(t): name for name, t in (*method.named_parameters(), *method.named_buffers())}  # shared ones have one
    both = state["parameters"] | state["buffers"]
    module = method.translators()[direction]
    return {k: both[names[id(t)]] for k, t in module.state_dict(keep_vars=True).items() if names[id(t)] in both}
