"""A watcher for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from i2i import hookimpl
from i2i.errors import I2IError, Problem
from i2i.hookspecs import Factories
from i2i.watch import Running
from i2i.watch.samples import grid


class TensorBoard:
    """Writes losses, scores, rates, test metrics and sample grids for TensorBoard.

    They are in `tensorboard` in the run's folder; `tensorboard --logdir runs` shows all runs. What a resume undoes is
    purged. Raises I2IError without the package.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            message = f"needs a package that is missing ({error}): pip install 'i2i[tensorboard]'"
            raise I2IError(Problem("watch: tensorboard", message)) from error
        self._open = SummaryWriter

    def started(self, run: Running) -> None:
        purged = run.start + 1 if run.start else None
        self._writer = self._open(str(run.folder / "tensorboard"), purge_step=purged)
        recipe = json.dumps(run.recipe, indent=2, ensure_ascii=False)
        self._writer.add_text("recipe", f"```json\n{recipe}\n```", run.start)

    def logged(self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name.replace(".", "/", 1), value, step)
        if images:
            self._writer.add_image("samples", np.asarray(grid(images, run.names)), step, dataformats="HWC")
        self._writer.flush()

    def finished(self, run: Running) -> None:
        self._writer.close()


@hookimpl
def register_watchers() -> Factories:
    return {"tensorboard": TensorBoard}
