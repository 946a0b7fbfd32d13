"""The loop around the trainer: feeds it, logs, samples, saves, stops when asked, and goes on where it stopped."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict

import torch
from torch import Tensor

from i2i import checkpoint
from i2i.device import to_device
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.judging import Judge
from i2i.measure import in_bytes
from i2i.memory import peak_memory
from i2i.run import Run
from i2i.sampling import imagined, sample
from i2i.saving import Saver
from i2i.schedules import Observes
from i2i.signals import caught
from i2i.trainer import check_finite
from i2i.training import Training
from i2i.watch import Rollback, Running, Watcher
from i2i.watch.audience import Audience
from i2i.watch.metrics_file import cut_back
from i2i.watch.wording import duration

Tell = Callable[[str], None]

N_IMAGINED = 8
"""Images that a method makes from nothing for each grid of samples, if it can."""


class Loop:
    """Steps a training to its end, or until it is told to stop, and keeps its run directory."""

    def __init__(self, training: Training, run: Run, watchers: list[Watcher], engine: Engine, tell: Tell) -> None:
        self.training, self.run, self.world = training, run, training.world
        self.tell = tell if self.world.leads else lambda text: None
        self.audience = Audience(watchers if self.world.leads else [], self.tell)
        self.environment = training.environment(engine)
        self.judge = Judge(training, self.tell)
        self.environment["metrics"] = self.judge.about
        self.saver = Saver(training, run, self.judge, self.tell)
        self.seconds, self._slower = 0.0, 1.0
        self._stop = ""
        self._rollback: Rollback | None = None
        self._lock = ExitStack()

    def resume(self) -> None:
        """Goes on from the newest whole checkpoint, exactly. Raises I2IError."""
        self._hold()
        progress = self.saver.load()
        self.environment = {k: v for k, v in self.run.environment.items() if k == "memory"} | self.environment
        self.seconds = progress["seconds"]
        self._slow_down(progress.get("slower", 1.0))
        with self.world.together():
            if self.world.leads:
                checkpoint.set_aside(self.run.checkpoints, self.saver.step)
                cut_back(self.run.metrics, self.saver.step)
            self.saver.save_translators()  # the process may have died before it wrote these

    def _hold(self) -> None:
        """Takes the run for this process, if it has not; raises I2IError if another one has it."""
        with self.world.together():
            if self.world.leads:
                self._lock.close()
                self._lock.enter_context(self.run.locked())

    def go(self) -> str:
        """Runs; returns why it stopped, empty at the end of the schedule. Raises I2IError if a loss is not finite."""
        training, trainer, running = self.training, self.training.trainer, self._running()
        self._hold()
        if self.world.leads:
            self.run.write_about(self.saver.document, self.environment)
        self.audience.started(running)
        if remark := training.compiled.remark:
            self.tell(remark)
        if names := ", ".join(training.compiled.networks):
            self.tell(f"compiling {names}: minutes the first time on this machine, seconds when their code is kept")
        try:
            with caught(self._on_signal):
                stopped = self._loop(running)
                while self._rollback and self._rollback.slower:
                    running = self._go_back(running, self._rollback)
                    stopped = self._loop(running)
                if not self._rollback:
                    self._save(final=True)
        finally:
            self.audience.finished(running)
            self._lock.close()
        assert stopped or trainer.step == training.n_steps
        return stopped

    def _go_back(self, running: Running, wish: Rollback) -> Running:
        """To the last checkpoint, with lower learning rates. Raises I2IError if there is none."""
        if not checkpoint.steps(self.run.checkpoints):
            raise I2IError(f"{wish.reason}; there is no checkpoint to go back to, a lower train.save_every makes one")
        self.audience.finished(running)
        self.tell(f"{wish.reason}: back to the last checkpoint, learning rates times {wish.slower:g}")
        self._stop, self._rollback = "", None
        slower = self._slower * (wish.slower or 1.0)
        self.resume()
        self._slow_down(slower)
        self.audience.started(running := self._running())
        return running

    def _slow_down(self, factor: float) -> None:
        schedule = self.training.schedule
        self._slower, self.training.trainer.rate = factor, lambda step: factor * schedule(step)

    def _loop(self, running: Running) -> str:
        """Steps until the end or until somebody, on any process, wants to stop; returns why."""
        trainer, options, n_steps = self.training.trainer, self.training.recipe.train, self.training.n_steps
        since, since_step = time.monotonic(), trainer.step
        for batches in self.training.data.loader(trainer.step, n_steps):
            batches = [b.map(lambda t: to_device(t, trainer.device)) for b in batches]
            metrics = trainer.train_step(batches)
            step = trainer.step
            if step == running.start + 2:  # the first one makes the states of the optimizers
                self._tell_memory()
            if step == running.start + 1 and self.training.compiled:
                self.tell(f"compiled  in {duration(time.monotonic() - since)}, with the first step")
            self.audience.ticked(running, step)
            stop = self.world.agree(self._stop)
            ends = step == n_steps or bool(stop)
            regular = step % options.sample_every == 0 or step == options.log_every  # the first ones soon
            samples, judges = regular or ends, self.judge.is_due(step, regular, step == n_steps)
            if step % options.log_every == 0 or samples or judges or step % options.save_every == 0:
                values = self.world.means(_read(metrics))
                now = time.monotonic()
                self.seconds += now - since
                images_per_second = (step - since_step) * running.images_per_step / max(now - since, 1e-9)
                whole = all(map(math.isfinite, values.values()))
                self._log(running, values, images_per_second, samples and whole, judges and whole)
                if not (self._rollback and self._rollback.slower):
                    check_finite(values, step)
                stop = stop or self.world.agree(self._stop)
                since, since_step = time.monotonic(), step
            if step % options.save_every == 0 and not ends and not self._rollback:
                self._save()
            if stop:
                return stop
        return ""

    def _tell_memory(self) -> None:
        self.environment["peak_memory"] = peak_memory(self.training.trainer.device)
        self.tell(f"memory    {in_bytes(self.environment['peak_memory'])} at the peak, up to the second step")
        if self.world.leads:
            self.run.write_about(self.saver.document, self.environment)

    def _log(
        self, running: Running, values: dict[str, float], images_per_second: float, samples: bool, judges: bool
    ) -> None:
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
        if judges:
            metrics |= self._judge()
        reason, wish = self.audience.logged(running, trainer.step, metrics, images)
        self._stop = self._stop or reason
        said = self.world.agree(json.dumps(asdict(wish)) if wish else "")
        self._rollback = Rollback(**json.loads(said)) if said else self._rollback

    def _judge(self) -> dict[str, float]:
        """Metrics of held-out images; keeps the best translators, and wishes to stop when patience is lost."""
        metrics, better = self.judge()
        self._stop = self._stop or self.judge.lost_patience()
        if better:
            self.saver.save_best(better)
        return metrics

    def _save(self, final: bool = False) -> None:
        self.saver.save({"seconds": self.seconds, "slower": self._slower}, final)

    def _running(self) -> Running:
        training = self.training
        return Running(
            folder=self.run.folder,
            recipe=self.saver.document,
            environment=self.environment,
            start=training.trainer.step,
            n_steps=training.n_steps,
            steps_per_epoch=training.data.steps_per_epoch,
            images_per_step=training.images_per_step,
            names=training.data.names,
            baseline=self.judge.baseline,
        )

    def _on_signal(self, number: int) -> None:
        if self._stop and not self.saver.busy:  # the second one does not wait
            raise KeyboardInterrupt
        self._stop = self._stop or f"stopped by {signal.Signals(number).name}"
        doing = (
            "saving; it ends by itself" if self.saver.busy else "stopping after this step; once more to stop at once"
        )
        self.tell(doing)


def _read(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """The values; the device is waited for once."""
    values: list[float] = torch.stack([value.float() for value in metrics.values()]).tolist()
    return dict(zip(metrics, values, strict=True))
