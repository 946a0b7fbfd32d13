"""Schedules: how the learning rates change during a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Schedule(Protocol):
    """The factor on every learning rate, by step; a pure function unless it also observes."""

    def __call__(self, step: int) -> float:
        """The factor for the step that comes after `step` steps: 0 for the first step of a run."""


@runtime_checkable
class Observes(Protocol):
    """A schedule that listens to the losses; its state travels in checkpoints."""

    def observe(self, losses: Mapping[str, float]) -> None:
        """Takes the losses of a log, by name. Raises I2IError if the one it waits for is not among them."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learnt from the losses, as JSON values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up where `state_dict` left off."""
