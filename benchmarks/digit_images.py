"""Digits of two sets brought to one geometry, and the random affine changes that their classifiers learn from."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

SIZE, BOX = 28, 20
"""Pixels of an image and of the box that a digit fills, as in MNIST."""

INK = 64
"""What is at least this bright belongs to the digit."""


def matched(images: NDArray[np.uint8]) -> Tensor:
    """Digits as MNIST's authors placed theirs: the longer side of the box is 20 px, the centre of mass the image's.

    LeCun et al. 1998, section III.A. Those of USPS fill a box of 16 px, around its centre. Both sets go through here,
    so that both are interpolated once.

    Shape: (N, H, W) of uint8 to (N, 28, 28) of uint8.
    """
    return torch.cat([_matched(torch.from_numpy(part).float()) for part in _parts(images)])


def stretched(images: NDArray[np.uint8]) -> Tensor:
    """Images enlarged to 28 px as they are."""
    parts = (torch.from_numpy(part).float()[:, None] for part in _parts(images))
    return torch.cat([_stored(F.interpolate(part, (SIZE, SIZE), mode="bicubic")) for part in parts])


GEOMETRIES: dict[str, Callable[[NDArray[np.uint8]], Tensor]] = {"matched": matched, "stretched": stretched}


Labelled = tuple[Tensor, Tensor]
"""Images (N, H, W) of uint8 and labels (N,)."""


@dataclass(frozen=True)
class Digits:
    """A set of digits, both splits."""

    train: Labelled
    test: Labelled

    @classmethod
    def load(cls, path: Path, geometry: str) -> "Digits":
        with np.load(path) as arrays:
            train, test = (
                (GEOMETRIES[geometry](arrays[f"x_{split}"]), torch.from_numpy(arrays[f"y_{split}"].astype(np.int64)))
                for split in ("train", "test")
            )
        return cls(train, test)


def _parts(images: NDArray[np.uint8]) -> list[NDArray[Any]]:
    return np.array_split(images, max(1, len(images) // 1000))


def _matched(images: Tensor) -> Tensor:
    n, height, width = images.shape
    ink = images >= INK
    rows, columns = ink.any(2), ink.any(1)
    longer = torch.maximum(_extent(rows), _extent(columns))
    mass = images.sum((1, 2))
    y = (images.sum(2) * (torch.arange(height) + 0.5)).sum(1) / mass
    x = (images.sum(1) * (torch.arange(width) + 0.5)).sum(1) / mass
    scale = longer / BOX  # px of the original for one of the result
    # affine_grid goes from the result's [-1, 1] to the original's
    grid = torch.zeros(n, 2, 3)
    grid[:, 0, 0], grid[:, 0, 2] = scale * SIZE / width, 2 * x / width - 1
    grid[:, 1, 1], grid[:, 1, 2] = scale * SIZE / height, 2 * y / height - 1
    places = F.affine_grid(grid, [n, 1, SIZE, SIZE], align_corners=False)
    return _stored(F.grid_sample(images[:, None], places, mode="bicubic", align_corners=False))


def _extent(lines: Tensor) -> Tensor:
    """From the first line with ink to the last, (N, lines) to (N,)."""
    first, last = lines.float().argmax(1), lines.float().flip(1).argmax(1)
    return (lines.shape[1] - first - last).float()


def _stored(images: Tensor) -> Tensor:
    return images[:, 0].round().clamp(0, 255).byte()


def affine(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned, scaled, sheared and moved at random.

    Up to 15 degrees, 16 % in each direction, a shear of 0.3 and 8 % of half the image.

    Shape: (N, 1, H, W) in [-1, 1] to the same; -1 outside.
    """
    angle, wide, high, shear, x, y = (torch.rand(6, len(images), generator=generator) * 2 - 1) * torch.tensor(
        [math.radians(15), 0.15, 0.15, 0.3, 0.08, 0.08]
    )[:, None]
    wide, high, c, s = wide.exp(), high.exp(), angle.cos(), angle.sin()
    across = torch.stack([wide * c, wide * c * shear - high * s, x], 1)
    down = torch.stack([wide * s, wide * s * shear + high * c, y], 1)
    places = F.affine_grid(torch.stack([across, down], 1), list(images.shape), align_corners=False)
    return F.grid_sample(images + 1, places, align_corners=False) - 1
