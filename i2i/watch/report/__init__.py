"""Writes report.html: one static page of curves, samples by step, recipe and environment."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from torch import Tensor

from i2i.errors import I2IError, Problem
from i2i.files import replacing
from i2i.watch import Running
from i2i.watch.metrics_file import read
from i2i.watch.wording import duration, measure, number, split, where

MAX_POINTS = 1000
Logs = Sequence[Mapping[str, Any]]
Points = list[tuple[int, float | None]]


class Report:
    """Keeps report.html in the run's folder up to date: at every log with samples, and at the end."""

    def started(self, run: Running) -> None:
        pass

    def logged(self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]) -> None:
        if images:
            build(run.folder)

    def finished(self, run: Running) -> None:
        build(run.folder)


def build(folder: Path) -> Path:
    """Writes `folder/report.html` from the run's files and returns its path; whatever is not there is left out.

    Reads recipe.json, environment.json (`n_steps`, `data`, `device`, `precision` are shown on top), metrics.jsonl and
    the names in samples/. The page needs no network, but the folder: it links the samples. Raises I2IError for a file
    that cannot be understood.
    """
    recipe, environment = _json(folder / "recipe.json"), _json(folder / "environment.json")
    logs = read(folder / "metrics.jsonl")
    names = _names(recipe, environment)
    loader = jinja2.FunctionLoader(_template)
    pages = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = pages.get_template("page.html.j2").render(
        name=folder.resolve().name,
        step=logs[-1]["step"] if logs else 0,
        n_steps=environment.get("n_steps"),
        facts=list(_facts(logs, environment)),
        tests=list(_tests(logs, names)),
        samples=list(_samples(folder, logs, names)),
        panels=list(_panels(logs, names)),
        recipe=list(_tables(recipe)),
        environment=list(_rows(environment)),
    )
    with replacing(folder / "report.html") as temporary:
        temporary.write_bytes(page.encode())
    return folder / "report.html"


def _template(name: str) -> str:
    """The style is lent to other pages as well."""
    room = "i2i.watch" if name == "report.css.j2" else "i2i.watch.report"
    return resources.files(room).joinpath(name).read_text(encoding="utf-8")


def _json(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        value = json.loads(file.read_bytes())
    except ValueError as error:
        raise I2IError(Problem(str(file), f"is no JSON: {error}")) from None
    return value if isinstance(value, dict) else {}


def _names(recipe: Mapping[str, Any], environment: Mapping[str, Any]) -> tuple[str, str]:
    data = environment.get("data", {})
    a, b = recipe.get("data", {}).get("names", ("a", "b"))
    return str(data.get("a", {}).get("name", a)), str(data.get("b", {}).get("name", b))


def _facts(logs: Logs, environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if logs:
        last = logs[-1]
        if last.get("seconds") is not None:
            yield "training time", duration(last["seconds"])
        if last.get("epoch") is not None:
            yield "epochs", f"{last['epoch']:.1f}"
        if last.get("images_per_second") is not None:
            yield "images per second", number(last["images_per_second"])
    if "device" in environment:
        yield (
            "device",
            ", ".join(str(environment[k]) for k in ("device", "device_name", "precision") if k in environment),
        )
    for key, domain in environment.get("data", {}).items():
        yield str(domain.get("name", key)), f"{domain.get('images', '?')} images"
    for player, n in environment.get("parameters", {}).items():
        yield player, f"{n / 1e6:.2f} M parameters"


def _tests(logs: Logs, names: tuple[str, str]) -> Iterator[dict[str, Any]]:
    """The newest test metrics, beside those of the untouched input."""
    log = next((log for log in reversed(logs) if "test" in log), None)
    for name, value in (log["test"] if log else {}).items():
        base, part = split(name)
        kind = measure(base)
        untouched = log.get("untouched", {}).get(name) if log else None
        note, good = "", 0
        if untouched is not None and value is not None:
            note = f"untouched {kind.value(untouched)}"
            note += f", {100 * (value / untouched - 1):+.1f} %" if kind.relative and untouched else ""
            good = (value > untouched) - (value < untouched)
        shown = f"{kind.value(value)}{kind.unit}" if value is not None else "not a number"
        yield {
            "title": kind.title,
            "where": where(part, names),
            "value": shown,
            "note": note,
            "good": good * kind.better,
        }


def _samples(folder: Path, logs: Logs, names: tuple[str, str]) -> Iterator[dict[str, Any]]:
    """Grids by step; those after the last log are of a future that a resume has undone."""
    by_step = {log["step"]: log for log in logs}
    last = max(by_step, default=math.inf)
    files = (file.name for file in (folder / "samples").glob("*.png") if re.fullmatch(r"\d{8,}\.png", file.name))
    for step, file in sorted((int(file.removesuffix(".png")), file) for file in files):
        if step <= last:
            tests = by_step.get(step, {}).get("test", {}).items()
            texts = [
                f"{measure(split(n)[0]).title} {where(split(n)[1], names)} {number(v)}"
                for n, v in tests
                if v is not None
            ]
            yield {"step": step, "file": f"samples/{file}", "caption": "  ·  ".join(texts)}


def _panels(logs: Logs, names: tuple[str, str]) -> Iterator[dict[str, Any]]:
    """One panel for each thing that is measured, with a curve for each domain or direction."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    lines: dict[tuple[str, str], set[float]] = {}
    for group, name in _curve_names(logs):
        base, part = (name, "") if group == "lr" else split(name)
        title = measure(base).title if group == "test" else {"lr": "learning rate"}.get(group, base.replace("_", " "))
        curves = groups.setdefault((group, title), [])
        curve: dict[str, Any] = {
            "name": f"{group}.{name}".strip("."),
            "label": where(part, names) or name.replace("_", " "),
            "colour": _colour(part, len(curves)),
            "dashed": part.endswith("fake") or (group == "lr" and len(curves) % 2 == 1),  # equal rates stay visible
            "points": thin([(log["step"], _at(log, group, name)) for log in logs if group in log or not group]),
        }
        curves.append(curve)
        untouched = [log["untouched"][name] for log in logs if group == "test" and name in log.get("untouched", {})]
        lines.setdefault((group, title), set()).update(value for value in untouched[-1:] if value is not None)
    for (group, title), curves in groups.items():
        curves.sort(key=lambda curve: int(curve["colour"]))
        noisy = group not in ("lr", "test")
        yield {"kind": group, "title": title, "curves": curves, "lines": sorted(lines[group, title]), "noisy": noisy}


def _curve_names(logs: Logs) -> list[tuple[str, str]]:
    """(group, name) of every curve: losses first, those of the discriminators after the others."""
    found: dict[tuple[str, str], None] = {}
    for log in logs:
        for group in ("loss", "score", "test", "lr"):
            found |= {(group, name): None for name in log.get(group, {})}
        if "images_per_second" in log:
            found["", "images_per_second"] = None
    order = ["loss", "score", "test", "lr", ""]
    return sorted(
        found, key=lambda key: (order.index(key[0]), key[0] == "loss" and re.match("D(_|$)", key[1]) is not None)
    )


def _at(log: Mapping[str, Any], group: str, name: str) -> float | None:
    value = (log.get(group, {}) if group else log).get(name)
    return value if value is not None and math.isfinite(value) else None


def _colour(part: str, index: int) -> int:
    """One colour for everything about a and ab, one for b and ba, others for the rest."""
    return {"a": 0, "ab": 0, "b": 1, "ba": 1}.get(part.partition("_")[0], 2 + index % 4)


def thin(points: Points) -> Points:
    """At most about MAX_POINTS points: the lowest and the highest of each stretch, so that no spike is lost."""
    if len(points) <= MAX_POINTS:
        return points
    size = math.ceil(len(points) / (MAX_POINTS // 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        known = sorted((v, i) for i, (_, v) in enumerate(points[start : start + size], start) if v is not None)
        kept |= {known[0][1], known[-1][1]} if known else {start}
    return [points[i] for i in sorted(kept)]


def _tables(recipe: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The recipe as its TOML reads: (heading, [(key, value)])."""
    loose = [
        (key, _toml(value)) for key, value in recipe.items() if not isinstance(value, dict) and not _is_tables(value)
    ]
    if loose:
        yield "", loose
    for key, value in recipe.items():
        if isinstance(value, dict):
            yield f"[{key}]", [(name, _toml(item)) for name, item in value.items()]
        elif _is_tables(value):
            for table in value:
                yield f"[[{key}]]", [(name, _toml(item)) for name, item in table.items()]


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _rows(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _rows(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
