"""Flips, turns, affine motions and crops. Images are read bilinearly, masks at the nearest pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

SUBPIXELS = 256
"""Places from one pixel to the next at which an image can be read. With so many, 8-bit pixels are interpolated without
rounding in float32: the result is the same on every machine, and what falls on whole pixels stays what it was."""

Degrees = Annotated[float, Ge(0), Le(180)]
Part = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Gt(0), Le(1)]
Factor = Annotated[float, Gt(0)]


class Flip:
    """Mirrors along one dimension of (C, H, W), half of the time."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def draw(self, rng: np.random.Generator) -> bool:
        return rng.random() < 0.5

    def image(self, pixels: Tensor, drawn: bool) -> Tensor:
        return pixels.flip(self.dimension) if drawn else pixels

    mask = image


def horizontal_flip() -> Flip:
    """Mirrors left and right, half of the time."""
    return Flip(2)


def vertical_flip() -> Flip:
    """Mirrors up and down, half of the time: for images without an up, as seen from above."""
    return Flip(1)


class QuarterTurn:
    """Turns by 0, 90, 180 or 270 degrees, each as often; rectangles by 0 or 180."""

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(4))

    def image(self, pixels: Tensor, drawn: int) -> Tensor:
        _, height, width = pixels.shape
        return pixels.rot90(drawn if height == width else drawn // 2 * 2, (1, 2))

    mask = image


@dataclass(frozen=True, slots=True)
class Motion:
    """Where the pixels of a result come from: the one at p, in px from the centre, shows matrix @ (p - shift).

    Args:
        matrix: two rows, for x and y.
        shift: how far the image moves, in its widths and heights.
    """

    matrix: tuple[tuple[float, float], tuple[float, float]]
    shift: tuple[float, float] = (0.0, 0.0)


class Affine:
    """Turns, shifts, scales and shears at random; what comes in from outside is reflected.

    Args:
        degrees: largest turn to either side.
        translate: largest shifts across and down, as parts of width and height.
        scale: smallest and largest factor.
        shear: largest slant of upright lines to either side, in degrees.
    """

    def __init__(
        self,
        *,
        degrees: Degrees = 10.0,
        translate: tuple[Part, Part] = (0.1, 0.1),
        scale: tuple[Factor, Factor] = (0.9, 1.1),
        shear: Annotated[float, Ge(0), Lt(90)] = 5.0,
    ) -> None:
        _check_order("scale", scale)
        self.degrees, self.translate, self.scale, self.shear = degrees, translate, scale, shear

    def draw(self, rng: np.random.Generator) -> Motion:
        turn, slant = (math.radians(rng.uniform(-most, most)) for most in (self.degrees, self.shear))
        factor = rng.uniform(*self.scale)
        cos, sin, tan = math.cos(turn) / factor, math.sin(turn) / factor, math.tan(slant)
        shift_x, shift_y = (rng.uniform(-most, most) for most in self.translate)
        return Motion(((cos + tan * sin, tan * cos - sin), (sin, cos)), (shift_x, shift_y))

    def image(self, pixels: Tensor, drawn: Motion) -> Tensor:
        return moved(pixels, drawn, "bilinear")

    def mask(self, mask: Tensor, drawn: Motion) -> Tensor:
        return moved(mask, drawn, "nearest")


def rotation(*, degrees: Degrees = 10.0) -> Affine:
    """Turns by any angle; what comes in from outside is reflected.

    Args:
        degrees: largest turn to either side.
    """
    return Affine(degrees=degrees, translate=(0.0, 0.0), scale=(1.0, 1.0), shear=0.0)


class RandomResizedCrop:
    """Cuts out a part and enlarges it to the size of the whole.

    The defaults are those of StarGAN v2 (Choi et al. 2020, the authors' code).

    Args:
        scale: smallest and largest area of the part, where the whole has 1.
        ratio: the part's width over its height, least and most, where the whole has 1.
    """

    def __init__(
        self,
        *,
        scale: tuple[Share, Share] = (0.8, 1.0),
        ratio: tuple[Share, Annotated[float, Ge(1)]] = (0.9, 1.1),
    ) -> None:
        _check_order("scale", scale)
        self.scale, self.ratio = scale, ratio

    def draw(self, rng: np.random.Generator) -> Motion:
        area = rng.uniform(*self.scale)
        least, most = max(self.ratio[0], area), min(self.ratio[1], 1 / area)  # what fits into the whole
        ratio = math.exp(rng.uniform(math.log(least), math.log(most)))
        width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
        shift_x, shift_y = (rng.uniform(-0.5, 0.5) * (1 / part - 1) for part in (width, height))
        return Motion(((width, 0.0), (0.0, height)), (shift_x, shift_y))

    def image(self, pixels: Tensor, drawn: Motion) -> Tensor:
        return moved(pixels, drawn, "bilinear")

    def mask(self, mask: Tensor, drawn: Motion) -> Tensor:
        return moved(mask, drawn, "nearest")


def moved(pixels: Tensor, motion: Motion, mode: Literal["bilinear", "nearest"]) -> Tensor:
    """(C, H, W), uint8 or float32, to the same; what comes in from outside is reflected."""
    _, height, width = pixels.shape
    image = pixels.to(torch.float32)
    sizes = [1 << (n - 1).bit_length() for n in (width, height)]  # powers of two: division by them is exact
    for dimension, size in zip((2, 1), sizes, strict=True):
        if missing := size - image.shape[dimension]:
            rim = image.narrow(dimension, image.shape[dimension] - missing, missing)
            image = torch.cat([image, rim.flip(dimension)], dimension)
    x, y = (np.arange(n) - (n - 1) / 2 - s * n for n, s in zip((width, height), motion.shift, strict=True))
    grid = torch.empty(1, height, width, 2)
    for i, (n, size) in enumerate(zip((width, height), sizes, strict=True)):
        to_x, to_y = motion.matrix[i]
        across, down = _exact(to_x * x), _exact(to_y * y + (n - 1) / 2)
        # grid_sample counts from -1, the left edge of the first pixel, to 1, the right edge of the last
        torch.add(2 * across / size, (2 * down[:, None] + 1) / size - 1, out=grid[0, :, :, i])
    result = F.grid_sample(image[None], grid, mode, "reflection", align_corners=False)[0]
    if pixels.dtype == torch.uint8:  # by way of int16: torch is four times as slow in one step
        return result.round_().to(torch.int16).to(torch.uint8)
    return result


def _exact(places: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy((np.rint(places * SUBPIXELS) / SUBPIXELS).astype(np.float32))


def _check_order(option: str, ends: tuple[float, float]) -> None:
    if ends[0] > ends[1]:
        raise ValueError(f"{option} = [{ends[0]:g}, {ends[1]:g}]: the smaller number comes first")
