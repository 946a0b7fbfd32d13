"""What is found in a set of images, in plain words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

LEVELS = ("error", "warning", "note")
Level = Literal["error", "warning", "note"]
Place = tuple[int, int]
"""An image: which part, and its index there."""


@dataclass(frozen=True)
class Example:
    """Images that a finding is about, and how they are called in it."""

    text: str
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing to know of a set.

    Args:
        level: `error`: training would refuse it; `warning`: it would spoil a training; `note`: good to know.
        message: what was found, with its number.
        advice: what to do.
        examples: the first ten.
        n_more: how many more examples there are.
    """

    level: Level
    message: str
    advice: str
    examples: tuple[Example, ...] = ()
    n_more: int = 0

    def printable(self) -> Finding:
        """The same, safe for any terminal."""
        examples = tuple(replace(example, text=printable(example.text)) for example in self.examples)
        return replace(self, message=printable(self.message), advice=printable(self.advice), examples=examples)


def counted(n: int, what: str = "image", several: str = "") -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {several or what + 's'}"


def printable(text: str) -> str:
    """The text, with what could move the cursor or is no Unicode written out: names of files may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
