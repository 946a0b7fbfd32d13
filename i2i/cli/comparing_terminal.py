"""How `i2i compare` speaks while it trains, and its table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from i2i.cli.app import console
from i2i.cli.components import table
from i2i.cli.preparing import loading, report_findings

if TYPE_CHECKING:
    from torch import Tensor

    from i2i.comparing.plan import Plan
    from i2i.comparing.result import Result
    from i2i.recipe import Recipe
    from i2i.training import Training
    from i2i.watch import Running

COLUMN = 20
"""Characters that a variant's column wants; the labels take about as much."""
STYLES = {"better": "green", "worse": "red"}


class Terminal:
    """A line for each training, and a bar for the one at work where there is a terminal.

    Args:
        to: where to speak.
    """

    def __init__(self, to: Console) -> None:
        self.console = to
        self._left: list[tuple[str, int]] = []
        self._n_steps = self._n_worked = self._first_seed = 0
        self._began = 0.0

    def expect(self, plan: Plan) -> None:
        """Tells how much is done already, and begins to take the time of the rest."""
        from i2i.comparing.trained import Trained

        every = [*plan.trainings()]
        self._left = [(name, seed) for name, seed in every if not Trained(plan.run(name, seed), seed).file.exists()]
        self._n_steps, self._first_seed, self._began = plan.n_steps, plan.seeds[0], time.monotonic()
        if len(self._left) < len(every):
            self.tell(f"{len(every) - len(self._left)} of {len(every)} trainings are done already")

    def build(self, recipe: Recipe) -> Training:
        from i2i.training import Training

        with loading(quiet=self.console is not console or not console.is_terminal) as progress:
            training = Training.build(recipe, progress)
        report_findings(training, warn=recipe.train.seed == self._first_seed)
        return training

    def watcher(self, name: str, seed: int) -> Bar:
        return Bar(self, self._left.index((name, seed)), f"{name}, seed {seed}")

    @contextmanager
    def judging(self, name: str, seed: int | None = None) -> Iterator[None]:
        said = f"judging {name}" if seed is None else f"judging {name}, seed {seed}"
        with self.console.status(Text(said)) if self.console.is_terminal else nullcontext():
            yield

    def tell(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, markup=False)

    @property
    def n_trainings(self) -> int:
        return len(self._left)

    def worked(self, n_steps: int) -> None:
        """So many steps of a training were done here."""
        self._n_worked += n_steps

    def seconds_left(self, place: int, step: int, start: int) -> float | None:
        """For all trainings, at a step of the one at this place, by the pace until now; None before it is known."""
        n_worked = self._n_worked + step - start
        n_left = (len(self._left) - place) * self._n_steps - step
        return (time.monotonic() - self._began) * n_left / n_worked if n_worked else None


class Bar:
    """Watches one training."""

    def __init__(self, terminal: Terminal, place: int, said: str) -> None:
        self._terminal, self._place = terminal, place
        self._said = f"{place + 1} of {terminal.n_trainings}: {said}"
        self._step = 0
        self._began = time.monotonic()
        columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
        self._bar = Progress(
            *columns,
            TextColumn("{task.fields[left]}", style="dim"),
            console=terminal.console,
            transient=True,
            disable=not terminal.console.is_terminal,
        )

    def started(self, run: Running) -> None:
        self._step = run.start
        self._bar.start()
        if not self._bar.tasks:
            self._bar.add_task(self._said, total=run.n_steps, left="")
        if self._bar.disable:
            self._terminal.tell(self._said)

    def ticked(self, run: Running, step: int) -> None:
        self._step = step
        self._bar.update(TaskID(0), completed=step, left=self._left(run))

    def logged(self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]) -> None:
        pass

    def finished(self, run: Running) -> None:
        from i2i.watch.wording import duration

        self._bar.stop()
        if self._step == run.n_steps:
            took = duration(time.monotonic() - self._began)
            self._terminal.tell(", ".join(filter(None, [f"{self._said}: {took}", self._left(run)])))
        self._terminal.worked(self._step - run.start)

    def _left(self, run: Running) -> str:
        from i2i.watch.wording import duration

        seconds = self._terminal.seconds_left(self._place, self._step, run.start)
        return f"about {duration(seconds)} left" if seconds else ""


def show(result: Result) -> None:
    """Prints the table: as many variants as can be read; others follow in further tables, beside the first again."""
    from i2i.comparing.result import plus_minus

    sides = result.sides
    abreast = max(2, console.width // COLUMN - 1)
    for start in range(1, max(len(sides), 2), abreast - 1):
        places = [0, *range(start, min(start + abreast - 1, len(sides)))]
        if start > 1:
            console.print()
        lines = table("", *(sides[i].name for i in places))
        for row in result.rows():
            cells = [row.cells[i] for i in places]
            label = f"{row.title} {row.where}" + (f",{row.kind.unit}" if row.kind.unit else "")
            lines.add_row(label, *(Text(plus_minus(c.mean), style="bold") for c in cells))
            if len(places) > 1:
                lines.add_row("  difference", *(plus_minus(c.difference, "+") for c in cells))
                verdicts = [row.verdict(c) for c in cells]
                lines.add_row(
                    f"  {row.better}", *(Text(v, style=STYLES.get(v.partition(",")[0], "")) for v in verdicts)
                )
        for label, costs in result.costs():
            lines.add_row(label, *(costs[i] for i in places))
        console.print(lines)
    console.print()
    for note in result.notes():
        console.print(Text(note, style="dim"))
