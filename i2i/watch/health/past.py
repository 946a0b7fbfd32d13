"""What a health monitor remembers of a run, and the form in which its signs speak."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from i2i.watch import Running

Numbers = Mapping[str, float]
LEAST_LOGS = 20
N_SAMPLES = 3
WINDOW, WINDOW_IMAGES = 0.1, 5000
"""Scores and losses of single batches are noisy. They are judged over this share of the run, or the logs of so many
images if these are fewer; in any case over LEAST_LOGS."""


@dataclass(frozen=True, slots=True)
class Log:
    """One log: metrics as `Watcher.logged` gets them, and what `measured` says of the samples, if any."""

    step: int
    metrics: Numbers
    pictures: Mapping[str, Numbers] = field(default_factory=dict)

    def group(self, prefix: str) -> dict[str, float]:
        """The metrics whose names begin with `prefix`, without it."""
        return {n.removeprefix(prefix): value for n, value in self.metrics.items() if n.startswith(prefix)}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The test metrics of a step, and the mean sum of the generators' losses over the logs since the one before."""

    step: int
    tests: Numbers
    generators: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What one log shows: where (a direction, a player, a loss), in plain words, what may help, by which numbers."""

    where: str
    text: str
    advice: str
    evidence: Numbers


class Past:
    """The logs of a run, as far back as signs look: the newest ones, and every evaluation."""

    def __init__(self, run: Running) -> None:
        every = run.recipe.get("train", {}).get("log_every", 1)
        n_steps = min(WINDOW * run.n_steps, WINDOW_IMAGES / run.images_per_step)
        self.n_window = max(LEAST_LOGS, math.ceil(n_steps / every))
        self.logs: deque[Log] = deque(maxlen=self.n_window)
        self.pictures: deque[Mapping[str, Numbers]] = deque(maxlen=N_SAMPLES)
        """What the newest samples showed."""
        self.evaluations: list[Evaluation] = []
        self.highest_rates: dict[str, float] = {}
        """The highest learning rate that each player has had."""
        self._since: list[float] = []

    def add(self, log: Log) -> None:
        self.logs.append(log)
        if log.pictures:
            self.pictures.append(log.pictures)
        generators = [value for name, value in log.group("loss.").items() if not is_discriminators(name)]
        self._since.append(sum(generators) if generators else math.nan)
        for player, rate in log.group("lr.").items():
            self.highest_rates[player] = max(rate, self.highest_rates.get(player, 0.0))
        if tests := log.group("test."):
            self.evaluations.append(Evaluation(log.step, tests, sum(self._since) / len(self._since)))
            self._since = []

    @property
    def last(self) -> Log:
        return self.logs[-1]

    def window(self, name: str) -> list[float]:
        """The values of a metric over the newest logs; empty before there are enough."""
        values = [log.metrics[name] for log in self.logs if name in log.metrics]
        return values if len(values) >= self.n_window else []


def is_discriminators(loss: str) -> bool:
    """Whether a loss is one of a discriminator's: `D`, `D_a`."""
    return re.match("D(_|$)", loss) is not None
