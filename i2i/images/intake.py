"""How a picture becomes the channels and values of a domain: in training and in translation alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from i2i.images.picture import Picture, Pixels
from i2i.images.profiles import to_srgb
from i2i.images.values import Range


@dataclass(frozen=True, slots=True)
class Intake:
    """What a domain takes.

    Args:
        channels: of each image.
        range: the values that become -1 and 1; None: those that the picture's own type reaches from end to end.
        background: 8-bit RGB, on which transparent images are put.
        srgb: colours are converted to sRGB where a profile says that they are others.
    """

    channels: int = 3
    range: Range | None = None
    background: tuple[int, int, int] = (255, 255, 255)
    srgb: bool = True

    def pixels(self, picture: Picture) -> Pixels:
        """(H, W, channels), in the picture's own type and values. Raises ValueError for another number of channels."""
        picture = to_srgb(picture) if self.srgb else picture
        return picture.with_channels(self.channels, self.background).pixels

    def range_of(self, pixels: Pixels) -> Range:
        """The values that become -1 and 1. Raises ValueError for floats without a range of the domain."""
        return self.range or Range.of(pixels.dtype)

    def unit(self, picture: Picture) -> NDArray[np.float32]:
        """(channels, H, W) in [-1, 1]. Raises ValueError for what cannot be brought there."""
        pixels = self.pixels(picture)
        return np.ascontiguousarray(self.range_of(pixels).to_unit(pixels).transpose(2, 0, 1))
