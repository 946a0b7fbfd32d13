"""Translators: networks that carry their recipe in their weights file, and images through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from i2i import checkpoint
from i2i.data.table import DataOptions
from i2i.device import as_written, memory_is_full
from i2i.errors import I2IError, Problem
from i2i.images.intake import Intake
from i2i.method import Method, size_multiple
from i2i.options import validate
from i2i.recipe import check_required, resolve_method
from i2i.registry import Registry
from i2i.run import Run
from i2i.weights import described, needed_plugins, needs

Direction = Literal["ab", "ba"]


@dataclass(frozen=True)
class Translator:
    """A network from one domain to the other, ready for images of any size.

    Args:
        module: from (N, n_in, H, W) to (N, n_out, H, W), in [-1, 1].
        names: of the domain it takes and of the one it gives.
        intakes: the channels and values of both.
        direction: from domain a to domain b, or back.
        compute: what computes in the place of the module, see `i2i.backends.choose`; it is told whether images have
            more than 8 bits.
    """

    module: nn.Module
    names: tuple[str, str] = ("a", "b")
    intakes: tuple[Intake, Intake] = (Intake(), Intake())
    direction: Direction = "ab"
    compute: Callable[[Tensor, bool], Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """Where the module computes."""
        return next(self.module.parameters()).device

    @torch.no_grad()
    def __call__(self, images: Tensor, deep: bool = False) -> Tensor:
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
                out: Tensor = self.compute(padded, deep) if self.compute else self.module(padded)
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
        with as_written(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            module.eval()
            yield
    finally:
        for m, training in modes.items():
            m.training = training


def load_translator(path: Path, registry: Registry, plugins: Mapping[str, Any]) -> Translator:
    """A translator from its weights file. Raises I2IError for any other file and for plugins that are missing."""
    return build_translator(described(path), lambda _: load_file(path), registry, plugins, str(path))


def build_translator(
    about: Mapping[str, Any],
    weights: Callable[[Method], Mapping[str, Tensor]],
    registry: Registry,
    plugins: Mapping[str, Any],
    where: str,
) -> Translator:
    """A translator: what it needs of its method is laid out without memory, then given the weights.

    Args:
        about: recipe, direction, names and plugins, as `described` gives them.
        weights: by the translator's own names.
        where: for messages.
    """
    method, intakes = _lay_out(about, registry, plugins, where)
    direction, names = about["direction"], about["names"]
    module = method.translators()[direction]
    try:
        module.load_state_dict(weights(method), assign=True)
    except RuntimeError as error:
        raise I2IError(Problem(where, f"the weights do not fit the recipe: {error}")) from None
    module.eval().requires_grad_(False)
    if direction == "ab":
        return Translator(module, (names[0], names[1]), intakes, "ab")
    return Translator(module, (names[1], names[0]), (intakes[1], intakes[0]), "ba")


def _lay_out(
    about: Mapping[str, Any], registry: Registry, plugins: Mapping[str, Any], where: str
) -> tuple[Method, tuple[Intake, Intake]]:
    """The method of a recipe, as far as its translators need it, without memory; what its domains a and b take.

    Raises I2IError if a plugin is missing or it does not translate so.
    """
    recipe, direction = about["recipe"], about["direction"]
    problems: list[Problem] = []
    check_required({"requires": needs(about) or []}, list(plugins), problems)
    builder = resolve_method(recipe, registry, problems, translating=True) if not problems else None
    table = {key: value for key, value in recipe.get("data", {}).items() if key != "source"}
    options = validate(DataOptions, table, "data", problems)
    if problems or builder is None or options is None:
        raise I2IError(*(Problem(f"{where}: {p.where}", p.message) for p in problems))
    with torch.device("meta"), Undrawn():
        method: Method = builder(*options.both_channels)
    if direction not in (translators := method.translators()):
        what = f"does not translate {direction[0]} to {direction[1]}" if translators else "translates nothing"
        raise I2IError(Problem(where, f"its method, {builder.qualified}, {what}"))
    return method, options.intakes


class Undrawn(TorchFunctionMode):
    """Leaves out what fills new weights: for a normal distribution on the meta device, torch imports its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.normal_ or getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


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
    about = {"recipe": recipe, "direction": direction, "names": names, "plugins": needed_plugins(source, at)}
    if at in ("latest", "best"):
        path = run.weights(direction, best=at == "best")
        if not path.is_file():
            _lay_out(about, registry, plugins, str(source))  # says so if there can be none
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
    weights = partial(_weights_in, state, direction)
    return build_translator(about, weights, registry, plugins, str(source))


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
