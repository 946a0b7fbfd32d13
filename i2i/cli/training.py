"""The command train: a recipe from its first step, or a run from its last."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from i2i.cli.app import Plugins, app, check_plugins, console, start_engine, warn_by
from i2i.cli.preparing import Device, FolderA, FolderB, Settings, changed, loading, report_findings
from i2i.errors import I2IError, Problem

RESUMABLE = r"schedule\..+|eval\..+|train\.(log_every|sample_every|save_every|keep_checkpoints)|data\.n_workers"


@app.command()
def train(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Argument(help="A TOML file, or the name of a shipped recipe: cyclegan.")
    ] = None,
    a: FolderA = None,
    b: FolderB = None,
    settings: Settings = None,
    device: Device = None,
    plugin: Plugins = None,
    out: Annotated[Path, typer.Option(help="Where the run's folder is made.")] = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="Go on with this run, exactly; needs no recipe.")] = None,
) -> None:
    """Train a recipe, or go on with a run."""
    from i2i import layers

    if (recipe is None) == (resume is None):
        raise I2IError("train takes a recipe, or --resume and a run; `i2i train cyclegan` trains the shipped one")
    if resume and (a or b):
        raise I2IError(Problem("--a/--b", "a resumed run keeps its images"))
    if resume and device:
        raise I2IError(Problem("--device", "a resumed run keeps its device"))
    if recipe:
        document = layers.read(recipe)  # a mistake in its name is told before anything slow is imported
    else:
        _check_resumable(settings or [])

    from i2i.data.workers import end_explained
    from i2i.distributed import World
    from i2i.loop import Loop
    from i2i.recipe import resolve
    from i2i.run import Run
    from i2i.training import Training
    from i2i.watch.console import Console
    from i2i.watch.metrics_file import MetricsFile
    from i2i.watch.report import Report
    from i2i.watch.samples import Samples

    engine = start_engine(context, plugin)
    if resume:
        run = Run.open(resume)
        check_plugins(run.environment, run.requires, engine, f"train --resume {shlex.quote(str(resume))}")
        document = layers.read(run.folder / "recipe.json", settings or [])
    else:
        document = changed(document, engine.registry, a, b, settings, device)
    found = resolve(document, engine.registry, list(engine.plugins))
    chosen = [builder() for builder in found.watch]  # one whose package is missing says so before there is a run
    world = World.join()
    terminal = Console(console)
    warn_by(terminal.message if world.leads else lambda text: None)
    with loading(quiet=not world.leads) as progress:
        compiled = run.environment.get("compile", False) if resume else None
        training = Training.build(found, progress, world, compiled)
    if not resume:
        report_findings(training)
        with world.together():
            name = re.sub(r"[^\w.-]+", "-", layers.find(str(recipe)).stem)
            folder = str(Run.create(out, name).folder) if world.leads else ""
        run = Run(Path(world.agree(folder)))
    watchers = [Samples(), MetricsFile(), terminal, Report(), *chosen]
    try:
        loop = Loop(training, run, watchers, engine, terminal.message)
    except I2IError:
        with suppress(OSError):  # not empty: the run was there before
            run.folder.rmdir()
        raise
    if resume:
        loop.resume()
        if (step := training.trainer.step) >= training.n_steps:
            (unit, constant), (_, decay) = found.length.document().items()
            message = f"is at its end, step {step}; lengthen it: --set schedule.{unit}={2 * constant or decay}"
            raise I2IError(Problem(str(resume), message))
    with end_explained():
        stopped = loop.go()
    world.leave()
    if not world.leads:
        return
    folder = shlex.quote(str(run.folder))
    if stopped:
        hint = f"go on with: i2i train --resume {folder}"
        done = "saved at" if loop.saver.step == training.trainer.step else "left at the checkpoint of"
        console.print(f"{stopped}, {done} step {loop.saver.step}; {hint}", soft_wrap=True, markup=False)
        raise typer.Exit(130 if "SIG" in stopped else 0)
    hint = f"; translate with: i2i translate {folder} IMAGES -o OUT" if training.method.translators() else ""
    if steps := sorted({best["step"] for best in loop.judge.best.found.values()}):
        hint += f" (--checkpoint best takes step {' and '.join(f'{step:,}' for step in steps)})"
    console.print(f"done: {run.folder}/report.html shows it{hint}", soft_wrap=True, markup=False)


def _check_resumable(settings: list[str]) -> None:
    for setting in settings:
        if not re.match(rf"({RESUMABLE})=", setting):
            message = "cannot change in a resumed run; schedule.*, eval.*, train.…_every and data.n_workers can"
            raise I2IError(Problem(f"--set {setting}", message))
