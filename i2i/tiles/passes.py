"""A graph cut into passes over the image, and each pass into tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from i2i.errors import I2IError, Problem
from i2i.measure import in_bytes
from i2i.tiles.graph import Box, Graph, Map, Span, Statistic, Value, Whole

Cell = tuple[tuple[int, int], tuple[int, int]]
"""Which of how many equal parts, of the rows and of the columns."""

TRAFFIC = 16
"""Multiply-accumulates that take about as long as bringing a number from memory and back."""
CALL = 10_000_000
"""And as long as calling an operator."""


@dataclass(frozen=True)
class Pass:
    """What is computed while the image is walked over once.

    Args:
        values: maps and statistics in the order of computation.
        kept: maps that later passes need.
        output: the translation, if this pass gives it.
    """

    values: tuple[Value, ...]
    kept: tuple[Map, ...]
    output: Map | None

    @property
    def maps(self) -> list[Map]:
        return [value for value in self.values if isinstance(value, Map)]

    @property
    def targets(self) -> set[Map]:
        """The maps of which each pixel is wanted."""
        taken = {value.map for value in self.values if isinstance(value, Statistic)}
        return taken | {*self.kept} | ({self.output} if self.output else set())

    def boxes(self, cell: Cell) -> dict[Map, Box]:
        """What a tile needs of each map: its part of the targets, and what that depends on."""
        wanted: dict[Map, Box] = {}
        for target in self.targets:
            if (core := part(target, cell)) is not None:
                wanted[target] = core
        for value in reversed(self.maps):
            if value in wanted:
                need = value.need(wanted[value])
                for source in value.maps:
                    inside = clipped(need, source.size)
                    wanted[source] = _union(wanted[source], inside) if source in wanted else inside
        return wanted

    def last_uses(self, wanted: dict[Map, Box]) -> dict[Value, list[Map]]:
        """The pieces that may be forgotten once a value is computed."""
        last: dict[Map, Value] = {}
        for value in self.values:
            if isinstance(value, Map) and value in wanted:
                last |= dict.fromkeys((value, *value.maps), value)
            elif isinstance(value, Statistic) and value.map in wanted:
                last[value.map] = value
        done: dict[Value, list[Map]] = {}
        for piece, by in last.items():
            done.setdefault(by, []).append(piece)
        return done

    def memory(self, cell: Cell, itemsize: int) -> int:
        """Bytes of all pieces that a tile holds at one time, at most."""
        wanted = self.boxes(cell)
        done, targets = self.last_uses(wanted), self.targets
        live: dict[Map, int] = {}
        peak = 0
        for value in self.values:
            if isinstance(value, Map) and value in wanted:
                live |= {m: bytes_of(m, wanted[m], itemsize) for m in (*value.maps, value)}
                handed = live[value] + sum(live[source] for source in value.maps)
                copies = max(handed * value.scratch, live[value] * (value in targets))
                peak = max(peak, sum(live.values()) + copies)
            for piece in done.get(value, ()):
                live.pop(piece, None)
        return peak

    def work(self, cell: Cell) -> float:
        """What a tile costs, in multiply-accumulates."""
        wanted = self.boxes(cell)
        here = (value for value in self.maps if value in wanted)
        return sum((value.work + TRAFFIC * value.n_channels) * area(wanted[value]) + CALL for value in here)

    def cost(self, down: int, across: int) -> float:
        """What all tiles cost together, by the one in the middle."""
        cell = _middle(down, across)
        largest = max(self.maps, key=lambda m: area(whole(m)))
        share = area(part(largest, cell) or whole(largest)) / area(whole(largest))
        return self.work(cell) / share


def planned(graph: Graph, *, at_once: bool) -> list[Pass]:
    """The passes that a graph takes: a statistic is there from the pass after the one that computes its map.

    Args:
        at_once: whether all statistics are there in the first pass, which then is the only one.
    """
    ready: dict[Value, int] = {}
    for value in graph.values:
        ready[value] = max((ready[one] for one in value.inputs), default=0)
        if isinstance(value, Statistic) and not at_once:
            ready[value] += 1
    passes = []
    for number in range(ready[graph.output] + 1):
        here = [v for v in graph.values if _pass_of(v, ready) == number]
        later = {m for v in graph.values if isinstance(v, Map) and ready[v] > number for m in v.maps}
        kept = tuple(m for m in here if m in later and m is not graph.image and isinstance(m, Map))
        passes.append(Pass(tuple(here), kept, graph.output if ready[graph.output] == number else None))
    return passes


def _pass_of(value: Value, ready: dict[Value, int]) -> int | None:
    if isinstance(value, Whole):
        return None
    return ready[value.map] if isinstance(value, Statistic) else ready[value]


def last_reads(passes: list[Pass]) -> list[list[Map]]:
    """For each pass, the kept maps that no later one needs."""
    last = {source: number for number, one in enumerate(passes) for value in one.maps for source in value.maps}
    kept = {m for one in passes for m in one.kept}
    return [[m for m in kept if last[m] == number] for number in range(len(passes))]


def disk_space(passes: list[Pass], itemsize: int) -> int:
    """Bytes of all kept maps that are there at one time, at most."""
    held = most = 0
    for one, done in zip(passes, last_reads(passes), strict=True):
        held += sum(bytes_of(m, whole(m), itemsize) for m in one.kept)
        most = max(most, held)
        held -= sum(bytes_of(m, whole(m), itemsize) for m in done)
    return most


def grid(one: Pass, memory: int, itemsize: int) -> tuple[int, int]:
    """How many tiles a pass is cut into, from top to bottom and from left to right: those that cost the least.

    Raises I2IError if the smallest take more than `memory` bytes.
    """
    height, width = (max(m.size[axis] for m in one.targets) for axis in (0, 1))
    best: tuple[float, int, int] | None = None
    for across in _halvings(width):
        down = next((n for n in _halvings(height) if one.memory(_middle(n, across), itemsize) <= memory), None)
        if down is None:
            continue
        low = down // 2 + 1
        while low < down:  # the fewest that fit
            half = (low + down) // 2
            low, down = (low, half) if one.memory(_middle(half, across), itemsize) <= memory else (half + 1, down)
        cost = one.cost(down, across)
        if best is None or cost < 0.9 * best[0]:  # whole rows lie side by side on disk
            best = (cost, down, across)
    if best is None:
        least = one.memory(_middle(height, width), itemsize)
        raise I2IError(
            Problem("memory", f"{in_bytes(memory)} of memory are too little for a tile, which takes {in_bytes(least)}")
        )
    return best[1], best[2]


def _halvings(n: int) -> list[int]:
    return [min(2**k, n) for k in range(math.ceil(math.log2(max(n, 1))) + 1)]


def cells(down: int, across: int) -> Iterator[Cell]:
    """All tiles, band by band."""
    return (((row, down), (column, across)) for row, column in product(range(down), range(across)))


def _middle(down: int, across: int) -> Cell:
    return (down // 2, down), (across // 2, across)


def part(of: Map, cell: Cell) -> Box | None:
    """The part of a map that a tile stands for; none if there are more tiles than pixels."""
    (top, bottom), (left, right) = (
        (n * which // count, n * (which + 1) // count) for n, (which, count) in zip(of.size, cell, strict=True)
    )
    return ((top, bottom), (left, right)) if top < bottom and left < right else None


def whole(of: Map) -> Box:
    return (0, of.size[0]), (0, of.size[1])


def area(box: Box) -> int:
    return math.prod(end - first for first, end in box)


def bytes_of(of: Map, box: Box, itemsize: int) -> int:
    """Of a piece, whose numbers have `itemsize` bytes if they are float."""
    return of.n_channels * area(box) * (itemsize if of.dtype.is_floating_point else of.dtype.itemsize)


def clipped(box: Box, size: tuple[int, int]) -> Box:
    """What of a box lies in an image of this size; one row or column at its border if nothing does."""

    def inside(span: Span, n: int) -> Span:
        first = min(max(span[0], 0), n - 1)
        return first, max(min(span[1], n), first + 1)

    return inside(box[0], size[0]), inside(box[1], size[1])


def _union(one: Box, other: Box) -> Box:
    (a, b), (c, d) = zip(one, other, strict=True)
    return (min(a[0], b[0]), max(a[1], b[1])), (min(c[0], d[0]), max(c[1], d[1]))
