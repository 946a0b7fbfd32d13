"""Trains what a plan says, one after the other, each to its end, and goes on where it was stopped."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from i2i import checkpoint
from i2i.comparing.plan import Plan
from i2i.comparing.trained import Trained
from i2i.data.workers import end_explained
from i2i.device import memory_is_full
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.layers import Document
from i2i.loop import Loop
from i2i.recipe import Recipe, resolve
from i2i.run import Run
from i2i.training import Training
from i2i.watch import Watcher
from i2i.watch.metrics_file import MetricsFile
from i2i.watch.report import Report
from i2i.watch.samples import Samples


class Audience(Protocol):
    """Who is told how a comparison goes."""

    def build(self, recipe: Recipe) -> Training:
        """Builds a training. Raises I2IError, also if its checks say that it must not begin."""

    def watcher(self, name: str, seed: int) -> Watcher:
        """Who watches this training."""

    def judging(self, name: str, seed: int) -> AbstractContextManager[object]:
        """Around the judgement of a training."""

    def tell(self, text: str) -> None:
        """Something that a user should know."""


def train(plan: Plan, engine: Engine, audience: Audience) -> Iterator[tuple[str, Trained]]:
    """Every training of a plan with the name of its variant, as soon as it is done.

    What is known of one that is done stands beside its run, in VARIANT/seed-0.json, and is not made again. So it is
    with one that failed on its way; one that could not begin is tried again. Raises KeyboardInterrupt once a training
    that the user stopped is saved.
    """
    for name, seed in plan.trainings():
        run = Run(plan.run(name, seed))
        done = Trained.read(run.folder)
        if done is None:
            done = _train(plan.recipe(name, seed), name, seed, run, engine, audience)
            if not done.failed or run.metrics.exists():
                done.write()
        yield name, done


def _train(document: Document, name: str, seed: int, run: Run, engine: Engine, audience: Audience) -> Trained:
    """One training and its judgement; its failure is no failure of the others."""
    gc.collect()  # the training before, which refers to itself, holds its networks
    try:
        _go(resolve(document, engine.registry, list(engine.plugins)), name, seed, run, engine, audience)
        with audience.judging(name, seed):
            return Trained.of(run, engine, device=document["train"]["device"])
    except OSError:  # a full disk is nothing that the next one could do without
        raise
    except I2IError as error:
        reason = "; ".join(map(str, error.problems))
    except Exception as error:  # a component may raise anything
        reason = "the memory is full" if memory_is_full(error) else f"{type(error).__name__}: {error}"
    audience.tell(f"{name}, seed {seed} failed: {reason}")
    return Trained(run.folder, seed, failed=reason)


def _go(recipe: Recipe, name: str, seed: int, run: Run, engine: Engine, audience: Audience) -> None:
    """A training to its end. Raises I2IError if it ends before, KeyboardInterrupt if the user wants so."""
    begun = bool(checkpoint.steps(run.checkpoints))
    if run.folder.exists() and not begun:
        shutil.rmtree(run.folder)  # it was killed before its first save
    training = audience.build(recipe)
    if not training.method.translators():
        raise I2IError(f"{recipe.method.qualified} translates nothing; there is nothing to judge")
    watchers = [Samples(), MetricsFile(), Report(), audience.watcher(name, seed), *(w() for w in recipe.watch)]

    def tell(text: str) -> None:
        if not text.startswith("memory"):  # the table says it
            audience.tell(f"{name}, seed {seed}: {text}")

    loop = Loop(training, run, watchers, engine, tell)
    if not loop.judge.names:
        raise I2IError("none of its metrics can be computed on these images; name others by --metric")
    run.folder.mkdir(parents=True, exist_ok=True)
    if begun:
        loop.resume()
    with end_explained():
        stopped = loop.go()
    if "SIG" in stopped:
        raise KeyboardInterrupt
    if stopped:
        raise I2IError(f"ended after {training.trainer.step:,} of {training.n_steps:,} steps: {stopped}")
