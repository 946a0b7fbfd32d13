"""From images to uint8 pixels of one size: how each is prepared, and where the prepared ones are held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from i2i.data.source import Images, UnreadableImage
from i2i.errors import Problem

Array = NDArray[np.uint8]
Report = Callable[[int, int], None]


class Pixels(Protocol):
    """Prepared images by index: (C, size, size) uint8; planes, since they are cropped and mirrored faster."""

    def __getitem__(self, index: int) -> Array:
        """Raises UnreadableImage if it is decoded only now and cannot be."""


def to_channels(image: Image.Image, channels: int) -> Image.Image:
    """An 8-bit image of any mode as greyscale (1 channel) or RGB (3); what is transparent becomes white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def prepare(image: Image.Image, channels: int, size: int) -> Array:
    """An image as (channels, size, size) uint8; resized bicubically whatever its shape, as in the authors' code."""
    image = to_channels(image, channels)
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    planes = np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)
    return np.ascontiguousarray(planes)


class Decoded:
    """Pixels that are decoded and prepared at each use."""

    def __init__(self, images: Images, channels: int, size: int) -> None:
        self.images, self.channels, self.size = images, channels, size

    def __getitem__(self, index: int) -> Array:
        image = self.images.read(index)
        try:
            return prepare(image, self.channels, self.size)
        except (ValueError, OSError) as error:
            raise UnreadableImage(Problem(self.images.name(index), f"cannot be converted: {error}")) from error


def prepare_all(images: Images, channels: int, size: int, report: Report) -> Iterator[Array | UnreadableImage]:
    """All images in order, prepared by a pool of threads; in place of an unreadable one its error."""
    decoded = Decoded(images, channels, size)

    def one(index: int) -> Array | UnreadableImage:
        try:
            return decoded[index]
        except UnreadableImage as error:
            return error

    n, n_ahead = len(images), 64
    with ThreadPoolExecutor() as pool:
        for start in range(0, n, n_ahead):
            for index, result in enumerate(pool.map(one, range(start, min(n, start + n_ahead))), start + 1):
                yield result
                report(index, n)
