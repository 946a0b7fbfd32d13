"""The passes of a graph over an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from i2i.tiles.disk import Stored, check_space
from i2i.tiles.graph import Box, Graph, Map, Statistic, Value, Whole
from i2i.tiles.passes import Cell, Pass, area, cells, clipped, disk_space, grid, last_reads, part, planned, whole
from i2i.tiles.statistics import Extremes, Gathered, Moments


class Run:
    """An image through a graph.

    Args:
        graph: for the size of the image.
        read: a box of the image.
        memory: bytes that pieces may take at one time.
        folder: for maps that later passes need.
        dtype: of what convolutions compute.
        given: the statistics, in the order of the graph; left out, they are gathered.
        own: each tile has its own statistics.
    """

    def __init__(
        self,
        graph: Graph,
        read: Callable[[Box], Tensor],
        memory: int,
        folder: Path,
        dtype: torch.dtype,
        *,
        given: Sequence[Gathered] | None = None,
        own: bool = False,
    ) -> None:
        self.graph, self.read, self.folder, self.own = graph, read, folder, own
        self.device = graph.device
        self.casts = dtype if dtype.itemsize < 4 else None
        itemsize = (self.casts or graph.image.dtype).itemsize
        self.passes = planned(graph, at_once=own or given is not None)
        self.grids = [grid(one, memory, itemsize) for one in self.passes]
        self.space = disk_space(self.passes, itemsize)
        self.work = sum(one.cost(*n) for one, n in zip(self.passes, self.grids, strict=True))
        self.gathered: dict[Statistic, Gathered] = {}
        self.known: dict[Value, Any] = {}
        self.kept: dict[Map, Stored] = {}
        for statistic, found in zip(graph.statistics, given or (), strict=False):
            self.known[statistic] = statistic.finish(found.as_if(area(whole(statistic.map))))

    @property
    def statistics(self) -> list[Gathered]:
        """What was gathered, in the order of the graph."""
        return [self.gathered[statistic] for statistic in self.graph.statistics]

    @torch.no_grad()
    def __call__(self, write: Callable[[Box, Tensor], None], advance: Callable[[float], None]) -> None:
        """All passes; hands over boxes of the translation, and tells how much of the work is done.

        Raises I2IError if the disk has no room.
        """
        if self.space:
            check_space(self.folder, self.space)
        done = 0.0
        with ExitStack() as files:
            for one, n, read_last in zip(self.passes, self.grids, last_reads(self.passes), strict=True):
                for m in one.kept:
                    dtype = self.casts if self.casts and m.dtype.is_floating_point else m.dtype
                    self.kept[m] = files.enter_context(Stored(m.shape, m.axes, dtype, self.folder))
                each = one.cost(*n) / math.prod(n)
                for cell in cells(*n):
                    with self._autocast():
                        self._tile(one, cell, write)
                    done += each
                    advance(done)
                self.known |= {s: s.finish(found) for s, found in self.gathered.items() if s not in self.known}
                for m in read_last:
                    self.kept.pop(m).close()

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, self.casts or torch.bfloat16, enabled=self.casts is not None)

    def _tile(self, one: Pass, cell: Cell, write: Callable[[Box, Tensor], None]) -> None:
        wanted = one.boxes(cell)
        done = one.last_uses(wanted)
        pieces: dict[Map, Tensor] = {}
        known = {**self.known} if self.own else self.known
        for value in one.values:
            if isinstance(value, Statistic) and value not in known and value.map in wanted:
                if self.own:
                    known[value] = value.finish(gather(value, pieces[value.map]))
                elif (core := part(value.map, cell)) is not None:
                    more = gather(value, cut(pieces[value.map], value.map, wanted[value.map], core))
                    self.gathered[value] = self.gathered[value].joined(more) if value in self.gathered else more
            elif isinstance(value, Map) and value in wanted:
                pieces[value] = self._piece(value, wanted, pieces, known)
                core = part(value, cell)
                if core is not None and value in one.kept:
                    self.kept[value].write(core, cut(pieces[value], value, wanted[value], core))
                if core is not None and value is one.output:
                    write(core, cut(pieces[value], value, wanted[value], core))
            for old in done.get(value, ()):
                pieces.pop(old, None)

    def _piece(self, value: Map, wanted: dict[Map, Box], pieces: dict[Map, Tensor], known: dict[Value, Any]) -> Tensor:
        """A tile's piece of a map, from the pieces of other maps, which are read if an earlier pass kept them."""

        def read(one: Map) -> Tensor:
            if one is self.graph.image:
                return self.read(wanted[one]).to(self.device, one.dtype)
            return self.kept[one].read(wanted[one]).to(self.device)

        if value is self.graph.image:
            return read(value)
        need = value.need(wanted[value])

        def given(one: Value) -> Any:
            if isinstance(one, Map):
                if one not in pieces:
                    pieces[one] = read(one)
                inside = clipped(need, one.size)
                return filled(cut(pieces[one], one, wanted[one], inside), one, inside, need, value.border)
            if isinstance(one, Whole) and one not in known:
                known[one] = one.compute(one.filled(given))
            return known[one]

        return value.compute(value.filled(given), wanted[value])


def gather(statistic: Statistic, piece: Tensor) -> Gathered:
    """What a piece adds to a statistic."""
    kind = Extremes if statistic.extremes else Moments
    return kind.of(piece, statistic.map.axes)


def cut(piece: Tensor, of: Map, box: Box, smaller: Box) -> Tensor:
    """A box inside of the one that a piece stands for."""
    for axis, (first, _), (start, end) in zip(of.axes, box, smaller, strict=True):
        piece = piece.narrow(axis, start - first, end - start)
    return piece


def filled(piece: Tensor, of: Map, box: Box, larger: Box, value: float) -> Tensor:
    """A piece with a value around it, as far as a larger box goes; the value alone if that lies outside."""
    if box == larger:
        return piece
    assert of.axes == (-2, -1), "operators with borders take (…, H, W)"
    (top, bottom), (left, right) = (
        (first - start, stop - end) for (first, end), (start, stop) in zip(box, larger, strict=True)
    )
    if min(top, bottom, left, right) < 0:
        return piece.new_full((*piece.shape[:-2], *(stop - start for start, stop in larger)), value)
    return F.pad(piece, (left, right, top, bottom), value=value)
