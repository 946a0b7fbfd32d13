"""The commands data prepare: pairs made of one folder of photos, and folders made ready in other ways."""

# No `from __future__ import annotations`: commands are put together of two signatures, whose types must be objects.

from collections.abc import Callable
from functools import partial
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from i2i.cli.app import console, errors, tell, warn_by
from i2i.cli.data import data_app
from i2i.cli.translating import Speed

if TYPE_CHECKING:
    from i2i.datasets.prepare import Maker, Outcome

prepare_app = typer.Typer(no_args_is_help=True, help="Make pairs out of one folder of photos, or make folders ready.")
data_app.add_typer(prepare_app, name="prepare")

Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Photos = Annotated[
    Path, typer.Argument(metavar="PHOTOS", help="A folder of images, however deep. Nothing in it is changed.")
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder of the set: new, empty, or begun by the same command.")]
Values = Annotated[
    tuple[float, float] | None,
    typer.Option("--range", metavar="LOW HIGH", help="What is dark and what is bright in deep images."),
]


def _run(
    maker: "Maker",
    photos: Photos,
    out: Out,
    test_share: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the images that is held out.")] = 0.1,
    group: Annotated[str, typer.Option(metavar="REGEX", help="Names with the same match stay together: ^[^_]+")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Another one holds out other images.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make again what is there already.")] = False,
) -> None:
    """Makes a set, tells how far it came, and prints what a recipe says to train on it."""
    from i2i.data.folders import find_images
    from i2i.datasets.prepare import Halves, Outcome, prepare, recipe_lines

    warn_by(lambda text: errors.print(text, soft_wrap=True, markup=False))
    files, halves, outcome = find_images(photos, "PHOTOS"), Halves(test_share, seed, group), Outcome()
    columns = (TextColumn("preparing"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
            advance = partial(bar.advance, bar.add_task("preparing", total=len(files)))
            prepare(files, out, maker, halves, outcome, overwrite=overwrite, advance=advance)
    except KeyboardInterrupt:
        _say(f"interrupted; the same command goes on: {_told(outcome, len(files), out)}")
        raise typer.Exit(130) from None
    tell(sorted(outcome.problems, key=str))
    _say(_told(outcome, len(files), out))
    if test_share and outcome.halves.total() and not outcome.halves["test"]:
        _say("none is held out: chance had it so with so few; try another --seed, or a larger --test-share")
    if outcome.halves["train"]:
        _say("\na recipe reads them with:\n")
        for line in recipe_lines(maker, out):
            _say(line)
    if outcome.problems:
        raise typer.Exit(1)


def _command(define: Callable[..., "Maker"]) -> Callable[..., "Maker"]:
    """Makes the command `i2i data prepare NAME` of a function that gives a Maker: its options, then those of all."""
    own = signature(define).parameters
    photos, out, *shared = list(signature(_run).parameters.values())[1:]
    both = {p.name: p.replace(kind=Parameter.KEYWORD_ONLY) for p in (photos, *own.values(), out, *shared)}

    def command(**given: Any) -> None:
        _run(define(**{name: given[name] for name in own}), **{p.name: given[p.name] for p in (photos, out, *shared)})

    command.__signature__ = Signature(list(both.values()))  # type: ignore[attr-defined]
    command.__doc__ = define.__doc__
    prepare_app.command(define.__name__)(command)
    return define


@_command
def edges(
    sigma: Annotated[float, typer.Option(min=0, max=20, help="Of the blur before, in px.")] = 1.0,
    low: Annotated[float, typer.Option(min=0.001, help="Gradient down to which a line goes on.")] = 0.1,
    high: Annotated[float, typer.Option(min=0.001, help="Gradient that a line has somewhere.")] = 0.2,
    values: Values = None,
) -> "Maker":
    """Pairs of edges and photos: Canny's lines, black on white."""
    from i2i.datasets.prepare import sets

    return sets.edges(sigma, low, high, values)


@_command
def grey() -> "Maker":
    """Pairs of grey images and photos."""
    from i2i.datasets.prepare import sets

    return sets.grey()


@_command
def lab() -> "Maker":
    """Pairs of lightness and colour: L of CIE Lab, and its a and b."""
    from i2i.datasets.prepare import sets

    return sets.lab()


@_command
def low_resolution(
    factor: Annotated[float, typer.Option(min=1, help="By which images are reduced, and enlarged again.")] = 4.0,
    interpolation: Annotated[Interpolation, typer.Option(help="How.")] = "bicubic",
) -> "Maker":
    """Pairs of images that have lost their detail and photos, both of one size."""
    from i2i.datasets.prepare import sets

    return sets.low_resolution(factor, interpolation)


@_command
def holes(
    share: Annotated[float, typer.Option(min=0.01, max=0.9, help="Of the image, that is missing.")] = 0.25,
    shape: Annotated[Literal["strokes", "rectangles"], typer.Option(help="Of the holes.")] = "strokes",
    values: Values = None,
) -> "Maker":
    """Pairs of images with holes and photos, and masks that are white in the holes."""
    from i2i.datasets.prepare import sets

    return sets.holes(share, shape, values)


@_command
def pairs(
    photos: Photos, partners: Annotated[Path, typer.Argument(metavar="PARTNERS", help="With files of the same names.")]
) -> "Maker":
    """Files with both images of a pair side by side, that of the first folder on the left."""
    from i2i.data.folders import find_all
    from i2i.datasets.prepare import sets

    a, b = find_all((photos, "PHOTOS"), (partners, "PARTNERS"))
    return sets.pairs(a, b)


@_command
def pages() -> "Maker":
    """The pages of TIFF files, as files of their own."""
    from i2i.datasets.prepare import sets

    return sets.pages()


@_command
def tiles(
    size: Annotated[int, typer.Option(min=8, help="Side of a tile, in px.")] = 512,
    overlap: Annotated[int, typer.Option(min=0, help="Of neighbours, in px.")] = 0,
) -> "Maker":
    """Squares that cover large images."""
    from i2i.datasets.prepare import sets

    return sets.tiles(size, overlap)


@_command
def split() -> "Maker":
    """Copies of the images, some to train on and some for the test."""
    from i2i.datasets.prepare import sets

    return sets.split()


def _told(outcome: "Outcome", n_files: int, out: Path) -> str:
    n = outcome.halves.total()
    kept = f"; {outcome.n_kept:,} of them had been made before" if outcome.n_kept else ""
    return f"{n:,} of {n_files:,} images done, {outcome.halves['test']:,} of them held out, in {out}{kept}"


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)
