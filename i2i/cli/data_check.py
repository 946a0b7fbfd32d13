"""The command `data check`: what is in a set of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.columns import Columns
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from i2i.cli.app import AsJson, Plugins, console, start_engine
from i2i.cli.data import data_app
from i2i.cli.preparing import FolderA, FolderB, Settings, changed, loading
from i2i.errors import I2IError, Problem

if TYPE_CHECKING:
    from i2i.datasets.check import Report
    from i2i.datasets.check.facts import Facts
    from i2i.datasets.check.findings import Finding
    from i2i.datasets.check.sets import ImageSet

MARKS = {"error": ("✗", "bold red"), "warning": ("!", "bold yellow"), "note": ("·", "bold cyan")}
HEADINGS = ("", "images", "px", "pixels", "files")
BAR = 24


@data_app.command("check")
def check_data(
    context: typer.Context,
    recipe: Annotated[str | None, typer.Argument(help="A TOML file, a shipped recipe, or nothing but folders.")] = None,
    a: FolderA = None,
    b: FolderB = None,
    test_a: Annotated[Path | None, typer.Option("--test-a", help="Held-out images of domain A.")] = None,
    test_b: Annotated[Path | None, typer.Option("--test-b", help="Held-out images of domain B.")] = None,
    settings: Settings = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page with thumbnails to this file.")] = None,
    as_json: AsJson = False,
    plugin: Plugins = None,
) -> None:
    """Look at every image before you train: what there is, what is damaged, repeated or odd; exit code 1 if training
    would refuse it."""
    folders = {"a": a, "b": b, "test_a": test_a, "test_b": test_b}
    if recipe is None and not any(folders.values()):
        raise I2IError(Problem("RECIPE", "give a recipe, or the folders to look at by --a and --b"))
    if recipe is None and settings:
        raise I2IError(Problem("--set", "changes a recipe, and none is given"))
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise I2IError(Problem("--html", f"{str(page)!r} is no name of a page; end it with .html"))
    if page is not None and not page.parent.is_dir():
        raise I2IError(Problem("--html", f"there is no folder {str(page.parent)!r}"))

    from i2i.datasets import check

    images = _of_recipe(context, recipe, folders, settings, plugin) if recipe else check.of_folders(folders)
    with loading(quiet=as_json, doing="looking at") as progress:
        report = check.check(images, progress)
    if as_json:
        typer.echo(json.dumps(report.document(), indent=2))
    else:
        _tell(report)
    if page is not None:
        from i2i.datasets.check.page import write_page

        try:
            write_page(report, page)
        except OSError as error:
            raise I2IError(Problem("--html", f"{str(page)!r} cannot be written: {error.strerror}")) from error
    if not as_json:
        from i2i.datasets.check.findings import printable

        hint = f"the images are in {printable(str(page))}" if page else "see them: add --html check.html"
        console.print(f"\n{hint}", soft_wrap=True, markup=False)
    if report.refused:
        raise typer.Exit(1)


def _of_recipe(
    context: typer.Context,
    name: str,
    folders: dict[str, Path | None],
    settings: list[str] | None,
    plugin: list[str] | None,
) -> ImageSet:
    """The images of a recipe, with the folders and settings that are given in place of its own."""
    from i2i import layers
    from i2i.datasets.check import Training, of_source
    from i2i.recipe import resolve

    document = layers.read(name)
    engine = start_engine(context, plugin)
    held_out = {option: str(folders[option]) for option in ("test_a", "test_b") if folders[option]}
    on_top = [f"data.source.{option}={json.dumps(folder)}" for option, folder in held_out.items()]
    document = changed(document, engine.registry, folders["a"], folders["b"], [*on_top, *(settings or [])])
    found = resolve(document, engine.registry, list(engine.plugins))
    return of_source(found.source, Training.of(found), found.source.options)


def _tell(report: Report) -> None:
    from i2i.datasets.check.facts import facts

    parts = [facts(part) for part in report.images.parts]
    console.print(_table(parts))
    if uneven := [part for part in parts if part.n_sizes > 1]:
        console.print(_histogram(uneven))
    for finding in report.findings:
        _tell_finding(finding)
    if report.estimate:
        table = Table.grid(padding=(0, 3, 0, 0))
        for what, much in report.estimate.lines():
            table.add_row(Text(what, "dim"), much)
        console.print(Padding(table, (1, 0, 0, 0)))
    n = sum(finding.level == "error" for finding in report.findings)
    if n:
        console.print(f"\n[bold red]training would refuse this set:[/] {n} {'thing' if n == 1 else 'things'} to mend")
    else:
        console.print("\nnothing that training would refuse")


def _table(parts: list[Facts]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    rows = [(part.title, f"{part.n_images:,}", *part.texts()) for part in parts]
    columns = [column for column in zip(HEADINGS, *rows, strict=True) if any(column[1:])]
    for heading, *_ in columns:
        table.add_column(
            heading,
            justify="right" if heading == "images" else "left",
            overflow="fold",
            no_wrap=heading in ("px", "pixels"),
        )
    for cells in list(zip(*columns, strict=True))[1:]:
        table.add_row(*map(Text, cells))
    return table


def _histogram(parts: list[Facts]) -> Padding:
    """How many images have a shorter side between two powers of two."""
    table = Table.grid(padding=(0, 1, 0, 0))
    for part in parts:
        most = max(part.sides.values())
        for index, (sides, n) in enumerate(part.sides.items()):
            heading = f"shorter side of {part.title}" if index == 0 else ""
            bar = "█" * round(BAR * n / most) or "▏" * (n > 0)
            table.add_row(Text(heading), Text(f"{sides} px", justify="right"), Text(bar, "cyan"), f"{n:,}")
    return Padding(table, (1, 0, 0, 0))


def _tell_finding(finding: Finding) -> None:
    mark, style = MARKS[finding.level]
    head = Table.grid(padding=(0, 1, 0, 0))
    head.add_row(Text(mark, style), Text(finding.message))
    if finding.examples:
        texts = [example.text for example in finding.examples]
        texts += [f"and {finding.n_more:,} more"] if finding.n_more else []
        head.add_row("", Columns([Text(text, "dim") for text in texts], padding=(0, 3)))
    if finding.advice:
        head.add_row("", Text(finding.advice))
    console.print()
    console.print(head)
