"""A network as a graph of operators, each of which is local, a statistic of the image, or independent of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from i2i.errors import I2IError, Problem
from i2i.tiles.statistics import Finish

Span = tuple[int, int]
"""Rows or columns, from the first to behind the last."""
Box = tuple[Span, Span]
"""Rows and columns."""
Arguments = dict[str, Any]


@dataclass(eq=False)
class Value:
    """What an operator gives.

    Args:
        arguments: of the operator, by name, with the values that other operators give in their places.
        layer: where it stands in the network.
    """

    arguments: Arguments
    layer: str

    @property
    def inputs(self) -> list[Value]:
        """The values among the arguments."""
        return [leaf for leaf in tree_leaves(self.arguments) if isinstance(leaf, Value)]

    def filled(self, known: Callable[[Value], Any]) -> Arguments:
        """The arguments, with what is known in place of values."""
        filled: Arguments = tree_map(lambda x: known(x) if isinstance(x, Value) else x, self.arguments)
        return filled


@dataclass(eq=False)
class Whole(Value):
    """What has no place in the image: weights, statistics, and what is computed of them.

    Args:
        compute: from the arguments.
        example: its shapes and types, without numbers.
    """

    compute: Callable[[Arguments], Any]
    example: Any


def _itself(box: Box) -> Box:
    return box


@dataclass(eq=False)
class Map(Value):
    """What has a place in the image, and depends on the neighbourhood of this place alone.

    Args:
        shape: of the whole, such as (1, C, H, W).
        axes: of rows and columns, counted from the end.
        compute: a piece of it, from the arguments with pieces of maps in them, and its box.
        need: the box of all maps among the arguments that a box of this one depends on; may lie outside of them.
        border: the value of what lies outside.
        work: multiply-accumulates per pixel.
        scratch: whether the operator takes as much memory again, for copies in another layout.
        flat: the network sees rows and columns as one axis; `shape` and pieces have both.
    """

    shape: tuple[int, ...]
    axes: tuple[int, int]
    dtype: torch.dtype
    compute: Callable[[Arguments, Box], Tensor]
    need: Callable[[Box], Box] = _itself
    border: float = 0.0
    work: float = 1.0
    scratch: bool = False
    flat: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape[self.axes[0]], self.shape[self.axes[1]]

    @property
    def n_channels(self) -> int:
        """Numbers per pixel."""
        return torch.Size(self.shape).numel() // max(1, self.size[0] * self.size[1])

    @property
    def maps(self) -> list[Map]:
        """The maps among the arguments."""
        return [value for value in self.inputs if isinstance(value, Map)]


@dataclass(eq=False)
class Statistic(Value):
    """What is taken over all pixels of a map, the only one among the arguments.

    Args:
        finish: from mean, variance, extremes and number of all pixels to the operator's result.
        extremes: whether smallest and largest values are looked for, or else mean and variance.
        example: its shapes and types, without numbers.
    """

    finish: Finish
    example: Any
    extremes: bool = False

    @property
    def map(self) -> Map:
        (source,) = self.inputs
        assert isinstance(source, Map)
        return source


@dataclass(frozen=True)
class Call:
    """An operator of the network, as the rules see it: see `Value` for arguments and layer.

    Args:
        example: its result, without numbers.
        index: which of several results is asked for.
    """

    target: Any
    arguments: Arguments
    layer: str
    example: Any
    index: int | None = None

    @property
    def maps(self) -> list[Map]:
        return [leaf for leaf in tree_leaves(self.arguments) if isinstance(leaf, Map)]

    def refusal(self, why: str = "is neither local nor a statistic of the image") -> I2IError:
        """What is said of a network that cannot go tile by tile."""
        name = str(self.target).removeprefix("aten.").partition(".")[0]
        return I2IError(
            Problem(self.layer, f"its operator {name} {why}; this network takes images whole, not in tiles")
        )


@dataclass(eq=False)
class Graph:
    """All values in the order of computation, from the image to the output."""

    image: Map
    output: Map
    values: list[Value]
    device: torch.device

    @property
    def statistics(self) -> Iterator[Statistic]:
        return (value for value in self.values if isinstance(value, Statistic))
