"""comparison.json and comparison.html: what a comparison found, for programs and for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from i2i.comparing.result import Result, Row, Side, plus_minus
from i2i.files import replacing, write_json
from i2i.intervals import Difference
from i2i.watch.pages import page
from i2i.watch.report import tables
from i2i.watch.report.curves import MAX_POINTS, Point, sections, thin
from i2i.watch.report.gallery import gallery
from i2i.watch.report.reading import RunFiles
from i2i.watch.report.strips import Strips

GROUPS = ("test", "loss", "score")
HINT = "Lines are means over the seeds, bands reach from the lowest of them to the highest."


def publish(result: Result, folder: Path, n_planned: int | None = None) -> None:
    """Writes both into the folder. The page holds all it needs, in less than 5 MB.

    Args:
        n_planned: trainings that there will be in the end.
    """
    write_json(folder / "comparison.json", result.document())
    shown = [side for side in result.sides if side.done]
    firsts = [RunFiles.read(side.done[0].run, side.name) for side in shown]
    text = page(
        "i2i.comparing",
        "comparison.html.j2",
        result=result,
        n_planned=n_planned,
        rows=[_row(row) for row in result.rows()],
        gallery=_gallery(firsts, folder),
        samples_of="of the first seed",
        sections=_sections(shown, firsts),
        findings=tables.findings([_read(side, i) for side in shown for i in range(len(side.done))]),
        recipe=tables.differences(firsts, "recipe"),
        environment=tables.environment(firsts[0]) if firsts else [],
        differing_environment=tables.differences(firsts, "environment"),
    )
    with replacing(folder / "comparison.html") as temporary:
        temporary.write_bytes(text.encode())


def _gallery(firsts: Sequence[RunFiles], folder: Path) -> dict[str, Any] | None:
    """The samples side by side: inputs, translations and true partners, without the ways back."""
    found = gallery(firsts, folder, Strips())
    for block in found["blocks"] if found else ():
        block["rows"] = [row for row in block["rows"] if not row["key"].startswith(("aba", "bab"))]
    return found


def _read(side: Side, index: int) -> RunFiles:
    one = side.done[index]
    return RunFiles.read(one.run, f"{side.name}, seed {one.seed}")


def _sections(sides: Sequence[Side], firsts: Sequence[RunFiles]) -> list[dict[str, Any]]:
    """The panels of the first seeds' report, each curve spread over all seeds."""
    logs = {side.name: [RunFiles.read(one.run).logs for one in side.done] for side in sides}
    alone = next(iter(logs.values())) if len(logs) == 1 else None  # then curves are called by their direction
    found: list[dict[str, Any]] = []
    for section in sections(firsts):
        panels = [p for p in section["panels"] if p["curves"][0]["name"].partition(".")[0] in GROUPS]
        for curve in (curve for panel in panels for curve in panel["curves"]):
            group, _, name = curve["name"].partition(".")
            curve["points"] = _spread(alone or logs[curve["label"]], group, name)
        if panels:
            found.append(section | {"panels": panels, "hint": HINT if not found else ""})
    return found


def _spread(logs: Sequence[Sequence[Mapping[str, Any]]], group: str, name: str) -> list[list[float | None]]:
    """(step, mean, lowest, highest) over the seeds that logged it."""
    values: dict[int, list[float]] = {}
    for one in logs:
        for log in one:
            value = log.get(group, {}).get(name)
            if value is not None and math.isfinite(value):
                values.setdefault(log["step"], []).append(value)
    points: list[Point] = [(step, sum(v) / len(v), min(v), max(v)) for step, v in sorted(values.items())]
    return [[step, *(float(f"{v:.5g}") for v in rest)] for step, *rest in thin(points, MAX_POINTS)]


def _row(row: Row) -> dict[str, Any]:
    """A metric as the page's table has it; `whisker` are low, value and high of a difference in [-100, 100]."""
    ends = [abs(end) for cell in row.cells if cell.difference for end in (cell.difference.low, cell.difference.high)]
    widest = max((end for end in ends if math.isfinite(end)), default=0.0)

    def whisker(found: Difference | None) -> list[float] | None:
        if found is None or not widest:
            return None
        return [round(max(-100, min(100, 100 * v / widest)), 1) for v in (found.low, found.value, found.high)]

    return {
        "title": row.title,
        "where": row.where,
        "better": row.better,
        "untouched": None if row.untouched is None else f"{row.kind.value(row.untouched)}{row.kind.unit}",
        "cells": [
            {
                "mean": plus_minus(cell.mean),
                "unit": row.kind.unit,
                "difference": plus_minus(cell.difference, "+"),
                "verdict": row.verdict(cell),
                "good": {"better": 1, "worse": -1}.get(row.verdict(cell).partition(",")[0], 0),
                "whisker": whisker(cell.difference),
                "values": [row.kind.value(value) for value in cell.values],
            }
            for cell in row.cells
        ],
    }
