"""The watcher that asks every sign at every log, and tells once what it finds."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge
from torch import Tensor

from i2i.watch import Rollback, Running, Stop
from i2i.watch.health import curves, pictures
from i2i.watch.health.measures import measured
from i2i.watch.health.past import Finding, Log, Past
from i2i.watch.metrics_file import cut_back, read

Name = Literal[
    "non-finite losses",
    "learning rate at zero",
    "discriminator winning",
    "generator collapse",
    "colour inversion",
    "identity mapping only",
    "hidden information",
    "overfitting",
]
DIVERGED: Name = "non-finite losses"


@dataclass(frozen=True, slots=True)
class Sign:
    """What can be wrong with a run.

    Args:
        find: what the newest log shows of it, by itself or with those before.
        part: a log is asked that has metrics of this prefix, or, if empty, samples.
        after: told when so many of the logs that are asked have shown it in a row.
        warm_up: not asked before this share of the run, or so many images, whichever comes first.
        until: not asked after this share of the run.
    """

    name: Name
    find: Callable[[Past, Running], Iterator[Finding]]
    part: str = ""
    after: int = 1
    warm_up: tuple[float, int] = (0.0, 0)
    until: float = 1.0

    def asks(self, log: Log, run: Running) -> bool:
        share, n_images = self.warm_up
        warm = min(share * run.n_steps, n_images / run.images_per_step) <= log.step <= self.until * run.n_steps
        return warm and bool(log.group(self.part) if self.part else log.pictures)


SIGNS = (
    Sign(DIVERGED, curves.non_finite, "loss."),
    Sign("learning rate at zero", curves.zero_rate, "lr.", after=2, until=0.95),
    Sign("discriminator winning", curves.winning, "loss.", after=3, warm_up=(0.1, 5000)),
    Sign("generator collapse", pictures.collapse, after=3, warm_up=(0.1, 2000)),
    Sign("colour inversion", pictures.inversion, after=3, warm_up=(0.1, 2000)),
    Sign("identity mapping only", pictures.identity, after=3, warm_up=(0.25, 20000)),
    Sign("hidden information", pictures.hidden, after=3, warm_up=(0.1, 2000)),
    Sign("overfitting", curves.overfitting, "test.", after=2, warm_up=(0.1, 5000)),
)
Event = dict[str, Any]


class Health:
    """Warns in plain words of collapse, inverted colours, divergence, overfitting and other trouble.

    Each sign is told once when it has lasted, and once when it has gone, as a warning and as a line of health.jsonl:
    `{"step": …, "sign": …, "where": …, "text": …, "evidence": {…}}`, with `"gone": true` in the second case. A resumed
    run tells the same as one that never stopped. It looks at logs and samples only, and runs no network.

    Args:
        ignore: signs that are no fault here, such as "colour inversion" for negatives of films.
        on_divergence: when a loss is not finite, let the run end at the checkpoint before, or go back there and go on
            with half the learning rates.
        max_rollbacks: so often at most, then the run ends.
    """

    def __init__(
        self,
        *,
        ignore: tuple[Name, ...] = (),
        on_divergence: Literal["stop", "slower"] = "stop",
        max_rollbacks: Annotated[int, Ge(1)] = 5,
    ) -> None:
        self.signs = [sign for sign in SIGNS if sign.name not in ignore]
        self.on_divergence, self.max_rollbacks = on_divergence, max_rollbacks
        self._rollbacks: list[Event] = []

    def started(self, run: Running) -> None:
        self._past = Past(run)
        self._spells: dict[tuple[str, str], Spell] = {}
        for file in (_events(run), _numbers(run)):
            cut_back(file, run.start)
        for event in self._rollbacks:  # of logs that are undone: they say why
            _append(_events(run), event)
        seen = {line["step"]: line["pictures"] for line in read(_numbers(run))}
        for line in read(run.folder / "metrics.jsonl"):
            if line["step"] <= run.start:
                for _ in self._observe(Log(line["step"], _flat(line), seen.get(line["step"], {})), run):
                    pass  # it was told when it happened

    def logged(
        self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]
    ) -> Stop | Rollback | None:
        log = Log(step, metrics, measured(images))
        if log.pictures:
            _append(_numbers(run), {"step": step, "pictures": log.pictures})
        diverged = None
        for event in self._observe(log, run):
            _append(_events(run), event)
            warnings.warn(f"{event['sign']}: {event['text']}", stacklevel=2)
            diverged = diverged or (event if event["sign"] == DIVERGED else None)
        return self._wish(diverged)

    def finished(self, run: Running) -> None:
        pass

    def _wish(self, diverged: Event | None) -> Stop | Rollback | None:
        """What the run is asked for; without a wish it ends by itself, at the checkpoint before."""
        if diverged is None or self.on_divergence == "stop":
            return None
        if len(self._rollbacks) == self.max_rollbacks:
            return None
        self._rollbacks.append(diverged)
        return Rollback(diverged["text"].partition(";")[0], slower=0.5)

    def _observe(self, log: Log, run: Running) -> Iterator[Event]:
        """What is to be told at this log; what comes after depends on nothing but the logs so far."""
        self._past.add(log)
        for sign in self.signs:
            if not sign.asks(log, run):
                continue
            found = {finding.where: finding for finding in sign.find(self._past, run)}
            for place in [*found, *(w for name, w in self._spells if name == sign.name and w not in found)]:
                spell = self._spells.setdefault((sign.name, place), Spell())
                if event := spell.turn(sign, log.step, found.get(place)):
                    yield event


class Spell:
    """A sign at one place: for how many logs in a row it has been seen, or not, and what has been told of it."""

    def __init__(self) -> None:
        self._n = self._n_told = 0
        self._seen = False
        self._told: Finding | None = None

    def turn(self, sign: Sign, step: int, finding: Finding | None) -> Event | None:
        """Counts a log; gives the line of health.jsonl if it is time to tell that the sign is there, or has gone.

        Once told it must last twice as long for that, so that a sign which comes and goes is not told without end.
        """
        seen = finding is not None
        self._n = self._n + 1 if seen == self._seen else 1
        self._seen = seen
        said = finding or self._told
        if said is None or seen == (self._told is not None) or self._n < sign.after * 2**self._n_told:
            return None
        self._told = finding
        self._n_told += seen
        text = f"{said.text}; {said.advice}" if seen else f"no longer: {said.text}"
        event = {"step": step, "sign": sign.name, "where": said.where, "text": text, "evidence": dict(said.evidence)}
        return event if seen else event | {"gone": True}


def _events(run: Running) -> Path:
    return run.folder / "health.jsonl"


def _numbers(run: Running) -> Path:
    """What the samples showed, for a run that goes on."""
    return run.folder / "health-samples.jsonl"


def _append(file: Path, line: Mapping[str, Any]) -> None:
    with file.open("ab") as stream:
        stream.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def _flat(line: Mapping[str, Any]) -> dict[str, float]:
    """A line of metrics.jsonl as watchers got it."""
    return {
        f"{group}.{name}": math.nan if value is None else value
        for group in ("loss", "score", "lr", "test")
        for name, value in line.get(group, {}).items()
    }
