"""From images to pixels of the sizes that are trained on: how each is prepared, and where they are then held."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from i2i.data.geometry import Geometry, Sides
from i2i.data.source import Checks, Images, called
from i2i.errors import Problem
from i2i.images import Header, Picture, UnreadableImage
from i2i.images.intake import Intake
from i2i.images.picture import opaque
from i2i.images.values import MOST, Range

Array = NDArray[Any]
Result = TypeVar("Result")
Report = Callable[[int, int], None]
Unreadable = dict[int, UnreadableImage]
"""By index, why an image cannot be used."""


class Pixels(Protocol):
    """Prepared images by index: (C, H, W), uint8, uint16, int16 or float32; planes, since they are cropped and mirrored
    faster."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all of them."""

    @property
    def sides(self) -> Sequence[Sides]:
        """Height and width of each; (0, 0) for what cannot be read."""

    def __getitem__(self, index: int) -> Array:
        """Raises UnreadableImage if it is decoded only now and cannot be."""

    def extremes(self) -> tuple[float, float]:
        """The least and the largest value before anything was resized."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One image, ready to be held: (C, H, W), and its least and largest value before it was resized."""

    pixels: Array
    least: float
    largest: float


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done to each image of a domain, once.

    Args:
        intake: its channels.
        geometry: its size.
        as_mask: values become 0 to 255, whatever the type: 1.0 and the largest integer are 255, and 1 if the largest of
            the image is 1.
    """

    intake: Intake
    geometry: Geometry
    as_mask: bool = False

    def __call__(self, picture: Picture) -> Prepared:
        """Raises ValueError for a picture that does not fit."""
        pixels = self.intake.pixels(picture)
        if self.as_mask:
            whole = Range(0, 1 if pixels.max() <= 1 else opaque(pixels.dtype))
            pixels = Range(0, 255).from_unit(whole.to_unit(pixels), np.dtype(np.uint8))
        least, largest = float(pixels.min()), float(pixels.max())
        if not -MOST <= least <= largest <= MOST:
            raise ValueError("holds values that are not finite, or too large for float32")
        pixels = self.geometry(pixels.astype(held_as(pixels.dtype), copy=False))
        return Prepared(np.ascontiguousarray(pixels.transpose(2, 0, 1)), least, largest)

    @property
    def key(self) -> str:
        """All that the prepared pixels depend on, beside the image."""
        intake = self.intake
        return f"{intake.channels} {intake.background} {intake.srgb} {self.as_mask} {self.geometry.key}"

    def held_as(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """The type in which images of this one are held."""
        return np.dtype(np.uint8) if self.as_mask else held_as(dtype)


def held_as(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which pixels of that type are held: integers as they are, floats as float32."""
    return np.dtype(np.float32) if dtype.kind == "f" else dtype


class Held:
    """Pixels in memory."""

    def __init__(self, images: Sequence[Prepared | None], dtype: np.dtype[Any]) -> None:
        self.dtype, self._images = dtype, images
        self.sides = [(0, 0) if image is None else image.pixels.shape[1:] for image in images]

    def __getitem__(self, index: int) -> Array:
        image = self._images[index]
        assert image is not None  # what is unreadable is not among the usable
        return image.pixels

    def extremes(self) -> tuple[float, float]:
        there = [image for image in self._images if image is not None]
        return min((i.least for i in there), default=0.0), max((i.largest for i in there), default=0.0)


class Decoded:
    """Pixels that are decoded and prepared at each use.

    Args:
        dtype: in which all are held; an image of another type is refused.
    """

    def __init__(self, images: Images, how: Preparation, dtype: np.dtype[Any], sides: Sequence[Sides] = ()) -> None:
        self.images, self.how, self.dtype, self.sides = images, how, dtype, sides

    def __getitem__(self, index: int) -> Array:
        return self.prepare(index).pixels

    def prepare(self, index: int) -> Prepared:
        """Raises UnreadableImage."""
        image = self.images.read(index)
        try:
            prepared = self.how(Picture.of(image))
        except (ValueError, OSError) as error:
            raise UnreadableImage(Problem(called(self.images, index), str(error))) from error
        if prepared.pixels.dtype != self.dtype:
            raise mixed(called(self.images, index), prepared.pixels.dtype, self.dtype)
        return prepared

    def extremes(self) -> tuple[float, float]:
        prepared = prepare_all(self, lambda done, total: None)
        ends = [(image.least, image.largest) for image in prepared if isinstance(image, Prepared)]  # without the pixels
        return min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)


def mixed(name: str, dtype: np.dtype[Any], others: np.dtype[Any]) -> UnreadableImage:
    """An image whose type is not that of the others of its domain."""
    message = f"holds {dtype.name}, and the other images of this domain {others.name}; bring all to one type"
    return UnreadableImage(Problem(name, message))


def look(
    images: Images, how: Preparation, *, sizes: bool = True, report: Report = lambda done, total: None
) -> tuple[np.dtype[Any], list[Sides], Unreadable]:
    """The type in which the images are to be held, the sizes that they become, and what is refused already.

    From the files' headers, of which the most frequent type is taken. Where there are none, the first image that can be
    read tells the type, and sizes are found by decoding all images, unless all become one size.

    Args:
        sizes: wanted; else nothing is decoded for them, and they are as far as known.
    """
    sample = _of_header if (checks := isinstance(images, Checks)) else _of_file
    every = checks or (sizes and how.geometry.preprocess != "resize_and_crop")

    def one(index: int) -> tuple[np.dtype[Any], Sides] | UnreadableImage:
        try:
            (width, height), picture = sample(images, index)
            return how.held_as(how.intake.pixels(picture).dtype), how.geometry.sides(height, width)
        except UnreadableImage as error:
            return error
        except ValueError as error:
            return UnreadableImage(Problem(called(images, index), str(error)))

    types: dict[int, np.dtype[Any]] = {}
    sides = [how.geometry.load if not every else (0, 0)] * len(images)
    unreadable: Unreadable = {}
    for index, seen in enumerate(in_order(one, len(images), report) if every else map(one, range(len(images)))):
        if isinstance(seen, UnreadableImage):
            unreadable[index] = seen
            continue
        types[index], sides[index] = seen
        if not every:
            break
    counted = Counter(types.values() if checks else [*types.values()][:1])
    usual = counted.most_common(1)[0][0] if counted else np.dtype(np.uint8)
    for index, dtype in types.items():
        if dtype != usual:
            unreadable[index] = mixed(called(images, index), dtype, usual)
    return usual, sides, unreadable


def _of_file(images: Images, index: int) -> tuple[tuple[int, int], Picture]:
    """Width and height of an image, and the picture."""
    picture = Picture.of(images.read(index))
    return picture.size, picture


def _of_header(images: Any, index: int) -> tuple[tuple[int, int], Picture]:
    """Width and height of an image, and a picture like it of one pixel."""
    seen: Header = images.header(index)
    pixel = np.zeros((1, 1, seen.channels), seen.dtype)
    return seen.size, Picture(pixel, seen.colour, pixel[:, :, 0] if seen.alpha else None)


def prepare_all(decoded: Decoded, report: Report) -> Iterator[Prepared | UnreadableImage]:
    """All images in order, prepared; in place of an unreadable one its error."""

    def one(index: int) -> Prepared | UnreadableImage:
        try:
            return decoded.prepare(index)
        except UnreadableImage as error:
            return error

    return in_order(one, len(decoded.images), report)


def in_order(one: Callable[[int], Result], n: int, report: Report) -> Iterator[Result]:
    """What `one` gives for 0 to n - 1, by a pool of threads.

    As many as there are processors are under way, since each may be large.
    """
    n_threads = os.cpu_count() or 1
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        for index in range(n + n_threads):
            if index < n:
                waiting.append(pool.submit(one, index))
            if index >= n_threads and waiting:
                yield waiting.popleft().result()
                report(index - n_threads + 1, n)


def hold(images: Images, how: Preparation, report: Report) -> tuple[Held, Unreadable]:
    """The images in memory, and those that cannot be read."""
    dtype, _, _ = look(images, how, sizes=False)
    results = list(prepare_all(Decoded(images, how, dtype), report))
    unreadable = {index: result for index, result in enumerate(results) if isinstance(result, UnreadableImage)}
    return Held([None if isinstance(result, UnreadableImage) else result for result in results], dtype), unreadable
