"""Shows a run in the terminal: a bar with the latest losses, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import rich.console
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from torch import Tensor

from i2i.watch import Running
from i2i.watch.wording import duration, measure, number, split, where

ESTIMATE_AFTER = 10
N_WARM = 2
"""Steps of a process that say nothing of its pace, since they warm up."""
REFRESH_SECONDS = 0.2


class Console:
    """Prints what a run is, how far it is and what its losses are.

    In a terminal a bar stays at the bottom, with the losses of the last log beneath it; elsewhere each log is one plain
    line, without control codes.

    Args:
        console: where to print.
        clock: seconds, from any start.
    """

    def __init__(
        self, console: rich.console.Console | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console or rich.console.Console()
        self.clock = clock
        self._terminal = self.console.is_terminal and not self.console.is_dumb_terminal
        self._ascii = self.console.options.ascii_only
        self._live: Live | None = None
        self._metrics: Mapping[str, float] = {}
        self._step = 0
        self._began = self._warm = self._drawn = 0.0

    def started(self, run: Running) -> None:
        self._step, self._metrics = run.start, {}
        self._began = self._warm = self._drawn = self.clock()
        for label, text in _summary(run):
            self._print(Text.assemble((f"{label:9} ", "dim"), text))
        if run.start:
            self.message(f"resumed at step {run.start:,}")
        if self._terminal:
            self._live = Live(self._panel(run), console=self.console, auto_refresh=False)
            self._live.start(refresh=True)

    def ticked(self, run: Running, step: int) -> None:
        self._step = step
        now = self.clock()
        if step == run.start + N_WARM:
            self._warm = now
        if step == min(run.start + ESTIMATE_AFTER, run.n_steps):
            self.message(self._estimate(run, now))
        if now - self._drawn >= REFRESH_SECONDS or step == run.n_steps:
            self._draw(run)

    def logged(self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]) -> None:
        self._step, self._metrics = step, metrics
        if not self._terminal:
            self.message(
                "  ".join([f"step {step}/{run.n_steps}", *self._pace(run), *(" ".join(g) for g in self._groups())])
            )
        for line in _tests(run, step, metrics):
            self.message(line)
        self._draw(run)

    def finished(self, run: Running) -> None:
        if self._live is not None:
            self._draw(run)
            self._live.stop()
            self._live = None

    def message(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        self._print(Text(text))

    def _print(self, line: Text) -> None:
        if self._ascii:
            line = Text(line.plain.replace("→", "->").encode("ascii", "replace").decode())
        self.console.print(line, soft_wrap=not self._terminal)

    def _seconds_per_step(self, run: Running, now: float) -> float:
        """Mean over this process, sampling and saving included, but for the first steps."""
        n = self._step - run.start
        return (now - self._warm) / (n - N_WARM) if n > N_WARM else (now - self._began) / max(n, 1)

    def _estimate(self, run: Running, now: float) -> str:
        pace = self._seconds_per_step(run, now)
        left = (run.n_steps - self._step) * pace
        until = datetime.now() + timedelta(seconds=left)
        day = "" if until.date() == datetime.now().date() else f"{until:%Y-%m-%d} "
        what = "to go" if run.start else "in all"
        return (
            f"about {duration(now - self._began + left)} {what} ({number(pace)} s per step), until {day}{until:%H:%M}"
        )

    def _pace(self, run: Running) -> list[str]:
        """Epoch, speed and time left, as far as they are known."""
        texts = [f"epoch {self._step / run.steps_per_epoch:.1f}"]
        if "images_per_second" in self._metrics:
            texts.append(f"{number(self._metrics['images_per_second'])} img/s")
        if run.start < self._step < run.n_steps:
            left = (run.n_steps - self._step) * self._seconds_per_step(run, self.clock())
            texts.append(f"{duration(left)} left")
        return texts

    def _groups(self) -> list[tuple[str, str]]:
        """Losses and scores by what they measure: `("cycle", "a 0.61 b 0.74")`, `("D a", "real 0.61 fake 0.42")`."""
        groups: dict[str, list[str]] = {}
        for name, value in self._metrics.items():
            prefix, _, rest = name.partition(".")
            if prefix in ("loss", "score"):
                base, part = split(rest)
                domain, _, what = part.partition("_")
                title, label = (f"{base} {domain}", what.replace("_", " ")) if what else (base, domain)
                groups.setdefault(title, []).append(f"{label} {number(value)}".strip())
        return [(title, " ".join(values)) for title, values in groups.items()]

    def _draw(self, run: Running) -> None:
        if self._live is not None:
            self._drawn = self.clock()
            self._live.update(self._panel(run), refresh=True)

    def _panel(self, run: Running) -> RenderableType:
        line = Table.grid(padding=(0, 2, 0, 0), expand=True)
        line.add_column(ratio=1)
        steps = f"{self._step:,}/{run.n_steps:,}"
        texts = [Text(steps, "bold"), *(Text(text, "dim") for text in self._pace(run))]
        for _ in texts:
            line.add_column(justify="right", no_wrap=True)
        line.add_row(ProgressBar(total=run.n_steps, completed=self._step, complete_style="cyan"), *texts)
        groups = [Text.assemble((title, "dim"), " ", values) for title, values in self._groups()]
        return Group(line, Columns(groups, padding=(0, 2, 0, 0)))


def _summary(run: Running) -> Iterable[tuple[str, str]]:
    known: Mapping[str, Any] = run.environment
    yield "run", str(run.folder)
    if "device" in known:
        yield "device", ", ".join(str(known[key]) for key in ("device", "device_name", "precision") if key in known)
    if data := known.get("data"):
        domains = [data.get(key, {}) for key in ("a", "b")]
        yield (
            "data",
            ", ".join(
                f"{domain.get('name', name)}: {domain.get('images', '?')} images"
                for domain, name in zip(domains, run.names, strict=True)
            ),
        )
    if parameters := known.get("parameters"):
        yield "networks", ", ".join(f"{player}: {n / 1e6:.2f} M parameters" for player, n in parameters.items())
    yield "steps", f"{run.n_steps:,} ({run.n_steps / run.steps_per_epoch:.1f} epochs)"


def _tests(run: Running, step: int, metrics: Mapping[str, float]) -> Iterable[str]:
    """One line for each direction: `step 500  flat → 3d  L1 0.0570 (untouched 0.0605, -5.8 %)  PSNR 19.8 dB (19.3)`."""
    lines: dict[str, list[str]] = {}
    for name, value in metrics.items():
        if not name.startswith("test."):
            continue
        label, _, direction = name.removeprefix("test.").rpartition("_")
        kind, text = measure(label, run.environment.get("metrics")), ""
        if name in run.baseline:
            untouched = run.baseline[name]
            text = f" ({kind.value(untouched)})"
            if kind.relative and untouched:
                text = f" (untouched {kind.value(untouched)}, {100 * (value / untouched - 1):+.1f} %)"
        lines.setdefault(direction, []).append(f"{kind.title} {kind.value(value)}{kind.unit}{text}")
    for direction, texts in lines.items():
        yield "  ".join([f"step {step:,}", where(direction, run.names) or "test", *texts])
