"""What the benchmarks on the embedded emoji share: trainings that differ in one thing, on one thread of a CPU."""

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from i2i import layers
from i2i.comparing.plan import Plan
from i2i.comparing.trained import Trained
from i2i.comparing.training import train
from i2i.comparing.variants import of_recipes
from i2i.engine import Engine
from i2i.files import write_json
from i2i.intervals import Difference, mean_over_seeds
from i2i.recipe import Recipe
from i2i.training import Training
from i2i.watch import Running

Trainings = Mapping[str, Sequence[Trained]]
"""Those that came to their end, of each variant, by seed."""


def arguments(about: str | None, names: Sequence[str], out: str, **numbers: int) -> argparse.Namespace:
    """The command line: the folder, what to train, and options that are a number, with their defaults."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{value} by default")
    parser.add_argument("--only", nargs="+", choices=names, default=list(names), metavar="NAME", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=Path(out), help="the folder of the runs; it goes on with them")
    return parser.parse_args()


def document(recipe: str, settings: Sequence[str], n_steps: int, width: int, metrics: Sequence[str]) -> layers.Document:
    """A shipped recipe with all its networks of one width, for n_steps of one image, judged at the end.

    The learning rate falls over the second half.
    """
    found = layers.read(recipe) | {"eval": {"every": n_steps, "metrics": [*metrics]}}  # whatever the recipe judges by
    networks = {name: {"base_channels": width} for name, table in found.items() if "base_channels" in table}
    budget = {
        "data": {"batch_size": 1},
        "schedule": {"n_steps": n_steps - n_steps // 2, "n_steps_decay": n_steps // 2},
        "train": {"device": "cpu", "log_every": 10, "sample_every": n_steps, "save_every": n_steps},
    }
    return layers.apply(layers.merge(layers.merge(found, networks), budget), settings)


class Audience:
    """Tells of a comparison what went wrong; watches none of its trainings."""

    def build(self, recipe: Recipe) -> Training:
        return Training.build(recipe)

    def watcher(self, name: str, seed: int) -> "Audience":
        return self

    def judging(self, name: str, seed: int) -> AbstractContextManager[object]:
        return nullcontext()

    def tell(self, text: str) -> None:
        print(text, flush=True)

    def started(self, run: Running) -> None: ...

    def logged(
        self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, torch.Tensor]
    ) -> None: ...

    def finished(self, run: Running) -> None: ...


def trained(recipes: Mapping[str, layers.Document], options: argparse.Namespace) -> Trainings:
    """Trains what is not trained yet, and tells how it goes; what fails is left out."""
    torch.set_num_threads(1)
    engine = Engine()
    plan = Plan(options.out, options.steps, tuple(range(options.seeds)), of_recipes(recipes, engine))
    found: dict[str, list[Trained]] = {name: [] for name in recipes}
    n_trainings, begun = len(recipes) * options.seeds, time.monotonic()
    with plan.locked():
        plan.settle()
        for i, (name, training) in enumerate(train(plan, engine, Audience()), 1):
            if not training.failed:
                found[name].append(training)
            passed = (time.monotonic() - begun) / 60
            print(f"{i} of {n_trainings}, {passed:.0f} min: {name}, seed {training.seed}", flush=True)
    return {name: trainings for name, trainings in found.items() if trainings}


def write(options: argparse.Namespace, about: Mapping[str, Any], trainings: Trainings) -> None:
    """results.json: the machine, the settings, and of each variant and seed its estimates with their intervals."""
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    found = {name: [_described(training) for training in runs] for name, runs in trainings.items()}
    write_json(options.out / "results.json", {"machine": about, "settings": settings, "trainings": found})


def _described(training: Trained) -> dict[str, Any]:
    estimates = {name: {"value": e.value, "interval": e.interval, "n": e.n} for name, e in training.estimates.items()}
    return {"seed": training.seed, "seconds_per_step": training.seconds_per_step, "estimates": estimates}


def mean(trainings: Sequence[Trained], estimate: str) -> Difference | None:
    """Of an estimate over trainings, with its interval; None if one has no such estimate."""
    if not all(estimate in t.estimates for t in trainings):
        return None
    return mean_over_seeds([t.estimates[estimate] for t in trainings])


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows])
