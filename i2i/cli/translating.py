"""The command translate: images through a trained network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from i2i.cli.app import Plugins, app, check_plugins, console, start_engine
from i2i.errors import I2IError


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
    console.print(f"{done} of {len(files)} images translated, {there}, in {out}", soft_wrap=True, markup=False)
    if problems:
        raise I2IError(*problems)
