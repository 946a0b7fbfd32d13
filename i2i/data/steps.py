"""What each step shows, in the images' own type: the part of the data that loader processes carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from i2i.data.augment import Augment
from i2i.data.geometry import Sides, corner
from i2i.data.order import Draw, Order
from i2i.data.pixels import Pixels
from i2i.errors import I2IError, Problem
from i2i.images import UnreadableImage
from i2i.images.values import Range

Labels = NDArray[np.int64]
Row = dict[str, Any]
"""By name, what belongs together: images (C, H, W), masks (1, H, W) uint8, labels int64."""


@dataclass(frozen=True)
class Domain:
    """Prepared images of one domain under its name, `a` or `b`, and their extras; the indices of those to use."""

    parts: Mapping[str, Pixels | Labels]
    usable: tuple[int, ...]

    @property
    def pixels(self) -> Pixels:
        """The images themselves."""
        images: Any = next(part for name, part in self.parts.items() if name in "ab")
        return cast(Pixels, images)

    def row(self, place: int) -> Row:
        """What belongs to the place-th usable image. Raises UnreadableImage."""
        return {name: part[self.usable[place]] for name, part in self.parts.items()}


def take(domains: Sequence[Domain], place: int, skip: bool, unreadable: list[Problem]) -> tuple[int, list[Row]]:
    """The row of the place-th usable image of each domain, and the place where it was found.

    Adds what cannot be read to `unreadable` and, if `skip`, goes on to the next place in all domains, so that pairs
    stay pairs. Raises UnreadableImage.
    """
    n = min(len(domain.usable) for domain in domains)
    for there in chain(range(place, n), range(place)):
        try:
            return there, [domain.row(there) for domain in domains]
        except UnreadableImage as error:
            unreadable.extend(error.problems)
            if not skip:
                raise
    raise UnreadableImage(Problem("data.source", "none of the images can be read any more"))


def stacked(rows: Sequence[Row]) -> Row:
    """Rows as one: images and masks (N, C, H, W), labels (N,)."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@dataclass(frozen=True)
class Taken:
    """One step's micro-batches: images and masks (N, C, H, W), labels (N,); and what could not be read.

    No micro-batch at all: the step has failed for that reason.
    """

    batches: list[Row]
    unreadable: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The images of each step, by number.

    The order of all images goes by step, micro-batch, fresh batch of the method, rank, and place in the batch. So W
    processes with batches of N see together what one process with batches of W x N sees.

    Args:
        a, b: the training images.
        ranges: their values from dark to bright.
        order_a, order_b: of their usable ones.
        paired: both follow `order_a`.
        skip: an image that turns out unreadable is replaced by the next one.
        window: height and width of what is cut at random; None for whole images.
        flip: mirror half of them.
        augment: further changes, in this order.
    """

    a: Domain
    b: Domain
    ranges: tuple[Range, Range]
    order_a: Order
    order_b: Order
    paired: bool
    skip: bool
    window: Sides | None
    flip: bool
    augment: tuple[Augment, ...]
    batch_size: int
    n_batches: int
    n_micro_batches: int
    rank: int
    world_size: int

    @property
    def n_images(self) -> int:
        """Images of each domain in a step, over all processes."""
        return self.batch_size * self.n_batches * self.n_micro_batches * self.world_size

    def __getitem__(self, step: int) -> Taken:
        unreadable: list[Problem] = []
        numbers = range(step * self.n_micro_batches, (step + 1) * self.n_micro_batches)
        try:
            return Taken([self._micro_batch(number, unreadable) for number in numbers], tuple(unreadable))
        except I2IError as error:  # of an image or of an augmentation
            return Taken([], error.problems)

    def _micro_batch(self, number: int, unreadable: list[Problem]) -> Row:
        fresh = range(number * self.n_batches, (number + 1) * self.n_batches)
        starts = [(n * self.world_size + self.rank) * self.batch_size for n in fresh]
        return stacked([self._row(start + place, unreadable) for start in starts for place in range(self.batch_size)])

    def _row(self, position: int, unreadable: list[Problem]) -> Row:
        """The crops and labels at one position of the streams."""
        draw_a, draw_b = self.order_a.draw(position), self.order_b.draw(position)
        if self.paired:
            draw_b = draw_a
            _, (a, b) = take((self.a, self.b), draw_a.index, self.skip, unreadable)
        else:
            _, (a,) = take((self.a,), draw_a.index, self.skip, unreadable)
            _, (b,) = take((self.b,), draw_b.index, self.skip, unreadable)
        return self._changed("a", a, draw_a) | self._changed("b", b, draw_b)

    def _changed(self, domain: Literal["a", "b"], row: Row, draw: Draw) -> Row:
        """Cut, mirrored and augmented; a mask as its image, while a label stays."""
        chance = draw.chance()
        cut = slice(None), slice(None)
        if self.window is not None:
            top, left = corner(chance, row[domain].shape, self.window)
            cut = slice(top, top + self.window[0]), slice(left, left + self.window[1])
        mirrored = self.flip and chance.random() < 0.5
        row = {name: part[:, *cut] if part.ndim else part for name, part in row.items()}
        if mirrored:
            row = {name: part[:, :, ::-1] if part.ndim else part for name, part in row.items()}
        number = "ab".index(domain)
        for place, augment in enumerate(self.augment):
            of = (place,) if augment.shared or not self.paired else (place, number)
            row = augment(row, domain, self.ranges[number], draw.chance(*of))
        return row
