"""A training, built from its recipe: everything that the recipe names, ready to step."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from i2i import __version__
from i2i.data import Data, open_data
from i2i.device import cpu_capabilities, pick_device, pick_precision
from i2i.distributed import World
from i2i.engine import Engine
from i2i.errors import I2IError, Problem
from i2i.method import Method
from i2i.optim import build as build_optimizers
from i2i.recipe import Recipe
from i2i.schedules import Schedule
from i2i.trainer import ExtraTerm, Trainer, players_parameters


@dataclass
class Training:
    """Everything that a recipe names, built and ready to step."""

    recipe: Recipe
    method: Method
    data: Data
    trainer: Trainer
    schedule: Schedule
    n_steps: int
    precision: str
    world: World

    @classmethod
    def build(
        cls, recipe: Recipe, progress: Callable[[str, int, int], None] | None = None, world: World | None = None
    ) -> Training:
        """Builds method, data, optimizers and schedule. Raises I2IError.

        Seeds torch's generators: all processes start from the same weights, then each draws on its own.
        """
        world = world or World()
        options = recipe.train
        device = pick_device(world.device(options.device))
        precision = pick_precision(options.precision, device)
        torch.manual_seed(options.seed)
        method: Method = recipe.method(*recipe.data.both_channels)
        method.to(device)
        world.share(method)
        if not world.leads:
            torch.manual_seed(options.seed + world.rank)
        with world.leader_first():  # it prepares the images that the others then find in the cache
            data = open_data(
                recipe.data,
                recipe.source(),
                paired=method.paired,
                seed=options.seed,
                n_batches=method.n_batches,
                n_micro_batches=options.accumulate,
                rank=world.rank,
                world_size=world.size,
                progress=progress,
            )
        if method.needs and (missing := method.needs - data.batches(0)[0].extras.keys()):
            raise I2IError(Problem("data.source", f"gives no {', '.join(sorted(missing))}, which the method needs"))
        n_steps = recipe.length.steps(data.steps_per_epoch)
        schedule: Schedule = recipe.schedule(*n_steps)
        trainer = Trainer(
            method,
            build_optimizers(recipe.optim, players_parameters(method)),
            rate=schedule,
            autocast=precision == "bf16",
            clip=options.clip,
            ema=options.ema,
            terms=[
                ExtraTerm(e.label, e.loss(), e.options.weight, e.options.between, e.options.player)
                for e in recipe.extra_losses
            ],
            reduce=world.average if world.size > 1 else None,
        )
        return cls(recipe, method, data, trainer, schedule, sum(n_steps), precision, world)

    @property
    def images_per_step(self) -> int:
        """Images of one domain that all processes together see in a step."""
        return self.recipe.data.batch_size * self.method.n_batches * self.recipe.train.accumulate * self.world.size

    def environment(self, engine: Engine) -> dict[str, Any]:
        """What ran where, as JSON values: for `environment.json`."""
        used = self.recipe.plugins()
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
            "n_steps": self.n_steps,
            "plugins": {
                name: {"origin": p.origin, "version": p.version, "from_option": p.from_option}
                for name, p in engine.plugins.items()
                if name in used or p.from_option
            },
            "data": {
                key: {"name": name, "images": n}
                for key, name, n in zip("ab", self.data.names, self.data.n_images, strict=True)
            },
            "skipped": self.data.skipped,
            "parameters": {
                player: sum(p.numel() for p in own.values()) for player, own in self.trainer.parameters.items()
            },
        }


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    capabilities = cpu_capabilities() if device.type == "cpu" else {}
    return str(capabilities.get("cpu_name") or platform.processor() or platform.machine() or device.type)
