"""A training, built from its recipe: everything that the recipe names, ready to step."""

from __future__ import annotations

import hashlib
import inspect
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from i2i import __version__
from i2i.activations import checkpoint_activations
from i2i.compiling import Compiled, compile_networks, fault, networks_to_compile, pays
from i2i.data import Data, Images, Source, open_data
from i2i.device import cpu_capabilities, memory_format, pick_device, pick_precision
from i2i.distributed import World
from i2i.engine import Engine
from i2i.errors import I2IError, Problem, collecting, suggest
from i2i.forecast import Forecast, forecast
from i2i.method import Method, size_multiple
from i2i.optim import build as build_optimizers
from i2i.placed import ExtraLossOptions, Placed, augment, label
from i2i.recipe import Recipe
from i2i.rehearsal import Shown
from i2i.schedules import Schedule
from i2i.trainer import ExtraTerm, Trainer, players_parameters


@dataclass
class Training:
    """Everything that a recipe names, built and ready to step."""

    recipe: Recipe
    method: Method
    source: Source
    data: Data
    trainer: Trainer
    schedule: Schedule
    n_steps: int
    precision: str
    world: World
    compiled: Compiled
    forecast: Forecast | None = None
    """What a step takes, if somebody foresaw it."""

    @classmethod
    def build(
        cls,
        recipe: Recipe,
        progress: Callable[[str, int, int], None] | None = None,
        world: World | None = None,
        compile: bool | None = None,
    ) -> Training:
        """Builds method, data, optimizers and schedule. Raises I2IError.

        Seeds torch's generators: all processes start from the same weights, then each draws on its own.

        Args:
            compile: what a run began with, in place of the recipe's `auto`.
        """
        world = world or World()
        options = recipe.train
        torch.manual_seed(options.seed)
        problems: list[Problem] = []
        with collecting(problems):
            device = pick_device(world.device(options.device))
        with collecting(problems):
            source = recipe.source()
        with collecting(problems):
            method: Method = recipe.method(*recipe.data.both_channels)
            check_players(recipe, method)
        if problems:
            raise I2IError(*problems)
        method.to(device).to(memory_format=memory_format(device))
        world.share(method)
        if not world.leads:
            torch.manual_seed(options.seed + world.rank)
        data = data_for(recipe, method, source, world, progress)
        recipe = replace(recipe, data=data.options)
        precision = pick_precision(options.precision, device, deep=data.deep)
        n_steps = recipe.length.steps(data.steps_per_epoch)
        schedule: Schedule = recipe.schedule(*n_steps)
        if options.checkpoint_activations:
            checkpoint_activations(method)
        trainer = Trainer(
            method,
            build_optimizers(recipe.optim, players_parameters(method)),
            rate=schedule,
            autocast=precision == "bf16",
            clip=options.clip,
            ema=options.ema,
            terms=[_term(e, device) for e in recipe.extra_losses],
            reduce=world.average if world.size > 1 else None,
        )
        compiled = _compile(recipe, method, data, sum(n_steps), precision, compile)
        return cls(recipe, method, source, data, trainer, schedule, sum(n_steps), precision, world, compiled)

    def foresee(self) -> Forecast:
        """What a step takes, of images as large as the largest; from then on, `environment` has it too."""
        shown = Shown(self.data.channels, self.recipe.data.batch_size)
        self.forecast = forecast(self.trainer, shown, self.data.sizes[-1], self.recipe.train.accumulate)
        return self.forecast

    @property
    def images_per_step(self) -> int:
        """Images of one domain that all processes together see in a step."""
        return self.recipe.data.batch_size * self.method.n_batches * self.recipe.train.accumulate * self.world.size

    def conditions(self) -> dict[str, str]:
        """What must stay as it is for a resumed run to be the one that never stopped."""
        return {
            "images of a": _digest(self.source.train().a),
            "images of b": _digest(self.source.train().b),
            "device": self.trainer.device.type,
            "precision": self.precision,
            "compile": str(bool(self.compiled)),
        }

    def environment(self, engine: Engine) -> dict[str, Any]:
        """What ran where, as JSON values: for `environment.json`."""
        used, data = self.recipe.plugins(), self.data
        return {
            "i2i": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "device": str(self.trainer.device),
            "device_name": _device_name(self.trainer.device),
            "n_processes": self.world.size,
            "n_threads": torch.get_num_threads(),
            "precision": self.precision,
            "compile": bool(self.compiled),
            **({"memory": self.forecast.bytes} if self.forecast else {}),
            "n_steps": self.n_steps,
            "plugins": {
                name: {"origin": p.origin, "version": p.version, "from_option": p.from_option}
                for name, p in engine.plugins.items()
                if name in used or p.from_option
            },
            "data": {
                key: {"name": name, "images": n, "range": [limits.low, limits.high]}
                for key, name, n, limits in zip("ab", data.names, data.n_images, data.ranges, strict=True)
            },
            "skipped": data.skipped,
            "parameters": {
                player: sum(p.numel() for p in own.values()) for player, own in self.trainer.parameters.items()
            },
        }


def data_for(
    recipe: Recipe, method: Method, source: Source, world: World, progress: Callable[[str, int, int], None] | None
) -> Data:
    """The data of a recipe, as its method needs it. Raises I2IError."""
    with world.leader_first():  # it prepares the images that the others then find in the cache
        return open_data(
            recipe.data,
            source,
            paired=method.paired,
            needs=method.needs | recipe.masks,
            multiple=size_multiple(*method.translators().values()),
            augment=[augment(placed, recipe.data.both_channels) for placed in recipe.augment],
            seed=recipe.train.seed,
            n_batches=method.n_batches,
            n_micro_batches=recipe.train.accumulate,
            rank=world.rank,
            world_size=world.size,
            progress=progress,
        )


def _compile(recipe: Recipe, method: Method, data: Data, n_steps: int, precision: str, before: bool | None) -> Compiled:
    """Compiles what the recipe wants, or what a run began with. Raises I2IError if it insists and that cannot be."""
    options, device = recipe.train, next(method.parameters()).device
    wanted = options.compile if before is None else before
    if wanted is False:
        return Compiled()
    networks = networks_to_compile(method)
    if len(data.sizes) > 1:
        remark = "nothing is compiled: only networks whose images have one size are; take a preprocess that crops"
        return Compiled(remark="" if wanted == "auto" else remark)
    if wanted == "auto":
        shown, n_passes = Shown(data.channels, recipe.data.batch_size), n_steps * options.accumulate
        if not networks or not pays(method, shown, data.size, n_passes, precision):
            return Compiled()
    elif not networks:
        return Compiled(remark="nothing is compiled: no network of this method translates, or none can be traced")
    if reason := fault(device):
        if options.compile is True:
            message = f"this machine cannot compile: {reason}; mend that, or take train.compile = false"
            raise I2IError(Problem("train.compile", message))
        return Compiled(remark=f"nothing is compiled, since this machine cannot: {reason}")
    compile_networks(networks)
    return Compiled(networks)


def check_players(recipe: Recipe, method: Method) -> None:
    """Raises I2IError for every table of a player whom the method does not have, and for an average of nothing."""
    players = method.players()
    named = {f"optim.{name}": name for name, value in recipe.optim.items() if isinstance(value, dict)}
    named |= {f"extra_loss.{i}.player": e.options.player for i, e in enumerate(recipe.extra_losses)}
    problems = [
        Problem(where, f"there is no player {name!r}{suggest(name, players)}")
        for where, name in named.items()
        if name not in players
    ]
    if recipe.train.ema and not method.translators():
        problems.append(Problem("train.ema", "averages translators, and this method has none; leave it at 0"))
    if problems:
        raise I2IError(*problems)


def _term(extra: Placed[ExtraLossOptions], device: torch.device) -> ExtraTerm:
    loss, options, name = extra.component(), extra.options, label(extra)
    try:
        inspect.signature(loss).bind(*options.between)
    except TypeError:
        message = f"{extra.component.qualified!r} does not take {len(options.between)} tensors"
        raise I2IError(Problem(f"extra_loss {name!r}", message)) from None
    if isinstance(loss, nn.Module):
        loss.to(device)
    return ExtraTerm(name, loss, options.weight, options.between, options.player)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    capabilities = cpu_capabilities() if device.type == "cpu" else {}
    return str(capabilities.get("cpu_name") or platform.processor() or platform.machine() or device.type)


def _digest(images: Images) -> str:
    """SHA-256 over the names of images, in order."""
    names = "\0".join(images.name(i) for i in range(len(images)))
    return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()  # names of files need not be UTF-8
