"""The command report: a run, or several side by side, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from i2i.cli.app import app, console
from i2i.errors import I2IError, Problem


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders of runs.")],
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The page; without it report.html in the folder of the one run.")
    ] = None,
) -> None:
    """Write report.html of a run anew, or a page of several runs side by side."""
    if out is None and len(runs) > 1:
        raise I2IError(Problem("--out", f"a page of {len(runs)} runs needs a file: --out comparison.html"))
    if out is not None and out.is_dir():
        raise I2IError(Problem(f"--out {out}", f"is a folder; write to a file: --out {out / 'report.html'}"))

    from i2i.measure import in_bytes
    from i2i.run import Run
    from i2i.watch.report import build, write

    folders = [Run.open(folder).folder for folder in dict.fromkeys(runs)]
    file = write(folders, out) if out else build(folders[0])
    console.print(f"{file}, {in_bytes(file.stat().st_size)}", soft_wrap=True, markup=False)
    if show:
        import webbrowser

        if not webbrowser.open(file.resolve().as_uri()):
            console.print("there is no browser that could be opened here; open the file in one")
