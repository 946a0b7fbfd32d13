"""Schedules beside the linear one: step, cosine and plateau."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt

from i2i import hookimpl
from i2i.errors import I2IError, Problem, suggest
from i2i.hookspecs import Factories
from i2i.reference.linear import decayed

Fraction = Annotated[float, Gt(0), Lt(1)]


class Step:
    """Times `factor` after every `every` steps.

    The run is n_steps + n_steps_decay long; where the one ends and the other begins makes no difference here.

    Args:
        every: steps between two drops.
        factor: of each drop.
    """

    def __init__(
        self, n_steps: int, n_steps_decay: int, *, every: Annotated[int, Ge(1)] = 50_000, factor: Fraction = 0.1
    ) -> None:
        self.every, self.factor = every, factor

    def __call__(self, step: int) -> float:
        return float(self.factor ** (step // self.every))


class Cosine:
    """Constant for n_steps, then half a cosine down to `final` over n_steps_decay.

    Loshchilov and Hutter 2017, equation 5, without restarts; n_steps = 0 is theirs.

    Args:
        final: the factor that is reached one step after the run's last.
    """

    def __init__(self, n_steps: int, n_steps_decay: int, *, final: Annotated[float, Ge(0), Lt(1)] = 0.0) -> None:
        self.n_steps, self.n_steps_decay, self.final = n_steps, n_steps_decay, final

    def __call__(self, step: int) -> float:
        t = decayed(step, self.n_steps, self.n_steps_decay)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * t))


class Plateau:
    """Times `factor` whenever a logged loss has stopped falling.

    As torch's ReduceLROnPlateau with the CycleGAN authors' values. A log is an improvement if it is lower than the
    lowest so far by `threshold` of that; after more than `patience` logs without one the factor drops, and the count
    starts again. The run is n_steps + n_steps_decay long; where the one ends and the other begins makes no difference
    here. In a game the adversarial losses need not fall while the images improve: choose a loss that measures images.

    Args:
        loss: name of the loss, as the log shows it. Raises I2IError at the first log without it.
        factor: of each drop.
        patience: logs without improvement that are borne.
        threshold: least improvement, as a part of the lowest loss so far.
    """

    def __init__(
        self,
        n_steps: int,
        n_steps_decay: int,
        *,
        loss: str = "cycle_a",
        factor: Fraction = 0.2,
        patience: Annotated[int, Ge(0)] = 5,
        threshold: Annotated[float, Ge(0), Lt(1)] = 0.01,
    ) -> None:
        self.loss, self.factor, self.patience, self.threshold = loss, factor, patience, threshold
        self.scale, self.n_without = 1.0, 0
        self.lowest: float | None = None

    def __call__(self, step: int) -> float:
        return self.scale

    def observe(self, losses: Mapping[str, float]) -> None:
        if self.loss not in losses:
            raise I2IError(Problem("schedule.loss", f"no loss {self.loss!r} is logged{suggest(self.loss, losses)}"))
        value = losses[self.loss]
        if self.lowest is None or value < self.lowest - self.threshold * abs(self.lowest):
            self.lowest, self.n_without = value, 0
            return
        self.n_without += 1
        if self.n_without > self.patience:
            self.scale, self.n_without = self.scale * self.factor, 0

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self.scale, "lowest": self.lowest, "n_without": self.n_without}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.scale, self.lowest, self.n_without = state["scale"], state["lowest"], state["n_without"]


@hookimpl
def register_schedules() -> Factories:
    return {"step": Step, "cosine": Cosine, "plateau": Plateau}
