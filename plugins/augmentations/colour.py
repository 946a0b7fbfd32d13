"""Random brightness, contrast, saturation and hue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

Spread = Annotated[float, Ge(0)]


class ColourJitter:
    """Changes brightness, contrast, saturation and hue, in random order.

    The factors lie between 1 - x and 1 + x, and not below 0, where x is the option. What leaves the range of values
    after a change is cut off. Only images of three channels have a saturation and a hue; of others they stay.

    Args:
        brightness: x for all values.
        contrast: x for their distances to the mean grey of the image.
        saturation: x for their distances to the grey of their pixel.
        hue: largest turn of all hues to either side, where 1 is a full turn.
    """

    def __init__(
        self,
        *,
        brightness: Spread = 0.2,
        contrast: Spread = 0.2,
        saturation: Spread = 0.2,
        hue: Annotated[float, Ge(0), Le(0.5)] = 0.0,
    ) -> None:
        factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        ranges = {name: (max(0.0, 1 - x), 1 + x) for name, x in factors.items()} | {"hue": (-hue, hue)}
        self.ranges = {name: ends for name, ends in ranges.items() if ends[0] < ends[1]}

    def draw(self, rng: np.random.Generator) -> list[tuple[str, float]]:
        """Changes and their amounts, in their order."""
        return [(str(name), rng.uniform(*self.ranges[name])) for name in rng.permutation(list(self.ranges))]

    def image(self, pixels: Tensor, drawn: Sequence[tuple[str, float]]) -> Tensor:
        changes = CHANGES if pixels.shape[0] == 3 else CHANGES_OF_BANDS
        image = pixels / 255 if pixels.dtype == torch.uint8 else pixels
        for name, amount in drawn:
            if name in changes:
                image = changes[name](image, amount)
        if pixels.dtype == torch.uint8:  # by way of int16: torch is four times as slow in one step
            return (image * 255).round_().to(torch.int16).to(torch.uint8)
        return image

    def mask(self, mask: Tensor, drawn: Sequence[tuple[str, float]]) -> Tensor:
        return mask


def brightness(image: Tensor, factor: float) -> Tensor:
    """(C, H, W) in [0, 1] to the same, as all of these."""
    return (image * factor).clamp_(0, 1)


def contrast(image: Tensor, factor: float) -> Tensor:
    mean = grey(image).mean(dtype=torch.float64)  # so that the order in which threads add does not show
    return _spread(image, mean.to(image.dtype), factor)


def saturation(image: Tensor, factor: float) -> Tensor:
    return _spread(image, grey(image), factor)


def hue(image: Tensor, turn: float) -> Tensor:
    """All hues turned; value and saturation (HSV) stay."""
    red, green, blue = image
    value, least = image.amax(0), image.amin(0)
    chroma = value - least
    from_blue = torch.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma)
    sixths = torch.where(value == red, green - blue, from_blue) / chroma.clamp(min=1e-9)
    sixths = (sixths + 6 * turn).remainder_(6)  # 0 is red, 2 green, 4 blue
    parts = torch.stack([(sixths - 3).abs() - 1, 2 - (sixths - 2).abs(), 2 - (sixths - 4).abs()])
    return parts.clamp_(0, 1).mul_(chroma).add_(least)


def grey(image: Tensor) -> Tensor:
    """(1, H, W): of three channels by ITU-R 601, else their mean."""
    if image.shape[0] != 3:
        return image.mean(0, keepdim=True)
    red, green, blue = image[:, None]
    luma: Tensor = (red * 0.299).add_(green * 0.587).add_(blue * 0.114)
    return luma


def _spread(image: Tensor, centre: Tensor, factor: float) -> Tensor:
    return (image - centre).mul_(factor).add_(centre).clamp_(0, 1)


CHANGES_OF_BANDS = {"brightness": brightness, "contrast": contrast}
CHANGES = {**CHANGES_OF_BANDS, "saturation": saturation, "hue": hue}
