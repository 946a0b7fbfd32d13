"""Sizes: how an image of any size becomes one that is trained on, and what is cut from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from i2i.images.headers import MAX_PIXELS
from i2i.images.picture import Pixels

Preprocess = Literal[
    "resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "scale_shorter", "scale_shorter_and_crop", "none"
]  # fmt: skip
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Sides = tuple[int, int]
"""Height and width, in px."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The way from an image to the size at which it is kept, and the window that each use cuts from it.

    Args:
        preprocess: what is done.
        load: height and width; the second is the length of the side that is scaled.
        crop: height and width of the window.
        interpolation: a filter of Pillow's.
        multiple: where nothing is cut, both sides become a multiple of it, by resizing.
    """

    preprocess: Preprocess | Literal["cover"]
    load: Sides
    crop: Sides
    interpolation: Interpolation = "bicubic"
    multiple: int = 1

    @property
    def window(self) -> Sides | None:
        """Height and width of what is cut at random; None if images are used whole."""
        return None if self.preprocess in ("scale_width", "scale_shorter", "none") else self.crop

    @property
    def shows(self) -> Geometry:
        """For test images, all of which become one size: resized where training ignores the shape too, else covering
        the crop and cut in the middle."""
        if self.preprocess == "resize_and_crop":
            return replace(self, load=self.crop)
        return replace(self, preprocess="cover")

    @property
    def key(self) -> str:
        """All that `__call__` depends on."""
        crop = None if self.preprocess == "resize_and_crop" else self.crop
        multiple = self.multiple if self.window is None else 1
        return f"{self.preprocess} {self.load} {crop} {self.interpolation} {multiple}"

    def sides(self, height: int, width: int) -> Sides:
        """What an image of this size is resized to.

        Raises ValueError for one that the window does not fit into, and for one that would become huge.
        """
        sides = _SIDES[self.preprocess](self, height, width)
        if self.window is None:
            sides = (self._multiple_of(sides[0]), self._multiple_of(sides[1]))
        if sides[0] * sides[1] > MAX_PIXELS:
            large = f"{sides[1]}x{sides[0]} px, more than {MAX_PIXELS // 1_000_000} million"
            raise ValueError(f"is {width}x{height} px and would become {large}; leave out images as narrow as this")
        if self.window is None:
            return sides
        if sides[0] < self.crop[0] or sides[1] < self.crop[1]:
            given = f"is {width}x{height} px"
            becomes = "" if sides == (height, width) else f", which becomes {sides[1]}x{sides[0]}"
            raise ValueError(
                f"{given}{becomes}: smaller than the crop of {self.crop[1]}x{self.crop[0]} px (data.crop_size); "
                'data.preprocess = "resize_and_crop" enlarges'
            )
        return sides

    def __call__(self, pixels: Pixels) -> Pixels:
        """(H, W, C) to (H', W', C) of the same type. Raises ValueError as `sides`."""
        sides = self.sides(*pixels.shape[:2])
        pixels = resize(pixels, sides, self.interpolation)
        if self.preprocess == "cover":
            top, left = ((side - cut) // 2 for side, cut in zip(sides, self.crop, strict=True))
            pixels = pixels[top : top + self.crop[0], left : left + self.crop[1]]
        return pixels

    def _multiple_of(self, side: int) -> int:
        return max(1, round(side / self.multiple)) * self.multiple


def _scaled_width(geometry: Geometry, height: int, width: int) -> Sides:
    """Rounded down, and at least the crop high where one is cut, as in the authors' code."""
    scaled = max(1, geometry.load[1] * height // width)
    return (max(scaled, geometry.crop[0]) if geometry.window else scaled, geometry.load[1])


def _scaled_shorter(geometry: Geometry, height: int, width: int) -> Sides:
    side = geometry.load[1]
    return (side, max(1, round(side * width / height))) if height <= width else (round(side * height / width), side)


def _cover(geometry: Geometry, height: int, width: int) -> Sides:
    """The smallest size of the same shape that covers the window."""
    scale = max(geometry.crop[0] / height, geometry.crop[1] / width)
    return (max(geometry.crop[0], round(height * scale)), max(geometry.crop[1], round(width * scale)))


_SIDES: dict[str, Callable[[Geometry, int, int], Sides]] = {
    "resize_and_crop": lambda geometry, height, width: geometry.load,
    "crop": lambda geometry, height, width: (height, width),
    "none": lambda geometry, height, width: (height, width),
    "scale_width": _scaled_width,
    "scale_width_and_crop": _scaled_width,
    "scale_shorter": _scaled_shorter,
    "scale_shorter_and_crop": _scaled_shorter,
    "cover": _cover,
}


def resize(pixels: Pixels, sides: Sides, interpolation: Interpolation) -> Pixels:
    """(H, W, C) to (*sides, C), of the same type; the same pixels if they have that size.

    8 bits as Pillow resizes them; others in float32, rounded, and kept between the image's least and largest value, so
    that nothing comes out that was not in it.
    """
    if pixels.shape[:2] == sides:
        return pixels
    how = Image.Resampling[interpolation.upper()]
    size = (sides[1], sides[0])
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, how))
    if pixels.dtype == np.uint8:
        bands = [Image.fromarray(np.ascontiguousarray(band)).resize(size, how) for band in _bands(pixels)]
        return np.stack([np.asarray(band) for band in bands], 2)
    deep = [Image.fromarray(np.ascontiguousarray(band, np.float32)).resize(size, how) for band in _bands(pixels)]
    wide = np.stack([np.asarray(band) for band in deep], 2)
    np.clip(wide, pixels.min(), pixels.max(), out=wide)
    return (np.rint(wide, out=wide) if pixels.dtype.kind in "iu" else wide).astype(pixels.dtype)


def _bands(pixels: Pixels) -> list[NDArray[Any]]:
    return [pixels[:, :, band] for band in range(pixels.shape[2])]


def corner(rng: np.random.Generator, shape: tuple[int, ...], window: Sides) -> Sides:
    """Top and left of a window at random in (C, H, W)."""
    top, left = rng.integers([shape[1] - window[0], shape[2] - window[1]], endpoint=True)
    return int(top), int(left)
