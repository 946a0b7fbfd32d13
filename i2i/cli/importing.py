"""The command `import`: networks of the code of CycleGAN's, pix2pix's and CUT's authors."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from i2i.cli.app import Plugins, app, console, start_engine
from i2i.cli.preparing import FolderA, FolderB, Settings, both_folders
from i2i.errors import I2IError, Problem


@app.command("import")
def import_(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="latest_net_G.pth, or the folder with it and train_opt.txt.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="x2y.safetensors for a file, runs/NAME for a folder.")],
    to: Annotated[
        str | None, typer.Option(help="Of a file: the domain it translates to, a or b; b by default.")
    ] = None,
    epoch: Annotated[str, typer.Option(help="Of a folder: latest, 100 or iter_5000.")] = "latest",
    evaluate: Annotated[
        bool, typer.Option("--eval", help="Of a U-Net: no dropout, and statistics of the training images.")
    ] = False,
    a: FolderA = None,
    b: FolderB = None,
    settings: Settings = None,
    plugin: Plugins = None,
) -> None:
    """Read weights of CycleGAN, pix2pix or CUT by their authors: a generator, or a folder to train on from."""
    from i2i.importer.runs import import_run, import_translator

    engine = start_engine(context, plugin)
    if source.is_dir():
        if to is not None:
            raise I2IError(Problem("--to", "goes with the file of one network; a run translates as it was trained to"))
        folders = both_folders(a, b)
        run, remarks = import_run(
            source, out, engine, epoch=epoch, folders=folders, settings=settings or [], evaluate=evaluate
        )
        folder = shlex.quote(str(run.folder))
        hints = [f"translate with: i2i translate {folder} IMAGES -o OUT", f"train on with: i2i train --resume {folder}"]
    else:
        if epoch != "latest" or settings or a or b:
            raise I2IError(Problem("--epoch, --set, --a and --b", "go with a folder, not with the file of one network"))
        if to not in (None, "a", "b"):
            raise I2IError(Problem("--to", f"is a or b, not {to!r}"))
        remarks = import_translator(source, out, engine, to="a" if to == "a" else "b", evaluate=evaluate)
        hints = [f"translate with: i2i translate {shlex.quote(str(out))} IMAGES -o OUT"]
    for line in [*(f"note: {remark}" for remark in remarks), *hints]:
        console.print(line, soft_wrap=True, markup=False)
