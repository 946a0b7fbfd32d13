"""A comparison's folder: what is to be trained, under which budget and seeds, and where."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i import layers
from i2i.comparing.variants import Variants
from i2i.errors import I2IError, Problem
from i2i.files import write_json
from i2i.locks import locked


@dataclass(frozen=True)
class Plan:
    """Trainings of every variant with every seed.

    Args:
        folder: holds plan.json, and VARIANT/seed-0/, …, which are ordinary runs.
        n_steps: of each training.
        seeds: the first variant's `train.seed` and those that follow it.
    """

    folder: Path
    n_steps: int
    seeds: tuple[int, ...]
    variants: Variants

    def trainings(self) -> Iterator[tuple[str, int]]:
        """All variants with the first seed, then with the second: whenever it stops, they have as many trainings."""
        return ((name, seed) for seed in self.seeds for name in self.variants)

    def recipe(self, name: str, seed: int) -> layers.Document:
        return layers.merge(self.variants[name], {"train": {"seed": seed}})

    def run(self, name: str, seed: int) -> Path:
        return self.folder / slug(name) / f"seed-{seed}"

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other processes out while the block lasts. Raises I2IError if one is at it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return locked(self.folder / ".lock", Problem(str(self.folder), "is being trained by another process"))

    def settle(self) -> None:
        """Writes plan.json. A plan that is there already may get more seeds and further variants, and no more.

        Raises I2IError that says what else has changed.
        """
        file = self.folder / "plan.json"
        if file.exists():
            told = next(_changes(_read(file), self.document()), None)
            if told:
                advice = "go on as it began, or begin another comparison with --out"
                raise I2IError(Problem(str(self.folder), f"was begun with other settings: {told}; {advice}"))
        write_json(file, self.document())

    def document(self) -> dict[str, Any]:
        return {"n_steps": self.n_steps, "seeds": list(self.seeds), "variants": dict(self.variants)}


def slug(name: str) -> str:
    """A name as a folder can have it."""
    return re.sub(r"[^\w.-]+", "-", name)


def _read(file: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(file.read_bytes())
        value["n_steps"], value["seeds"][0], dict(value["variants"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise I2IError(Problem(str(file), f"is no plan of a comparison: {error}")) from None
    return value


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What is no longer as it was, in words."""
    if old["n_steps"] != new["n_steps"]:
        yield f"{old['n_steps']:,} steps, now {new['n_steps']:,}"
    if new["seeds"][: len(old["seeds"])] != old["seeds"]:
        yield f"seeds {_listed(old['seeds'])}, now {_listed(new['seeds'])}"
    before, after = list(old["variants"]), list(new["variants"])
    if after[: len(before)] != before:
        yield f"{', '.join(before)}; now {', '.join(after)}"
    for name in before:
        was, now = flat(old["variants"][name]), flat(new["variants"][name])
        for key in (key for key in {**was, **now} if was.get(key) != now.get(key)):
            yield f"{name} had {key} = {was.get(key, 'nothing')}, now {now.get(key, 'nothing')}"


def flat(value: Any, path: str = "") -> dict[str, str]:
    """Values by their dotted keys: `generator.norm.name` is "instance"."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    inner = {k: v for key, item in items for k, v in flat(item, f"{path}.{key}" if path else str(key)).items()}
    return inner or {path: json.dumps(value, ensure_ascii=False)}


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
