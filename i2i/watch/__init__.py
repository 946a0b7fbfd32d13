"""Watchers see a run: what they are told, and what they may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Running:
    """A run as its watchers see it.

    Args:
        folder: of the run; watchers write inside it.
        recipe: resolved, as in `recipe.json`.
        environment: as in `environment.json`: versions, device, precision, plugins, data, networks, metrics.
        start: steps done before this process began; more than 0 after a resume.
        n_steps: steps in all.
        steps_per_epoch: not always whole.
        images_per_step: of one domain.
        names: of the domains.
        baseline: the `test.` metrics of the untouched input.
    """

    folder: Path
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    start: int
    n_steps: int
    steps_per_epoch: float
    images_per_step: int
    names: tuple[str, str]
    baseline: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Stop:
    """A watcher's wish: save and end here, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rollback:
    """A watcher's wish: go back to the last checkpoint, for this reason.

    Args:
        slower: the factor on all learning rates to go on with from there; None ends the run.
    """

    reason: str
    slower: float | None = None


class Watcher(Protocol):
    """Sees a run from its start to its end. What it raises is reported once and stops nothing but itself."""

    def started(self, run: Running) -> None:
        """Before the first step of this process."""

    def logged(
        self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]
    ) -> Stop | Rollback | None:
        """After `step` steps, every `log_every` of them and whenever there are samples: at the first log and later on.

        Args:
            metrics: `epoch`, `seconds` (of training, over all processes), `images_per_second`, and by prefix
                `loss.` and `score.` (which need not be finite), `lr.`, and at evaluations `test.` (metrics of held-out
                images, `test.l1_ab`) with the ends of their intervals, `low.` and `high.`.
            images: empty, or the fixed samples, (N, C, H, W) in [-1, 1] on the CPU: `a`, `ab` (translated to b), `aba`
                (and back), `aba_noised` (and back from the translation in 8 bits with a grey level of noise), and with
                a paired test split `true_ab`; likewise `b`, `ba`, …; `new_a` and `new_b`, made from nothing.
        """

    def finished(self, run: Running) -> None:
        """After the last step of this process, also when it was interrupted."""


@runtime_checkable
class Ticks(Protocol):
    """A watcher that is told of every step; it must not wait for the device."""

    def ticked(self, run: Running, step: int) -> None:
        """After `step` steps."""
