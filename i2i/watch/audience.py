"""All watchers of a run as one: whoever fails is reported, and sees no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from i2i.watch import Rollback, Running, Stop, Ticks, Watcher


class Audience:
    """Tells watchers of a run.

    Args:
        watchers: in the order in which they are told.
        tell: reports the failure of one.
    """

    def __init__(self, watchers: Sequence[Watcher], tell: Callable[[str], None]) -> None:
        self.watchers, self._tell = list(watchers), tell

    def started(self, run: Running) -> None:
        self._all("started", run)

    def ticked(self, run: Running, step: int) -> None:
        self._all("ticked", run, step, among=[w for w in self.watchers if isinstance(w, Ticks)])

    def logged(
        self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]
    ) -> tuple[str, Rollback | None]:
        """The first reason to stop, if there is one, and the last wish to go back."""
        wishes = [w for w in self._all("logged", run, step, metrics, images) if isinstance(w, (Stop, Rollback))]
        rollbacks = [wish for wish in wishes if isinstance(wish, Rollback)]
        return next((wish.reason for wish in wishes), ""), rollbacks[-1] if rollbacks else None

    def finished(self, run: Running) -> None:
        self._all("finished", run)

    def _all(self, event: str, *arguments: Any, among: Sequence[Watcher] | None = None) -> list[Any]:
        answers = []
        for watcher in list(self.watchers if among is None else among):
            try:
                answers.append(getattr(watcher, event)(*arguments))
            except Exception as error:
                self.watchers.remove(watcher)
                name = type(watcher).__name__
                self._tell(f"{name} failed and is switched off: {type(error).__name__}: {error}; training goes on")
        return answers
