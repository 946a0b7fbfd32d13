"""Writes report.html: one page of samples, metrics, curves, recipe and environment, of a run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from i2i.files import replacing
from i2i.watch import Running
from i2i.watch.pages import page
from i2i.watch.report import measured, tables
from i2i.watch.report.curves import sections
from i2i.watch.report.gallery import gallery
from i2i.watch.report.reading import read_runs
from i2i.watch.report.strips import Strips

__all__ = ["Report", "build", "write"]


class Report:
    """Keeps report.html in the run's folder up to date: at every log with samples, and at the end."""

    def __init__(self) -> None:
        self._strips = Strips()

    def started(self, run: Running) -> None:
        pass

    def logged(self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]) -> None:
        if images:
            build(run.folder, self._strips)

    def finished(self, run: Running) -> None:
        build(run.folder, self._strips)


def build(folder: Path, strips: Strips | None = None) -> Path:
    """Writes `folder/report.html` from the run's files and returns its path; whatever is not there is left out.

    Raises I2IError for a file that cannot be understood.
    """
    return write([folder], folder / "report.html", strips)


def write(folders: Sequence[Path], file: Path, strips: Strips | None = None) -> Path:
    """Writes a page of a run, or of several side by side, and returns its path.

    Reads recipe.json, environment.json, metrics.jsonl, best.json, health.jsonl, eval.json and the grids in samples/.
    The page holds all it needs, in less than 5 MB, and links the full grids. Raises I2IError for a file that cannot be
    understood.

    Args:
        strips: made for this page before; what is still right is not made again.
    """
    runs = read_runs(folders)
    text = page(
        "i2i.watch.report",
        "page.html.j2",
        runs=runs,
        facts=[list(tables.facts(run)) for run in runs],
        findings=tables.findings(runs),
        gallery=gallery(runs, file.parent, strips or Strips()),
        metrics=measured.metrics(runs),
        evaluation=measured.evaluation(runs),
        sections=sections(runs),
        recipe=tables.recipe(runs[0]) if len(runs) == 1 else tables.differences(runs, "recipe"),
        environment=tables.environment(runs[0]) if len(runs) == 1 else tables.differences(runs, "environment"),
    )
    with replacing(file) as temporary:
        temporary.write_bytes(text.encode())
    return file
