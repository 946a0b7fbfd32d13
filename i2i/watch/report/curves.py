"""Curves of runs as a page draws them: panels by what is measured, in groups by who lowers it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from i2i.watch.report.reading import RunFiles, decides
from i2i.watch.wording import directed, split, where

MAX_POINTS, MAX_POINTS_IN_ALL = 1000, 24_000
N_COLOURS = 6
GROUPS = ("test", "loss", "score", "lr", "")
Point = tuple[float | None, ...]
"""(step, value), or (step, value, low, high)."""


def sections(runs: Sequence[RunFiles]) -> list[dict[str, Any]]:
    """Groups of panels, with a heading and a hint on how to read them.

    A panel of one run has a curve for each domain or direction; one of several has a curve for each run.
    """
    found: dict[tuple[int, bool, str], dict[tuple[str, str], dict[str, Any]]] = {}
    names = list(dict.fromkeys((i, *name) for i, run in enumerate(runs) for name in _names(run.logs)))
    n = max(50, min(MAX_POINTS, MAX_POINTS_IN_ALL // max(len(names), 1)))
    for index, group, name in names:
        run = runs[index]
        base, part = {"test": directed, "lr": _whole, "": _whole}.get(group, split)(name)
        title = run.measure(base).title if group == "test" else base.replace("_", " ")
        said, several = where(part, run.names), len(runs) > 1
        panels = found.setdefault(_section(group, base, run), {})
        key = (group, name if several else "lr" if group == "lr" else base)
        panel = panels.setdefault(key, _panel(group, title, said if several or group == "" else "", run, base))
        place = len(panel["curves"])
        curve = {
            "name": f"{group}.{name}".strip("."),
            "label": run.name if several else said or title,
            "colour": index % N_COLOURS if several else _colour(part, place),
            "dashed": index >= N_COLOURS if several else part.endswith("fake") or (group == "lr" and place % 2 == 1),
            "points": _points(run, group, name, n),
        }
        panel["curves"].append(curve)
        _add_lines(panel, curve, run, name, part)
    return [
        {
            "heading": heading,
            "hint": _hint(GROUPS[order], judges, [p["title"] for p in panels.values()]),
            "panels": [_sorted(p) for p in panels.values()],
        }
        for (order, judges, heading), panels in sorted(found.items(), key=lambda item: item[0])
    ]


_HINTS = {
    ("test", False): "On held-out images. Bands are 95 % intervals, a ring marks the step that is kept as the best.",
    ("loss", True): "They hover in a healthy run. At zero the discriminator has won.",
    ("score", False): "Outputs for real and translated images: close while the game is even.",
}


def _hint(group: str, judges: bool, titles: Sequence[str]) -> str:
    """How to read these panels; of losses only what is among them."""
    if (group, judges) != ("loss", False):
        return _HINTS.get((group, judges), "")
    falling = [title for title in ("cycle", "identity") if title in titles]
    said = ["adversarial losses of a healthy run hover"] * ("adversarial" in titles)
    said += [f"{' and '.join(falling)} losses fall"] * bool(falling)
    return f"{'; '.join(said)}.".capitalize() if said else ""


def _panel(group: str, title: str, said: str, run: RunFiles, base: str) -> dict[str, Any]:
    kind = run.measure(base) if group == "test" else None
    unit = kind.unit.strip() if kind else "per second" if group == "" else ""
    better = {-1: "lower is better", 1: "higher is better"}.get(kind.better if kind else 0, "")
    titles = {"lr": "learning rate", "": "images"}
    return {
        "title": titles.get(group, title),
        "about": ", ".join(text for text in (said, unit, better) if text),
        "curves": [],
        "lines": [],
        "marks": [],
        "smoothed": group not in ("lr", "test"),
    }


def _add_lines(panel: dict[str, Any], curve: Mapping[str, Any], run: RunFiles, name: str, part: str) -> None:
    """What the untouched input scores, and where the best is."""
    if not str(curve["name"]).startswith("test."):
        return
    untouched = [log["untouched"][name] for log in run.logs if name in log.get("untouched", {})]
    if untouched and untouched[-1] is not None:
        same = next((line for line in panel["lines"] if line["value"] == untouched[-1]), None)
        if same:
            same["colour"] = -1  # of all
        else:
            panel["lines"].append({"value": untouched[-1], "colour": curve["colour"]})
    if (best := run.best.get(part)) and decides(best, name):
        panel["marks"].append({"curve": curve["name"], "label": curve["label"], "step": best["step"]})


def _section(group: str, base: str, run: RunFiles) -> tuple[int, bool, str]:
    """Place and heading of the group of panels."""
    order = GROUPS.index(group or "lr")
    if group != "loss":
        return order, False, {"test": "Metrics", "score": "Scores"}.get(group, "Rates")
    # A log does not say who lowers a loss; by custom the losses of discriminators are called D.
    players = [str(player).replace("_", " ") for player in (run.logs[-1].get("lr") or {})]
    judges = [player for player in players if player.startswith("discriminator")]
    if re.match(r"(D|discriminators?)(_|$)", base):
        return order, True, f"Losses of the {' and '.join(judges) or 'discriminators'}"
    others = [player for player in players if player not in judges]
    return order, False, f"Losses of the {' and '.join(others)}" if others else "Losses"


def _names(logs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """(group, name) of every curve, in the order in which they come."""
    found: dict[tuple[str, str], None] = {}
    for log in logs:
        for group in GROUPS:
            if group:
                found |= {(group, name): None for name in log.get(group, {})}
            elif "images_per_second" in log:
                found["", "images_per_second"] = None
    return iter(found)


def _points(run: RunFiles, group: str, name: str, n: int) -> list[Point]:
    """About n points of a curve, with five significant digits: a plot shows no more."""
    points: list[Point] = []
    for log in run.logs:
        table = log.get(group, {}) if group else log
        if name in table:
            ends = log.get("interval", {}).get(name, ()) if group == "test" else ()
            points.append((log["step"], table[name], *(() if None in (table[name], *ends) else ends)))
    return [(step, *map(_short, values)) for step, *values in thin(points, n)]


def _whole(name: str) -> tuple[str, str]:
    return name, ""


def _short(value: Any) -> float | None:
    return float(f"{value:.5g}") if isinstance(value, int | float) and math.isfinite(value) else None


def _colour(part: str, index: int) -> int:
    """One colour for everything about a and ab, one for b and ba, others for the rest."""
    return {"a": 0, "ab": 0, "b": 1, "ba": 1}.get(part.partition("_")[0], 2 + index % 4)


def _sorted(panel: dict[str, Any]) -> dict[str, Any]:
    panel["curves"].sort(key=lambda curve: (curve["colour"], curve["dashed"]))
    return panel


def thin(points: list[Point], n: int = MAX_POINTS) -> list[Point]:
    """At most about n points: the lowest and the highest of each stretch, so that no spike is lost."""
    if len(points) <= n:
        return points
    size = math.ceil(len(points) / (n // 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        known = sorted((p[1], i) for i, p in enumerate(points[start : start + size], start) if p[1] is not None)
        kept |= {known[0][1], known[-1][1]} if known else {start}
    return [points[i] for i in sorted(kept)]
