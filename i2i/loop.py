"""The loop around the trainer: feeds it, logs, samples, saves, stops when asked, and goes on where it stopped."""

from __future__ import annotations

import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from i2i import checkpoint
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.estimate import memory_of_step
from i2i.evaluation import imagined, paired_scores, sample, untouched_scores
from i2i.measure import in_bytes
from i2i.run import Run
from i2i.schedules import Observes
from i2i.trainer import check_finite
from i2i.training import Training
from i2i.translate import save_translator
from i2i.watch import Rollback, Running, Stop, Ticks, Watcher
from i2i.watch.metrics_file import cut_back

Tell = Callable[[str], None]

N_IMAGINED = 8
"""Images that a method makes from nothing for each grid of samples, if it can."""


class Loop:
    """Steps a training to its end, or until it is told to stop, and keeps its run directory."""

    def __init__(self, training: Training, run: Run, watchers: list[Watcher], engine: Engine, tell: Tell) -> None:
        self.training, self.run, self.world = training, run, training.world
        self.watchers = list(watchers) if self.world.leads else []
        self.tell = tell if self.world.leads else lambda text: None
        self.document = training.recipe.document()
        self.environment = training.environment(engine)
        self.conditions = training.conditions()  # once: it goes over the names of all images
        self.seconds = 0.0
        self._stop = ""
        self._saving = self._rollback = False
        self.saved = -1
        """The step of the newest checkpoint; -1 if there is none."""
        self._lock = ExitStack()

    def resume(self) -> None:
        """Goes on from the newest whole checkpoint, exactly. Raises I2IError."""
        self._hold()
        with self.world.together():
            state, progress = checkpoint.load_latest(self.run.checkpoints, self.world)
        self.training.trainer.load_state_dict(state)
        if isinstance(self.training.schedule, Observes) and progress["schedule"] is not None:
            self.training.schedule.load_state_dict(progress["schedule"])
        self.seconds = progress["seconds"]
        for what, now in self.conditions.items():
            if now != progress["conditions"].get(what, now):
                self.tell(f"{what} changed since the run was saved: it goes on, but not to the same bits")
        checkpoint.restore_rng(state["rng"], self.training.trainer.device)
        self.saved = state["step"]
        with self.world.together():
            if self.world.leads:
                checkpoint.set_aside(self.run.checkpoints, state["step"])
                cut_back(self.run.metrics, state["step"])
            self._save_translators()  # the process may have died between the checkpoint and these

    def _hold(self) -> None:
        """Takes the run for this process, if it has not; raises I2IError if another one has it."""
        with self.world.together():
            if self.world.leads:
                self._lock.close()
                self._lock.enter_context(self.run.locked())

    def go(self) -> str:
        """Runs; returns why it stopped, empty at the end of the schedule. Raises I2IError if a loss is not finite."""
        training, trainer = self.training, self.training.trainer
        self._hold()
        running = self._running()
        if self.world.leads:
            self.run.write_about(self.document, self.environment)
        self._watch("started", running)
        try:
            with _signals(self._on_signal):
                stopped = self._loop(running)
                if not self._rollback:
                    self._save(final=True)
        finally:
            self._watch("finished", running)
            self._lock.close()
        assert stopped or trainer.step == training.n_steps
        return stopped

    def _loop(self, running: Running) -> str:
        """Steps until the end or until somebody, on any process, wants to stop; returns why."""
        trainer, options = self.training.trainer, self.training.recipe.train
        n_steps = self.training.n_steps
        since, since_step = time.monotonic(), trainer.step
        for batches in self.training.data.loader(trainer.step, n_steps):
            batches = [b.map(lambda t: t.to(trainer.device)) for b in batches]
            if trainer.step == running.start + 1:  # the optimizers have their states by now
                metrics, memory = memory_of_step(trainer, batches)
                self.tell(f"memory    {in_bytes(memory)} of weights, optimizer states and activations")
            else:
                metrics = trainer.train_step(batches)
            step = trainer.step
            for watcher in self.watchers:
                if isinstance(watcher, Ticks):
                    self._watch_one(watcher, "ticked", running, step)
            stop = self.world.agree(self._stop)
            ends = step == n_steps or bool(stop)
            samples = step % options.sample_every == 0 or step == options.log_every or ends  # the first ones soon
            if step % options.log_every == 0 or samples or step % options.save_every == 0:
                values = self.world.means({name: float(value) for name, value in metrics.items()})
                check_finite(values, step)
                now = time.monotonic()
                self.seconds += now - since
                images_per_second = (step - since_step) * running.images_per_step / max(now - since, 1e-9)
                self._log(running, values, images_per_second, samples)
                stop = stop or self.world.agree(self._stop)
                since, since_step = time.monotonic(), step
            if step % options.save_every == 0 and not ends and not self._rollback:
                self._save()
            if stop:
                return stop
        return ""

    def _log(self, running: Running, values: dict[str, float], images_per_second: float, samples: bool) -> None:
        trainer, data = self.training.trainer, self.training.data
        metrics = {
            "epoch": trainer.step / data.steps_per_epoch,
            "seconds": self.seconds,
            "images_per_second": images_per_second,
            **values,
            **{f"lr.{player}": rate for player, rate in trainer.rates().items()},
        }
        regular = trainer.step % self.training.recipe.train.log_every == 0  # a stop must not change what comes after
        if regular and isinstance(self.training.schedule, Observes):
            losses = {k.removeprefix("loss."): v for k, v in values.items() if k.startswith("loss.")}
            self.training.schedule.observe(losses)
        images: dict[str, Tensor] = {}
        if samples and self.world.leads:
            images = sample(trainer.translators(), data.preview(), trainer.device)
            images |= imagined(trainer.method, N_IMAGINED)
            metrics |= paired_scores(trainer.translators(), data, trainer.device)
        for wish in self._watch("logged", running, trainer.step, metrics, images):
            if isinstance(wish, (Stop, Rollback)):
                self._stop = self._stop or wish.reason
                self._rollback |= isinstance(wish, Rollback)
        self._rollback = bool(self.world.agree("roll back" if self._rollback else ""))

    def _save(self, final: bool = False) -> None:
        """A checkpoint and the translators; a failure (a full disk) ends the run only if it was the last chance."""
        trainer, step = self.training.trainer, self.training.trainer.step
        if step == self.saved:
            return
        self._saving = True
        schedule = self.training.schedule
        progress = {
            "seconds": self.seconds,
            "schedule": schedule.state_dict() if isinstance(schedule, Observes) else None,
            "conditions": self.conditions,
        }
        state = trainer.state_dict() | {"rng": checkpoint.rng_state(trainer.device)}
        try:
            keep = self.training.recipe.train.keep_checkpoints
            checkpoint.save(self.run.checkpoints, state, progress, keep=keep, world=self.world)
            self.saved = step
            with self.world.together():
                self._save_translators()
        except OSError as error:
            message = f"step {step} could not be saved: {error}"
            if final:
                kept = checkpoint.steps(self.run.checkpoints)
                message += f"; the last checkpoint is of step {kept[-1]}" if kept else "; there is no checkpoint"
                raise I2IError(message) from error
            self.tell(f"{message}; training goes on, the next try is at the next save")
        finally:
            self._saving = False

    def _save_translators(self) -> None:
        trainer, names = self.training.trainer, self.training.data.names
        for direction, module in trainer.translators().items() if self.world.leads else ():
            path = self.run.weights(direction)
            save_translator(path, module, recipe=self.document, direction=direction, step=trainer.step, names=names)

    def _running(self) -> Running:
        training = self.training
        return Running(
            folder=self.run.folder,
            recipe=self.document,
            environment=self.environment,
            start=training.trainer.step,
            n_steps=training.n_steps,
            steps_per_epoch=training.data.steps_per_epoch,
            images_per_step=training.images_per_step,
            names=training.data.names,
            baseline=untouched_scores(training.data) if self.world.leads else {},
        )

    def _watch(self, event: str, *arguments: Any) -> list[Any]:
        return [self._watch_one(watcher, event, *arguments) for watcher in list(self.watchers)]

    def _watch_one(self, watcher: Watcher, event: str, *arguments: Any) -> Any:
        try:
            return getattr(watcher, event)(*arguments)
        except Exception as error:
            self.watchers.remove(watcher)
            name = type(watcher).__name__
            self.tell(f"{name} failed and is switched off: {type(error).__name__}: {error}; training goes on")
            return None

    def _on_signal(self, number: int) -> None:
        if self._saving:
            self._stop = self._stop or f"stopped by {signal.Signals(number).name}"
            self.tell("saving; it ends by itself")
            return
        if self._stop:  # the second one does not wait
            raise KeyboardInterrupt
        self._stop = f"stopped by {signal.Signals(number).name}"
        self.tell("stopping after this step; once more to stop at once")


@contextmanager
def _signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `handle` instead of raising, while the block lasts; only the main thread may ask."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, lambda n, frame: handle(n)) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def warn_by(tell: Tell) -> None:
    """Shows Python's warnings as lines of the run."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        tell(f"warning: {message}")

    warnings.showwarning = show
    if not sys.warnoptions:
        warnings.simplefilter("default", UserWarning)
