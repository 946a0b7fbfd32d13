"""What a run keeps: checkpoints to go on from, the translators, and the best of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from i2i import checkpoint
from i2i.errors import I2IError
from i2i.files import write_json
from i2i.judging import Judge
from i2i.run import Run
from i2i.schedules import Observes
from i2i.training import Training
from i2i.weights import save_translator


class Saver:
    """Saves a training into its run.

    Attributes:
        step: of the newest checkpoint; -1 if there is none.
        busy: a checkpoint is being written.
    """

    def __init__(self, training: Training, run: Run, judge: Judge, tell: Callable[[str], None]) -> None:
        self.training, self.run, self.judge, self.tell = training, run, judge, tell
        self.world = training.world
        self.document = training.recipe.document()
        self.conditions = training.conditions()  # once: it goes over the names of all images
        self.step, self.busy = -1, False

    def save(self, progress: Mapping[str, Any], final: bool = False) -> None:
        """A checkpoint and the translators, unless this step has them.

        A failure, such as a full disk, is told; it raises I2IError only if this was the last chance (`final`).
        """
        trainer, schedule, step = self.training.trainer, self.training.schedule, self.training.trainer.step
        if step == self.step:
            return
        self.busy = True
        about = {
            **progress,
            "schedule": schedule.state_dict() if isinstance(schedule, Observes) else None,
            "conditions": self.conditions,
            "best": self.judge.best.state_dict(),
        }
        state = trainer.state_dict() | {"rng": checkpoint.rng_state(trainer.device)}
        try:
            keep = self.training.recipe.train.keep_checkpoints
            checkpoint.save(self.run.checkpoints, state, about, keep=keep, world=self.world)
            self.step = step
            with self.world.together():
                self.save_translators()
        except OSError as error:
            message = f"step {step} could not be saved: {error}"
            if final:
                kept = checkpoint.steps(self.run.checkpoints)
                message += f"; the last checkpoint is of step {kept[-1]}" if kept else "; there is no checkpoint"
                raise I2IError(message) from error
            self.tell(f"{message}; training goes on, the next try is at the next save")
        finally:
            self.busy = False

    def load(self) -> dict[str, Any]:
        """Takes up the newest whole checkpoint; returns the progress that was saved with it. Raises I2IError."""
        trainer, schedule = self.training.trainer, self.training.schedule
        with self.world.together():
            state, progress = checkpoint.load_latest(self.run.checkpoints, self.world)
        trainer.load_state_dict(state)
        if isinstance(schedule, Observes) and progress["schedule"] is not None:
            schedule.load_state_dict(progress["schedule"])
        self.judge.best.load_state_dict(progress.get("best", {}))
        for what, now in self.conditions.items():
            if now != progress["conditions"].get(what, now):
                self.tell(f"{what} changed since the run was saved: it goes on, but not to the same bits")
        checkpoint.restore_rng(state["rng"], trainer.device)
        self.step = trainer.step
        return progress

    def save_translators(self) -> None:
        """All of them; by the leading process."""
        self._write(self.training.method.translators(), best=False)

    def save_best(self, directions: Iterable[str]) -> None:
        """The translators of these directions as the best ones; a failure is told."""
        if not self.world.leads:
            return
        try:
            self._write(directions, best=True)
            write_json(self.run.folder / "best.json", self.judge.best.found)
        except OSError as error:
            self.tell(f"the best translators could not be saved: {error}; training goes on")

    def _write(self, directions: Iterable[str], best: bool) -> None:
        trainer, recipe = self.training.trainer, self.training.recipe
        translators = trainer.translators()
        for direction in directions if self.world.leads else ():
            path, module = self.run.weights(direction, best), translators[direction]
            path.parent.mkdir(exist_ok=True)
            save_translator(path, module, recipe=recipe, direction=direction, step=trainer.step)
