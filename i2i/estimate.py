"""What a run will take: parameters, memory and time, from its first steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from i2i.measure import in_bytes, n_parameters, now, peak_memory
from i2i.method import Method
from i2i.watch.wording import duration


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take.

    Args:
        parameters: that each player learns.
        gmacs_per_step: multiply-accumulates in 10⁹, forward and backward.
        bytes: memory for weights, gradients, optimizer states and activations at their peak.
        seconds_per_step: measured.
        n_steps: of the run.
    """

    parameters: Mapping[str, int]
    gmacs_per_step: float
    bytes: int
    seconds_per_step: float
    n_steps: int

    @property
    def seconds(self) -> float:
        return self.seconds_per_step * self.n_steps


def estimate(method: Method, step: Callable[[], object], *, n_steps: int) -> Estimate:
    """Plays four steps and measures them: the first two for memory, the last two for time.

    Args:
        step: plays a training step of `method` and changes its weights. The first must be the trainer's first, so that
            the memory of the optimizers is seen.
        n_steps: of the whole run.
    """
    device = next(method.parameters()).device
    counter = FlopCounterMode(display=False)

    def counted() -> None:
        with counter:
            step()
        step()  # the optimizers' states are there now, beside the activations

    tensors = {t.untyped_storage()._cdata: t.untyped_storage() for t in (*method.parameters(), *method.buffers())}
    held = sum(storage.nbytes() for storage in tensors.values())
    peak = peak_memory(counted, device)
    seconds = []
    for _ in range(2):
        start = now(device)
        step()
        seconds.append(now(device) - start)
    players = {name: n_parameters(nn.ModuleList(modules)) for name, modules in method.players().items()}
    return Estimate(players, counter.get_total_flops() / 2e9, held + peak, mean(seconds), n_steps)


def lines(estimate: Estimate) -> list[tuple[str, str]]:
    """The estimate as rows of what and how much."""
    return [
        *((f"parameters of the {player}", f"{n:,}") for player, n in estimate.parameters.items()),
        ("GMACs per step", f"{estimate.gmacs_per_step:.3g}"),
        ("memory", f"{in_bytes(estimate.bytes)}"),
        ("time", f"{duration(estimate.seconds)}: {estimate.n_steps:,} steps of {estimate.seconds_per_step:.3g} s"),
    ]
