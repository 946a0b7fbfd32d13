"""What a report says in words and tables: facts, findings, the recipe and the environment, and where runs differ."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from i2i import layers
from i2i.errors import I2IError
from i2i.watch.report.reading import RunFiles
from i2i.watch.wording import duration, number, where

Flat = dict[str, str]


def facts(run: RunFiles) -> Iterator[tuple[str, str]]:
    """What one wants to know of a run at a glance."""
    environment = run.environment
    if run.logs:
        last = run.logs[-1]
        if last.get("seconds") is not None:
            yield "training time", duration(last["seconds"])
        if last.get("epoch") is not None:
            yield "epochs", f"{last['epoch']:.1f}"
        if last.get("images_per_second") is not None:
            yield "images per second", number(last["images_per_second"])
    if "device" in environment:
        keys = ("device", "device_name", "precision")
        yield "device", ", ".join(str(environment[k]) for k in keys if k in environment)
    for key, domain in environment.get("data", {}).items():
        yield str(domain.get("name", key)), f"{domain.get('images', '?')} images"
    for player, n in environment.get("parameters", {}).items():
        yield player.replace("_", " "), f"{n / 1e6:.2f} M parameters"


def findings(runs: Sequence[RunFiles]) -> list[dict[str, Any]]:
    """What the health monitor told: each sign once for each place, as it was told last; what has gone is at the end."""
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        for told in run.health:
            found.setdefault((run.name, str(told.get("sign", "")), str(told.get("where", ""))), []).append(told)
    names = {run.name: run.names for run in runs}
    several = len(runs) > 1
    return sorted(
        (
            {
                "sign": sign,
                "where": ", ".join(filter(None, (where(place, names[run]), run if several else ""))),
                "text": str(told[-1].get("text", "")),
                "evidence": [(str(key).replace("_", " "), _said(v)) for key, v in _items(told[-1].get("evidence"))],
                "gone": bool(told[-1].get("gone")),
                "step": told[-1].get("step"),
            }
            for (run, sign, place), told in found.items()
        ),
        key=lambda finding: finding["gone"],
    )


def recipe(run: RunFiles) -> dict[str, Any] | None:
    """A recipe by its tables, and where it differs from the shipped recipe that is nearest to it."""
    if not run.recipe:
        return None
    mine = _flat(run.recipe)
    base, theirs = _nearest(mine)
    tables: dict[str, list[dict[str, Any]]] = {}
    for key in [*mine, *(key for key in theirs if key not in mine)]:
        table, _, rest = key.partition(".")
        changed = bool(base) and mine.get(key) != theirs.get(key)
        row = {"key": rest or table, "value": mine.get(key), "was": theirs.get(key), "changed": changed}
        tables.setdefault(f"[{table}]" if rest else "", []).append(row)
    n = sum(row["changed"] for rows in tables.values() for row in rows)
    return {"base": base, "n_changed": n, "tables": tables}


def _nearest(mine: Flat) -> tuple[str, Flat]:
    """The shipped recipe of the same method with the fewest other values, as it resolves; ("", {}) if there is none."""
    near = {name: flat for name, flat in _shipped().items() if flat.get("method.name") == mine.get("method.name")}
    if not near:
        return "", {}
    name = min(near, key=lambda name: (sum(mine.get(k) != near[name].get(k) for k in mine.keys() | near[name]), name))
    return name, near[name]


@cache
def _shipped() -> dict[str, Flat]:
    """The shipped recipes with every default; without those that need what is not installed."""
    from i2i.engine import Engine  # the engine knows watchers, so it comes after them
    from i2i.recipe import resolve

    engine = Engine()
    found = {}
    for name in layers.shipped():
        try:
            found[name] = _flat(resolve(layers.read(name), engine.registry, list(engine.plugins)).document())
        except I2IError:
            continue
    return found


def differences(runs: Sequence[RunFiles], what: str) -> dict[str, Any] | None:
    """Where the recipes, or environments, of several runs differ: `(key, values)`, None where one lacks it."""
    flats = [_flat(getattr(run, what)) for run in runs]
    keys = list(dict.fromkeys(key for flat in flats for key in flat))
    if not keys:
        return None
    rows = [(key, [flat.get(key) for flat in flats]) for key in keys if len({flat.get(key) for flat in flats}) > 1]
    return {"heads": [run.name for run in runs], "rows": rows, "n_equal": len(keys) - len(rows)}


def environment(run: RunFiles) -> list[tuple[str, str]]:
    return list(_flat(run.environment).items())


def _flat(value: Any, path: str = "") -> Flat:
    """Values by their dotted keys, as TOML writes them: `generator.norm.name` is "instance"."""
    if isinstance(value, Mapping) and value:
        items = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        items = [(f"{path}.{index}", item) for index, item in enumerate(value)]
    else:
        return {path: json.dumps(value, ensure_ascii=False)} if path else {}
    return {key: text for name, item in items for key, text in _flat(item, name).items()}


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    return iter(value.items()) if isinstance(value, Mapping) else iter(())


def _said(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{value:,}" if isinstance(value, int) else number(value) if math.isfinite(value) else str(value)
