"""A watcher for Weights & Biases."""

from __future__ import annotations

import importlib
import json
import secrets
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from i2i import hookimpl
from i2i.errors import I2IError, Problem
from i2i.files import write_json
from i2i.hookspecs import Factories
from i2i.watch import Running
from i2i.watch.samples import grid


class WandB:
    """Gives losses, scores, rates, test metrics and sample grids to Weights & Biases.

    Offline, everything is in `wandb` in the run's folder, for `wandb sync`. A resumed run goes on as the same one.
    Raises I2IError without the package.

    Args:
        project: where the run is shown.
        run_name: that of its folder if empty.
        mode: `online` needs `wandb login` first.
    """

    def __init__(
        self, *, project: str = "i2i", run_name: str = "", mode: Literal["offline", "online"] = "offline"
    ) -> None:
        try:
            self._wandb = importlib.import_module("wandb")
        except ImportError as error:
            message = f"needs a package that is missing ({error}): pip install 'i2i[wandb]'"
            raise I2IError(Problem("watch: wandb", message)) from error
        self.project, self.run_name, self.mode = project, run_name, mode

    def started(self, run: Running) -> None:
        file = run.folder / "wandb.json"
        if not file.exists():
            write_json(file, {"id": secrets.token_hex(4)})
        self._run = self._wandb.init(
            project=self.project,
            name=self.run_name or run.folder.resolve().name,
            id=json.loads(file.read_bytes())["id"],
            resume="allow",
            dir=str(run.folder),
            mode=self.mode,
            config=dict(run.recipe),
            settings=self._wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")  # its own counter cannot go back, as a resumed run may

    def logged(self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]) -> None:
        values = {name.replace(".", "/", 1): value for name, value in metrics.items()}
        shown = {"samples": self._wandb.Image(grid(images, run.names))} if images else {}
        self._run.log({"step": step, **values, **shown})

    def finished(self, run: Running) -> None:
        self._run.finish()


@hookimpl
def register_watchers() -> Factories:
    return {"wandb": WandB}
