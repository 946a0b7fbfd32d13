"""The command compare: components as they are, or what training makes of components, recipes and runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from i2i.cli.app import AsJson, Plugins, app, check_plugins, console, errors, start_engine, warn_by
from i2i.cli.comparing_terminal import Terminal, show
from i2i.cli.components import side_by_side
from i2i.cli.evaluating import metric_spec
from i2i.cli.preparing import Device, FolderA, FolderB, changed
from i2i.errors import I2IError, Problem

if TYPE_CHECKING:
    from i2i.comparing.result import Result
    from i2i.comparing.variants import Variants
    from i2i.engine import Engine
    from i2i.layers import Document

N_STEPS, N_SEEDS, SIZE, CHANNELS = 500, 3, 256, 3


@app.command()
def compare(
    context: typer.Context,
    things: Annotated[
        list[str],
        typer.Argument(metavar="KIND NAME…", help="A kind and its components; or recipes; or runs."),
    ],
    train: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Train it with each component in its place.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help=f"Steps of each training.  [default: {N_STEPS}]")] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help=f"Trainings of each, with other seeds.  [default: {N_SEEDS}]")
    ] = None,
    metrics: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME", help="Judge by this metric; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Its folder, in place of one in comparisons.")] = None,
    a: FolderA = None,
    b: FolderB = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="patchgan.n_layers=5, or of the recipe: data.crop_size=64."),
    ] = None,
    device: Device = None,
    size: Annotated[
        int | None, typer.Option(min=1, help=f"Height and width of the image, in px.  [default: {SIZE}]")
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, help=f"Channels of the image.  [default: {CHANNELS}]")] = None,
    as_json: AsJson = False,
    plugin: Plugins = None,
) -> None:
    """Compare components: what they cost, or with --train what training makes of them; also recipes, and runs."""
    things = list(dict.fromkeys(things))
    training = {"--steps": steps, "--seeds": seeds, "--a": a, "--b": b}
    what = "components" if train else _what(things, trains=any(training.values()))
    if what == "measured":
        _refuse({**training, "--metric": metrics, "--out": out}, "goes with --train, or with recipes")
        kind, *names = things
        if not names:
            raise I2IError(f"compare takes a kind and names: `i2i compare {kind} NAME NAME`; or recipes, or runs")
        engine = start_engine(context, plugin)
        side_by_side(engine, kind, names, settings or [], size or SIZE, channels or CHANNELS, device or "auto", as_json)
        return
    _refuse({"--size": size, "--channels": channels}, "goes with components that are not trained")
    if what == "runs":
        _refuse({**training, "--set": settings}, "goes with recipes; runs are trained already")
    folder = out or Path("comparisons") / _name(things, train)
    engine = start_engine(context, plugin)
    say = Terminal(errors if as_json else console)
    warn_by(say.tell)
    if what == "runs":
        result = _of_runs(things, metrics or [], engine, device or "auto", folder, say)
    else:

        def read(recipe: Document, more: list[str]) -> Document:
            return changed(recipe, engine.registry, a, b, more, device)

        variants = _variants(things, train, settings or [], engine, read)
        result = _of_trainings(variants, steps or N_STEPS, seeds or N_SEEDS, metrics or [], engine, folder, say)
    if as_json:
        typer.echo(json.dumps(result.document(), indent=2))
    else:
        show(result)
        console.print(f"\n{folder}/comparison.html shows curves and samples", soft_wrap=True, markup=False)
    if any(one.failed for side in result.sides for one in side.trained):
        raise typer.Exit(1)


def _what(things: Sequence[str], trains: bool) -> str:
    """What the words mean: `runs`, `recipes`, or components to be `measured`. Raises I2IError for a mixture."""
    recipes = [t for t in things if t.endswith((".toml", ".json"))]
    runs = [t for t in things if t not in recipes and (Path(t).is_dir() or "/" in t or "\\" in t)]
    if recipes and runs:
        raise I2IError(
            Problem(runs[0], f"is no recipe like {recipes[0]}; compare runs with runs, recipes with recipes")
        )
    if runs and len(runs) == len(things):
        return "runs"
    return "recipes" if recipes or trains else "measured"


def _refuse(options: Mapping[str, Any], why: str) -> None:
    for option in (option for option, value in options.items() if value is not None):
        raise I2IError(Problem(option, why))


def _name(things: Sequence[str], train: str | None) -> str:
    """Of the folder: the same for the same words, so that the same command goes on."""
    words = [things[0], Path(train).stem] if train else [Path(t).stem for t in things]
    return re.sub(r"[^\w.-]+", "-", "-".join(words))[:100]


def _variants(
    things: Sequence[str],
    train: str | None,
    settings: list[str],
    engine: Engine,
    read: Callable[[Document, list[str]], Document],
) -> Variants:
    from i2i import layers
    from i2i.comparing import variants

    if train:
        kind, *names = things
        if not names:
            raise I2IError(Problem(kind, "which ones? name the components to be compared"))
        return variants.of_components(read(layers.read(train), []), kind, names, settings, engine)
    recipes: dict[str, Document] = {}
    for thing in things:
        stem = Path(thing).stem
        name = stem if stem not in recipes else f"{stem}-{len(recipes) + 1}"
        recipes[name] = read(layers.read(thing), settings)
    return variants.of_recipes(recipes, engine)


def _of_trainings(
    variants: Variants, n_steps: int, n_seeds: int, metrics: Sequence[str], engine: Engine, folder: Path, say: Terminal
) -> Result:
    from i2i.comparing.page import publish
    from i2i.comparing.plan import Plan
    from i2i.comparing.result import Result, Side
    from i2i.comparing.training import train
    from i2i.comparing.variants import budgeted

    variants = budgeted(variants, n_steps, [metric_spec(text) for text in metrics], engine)
    seed = next(iter(variants.values()))["train"]["seed"]
    plan = Plan(folder, n_steps, tuple(range(seed, seed + n_seeds)), variants)
    sides = {name: Side(name, []) for name in variants}
    result = Result([*sides.values()])
    with plan.locked():
        plan.settle()
        say.expect(plan)
        try:
            for name, one in train(plan, engine, say):
                sides[name].trained.append(one)
                publish(result, folder, len(plan.seeds) * len(variants))
        except KeyboardInterrupt:
            say.tell("stopped; the same command goes on where it was")
            raise typer.Exit(130) from None
    return result


def _of_runs(
    things: Sequence[str], metrics: Sequence[str], engine: Engine, device: str, folder: Path, say: Terminal
) -> Result:
    from i2i.comparing.page import publish
    from i2i.comparing.result import Result
    from i2i.comparing.runs import grouped
    from i2i.comparing.trained import Trained
    from i2i.run import Run

    if (folder / "plan.json").exists():
        raise I2IError(Problem(str(folder), "is a comparison under training; choose another --out"))
    runs = [Run.open(Path(thing)) for thing in things]
    for run in runs:
        check_plugins(run.environment, run.requires, engine, f"compare {' '.join(things)}")
    specs, trained = [metric_spec(text) for text in metrics], []
    for run in runs:
        with say.judging(run.folder.name):
            trained.append(Trained.of(run, engine, specs, device))
    result = Result(grouped(trained))
    folder.mkdir(parents=True, exist_ok=True)
    publish(result, folder)
    return result
