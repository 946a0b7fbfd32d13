"""What i2i tells its users: one clear message for each mistake, all of them at once."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is (a path in the recipe, a file, an option) and what is wrong with it."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class I2IError(Exception):
    """A mistake that the user can mend; the command line prints it without a traceback and exits with 2."""

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(Problem("", p) if isinstance(p, str) else p for p in problems)
        super().__init__("\n".join(map(str, self.problems)))


@contextmanager
def collecting(problems: list[Problem]) -> Iterator[None]:
    """Adds what is wrong in the block to `problems` instead of raising it, so that more can be looked at first."""
    try:
        yield
    except I2IError as error:
        problems.extend(error.problems)


def suggest(value: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest name, and all of them if they are few."""
    choices = sorted(choices)
    near = get_close_matches(value, choices, n=1)
    text = f"; did you mean {near[0]!r}?" if near else ""
    if choices and len(choices) <= 24:
        text += f" (there is: {', '.join(choices)})"
    return text
