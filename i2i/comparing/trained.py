"""One finished training: how good its translators are, and what it cost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from i2i.appraisal import appraise
from i2i.engine import Engine
from i2i.errors import I2IError, Problem
from i2i.files import write_json
from i2i.intervals import Estimate
from i2i.layers import Document
from i2i.run import Run
from i2i.watch.metrics_file import read


@dataclass(frozen=True)
class Trained:
    """A training, with its seed, that came to its end, or why it did not.

    Args:
        run: its folder.
        failed: why; then the rest says nothing.
        names: of the domains.
        step, epoch: at its end.
        estimates: by metric and direction, `kid_efficientnet_lite0_ab`; all held-out images.
        untouched: what the input itself scores.
        about, protocol: how to read them, and what was judged and how, as `Appraisal` has it.
        seconds_per_step: the median over its logs, without evaluations and saves.
        memory: bytes of weights, optimizers and activations in a step; None if that was not recorded.
        parameters: of all players.
    """

    run: Path
    seed: int
    failed: str = ""
    names: tuple[str, str] = ("a", "b")
    step: int = 0
    epoch: float = 0.0
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    untouched: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    seconds_per_step: float | None = None
    memory: int | None = None
    parameters: int = 0

    @classmethod
    def of(
        cls, run: Run, engine: Engine, metrics: Sequence[str | Document] | None = None, device: str = "auto"
    ) -> Trained:
        """Judges the translators of a run as they are. Raises I2IError.

        Args:
            metrics: as a recipe names them; those of its recipe by default.
        """
        recipe, environment, logs = run.recipe, run.environment, read(run.metrics)
        specs = metrics or recipe.get("eval", {}).get("metrics") or None
        found = appraise(run, engine, metrics=specs, device=device)
        return cls(
            run=run.folder,
            seed=recipe["train"]["seed"],
            names=found.names,
            step=max(found.steps.values()),
            epoch=logs[-1].get("epoch", 0.0) if logs else 0.0,
            estimates={name: e for name, e in found.estimates.items() if math.isfinite(e.value)},
            untouched={name: e.value for name, e in found.untouched.items() if math.isfinite(e.value)},
            about=_plain(found.about),
            protocol=_plain(found.protocol),
            seconds_per_step=_pace(logs),
            memory=environment.get("memory"),
            parameters=sum(environment.get("parameters", {}).values()),
        )

    @property
    def file(self) -> Path:
        """Where it is kept, beside the run."""
        return self.run.with_name(f"{self.run.name}.json")

    def write(self) -> None:
        """Keeps it in `file`."""
        value = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "run"}
        estimates = {
            n: {"value": e.value, "n": e.n, "replicates": e.replicates.tolist()} for n, e in self.estimates.items()
        }
        write_json(self.file, value | {"estimates": estimates})

    @classmethod
    def read(cls, run: Path) -> Trained | None:
        """The training of a run as it was kept, if it was. Raises I2IError for a file that is something else."""
        file = cls(run, 0).file
        if not file.exists():
            return None
        try:
            value = json.loads(file.read_bytes())
            estimates = {
                n: Estimate(e["value"], e["n"], np.array(e["replicates"], np.float64))
                for n, e in value["estimates"].items()
            }
            return cls(**{**value, "run": run, "names": tuple(value["names"]), "estimates": estimates})
        except (ValueError, KeyError, TypeError) as error:
            raise I2IError(Problem(str(file), f"cannot be read: {error}; delete it, and it is made again")) from None


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives them back, so that what was read equals what was made."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _pace(logs: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds of a step: the median over stretches between logs, the first of which warms up."""
    ends: list[tuple[int, float]] = [(log["step"], log["seconds"]) for log in logs if log.get("seconds") is not None]
    stretches = [(t - s) / (n - m) for (m, s), (n, t) in pairwise(ends) if n > m and t > s]
    if stretches:
        return median(stretches)
    return ends[-1][1] / ends[-1][0] if ends and ends[-1][0] else None
