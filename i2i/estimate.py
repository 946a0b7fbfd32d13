"""What a run will take: memory and time, from its first steps."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

from i2i.forecast import Forecast
from i2i.measure import in_bytes, now, three_digits
from i2i.memory import peak_memory
from i2i.training import Training
from i2i.watch.wording import duration


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take.

    Args:
        step: as it was foreseen.
        peak: bytes that the process held at most in the measured steps, Python and torch included.
        seconds_per_step: measured.
        n_steps: of the run.
        steps_per_epoch: of its data.
    """

    step: Forecast
    peak: int
    seconds_per_step: float
    n_steps: int
    steps_per_epoch: float

    @property
    def seconds(self) -> float:
        return self.seconds_per_step * self.n_steps


def estimate(training: Training, step: Forecast) -> Estimate:
    """Plays three steps: one to warm up, or to compile, and two to measure. The weights change."""
    trainer, seconds = training.trainer, []
    batches = [batch.map(lambda t: t.to(trainer.device)) for batch in training.data.batches(0)]
    for _ in range(3):
        start = now(trainer.device)
        trainer.train_step(batches)
        seconds.append(now(trainer.device) - start)
    peak = peak_memory(trainer.device)
    return Estimate(step, peak, mean(seconds[1:]), training.n_steps, training.data.steps_per_epoch)


def lines(estimate: Estimate) -> list[tuple[str, str]]:
    """The estimate as rows of what and how much."""
    step, pace = estimate.step, estimate.seconds_per_step
    parts = {"weights": step.weights, "optimizers": step.optimizers, "activations and gradients": step.activations}
    held = ", ".join(f"{part} {in_bytes(n)}" for part, n in parts.items())
    times = f"{duration(pace * estimate.steps_per_epoch)} per epoch, {duration(estimate.seconds)} in all"
    return [
        *((f"parameters of the {player}", f"{n:,}") for player, n in step.parameters.items()),
        ("GMACs per step", three_digits(step.gmacs)),
        ("memory", f"{in_bytes(estimate.peak)} at the peak ({held})"),
        ("time", f"{times}: {estimate.n_steps:,} steps of {pace:.3g} s"),
    ]
