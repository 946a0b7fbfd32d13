"""The command translate: images through a trained network."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from i2i.cli.app import Plugins, app, check_plugins, console, errors, start_engine, tell, warn_by
from i2i.errors import I2IError, Problem, suggest

if TYPE_CHECKING:
    from i2i.images.formats import Format

STREAM = "-"
N_TOLD = 20
"""Errors that a terminal shows."""


@app.command()
def translate(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_WEIGHTS", help="A run's folder or a safetensors file.")],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES", help="Files, folders, patterns like 'in/*.png', or - for stdin."),
    ],
    out: Annotated[str, typer.Option("-o", "--out", help="Folder for the translated images, or - for stdout.")],
    to: Annotated[str | None, typer.Option(help="Domain to translate to: a, b, or its name.")] = None,
    format: Annotated[
        str | None, typer.Option(help="png, tiff, jpeg, …; else that of each image, if lossless.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="`latest`, `best`, or the step of a checkpoint.")] = "latest",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images of equal size that are translated together.")] = 1,
    overwrite: Annotated[bool, typer.Option(help="Replace images that are there already.")] = False,
    plugin: Plugins = None,
) -> None:
    """Translate images with a run or its weights: same size, same type, same names and folders."""
    from i2i.device import pick_device
    from i2i.run import Run
    from i2i.translate import find_translator
    from i2i.translating import Summary, find_inputs, translate_files, translate_stream
    from i2i.weights import needed_plugins

    warn_by(lambda text: errors.print(text, soft_wrap=True, markup=False))
    wanted = _format(format) if format else None
    _check_streams(images, out)
    places, n_left_out = find_inputs(images, None if out == STREAM else Path(out))
    if out == STREAM and len(places) > 1:
        raise I2IError(Problem("--out", f"- takes one image, not {len(places):,}; give a folder"))
    needed = needed_plugins(source, checkpoint)
    engine = start_engine(context, plugin, only=needed)
    if source.is_dir():
        run = Run.open(source)
        check_plugins(run.environment, needed or [], engine, f"translate {shlex.quote(str(source))} …")
    translator = find_translator(source, engine.registry, engine.plugins, to=to, at=checkpoint)
    translator.module.to(pick_device(device, "--device"))

    if out == STREAM:
        summary = translate_stream(translator, places[0], sys.stdout.buffer, wanted)
        tell(summary.problems)
        _say(summary.notes(translator), errors)
        raise typer.Exit(1 if summary.problems else 0)
    Path(out).mkdir(parents=True, exist_ok=True)
    summary, ended = Summary(len(places)), ""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as tidy as Ctrl-C: no half file stays
    columns = (TextColumn("translating"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
            task = bar.add_task("translating", total=len(places))
            advance = partial(bar.advance, task)
            translate_files(
                translator, places, Path(out), summary,
                format=wanted, overwrite=overwrite, batch_size=batch_size, advance=advance,
            )  # fmt: skip
    except KeyboardInterrupt:
        ended = "interrupted: "
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
        told = summary.problems[:N_TOLD] if errors.is_terminal else summary.problems
        tell(told)
        if n_more := len(summary.problems) - len(told):
            _say([f"and {n_more:,} more; 2> errors.txt keeps all of them"], errors)
        done = f"{ended}{summary.written:,} of {len(places):,} images translated"
        parts = [done, f"{translator.names[0]} to {translator.names[1]}", f"in {out}", summary.pace()]
        _say([", ".join(filter(None, parts)), *summary.notes(translator)], console)
        if n_left_out:
            _say([f"{n_left_out:,} in {out} were not taken for images to translate"], console)
    if summary.problems:
        raise typer.Exit(1)


class Speed(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        from i2i.watch.wording import number

        return Text(f"{number(task.speed)} images/s" if task.speed else "")


def _format(name: str) -> Format:
    """A format that can be written. Raises I2IError for any other name."""
    from i2i.images.formats import FORMATS

    able = {key: format for key, format in FORMATS.items() if format.writes}
    by_suffix = {suffix.removeprefix("."): format for format in able.values() for suffix in format.suffixes}
    found = (able | by_suffix).get(name.lower().removeprefix("."))
    if found is None:
        raise I2IError(Problem("--format", f"there is no format {name!r} to write{suggest(name, able)}"))
    return found


def _check_streams(images: list[str], out: str) -> None:
    if not out:
        raise I2IError(Problem("--out", "is empty; give a folder, or - for stdout"))
    if STREAM in images and len(images) > 1:
        raise I2IError(Problem("IMAGES", "- stands alone: one image comes from stdin"))
    if STREAM in images and sys.stdin.isatty():
        raise I2IError(Problem("IMAGES", "- reads an image from stdin, which is the keyboard; pipe one in"))
    if out == STREAM and sys.stdout.isatty():
        raise I2IError(Problem("--out", "- writes an image to stdout, which is the terminal; redirect it"))
    if out != STREAM and Path(out).exists() and not Path(out).is_dir():
        raise I2IError(Problem("--out", f"{out!r} is a file; give a folder, or - for stdout"))


def _say(lines: Iterable[str], where: Console) -> None:
    for line in lines:
        where.print(line, soft_wrap=True, markup=False)
