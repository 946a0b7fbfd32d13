"""Metrics of runs in tables: those of the training's evaluations, and those that `i2i eval` took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from i2i.watch.report.reading import RunFiles, decides
from i2i.watch.wording import Measure, directed, measure, where

Estimate = Mapping[str, Any]
"""`value` and `interval`, as in eval.json; either may be None, and an empty one stands for no estimate."""


def metrics(runs: Sequence[RunFiles]) -> dict[str, Any] | None:
    """Metrics on held-out images: of one run the newest, the best and the untouched input; of several the newest."""
    newest: list[Mapping[str, Any]] = [next((log for log in reversed(run.logs) if "test" in log), {}) for run in runs]
    names = list(dict.fromkeys(name for log in newest for name in log.get("test", {})))
    if not names:
        return None
    single = len(runs) == 1
    heads = [
        ("newest" if single else run.name, f"step {log['step']:,}" if log else "")
        for run, log in zip(runs, newest, strict=True)
    ]
    kept, untouched = single and bool(runs[0].best), single and "untouched" in newest[0]
    heads += [("kept as the best", "")] * kept + [("untouched input", "")] * untouched
    rows = []
    for name in names:
        run, log = next((r, log) for r, log in zip(runs, newest, strict=True) if name in log.get("test", {}))
        kind, baseline = run.measure(directed(name)[0]), log.get("untouched", {}).get(name)
        cells = [_cell(kind, _logged(log, name), baseline) for log in newest]
        cells += [_best_cell(run, kind, name)] * kept + [
            _cell(kind, {} if baseline is None else {"value": baseline})
        ] * untouched
        rows.append(_row(kind, name, run.names, cells))
    return {"heads": heads, "rows": rows}


def evaluation(runs: Sequence[RunFiles]) -> dict[str, Any] | None:
    """What `i2i eval` took: of one run beside the untouched input and real images; of several side by side."""
    known = [run for run in runs if run.evaluation.get("estimates")]
    if not known:
        return None
    single = len(runs) == 1
    columns = ("estimates", "untouched", "floor") if single else ("estimates",)
    heads = [("translations" if single else run.name, _of_step(run.evaluation)) for run in runs]
    if single:
        heads += [("untouched input", ""), ("real images", "of the domain it is translated to")]
    rows = []
    for name in dict.fromkeys(name for run in known for name in run.evaluation["estimates"]):
        run = next(run for run in known if name in run.evaluation["estimates"])
        kind = measure(directed(name)[0], run.evaluation.get("metrics"))
        baseline = run.evaluation.get("untouched", {}).get(name, {}).get("value")
        cells = [_cell(kind, r.evaluation.get(key, {}).get(name, {})) for r in runs for key in columns]
        if single:
            cells[0] = _cell(kind, run.evaluation["estimates"][name], baseline)
        rows.append(_row(kind, name, run.names, cells))
    protocols = [run.evaluation.get("protocol", {}) for run in known]
    return {
        "heads": heads,
        "rows": rows,
        "protocol": " · ".join(_protocol(protocols[0])),
        "alike": all(protocol == protocols[0] for protocol in protocols),
        "left_out": [(directed(n)[0], where(directed(n)[1], known[0].names), why) for n, why in _left_out(known[0])],
    }


def _logged(log: Mapping[str, Any], name: str) -> Estimate:
    table = log.get("test", {})
    return {"value": table[name], "interval": log.get("interval", {}).get(name)} if name in table else {}


def _best_cell(run: RunFiles, kind: Measure, name: str) -> dict[str, Any]:
    """What a metric was at the step of the best translator of its direction."""
    best = run.best.get(directed(name)[1])
    if best is None:
        return _cell(kind, {})
    note = f"step {best['step']:,}{', decided by this' if decides(best, name) else ''}"
    return _cell(kind, _logged(run.log_of(best["step"]), name)) | {"note": note}


def _cell(kind: Measure, estimate: Estimate, untouched: float | None = None) -> dict[str, Any]:
    """A value with its interval, and how far it is from the untouched input; `good` is 1 if better, -1 if worse."""
    value = estimate.get("value")
    if value is None:
        return {"value": "not a number" if estimate else "", "interval": "", "note": "", "good": 0}
    ends = estimate.get("interval")
    interval = " to ".join(map(kind.value, ends)) if ends and None not in ends else ""
    note, good = "", 0
    if untouched is not None and value != untouched:
        good = (1 if value > untouched else -1) * kind.better
        if kind.relative and untouched:
            share = 100 * (value / untouched - 1)
            note = f"{abs(share):.1f} % {'above' if share > 0 else 'below'} untouched"
        elif good:
            note = f"{'better' if good > 0 else 'worse'} than untouched"
    return {"value": f"{kind.value(value)}{kind.unit}", "interval": interval, "note": note, "good": good}


def _row(kind: Measure, name: str, names: tuple[str, str], cells: list[dict[str, Any]]) -> dict[str, Any]:
    better = {-1: "lower is better", 1: "higher is better"}.get(kind.better, "")
    return {"title": kind.title, "where": where(directed(name)[1], names), "better": better, "cells": cells}


def _of_step(evaluation: Mapping[str, Any]) -> str:
    steps = sorted(set(evaluation.get("step", {}).values()))
    checkpoint = ", the best" if evaluation.get("checkpoint") == "best" else ""
    return f"step {' and '.join(f'{step:,}' for step in steps)}{checkpoint}" if steps else ""


def _protocol(protocol: Mapping[str, Any]) -> Iterator[str]:
    """How it was judged, in words."""
    if "images" in protocol:
        yield f"images: {protocol['images']}{', in pairs' if protocol.get('pairs') else ''}"
    for domain in protocol.get("domains", {}).values():
        yield f"{domain.get('name')}: {domain.get('n')} of {domain.get('of')}"
    if size := protocol.get("size"):
        yield f"{' x '.join(map(str, size)) if isinstance(size, list) else size} px"


def _left_out(run: RunFiles) -> list[tuple[str, str]]:
    return list(run.evaluation.get("left_out", {}).items())
