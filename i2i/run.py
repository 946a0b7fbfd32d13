"""Run directories: what a training leaves behind, and how to find it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i.errors import I2IError, Problem
from i2i.files import write_json
from i2i.locks import locked


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of a run:

    recipe.json            resolved, every default written out; can be trained again as it is
    environment.json       versions, device, precision, plugins, data
    metrics.jsonl          one line for each log
    samples/00001000.png   a fixed grid of images
    report.html            one static page
    checkpoints/           the newest, to go on from
    ab.safetensors, ba.safetensors    the translators
    best/, best.json       the best translators by a metric, and when that was
    health.jsonl           what looked wrong; health-samples.jsonl: what the samples measured
    eval.json              what `i2i eval` said last
    """

    folder: Path

    @classmethod
    def create(cls, parent: Path, name: str) -> Run:
        """A new folder `parent/name`, or `name-2`, `name-3`, …: a run is never overwritten."""
        parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            folder = parent / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
                continue
            return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """An existing run. Raises I2IError for any other folder."""
        if not (folder / "recipe.json").is_file():
            what = "there is no such folder" if not folder.exists() else "is no run: it has no recipe.json"
            raise I2IError(Problem(str(folder), what))
        return cls(folder)

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other processes from writing here while the block lasts. Raises I2IError if one does already.

        The system gives the lock back when the process ends, however it ends.
        """
        return locked(self.folder / ".lock", Problem(str(self.folder), "is being trained by another process"))

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def recipe(self) -> dict[str, Any]:
        return self._read("recipe.json")

    @property
    def requires(self) -> list[str]:
        """Names of the plugins that its recipe uses."""
        return list(self.recipe.get("requires", []))

    @property
    def environment(self) -> dict[str, Any]:
        return self._read("environment.json")

    def write_about(self, recipe: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        write_json(self.folder / "recipe.json", recipe)
        write_json(self.folder / "environment.json", environment)

    def weights(self, direction: str, best: bool = False) -> Path:
        """A translator's: the newest, or the best by the metric that the recipe names."""
        return (self.folder / "best" if best else self.folder) / f"{direction}.safetensors"

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        try:
            value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise I2IError(Problem(str(path), f"cannot be read: {error}")) from None
        return value
