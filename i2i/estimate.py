"""What a run will take: parameters, memory and time, from its first steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from torch import Tensor, nn

from i2i.measure import FlopCount, in_bytes, n_parameters, now, peak_memory
from i2i.method import Batch, Method
from i2i.trainer import Trainer
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
    counter = FlopCount()

    def counted() -> None:
        with counter:
            step()
        step()  # the optimizers' states are there now, beside the activations

    held = _bytes_of((*method.parameters(), *method.buffers()))
    peak = peak_memory(counted, device)
    seconds = []
    for _ in range(2):
        start = now(device)
        step()
        seconds.append(now(device) - start)
    players = {name: n_parameters(nn.ModuleList(modules)) for name, modules in method.players().items()}
    return Estimate(players, counter.total / 2e9, held + peak, mean(seconds), n_steps)


def memory_of_step(trainer: Trainer, batches: Sequence[Batch]) -> tuple[dict[str, Tensor], int]:
    """A training step as it is, its results, and the bytes that weights, optimizer states and activations took.

    Not for the first step, which makes the optimizers' states.
    """
    metrics: dict[str, Tensor] = {}
    method, optimizers = trainer.method, trainer.optimizers.values()
    states = (value for o in optimizers for state in o.state.values() for value in state.values())
    held = _bytes_of((*method.parameters(), *method.buffers(), *(v for v in states if isinstance(v, Tensor))))
    peak = peak_memory(lambda: metrics.update(trainer.train_step(batches)), trainer.device)
    return metrics, held + peak


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    storages = {t.untyped_storage()._cdata: t.untyped_storage() for t in tensors}
    return sum(storage.nbytes() for storage in storages.values())


def lines(estimate: Estimate) -> list[tuple[str, str]]:
    """The estimate as rows of what and how much."""
    return [
        *((f"parameters of the {player}", f"{n:,}") for player, n in estimate.parameters.items()),
        ("GMACs per step", f"{estimate.gmacs_per_step:.3g}"),
        ("memory", f"{in_bytes(estimate.bytes)}"),
        ("time", f"{duration(estimate.seconds)}: {estimate.n_steps:,} steps of {estimate.seconds_per_step:.3g} s"),
    ]
