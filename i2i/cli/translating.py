"""The command translate: images through a trained network."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from i2i.cli.app import Plugins, app, check_plugins, console, errors, start_engine, tell, warn_by
from i2i.errors import I2IError, Problem, suggest

if TYPE_CHECKING:
    from i2i.images.formats import Format
    from i2i.translating import Tiling

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
    backend: Annotated[str, typer.Option(help="auto, torch, compiled, onnx or openvino.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images of equal size that are translated together.")] = 1,
    tiles: Annotated[
        str, typer.Option(help="For images too large for the memory: auto, exact, thumbnail, independent or never.")
    ] = "auto",
    memory: Annotated[str | None, typer.Option(help="What an image may take, like 2GB; else what is free.")] = None,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Of the largest image; 178 million.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace images that are there already.")] = False,
    plugin: Plugins = None,
) -> None:
    """Translate images with a run or its weights: same size, same type, same names and folders."""
    from i2i.backends import choose
    from i2i.device import pick_device
    from i2i.run import Run
    from i2i.translate import find_translator
    from i2i.translating import Summary, find_inputs, translate_files, translate_stream
    from i2i.weights import needed_plugins

    warn_by(lambda text: errors.print(text, soft_wrap=True, markup=False))
    wanted = _format(format) if format else None
    tiling = _tiling(tiles, memory, max_pixels, precision)
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
    inform = partial(errors.print, soft_wrap=True, markup=False, highlight=False)
    translator = choose(translator, backend, precision, n_images=len(places), tell=inform)

    if out == STREAM:
        summary = translate_stream(translator, places[0], sys.stdout.buffer, wanted, tiling)
        tell(summary.problems)
        _say(summary.notes(translator), errors)
        raise typer.Exit(1 if summary.problems else 0)
    Path(out).mkdir(parents=True, exist_ok=True)
    summary, ended = Summary(len(places)), ""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as tidy as Ctrl-C: no half file stays
    name = TextColumn("{task.description}", markup=False, table_column=Column(max_width=24, no_wrap=True))
    columns = (name, BarColumn(), Done(), Speed(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
            task = bar.add_task("translating", total=len(places))
            advance = partial(bar.advance, task)
            part = bar.add_task("", visible=False, total=1.0, part=True)

            def progress(name: str, done: float, total: float) -> None:
                bar.update(part, description=Path(name).name, completed=done, total=total, visible=done < total)

            translate_files(
                translator, places, Path(out), summary,
                format=wanted, overwrite=overwrite, batch_size=batch_size,
                tiling=tiling, advance=advance, progress=progress,
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
        by = f"by {translator.compute}" if str(translator.compute) else ""
        parts = [done, f"{translator.names[0]} to {translator.names[1]}", f"in {out}", summary.pace(), by]
        _say([", ".join(filter(None, parts)), *summary.notes(translator)], console)
        if n_left_out:
            _say([f"{n_left_out:,} in {out} were not taken for images to translate"], console)
    if summary.problems:
        raise typer.Exit(1)


class Done(ProgressColumn):
    """Images of all, or of one image that goes in tiles the part in per cent."""

    def render(self, task: Task) -> Text:
        if task.fields.get("part"):
            return Text(f"{task.percentage:.0f} %")
        return Text(f"{int(task.completed)}/{int(task.total or 0)}")


class Speed(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        from i2i.watch.wording import number

        return Text(f"{number(task.speed)} images/s" if task.speed and not task.fields.get("part") else "")


def _format(name: str) -> Format:
    """A format that can be written. Raises I2IError for any other name."""
    from i2i.images.formats import FORMATS

    able = {key: format for key, format in FORMATS.items() if format.writes}
    by_suffix = {suffix.removeprefix("."): format for format in able.values() for suffix in format.suffixes}
    found = (able | by_suffix).get(name.lower().removeprefix("."))
    if found is None:
        raise I2IError(Problem("--format", f"there is no format {name!r} to write{suggest(name, able)}"))
    return found


def _tiling(tiles: str, memory: str | None, max_pixels: int | None, precision: str) -> Tiling:
    """How large images are translated. Raises I2IError for what makes no sense."""
    from i2i.translating import TILES, Tiling

    way = next((way for way in TILES if way == tiles), None)
    if way is None:
        raise I2IError(Problem("--tiles", f"there is no way {tiles!r}{suggest(tiles, TILES)}"))
    if way == "never" and memory is not None:
        raise I2IError(Problem("--memory", "limits what tiles take, and --tiles never makes none"))
    return Tiling(way, None if memory is None else _bytes(memory), max_pixels, bf16=precision == "bf16")


def _bytes(text: str) -> int:
    """Bytes, as people write them: 2GB, 1.5 GiB, 800MB. Raises I2IError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?", text.strip().lower())
    factor = (1024 if found[3] else 1000) ** " kmgt".index(found[2] or " ") if found else 0
    n_bytes = int(float(found[1]) * factor) if found else 0
    if not n_bytes:
        raise I2IError(Problem("--memory", f"{text!r} is no amount of memory; write 2GB, 1.5GiB or 800MB"))
    return n_bytes


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
