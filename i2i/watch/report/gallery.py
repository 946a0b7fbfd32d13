"""The samples of runs by step and row, as the script of a page shows them."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from i2i.watch.report.reading import RunFiles
from i2i.watch.report.strips import FIXED, Strip, Strips, chosen
from i2i.watch.wording import directed, where

MAX_BYTES = 3_300_000
"""Of all strips together; base64 makes 4.4 MB of them."""
MAX_GRIDS = 100
BLOCKS: Mapping[str, tuple[str, ...]] = {
    "ab": ("a", "ab", "aba", "aba_noised", "true_ab"),
    "ba": ("b", "ba", "bab", "bab_noised", "true_ba"),
    "new": ("new_a", "new_b"),
    "grid": ("grid",),
}


def gallery(runs: Sequence[RunFiles], beside: Path, strips: Strips) -> dict[str, Any] | None:
    """The samples of these runs by step and row, as the page's script reads them; None if there are none.

    Args:
        beside: the folder of the page, from which it links the full images.
        strips: made before.
    """
    kept = [chosen(run, strips, max(1, MAX_GRIDS // len(runs)), MAX_BYTES // len(runs)) for run in runs]
    strips.forget_unused()
    steps = sorted({step for grids in kept for step in grids})
    if not steps:
        return None
    data: dict[bytes, int] = {}
    blocks = [block for key in BLOCKS if (block := _block(key, runs, kept, steps, data))]
    sources = [base64.b64encode(strip).decode("ascii") for strip in data]
    return {
        "positions": [_position(step, runs, kept, beside) for step in steps],
        "blocks": blocks,
        "sources": sources,
        "n_left_out": sum(len(run.samples) - len(grids) for run, grids in zip(runs, kept, strict=True)),
    }


def _block(
    key: str,
    runs: Sequence[RunFiles],
    kept: Sequence[Mapping[int, list[Strip]]],
    steps: Sequence[int],
    data: dict[bytes, int],
) -> dict[str, Any] | None:
    """One direction: its rows, each with the strip of every step and the row it is compared with; None without rows.

    A strip is `[source, n, width, height]`. Rows that are the same in all runs, as inputs are, stand there once.
    """
    rows: list[dict[str, Any]] = []
    inputs: dict[int, int] = {}
    for row_key in BLOCKS[key]:
        for index, (run, grids) in enumerate(zip(runs, kept, strict=True)):
            cells = []
            for step in steps:
                at = max((s for s in grids if s <= step), default=min(grids, default=None))
                strip = next((s for s in grids.get(at, []) if s.key == row_key), None) if at is not None else None
                cells.append(strip and [data.setdefault(strip.data, len(data)), strip.n, strip.width, strip.height])
            if not any(cells):
                continue
            same = next((i for i, row in enumerate(rows) if row["key"] == row_key and row["strips"] == cells), None)
            if same is None or row_key not in FIXED:
                label, about = _label(row_key, run.names)
                row = {"key": row_key, "label": label, "about": about, "strips": cells, "before": inputs.get(index)}
                rows.append(row | {"run": run.name if len(runs) > 1 else ""})
                same = len(rows) - 1
            else:
                rows[same]["run"] = ""
            if row_key == key[0]:
                inputs[index] = same
    title = where(key, runs[0].names) if key in ("ab", "ba") else {"new": "made from nothing"}.get(key, "")
    return {"key": key, "title": title, "rows": rows} if rows else None


def _label(key: str, names: tuple[str, str]) -> tuple[str, str]:
    """How a row is called beside its images, and what it is."""
    backwards = key.removeprefix("true_").removeprefix("new_").startswith("b")
    a, b = names[::-1] if backwards else names
    return {
        "a": (a, "the input"),
        "ab": (f"→ {b}", "translated"),
        "aba": (f"→ {b} → {a}", "and back"),
        "aba_noised": (f"→ {b} + noise → {a}", "and back from the translation in 8 bits with a little noise"),
        "true_ab": (f"true {b}", "the true partner"),
        "new_a": (f"new {a}", "made from nothing"),
        "grid": ("samples", "the whole grid"),
    }[key.translate(str.maketrans("ab", "ba")) if backwards else key]


def _position(
    step: int, runs: Sequence[RunFiles], kept: Sequence[Mapping[int, list[Strip]]], beside: Path
) -> dict[str, Any]:
    """A step of the slider: its metrics, whose best it is, and the full images."""
    captions, best, links = [], [], []
    for run, grids in zip(runs, kept, strict=True):
        if step not in grids:
            continue
        file = run.sample(step)
        address = quote(Path(os.path.relpath(file.resolve(), beside.resolve())).as_posix())
        links.append({"text": run.name if len(runs) > 1 else file.name, "href": address})
        if not grids[step]:
            captions.append(f"{file.name} cannot be read")
        for direction, kept_best in run.best.items():
            if run.sample_at(kept_best["step"]) == step:
                said = where(direction, run.names) + (f" of {run.name}" if len(runs) > 1 else "")
                best.append(said if kept_best["step"] == step else f"{said}, step {kept_best['step']:,}")
        log = run.log_of(step) if len(runs) == 1 else {}
        for name, value in log.get("test", {}).items():
            base, part = directed(name)
            kind = run.measure(base)
            if value is not None and math.isfinite(value):
                captions.append(f"{kind.title} {where(part, run.names)} {kind.value(value)}{kind.unit}")
    return {"step": step, "caption": captions, "best": best, "links": links}
