"""The data of a run: batches by step, the fixed preview, and the held-out pairs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from i2i.data import workers
from i2i.data.geometry import Sides
from i2i.data.pixels import Array
from i2i.data.ranges import recorded
from i2i.data.source import Split
from i2i.data.steps import Domain, Row, Steps, Taken, stacked, take
from i2i.data.table import DataOptions
from i2i.errors import Problem
from i2i.images import UnreadableImage
from i2i.images.values import Range
from i2i.method import Batch


@dataclass(frozen=True)
class Preview:
    """Images to look at while training, the same at every time.

    Args:
        a, b: (n, C, H, W), in [-1, 1].
        paired: a row shows the same scene in both.
        names: of the images of a, and of b.
    """

    a: Tensor
    b: Tensor
    paired: bool
    names: tuple[list[str], list[str]]


@dataclass(frozen=True)
class Shown:
    """Images for previews and evaluation, resized to the crop: held out, or those for training where there are none.

    `train_a` and `train_b` are always those for training, resized likewise.
    """

    split: Split
    a: Domain
    b: Domain
    train_a: Domain
    train_b: Domain
    held_out: bool


class Data:
    """The images of a run; made by `open_data`.

    Attributes:
        channels: of the images of each domain.
        n_images: to train on, in each domain.
        size: height and width in px of what the method sees; where nothing is cropped, of the narrowest image.
        sizes: all the sizes that images of a step may have, by their shorter side.
        ranges: the values that become -1 and 1, of each domain.
        options: as given, with what was measured.
        deep: whether images have more than 8 bits.
        names: of the domains.
        skipped: a message for each image that was left out, as far as known by now.
        n_workers: processes that prepare batches; 0 for none besides this one.
    """

    def __init__(self, options: DataOptions, steps: Steps, shown: Shown, skipped: list[str]) -> None:
        self.options = recorded(options, steps.ranges)
        self.channels = options.both_channels
        self.n_images = (len(steps.a.usable), len(steps.b.usable))
        self.ranges = steps.ranges
        self.deep = any(domain.pixels.dtype != np.uint8 for domain in (steps.a, steps.b))
        self.sizes = _sizes(steps)
        self.size = self.sizes[0]
        self.names = options.names
        self.skipped = skipped
        self.n_workers = workers.choose(options.n_workers, steps)
        self._steps = steps
        self._shown = shown

    @property
    def steps_per_epoch(self) -> float:
        """Steps that show each image of the larger domain once."""
        return max(self.n_images) / self._steps.n_images

    def batches(self, step: int) -> list[Batch]:
        """The micro-batches of a step, from 0: (batch_size * n_batches, C, H, W), float32, in [-1, 1].

        They depend on the seed and the step alone. Raises UnreadableImage if an image cannot be read any more.
        """
        return self._finish(self._steps[step])

    def loader(self, start: int, stop: int) -> Iterator[list[Batch]]:
        """`batches` of the steps from `start` to `stop`, exclusive, prepared ahead by `n_workers` processes.

        Draws from no global generator.
        """
        if not self.n_workers or start >= stop:
            return map(self.batches, range(start, stop))
        loader: DataLoader[Any] = DataLoader(
            cast(Any, self._steps),
            batch_size=None,
            sampler=range(start, stop),
            num_workers=self.n_workers,
            collate_fn=cast(Any, _as_it_is),
            worker_init_fn=workers.start,
            generator=torch.Generator(),
        )
        return map(self._finish, loader)

    def preview(self, n: int = 6) -> Preview:
        """n evenly spaced held-out images of each domain (training images where none are held out), not cropped."""
        a, b, split = self._shown.a, self._shown.b, self._shown.split
        n = min(n, len(a.usable), len(b.usable))
        rows: list[Row] = []
        names: tuple[list[str], list[str]] = ([], [])
        for i in range(n):
            if split.paired:
                there, (row_a, row_b) = self._take((a, b), i * len(a.usable) // n)
                places = (there, there)
            else:
                place_a, (row_a,) = self._take((a,), i * len(a.usable) // n)
                place_b, (row_b,) = self._take((b,), i * len(b.usable) // n)
                places = (place_a, place_b)
            rows.append(row_a | row_b)
            names[0].append(split.a.name(a.usable[places[0]]))
            names[1].append(split.b.name(b.usable[places[1]]))
        shown = _batch(stacked(rows), self.ranges)
        return Preview(shown.a, shown.b, split.paired, names)

    @property
    def n_shown(self) -> tuple[int, int]:
        """Images of each domain that are there to be looked at."""
        return len(self._shown.a.usable), len(self._shown.b.usable)

    @property
    def held_out(self) -> bool:
        """Whether those are others than the images to train on."""
        return self._shown.held_out

    @property
    def shown_in_pairs(self) -> bool:
        """Whether those are held-out pairs."""
        return self._shown.held_out and self._shown.split.paired

    def look(self, domains: str, places: Sequence[int], *, training: bool = False) -> dict[str, Tensor]:
        """Images of the domains `a`, `b` or `ab` by their places, as test images are shown: (n, C, H, W) in [-1, 1].

        Without those that cannot be read any more, if that is allowed, and their partners. Raises UnreadableImage.

        Args:
            training: images to train on, instead of those to be looked at.
        """
        chosen = tuple(getattr(self._shown, f"train_{key}" if training else key) for key in domains)
        rows: list[Row] = []
        for place in places:
            there, found = self._take(chosen, place)
            rows += [{k: part for row in found for k, part in row.items()}] if there == place else []
        batch = stacked(rows)
        ranges = dict(zip("ab", self.ranges, strict=True))
        return {key: torch.from_numpy(_unit(batch[key], ranges[key])) for key in domains}

    def _take(self, domains: tuple[Domain, ...], place: int) -> tuple[int, list[Row]]:
        unreadable: list[Problem] = []
        found = take(domains, place, self._steps.skip, unreadable)
        self._record(unreadable)
        return found

    def _finish(self, taken: Taken) -> list[Batch]:
        if not taken.batches:
            raise UnreadableImage(*taken.unreadable)
        self._record(taken.unreadable)
        return [_batch(rows, self.ranges) for rows in taken.batches]

    def _record(self, unreadable: tuple[Problem, ...] | list[Problem]) -> None:
        for message in map(str, unreadable):
            if message not in self.skipped:
                self.skipped.append(message)
                warnings.warn(f"{message}; the next image is shown in its place", stacklevel=2)


def _batch(rows: Row, ranges: tuple[Range, Range]) -> Batch:
    """Images of any type to float32 in [-1, 1], masks in [0, 1].

    By NumPy: torch would wait for its threads on busy processors, and these arrays are small.
    """
    parts = dict(rows)
    a, b = (torch.from_numpy(_unit(parts.pop(name), limits)) for name, limits in zip("ab", ranges, strict=True))
    extras = {name: part / np.float32(255) if part.ndim > 1 else part for name, part in parts.items()}
    return Batch(a, b, {name: torch.from_numpy(part) for name, part in extras.items()})


def _unit(values: Array, limits: Range) -> NDArray[np.float32]:
    """`Range.to_unit` for a batch, in float32."""
    unit = values.astype(np.float32)
    if values.dtype == np.uint8 and limits == Range(0, 255):
        unit /= np.float32(127.5)
        unit -= np.float32(1)
        return unit
    unit -= np.float32(limits.low)
    unit *= np.float32(2 / (limits.high - limits.low))
    unit -= np.float32(1)
    return np.clip(unit, -1, 1, out=unit)


def _sizes(steps: Steps) -> list[Sides]:
    """Of what the method sees, narrowest first: it is the shorter side that may be too small for a network."""
    if steps.window is not None:
        return [steps.window]
    sizes = {domain.pixels.sides[index] for domain in (steps.a, steps.b) for index in domain.usable}
    return sorted(sizes, key=lambda sides: (min(sides), max(sides)))


def _as_it_is(taken: Taken) -> Taken:
    """Batches travel as arrays of the images' own type, a quarter of the bytes for 8 bits, and without shared memory,
    which containers have little of."""
    return taken
