"""What a run's folder holds for its report; whatever is not there is empty."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i.errors import I2IError, Problem
from i2i.watch.metrics_file import read
from i2i.watch.wording import Measure, directed, measure


@dataclass(frozen=True)
class RunFiles:
    """The files of a run.

    Args:
        name: by which the page calls it.
        best: by direction, `{"step": …, "metric": …, "value": …}` of the translator that is kept as the best.
        health: what the health monitor found, oldest first.
        evaluation: what `i2i eval` wrote.
        samples: the steps that have a grid.
    """

    folder: Path
    name: str
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    logs: Sequence[Mapping[str, Any]]
    best: Mapping[str, Mapping[str, Any]]
    health: Sequence[Mapping[str, Any]]
    evaluation: Mapping[str, Any]
    samples: Sequence[int]

    @classmethod
    def read(cls, folder: Path, name: str = "") -> RunFiles:
        """Raises I2IError for a file that cannot be understood. What a resume has undone is left out."""
        logs = read(folder / "metrics.jsonl")
        last = logs[-1]["step"] if logs else None
        best = _tables(folder / "best.json", _json(folder / "best.json"))
        _steps(folder / "best.json", best.values())
        evaluation = _json(folder / "eval.json", "estimates", "untouched", "floor", "step", "protocol", "left_out")
        for key in ("estimates", "untouched", "floor"):
            _tables(folder / "eval.json", evaluation.get(key, {}), f"{key}.")
        environment = _json(folder / "environment.json", "data", "parameters")
        _tables(folder / "environment.json", environment.get("data", {}), "data.")
        names = (re.fullmatch(r"(\d{8,})\.png", path.name) for path in (folder / "samples").glob("*.png"))
        samples = sorted(int(match[1]) for match in names if match)
        return cls(
            folder=folder,
            name=name or folder.resolve().name,
            recipe=_json(folder / "recipe.json"),
            environment=environment,
            logs=logs,
            best={d: kept for d, kept in best.items() if last is None or kept["step"] <= last},
            health=_lines(folder / "health.jsonl"),
            evaluation=evaluation,
            samples=[step for step in samples if last is None or step <= last],
        )

    @property
    def step(self) -> int:
        """Of the last log; 0 before the first."""
        return int(self.logs[-1]["step"]) if self.logs else 0

    @property
    def names(self) -> tuple[str, str]:
        """Of the domains."""
        data = self.environment.get("data", {})
        a, b = self.recipe.get("data", {}).get("names", ("a", "b"))
        return str(data.get("a", {}).get("name", a)), str(data.get("b", {}).get("name", b))

    def log_of(self, step: int) -> Mapping[str, Any]:
        """The log of this step; {} if there is none."""
        at = bisect_left(self.logs, step, key=lambda log: int(log["step"]))
        return self.logs[at] if at < len(self.logs) and self.logs[at]["step"] == step else {}

    def sample(self, step: int) -> Path:
        return self.folder / "samples" / f"{step:08}.png"

    def sample_at(self, step: int) -> int:
        """The step of the newest grid until then; of the first one if there is none. There must be a grid."""
        return max((sample for sample in self.samples if sample <= step), default=self.samples[0])

    def best_steps(self) -> set[int]:
        return {int(kept["step"]) for kept in self.best.values()}

    def measure(self, name: str) -> Measure:
        """How the metric of this name is shown."""
        described = self.environment.get("metrics")
        return measure(name, described if isinstance(described, dict) else None)


def read_runs(folders: Sequence[Path]) -> list[RunFiles]:
    """Each called by its folder, with as many of the folders above as it takes to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts) and depth < max(map(len, parts)):
        depth += 1
    return [RunFiles.read(folder, "/".join(p[-depth:])) for folder, p in zip(folders, parts, strict=True)]


def decides(best: Mapping[str, Any], name: str) -> bool:
    """Whether the metric of this name, with its direction, is the one that the best translator was chosen by."""
    return best.get("metric") in (name, directed(name)[0])


def _json(file: Path, *tables: str) -> dict[str, Any]:
    """The table in a file; {} if there is none. Raises I2IError if it is no table, or one of these entries is none."""
    if not file.exists():
        return {}
    try:
        value = json.loads(file.read_bytes())
    except ValueError as error:
        raise I2IError(Problem(str(file), f"is no JSON: {error}")) from None
    if not isinstance(value, dict):
        raise I2IError(Problem(str(file), f"is no table but {str(value)[:60]}"))
    _tables(file, {name: value[name] for name in tables if name in value})
    return value


def _tables(file: Path, value: Mapping[str, Any], path: str = "") -> Mapping[str, Mapping[str, Any]]:
    """A table of tables. Raises I2IError for an entry that is none."""
    for name, entry in value.items():
        if not isinstance(entry, dict):
            raise I2IError(Problem(f"{file}, {path}{name}", f"is no table but {str(entry)[:60]}; {_OTHER}"))
    return value


def _steps(file: Path, tables: Iterable[Mapping[str, Any]]) -> None:
    """Raises I2IError for a table without the step it belongs to."""
    for table in tables:
        if not isinstance(table.get("step"), int):
            raise I2IError(Problem(str(file), f"{str(table)[:60]} has no step; {_OTHER}"))


_OTHER = "it is of another version of i2i, or was changed: move it away, or have it written anew"


def _lines(file: Path) -> list[dict[str, Any]]:
    """Lines of JSON, each of a step; a half-written last one is left out."""
    texts = file.read_bytes().splitlines() if file.exists() else []
    found: list[dict[str, Any]] = []
    for index, text in enumerate(texts):
        try:
            value = json.loads(text)
        except ValueError as error:
            if index == len(texts) - 1:
                break
            raise I2IError(Problem(f"{file}, line {index + 1}", f"is no JSON: {error}")) from None
        if not (isinstance(value, dict) and isinstance(value.get("step"), int)):
            raise I2IError(Problem(f"{file}, line {index + 1}", f"{text[:60]!r} is no finding; delete the line"))
        found.append(value)
    return found
