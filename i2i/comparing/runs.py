"""Finished runs as variants: those of one recipe with other seeds belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from i2i.comparing.result import Side
from i2i.comparing.trained import Trained
from i2i.run import Run
from i2i.watch.report.reading import read_runs

BESIDE = {
    "train": ("seed", "log_every", "sample_every", "save_every", "keep_checkpoints"),
    "data": ("n_workers", "cache"),
    "": ("watch", "eval", "requires"),
}
"""What does not change how a training goes, or is its chance."""


def grouped(trained: Sequence[Trained]) -> list[Side]:
    """Runs of one recipe and as many steps, but for the seed, as one variant, which is called like the first of them.

    Two with the same seed are not two chances; each is a variant then.
    """
    sides: list[tuple[Any, Side]] = []
    for one, files in zip(trained, read_runs([one.run for one in trained]), strict=True):
        what = one.step, _decisive(Run(one.run).recipe)
        for known, side in sides:
            if known == what and one.seed not in (other.seed for other in side.trained):
                side.trained.append(one)
                break
        else:
            sides.append((what, Side(files.name, [one])))
    for _, side in sides:
        side.trained.sort(key=lambda one: one.seed)
    return [side for _, side in sides]


def _decisive(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without what is beside the point."""
    return {
        key: {k: v for k, v in table.items() if k not in BESIDE.get(key, ())} if isinstance(table, Mapping) else table
        for key, table in recipe.items()
        if key not in BESIDE[""]
    }
