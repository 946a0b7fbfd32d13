"""Schedules of timm: restarts, a warm-up, hyperbolic tangent, polynomial and drops at given places."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.schedules import Schedule

Part = Annotated[float, Gt(0), Lt(1)]
Final = Annotated[float, Ge(0), Lt(1)]


def restarts(
    n_steps: int,
    n_steps_decay: int,
    *,
    cycles: Annotated[int, Ge(1)] = 4,
    growth: Literal[1, 2] = 1,
    decay: Annotated[float, Gt(0), Le(1)] = 1.0,
    final: Final = 0.0,
) -> Schedule:
    """Constant for n_steps, then half cosines over n_steps_decay, each of which starts at the top again.

    Loshchilov and Hutter 2017, equation 5; n_steps = 0 is theirs. The first cycle has as many steps as fit, rounded up,
    so that the last ends with the run.

    Args:
        cycles: how many half cosines.
        growth: how much longer each cycle is than the one before (T_mult).
        decay: how much lower each cycle starts than the one before.
        final: the factor that each cycle falls to.
    """
    from timm.scheduler import CosineLRScheduler  # takes seconds to import

    n_first_cycles = cycles if growth == 1 else 2**cycles - 1
    length = max(2, math.ceil((n_steps_decay + 1) / n_first_cycles))  # timm warns of cycles of one step
    options = {"cycle_mul": growth, "cycle_limit": cycles, "cycle_decay": decay, "lr_min": final}
    return Timm(CosineLRScheduler, n_steps - 1, t_initial=length, **options)


def warmup_cosine(
    n_steps: int, n_steps_decay: int, *, warmup: Annotated[float, Ge(0), Lt(1)] = 0.05, final: Final = 0.0
) -> Schedule:
    """In a straight line from 0 up to 1, then half a cosine down to `final`.

    The fall is that of Loshchilov and Hutter 2017, equation 5. The run is n_steps + n_steps_decay long; where the one
    ends and the other begins makes no difference here.

    Args:
        warmup: the part of the run that the rise takes.
        final: the factor that is reached one step after the run's last.
    """
    from timm.scheduler import CosineLRScheduler

    n_warmup = int(warmup * (n_steps + n_steps_decay))
    length = max(2, n_steps + n_steps_decay - n_warmup)  # timm warns of a cycle of one step
    return Timm(CosineLRScheduler, -1, t_initial=length, lr_min=final, warmup_t=n_warmup + 1, warmup_prefix=True)


def tanh(n_steps: int, n_steps_decay: int, *, lower: float = -6.0, upper: float = 3.0, final: Final = 0.0) -> Schedule:
    """Constant for n_steps, then along a hyperbolic tangent down to `final` over n_steps_decay.

    Hsueh et al. 2019, "Stochastic Gradient Descent with Hyperbolic-Tangent Decay on Classification", arXiv 1806.01593:
    ½ (1 - tanh(x)) with x from `lower` to `upper`; n_steps = 0 is theirs.

    Args:
        lower, upper: where on the tangent it begins and ends. Raises ValueError unless they rise.
        final: the factor that is reached one step after the run's last.
    """
    from timm.scheduler import TanhLRScheduler

    if lower >= upper:
        raise ValueError(f"lower = {lower} must be less than upper = {upper}")
    return Timm(TanhLRScheduler, n_steps - 1, t_initial=n_steps_decay + 1, lb=lower, ub=upper, lr_min=final)


def poly(n_steps: int, n_steps_decay: int, *, power: Annotated[float, Gt(0)] = 0.9, final: Final = 0.0) -> Schedule:
    """Constant for n_steps, then a power of what is left, down to `final` over n_steps_decay.

    (1 - t / T)^power, as Liu et al. 2015 (ParseNet) and Chen et al. 2018 (DeepLab) train; power 1 is `linear`.

    Args:
        power: below 1 it falls late and steeply, above 1 early.
        final: the factor that is reached one step after the run's last.
    """
    from timm.scheduler import PolyLRScheduler

    length = max(2, n_steps_decay + 1)  # timm warns of a fall of one step
    return Timm(PolyLRScheduler, n_steps - 1, t_initial=length, power=power, lr_min=final)


def multistep(
    n_steps: int, n_steps_decay: int, *, milestones: tuple[Part, ...] = (0.5, 0.75), factor: Part = 0.1
) -> Schedule:
    """Times `factor` at each of some places in the run: after half and three quarters of it.

    As He et al. 2016, section 4.2, train on CIFAR-10. The run is n_steps + n_steps_decay long; where the one ends and
    the other begins makes no difference here.

    Args:
        milestones: where, as parts of the run.
        factor: of each drop.
    """
    from timm.scheduler import MultiStepLRScheduler

    steps = sorted(round(part * (n_steps + n_steps_decay)) + 1 for part in milestones)  # timm drops one update early
    return Timm(MultiStepLRScheduler, 0, decay_t=steps, decay_rate=factor)


class Timm:
    """One of timm's schedulers as a factor by step: it sets the learning rate of a parameter that nobody trains.

    Args:
        scheduler: the class.
        offset: step s is the scheduler's update s - offset, and none is before its update 0.
        options: of the class.
    """

    def __init__(self, scheduler: Any, offset: int, **options: Any) -> None:
        self.optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
        self.scheduler = scheduler(self.optimizer, t_in_epochs=False, **options)
        self.offset = offset

    def __call__(self, step: int) -> float:
        self.scheduler.step_update(max(0, step - self.offset))
        return float(self.optimizer.param_groups[0]["lr"])


@hookimpl
def register_schedules() -> Factories:
    return {
        "restarts": restarts,
        "warmup_cosine": warmup_cosine,
        "tanh": tanh,
        "poly": poly,
        "multistep": multistep,
    }
