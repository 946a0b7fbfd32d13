"""Commands of runs: train, translate, check."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from i2i.cli.app import Plugins, app, console, errors, start_engine
from i2i.errors import I2IError, Problem

if TYPE_CHECKING:
    from i2i.engine import Engine

FolderA = Annotated[Path | None, typer.Option("--a", help="Folder of domain A, in place of the recipe's source.")]
FolderB = Annotated[Path | None, typer.Option("--b", help="Folder of domain B.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: train.seed=1, generator=unet."),
]
RESUMABLE = r"schedule\..+|train\.(log_every|sample_every|save_every|keep_checkpoints)|data\.n_workers"


@app.command()
def train(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Argument(help="A TOML file, or the name of a shipped recipe: cyclegan.")
    ] = None,
    a: FolderA = None,
    b: FolderB = None,
    settings: Settings = None,
    plugin: Plugins = None,
    out: Annotated[Path, typer.Option(help="Where the run's folder is made.")] = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="Go on with this run, exactly; needs no recipe.")] = None,
) -> None:
    """Train a recipe, or go on with a run."""
    from i2i import layers
    from i2i.distributed import World
    from i2i.loop import Loop, warn_by
    from i2i.recipe import resolve
    from i2i.run import Run
    from i2i.training import Training
    from i2i.watch.console import Console
    from i2i.watch.metrics_file import MetricsFile
    from i2i.watch.report import Report
    from i2i.watch.samples import Samples

    if (recipe is None) == (resume is None):
        raise I2IError("train takes a recipe, or --resume and a run; `i2i train cyclegan` trains the shipped one")
    engine = start_engine(context, plugin)
    if resume:
        if a or b:
            raise I2IError(Problem("--a/--b", "a resumed run keeps its images"))
        run = Run.open(resume)
        _check_resumable(settings or [])
        check_plugins(run.environment, run.recipe, engine, f"train --resume {shlex.quote(str(resume))}")
        document = layers.read(run.folder / "recipe.json", settings or [])
    else:
        document = with_folders(layers.read(str(recipe), settings or []), a, b)
    found = resolve(document, engine.registry, list(engine.plugins))
    world = World.join()
    terminal = Console(console)
    warn_by(terminal.message if world.leads else lambda text: None)
    with _loading(quiet=not world.leads) as progress:
        training = Training.build(found, progress, world)
    if not resume:
        report_findings(training)
        with world.together():
            name = re.sub(r"[^\w.-]+", "-", layers.find(str(recipe)).stem)
            folder = str(Run.create(out, name).folder) if world.leads else ""
        run = Run(Path(world.agree(folder)))
    loop = Loop(
        training,
        run,
        [Samples(), MetricsFile(), terminal, Report(), *(w() for w in found.watch)],
        engine,
        terminal.message,
    )
    if resume:
        loop.resume()
        if training.trainer.step >= training.n_steps:
            n = training.trainer.step
            raise I2IError(
                Problem(str(resume), f"is at its end, step {n}; lengthen it: --set schedule.n_steps={2 * n}")
            )
    stopped = loop.go()
    world.leave()
    if not world.leads:
        return
    folder = shlex.quote(str(run.folder))
    if stopped:
        console.print(f"{stopped} and saved at step {training.trainer.step}; go on with: i2i train --resume {folder}")
        raise typer.Exit(130 if "SIG" in stopped else 0)
    console.print(
        f"done: {run.folder}/report.html shows it; translate with: i2i translate {folder} IMAGES -o OUT", soft_wrap=True
    )


@app.command()
def new(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="The TOML file to write.")],
    a: Annotated[Path, typer.Option("--a", help="Folder of domain A.")],
    b: Annotated[Path, typer.Option("--b", help="Folder of domain B.")],
    hours: Annotated[float, typer.Option(min=0.01, help="How long training may take.")] = 8.0,
    plugin: Plugins = None,
) -> None:
    """Look at images and hardware, time a step, and write a commented recipe that fits."""
    from i2i.propose import look, propose

    if recipe.exists():
        raise I2IError(Problem(str(recipe), "is there already; choose another name"))
    engine = start_engine(context, plugin)
    seen = [look(a, "--a"), look(b, "--b")]
    text = propose(seen[0], seen[1], hours, engine.registry, lambda line: console.print(line, soft_wrap=True))
    recipe.write_text(text, encoding="utf-8")
    console.print(f"wrote {recipe}; train it with: i2i train {shlex.quote(str(recipe))}", soft_wrap=True)


@app.command()
def check(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a shipped recipe.")],
    a: FolderA = None,
    b: FolderB = None,
    settings: Settings = None,
    plugin: Plugins = None,
) -> None:
    """Validate a recipe, build it and play steps of it: every mistake in one go, then time and memory."""
    from i2i import layers
    from i2i.estimate import estimate, lines
    from i2i.loop import warn_by
    from i2i.recipe import resolve
    from i2i.training import Training

    engine = start_engine(context, plugin)
    document = with_folders(layers.read(recipe, settings or []), a, b)
    found = resolve(document, engine.registry, list(engine.plugins))
    warn_by(lambda text: errors.print(text, soft_wrap=True))
    with _loading() as progress:
        training = Training.build(found, progress)
    report_findings(training)
    batches = [b.map(lambda t: t.to(training.trainer.device)) for b in training.data.batches(0)]
    takes = estimate(training.method, lambda: training.trainer.train_step(batches), n_steps=training.n_steps)
    for what, much in lines(takes):
        console.print(f"{what}: {much}")
    console.print("the recipe is sound")


@app.command()
def translate(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_WEIGHTS", help="A run's folder or a safetensors file.")],
    images: Annotated[Path, typer.Argument(help="An image, or a folder of them, however deep.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the translated images.")],
    to: Annotated[str | None, typer.Option(help="Domain to translate to: a, b, or its name.")] = None,
    checkpoint: Annotated[str, typer.Option(help="`latest`, or the step of a checkpoint.")] = "latest",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    overwrite: Annotated[bool, typer.Option(help="Replace images that are there already.")] = False,
    plugin: Plugins = None,
) -> None:
    """Translate images with a run or its weights: same size, same names, as PNG."""
    from i2i.device import pick_device
    from i2i.run import Run
    from i2i.translate import find_translator
    from i2i.translating import list_images, translate_files

    engine = start_engine(context, plugin)
    if source.is_dir():
        run = Run.open(source)
        check_plugins(run.environment, run.recipe, engine, f"translate {shlex.quote(str(source))} …")
    files = list_images(images)
    translator = find_translator(source, engine.registry, engine.plugins, to=to, at=checkpoint)
    with Progress(TextColumn("translating"), BarColumn(), MofNCompleteColumn(), console=console, transient=True) as bar:
        task = bar.add_task("translating", total=len(files))
        done, problems = translate_files(
            translator,
            files,
            out,
            pick_device(device, "--device"),
            overwrite=overwrite,
            advance=lambda: bar.advance(task),
        )
    there = f"{translator.names[0]} to {translator.names[1]}"
    console.print(f"{done} of {len(files)} images translated, {there}, in {out}", soft_wrap=True)
    if problems:
        raise I2IError(*problems)


def with_folders(document: dict[str, Any], a: Path | None, b: Path | None) -> dict[str, Any]:
    """The recipe with its source replaced by two folders, if they are given."""
    if a is None and b is None:
        return document
    if a is None or b is None:
        raise I2IError(Problem("--a/--b", "one folder for each domain: give both"))
    data = {**document.get("data", {}), "source": {"name": "folders", "a": str(a), "b": str(b)}}
    return {**document, "data": data}


def check_plugins(environment: Mapping[str, Any], recipe: Mapping[str, Any], engine: Engine, command: str) -> None:
    """Raises I2IError that says what to type if the run used plugins that are not loaded."""
    missing = [name for name in recipe.get("requires", []) if name not in engine.plugins]
    if not missing:
        return
    known = environment.get("plugins", {})
    options = [f"-p {shlex.quote(known.get(name, {}).get('origin', name + '.py'))}" for name in missing]
    names = ", ".join(map(repr, missing))
    raise I2IError(f"this run needs the plugin {names}; type: i2i {' '.join(options)} {command}")


def report_findings(training: Any) -> None:
    """Prints the warnings of the checks before the first step, and raises I2IError with the errors."""
    from i2i.preflight import examine

    data = training.data
    found = examine(
        training.method,
        crop_size=data.size,
        channels=data.channels,
        batch_size=training.recipe.data.batch_size,
        builder=training.recipe.method,
    )
    for finding in found:
        if finding.level == "warning":
            errors.print(f"[yellow]warning:[/] {finding.where}: {finding.message}", soft_wrap=True)
    if problems := [Problem(f.where, f.message) for f in found if f.level == "error"]:
        raise I2IError(*problems)


class _loading:  # noqa: N801
    """A progress bar for preparing images; silent where there is nothing to wait for."""

    def __init__(self, quiet: bool = False) -> None:
        columns = (TextColumn("preparing images of {task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=quiet)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Any:
        self._bar.start()
        return self._progress

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _progress(self, name: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=total)
        self._bar.update(self._tasks[name], completed=done)


def _check_resumable(settings: list[str]) -> None:
    for setting in settings:
        if not re.match(rf"({RESUMABLE})=", setting):
            message = "cannot change in a resumed run; schedule.*, train.…_every and data.n_workers can"
            raise I2IError(Problem(f"--set {setting}", message))
