"""Writes metrics.jsonl: one line of JSON per log."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from i2i.errors import I2IError, Problem
from i2i.files import replacing
from i2i.watch import Running


class MetricsFile:
    """Appends each log to metrics.jsonl in the run's folder.

    A line is `{"step": …, "epoch": …, "seconds": …, "images_per_second": …, "loss": {…}, "score": {…}, "lr": {…},
    "test": {…}, "interval": {…}, "untouched": {…}}`, where `interval` has the ends of each test metric's 95 %, and
    `untouched` the test metrics of the input itself, both beside `test` only; empty groups are left out. A value that
    is not finite is written as null.
    """

    def started(self, run: Running) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)

    def logged(self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]) -> None:
        line: dict[str, Any] = {"step": step}
        for name, value in metrics.items():
            if not name.startswith(("low.", "high.")):
                _put(line, name, value)
        for name in line.get("test", {}):
            if f"low.{name}" in metrics:
                line.setdefault("interval", {})[name] = [metrics[f"low.{name}"], metrics[f"high.{name}"]]
        if "test" in line:
            for name, value in run.baseline.items():
                _put(line, f"untouched.{name.removeprefix('test.')}", value)
        # In bytes: text mode would write other line ends on Windows. Closing the file flushes the line.
        with (run.folder / "metrics.jsonl").open("ab") as file:
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")

    def finished(self, run: Running) -> None:
        pass


def _put(line: dict[str, Any], name: str, value: float) -> None:
    group, dot, rest = name.partition(".")
    table = line.setdefault(group, {}) if dot else line
    table[rest or group] = value if math.isfinite(value) else None


def read(file: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, oldest first; none if there is no file. A half-written last line is left out.

    Raises I2IError for any other line that is not a log.
    """
    return [line for _, line in _lines(file)]


def cut_back(file: Path, step: int) -> None:
    """Drops the logs after `step`, and a half-written last line, so that a resumed run continues the file."""
    if file.exists():
        kept = [text + b"\n" for text, line in _lines(file) if line["step"] <= step]
        with replacing(file) as temporary:
            temporary.write_bytes(b"".join(kept))


def _lines(file: Path) -> list[tuple[bytes, dict[str, Any]]]:
    if not file.exists():
        return []
    texts = file.read_bytes().splitlines()
    found = []
    for index, text in enumerate(texts):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            found.append((text, line))
        elif index < len(texts) - 1:
            raise I2IError(Problem(f"{file}, line {index + 1}", f"{text[:60]!r} is not a log; delete the line"))
    return found
