"""Commands before a training: new, check."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from i2i.cli.app import Plugins, app, console, errors, start_engine, warn_by
from i2i.errors import I2IError, Problem

if TYPE_CHECKING:
    from i2i.layers import Document
    from i2i.registry import Registry
    from i2i.training import Training

FolderA = Annotated[Path | None, typer.Option("--a", help="Folder of domain A, in place of the recipe's source.")]
FolderB = Annotated[Path | None, typer.Option("--b", help="Folder of domain B.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: train.seed=1, generator=unet."),
]

Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or mps, in place of the recipe's.")]


def changed(
    document: Document,
    registry: Registry,
    a: Path | None,
    b: Path | None,
    settings: list[str] | None,
    device: str | None = None,
) -> Document:
    """A recipe with what the command line changes of it. Raises I2IError."""
    from i2i import layers
    from i2i.recipe import needs_pairs

    if folders := both_folders(a, b):
        paired = needs_pairs(layers.apply(document, settings or []), registry)
        document = layers.with_folders(document, *folders, paired=paired)
    document = layers.apply(document, settings or [])
    return layers.merge(document, {"train": {"device": device}}) if device else document


def both_folders(a: Path | None, b: Path | None) -> tuple[Path, Path] | None:
    """Two folders or none. Raises I2IError for one."""
    if a is None and b is None:
        return None
    if a is None or b is None:
        raise I2IError(Problem("--a/--b", "one folder for each domain: give both"))
    return a, b


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
    text = propose(seen[0], seen[1], hours, engine.registry, _say)
    try:
        recipe.write_text(text, encoding="utf-8")
    except UnicodeEncodeError:
        recipe.unlink()
        raise I2IError("a folder's name is not valid UTF-8, which a recipe cannot say; rename it") from None
    _say(f"wrote {recipe}; train it with: i2i train {shlex.quote(str(recipe))}")


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)


@app.command()
def check(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a shipped recipe.")],
    a: FolderA = None,
    b: FolderB = None,
    settings: Settings = None,
    device: Device = None,
    plugin: Plugins = None,
) -> None:
    """Validate a recipe, build it and play steps of it: every mistake in one go, then time and memory."""
    from i2i import layers

    document = layers.read(recipe)  # a mistake in its name is told before anything slow is imported

    from i2i.estimate import estimate, lines
    from i2i.judging import Judge
    from i2i.recipe import resolve
    from i2i.training import Training

    engine = start_engine(context, plugin)
    found = resolve(changed(document, engine.registry, a, b, settings, device), engine.registry, list(engine.plugins))
    warn_by(lambda text: errors.print(text, soft_wrap=True, markup=False))
    with loading() as progress:
        training = Training.build(found, progress)
    report_findings(training)
    Judge(training, lambda text: errors.print(text, soft_wrap=True, markup=False))  # takes memory, as it does in a run
    if remark := training.compiled.remark:
        _say(remark)
    if training.compiled:
        _say(f"compiling {', '.join(training.compiled.networks)}, to time a step: minutes the first time")
    assert training.forecast
    for what, much in lines(estimate(training, training.forecast)):
        _say(f"{what}: {much}")
    _say("the recipe is sound")


def report_findings(training: Training, warn: bool = True) -> None:
    """Prints the warnings of the checks before the first step, if wanted, and raises I2IError with the errors.

    Where warnings are wanted, foresees what a step takes as well: `training.forecast`.
    """
    from i2i.memory import free_memory
    from i2i.preflight import examine, shortage

    data = training.data
    found = examine(
        training.method,
        crop_size=data.size,
        channels=data.channels,
        batch_size=training.recipe.data.batch_size,
        builder=training.recipe.method,
        largest=data.sizes[-1],
        size_key=data.options.size_key,
    )
    if warn and not any(finding.level == "error" for finding in found):
        found += shortage(training.foresee(), free_memory(training.trainer.device), training.recipe)
    for finding in found:
        if warn and finding.level == "warning":
            errors.print(f"[yellow]warning:[/] {escape(f'{finding.where}: {finding.message}')}", soft_wrap=True)
    if problems := [Problem(f.where, f.message) for f in found if f.level == "error"]:
        raise I2IError(*problems)


@contextmanager
def loading(quiet: bool = False, doing: str = "preparing images of") -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for preparing images; nothing is seen of it where there is nothing to wait for."""
    columns = (TextColumn(doing + " {task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        yield report
