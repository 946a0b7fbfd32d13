"""The command eval: what metrics say of trained translators."""

from __future__ import annotations

import json
import math
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table
from rich.text import Text

from i2i.cli.app import AsJson, Plugins, app, check_plugins, console, errors, start_engine, warn_by
from i2i.cli.preparing import both_folders, loading
from i2i.errors import I2IError, Problem, collecting

if TYPE_CHECKING:
    from i2i.appraisal import Appraisal
    from i2i.intervals import Estimate

ARROWS = {"lower": "↓", "higher": "↑", "": ""}


@app.command("eval")
def evaluate(
    context: typer.Context,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders of runs.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help='A metric, or {name = "fid", network = "inception"}; may be repeated.'),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="`latest`, `best`, or the step of a checkpoint.")] = "latest",
    n_images: Annotated[int, typer.Option(min=0, help="At most, of each domain; 0 for all.")] = 0,
    as_json: AsJson = False,
    a: Annotated[Path | None, typer.Option("--a", help="Other images of domain A to judge on.")] = None,
    b: Annotated[Path | None, typer.Option("--b", help="Other images of domain B.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    plugin: Plugins = None,
) -> None:
    """Judge trained translators by metrics, beside the untouched input and beside real images."""
    folders, metrics = both_folders(a, b), [metric_spec(text) for text in metric] if metric else None

    from i2i.appraisal import appraise
    from i2i.files import write_json
    from i2i.run import Run

    warn_by(lambda text: errors.print(text, soft_wrap=True, markup=False))
    engine = start_engine(context, plugin)
    problems: list[Problem] = []
    documents = []
    for folder in dict.fromkeys(runs):
        with collecting(problems):
            run = Run.open(folder)
            check_plugins(run.environment, run.requires, engine, f"eval {shlex.quote(str(folder))}")
            with loading(quiet=as_json, doing=f"{folder.name}:") as progress:
                found = appraise(
                    run, engine, metrics=metrics, checkpoint=checkpoint, n_images=n_images, device=device,
                    folders=folders, progress=progress,
                )  # fmt: skip
            documents.append({"run": str(folder), **found.document()})
            if not as_json:
                _print(found)
            write_json(folder / "eval.json", found.document())
    if as_json:
        typer.echo(json.dumps(documents, indent=2))
    if problems:
        raise I2IError(*problems)


def metric_spec(text: str) -> str | dict[str, Any]:
    """A name, or a table as a recipe writes it. Raises I2IError for half a table."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        spec: dict[str, Any] = tomllib.loads(f"metric = {text}")["metric"]
    except tomllib.TOMLDecodeError as error:
        message = f'is no table of TOML, such as {{name = "fid", network = "inception"}}: {error}'
        raise I2IError(Problem(f"--metric {text}", message)) from None
    return spec


def _print(found: Appraisal) -> None:
    """A table for each direction, and what one must know to read them."""
    names = dict(zip("ab", found.names, strict=True))
    for direction, step in found.steps.items():
        console.print(Text(f"{names[direction[0]]} → {names[direction[1]]}", style="bold"), end="")
        console.print(Text(f", step {step:,}" + (" (the best)" if found.checkpoint == "best" else ""), style="dim"))
        console.print(_table(found, direction))
        console.print()
    for note in _notes(found):
        console.print(Text(note, style="dim"))
    console.print(f"written to {found.run.folder / 'eval.json'}\n", soft_wrap=True, markup=False)


def _table(found: Appraisal, direction: str) -> Table:
    """Those first of which one knows which way is better."""
    rest = {"untouched": found.untouched, "real": found.floor}
    styles = {"value": "bold", "95 %": ""} | {head: "dim" for head, known in rest.items() if known}
    numbers = [Column(head, justify="right", style=style, no_wrap=True) for head, style in styles.items()]
    columns = [Column("", overflow="fold"), Column("", width=1, no_wrap=True), *numbers]
    table = Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for judging in (True, False):
        for label, about in found.about.items():
            name = f"{label}_{direction}"
            if name not in found.estimates or bool(about["better"]) != judging:
                continue
            baselines = [known.get(name) for known in rest.values() if known]
            title = label + (f" ({about['unit']})" if about["unit"] else "")
            table.add_row(Text(title), ARROWS[about["better"]], *_numbers(found.estimates[name], baselines))
        table.add_section()
    return table


def _numbers(estimate: Estimate, others: list[Estimate | None]) -> Iterator[str]:
    """All with as many decimals as give the largest end of the interval three digits."""
    ends = estimate.interval or (estimate.value,)
    largest = max((abs(end) for end in ends if math.isfinite(end)), default=0)
    decimals = min(max(2 - math.floor(math.log10(largest)), 0), 5) if largest else 3
    yield f"{estimate.value:.{decimals}f}"
    yield " to ".join(f"{end:.{decimals}f}" for end in ends) if estimate.interval else ""
    for other in others:
        yield f"{other.value:.{decimals}f}" if other else ""


def _notes(found: Appraisal) -> Iterator[str]:
    protocol = found.protocol
    yield "↓ lower is better, ↑ higher is; without an arrow neither is."
    if found.untouched:
        yield "untouched: the input as it is, in place of its translation."
    if found.floor:
        yield "real: real images of the domain translated to, of those to train on, in place of translations."
    sizes = " x ".join(map(str, reversed(protocol["size"])))
    counts = " and ".join(f"{d['n']:,} of {d['of']:,} of {d['name']}" for d in protocol["domains"].values())
    which = {
        "held out": "held out",
        "given": "given by --a and --b",
        "to train on": "those to train on, since none are held out: learning by heart scores well",
    }[protocol["images"]]
    pairs = ", in pairs" if protocol["pairs"] else ""
    yield f"Images: {which}{pairs}; {counts}, at {sizes} px ({protocol['preprocess']}, {protocol['interpolation']})."
    yield (
        "95 %: how far other images of the same kind would move the value, by resampled images (bootstrap), for "
        "comparisons with real images by random halves. Another training is not in it."
    )
    for reason, names in _grouped(found.left_out):
        yield f"Left out: {', '.join(names)}: {reason}."


def _grouped(values: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Keys by their value."""
    for value in dict.fromkeys(values.values()):
        yield value, [key for key, other in values.items() if other == value]
