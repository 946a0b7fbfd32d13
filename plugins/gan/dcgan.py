"""The networks of DCGAN: convolutions all the way from noise to an image, and from an image to one score."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from i2i.reference.init import Normal
from i2i.reference.resnet import needs_bias
from i2i.slots import Initialization, Normalization
from i2i_plugins.normalizations import BatchNorm

SMALLEST = 4
"""Side of the smallest maps, in px: noise becomes such maps, and the score is made of them."""

Size = Annotated[int, Ge(2 * SMALLEST)]
Channels = Annotated[int, Ge(1)]


class DCGANGenerator(nn.Module):
    """From noise to 4 x 4 maps, which transposed convolutions double until they are an image.

    Radford et al. 2016, section 3 and figure 1: batch normalization after every layer but the last, ReLU, and tanh at
    the end. Every doubling halves the channels: 1024 at 4 x 4 px, 128 at 32 x 32. Kernels of 4 px are those of the
    authors' Torch code.

    Args:
        in_channels: of the noise; 100 in the paper.
        out_channels: of the images.
        size: of the images, in px. Raises ValueError unless it is a power of two.
        base_channels: of the last layer before the image; 128 in the paper, 64 in the Torch code.
        norm: after every layer but the last.
        initialization: of all weights.

    Shape: (N, in_channels, 1, 1) to (N, out_channels, size, size) in (-1, 1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: Size = 64,
        base_channels: Channels = 128,
        norm: Normalization = BatchNorm,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        widths = _widths(size, base_channels)[::-1]
        self.layers = nn.Sequential(
            _up(in_channels, widths[0], norm, stride=1, padding=0),
            *(_up(wide, narrow, norm) for wide, narrow in pairwise(widths)),
            nn.Sequential(nn.ConvTranspose2d(base_channels, out_channels, 4, 2, 1), nn.Tanh()),
        )
        initialization()(self)

    def forward(self, noise: Tensor) -> Tensor:
        images: Tensor = self.layers(noise)
        return images


class DCGANDiscriminator(nn.Module):
    """One score for a whole image: convolutions halve it to 4 x 4 maps, and the last makes one of these.

    Radford et al. 2016, sections 3 and 4: batch normalization after every layer but the first and the last,
    LeakyReLU(0.2). Channels and kernels are those of the authors' Torch code.

    Args:
        in_channels: of the images.
        size: of the images that get a single score, in px. Raises ValueError unless it is a power of two.
        base_channels: of the first layer; every halving doubles them.
        norm: after every layer but the first and the last.
        initialization: of all weights.

    Shape: (N, in_channels, size, size) to (N, 1, 1, 1) logits; larger images get a map of them, smaller ones raise
        ValueError.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        size: Size = 64,
        base_channels: Channels = 64,
        norm: Normalization = BatchNorm,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        self.size = size
        widths = _widths(size, base_channels)
        self.layers = nn.Sequential(
            nn.Sequential(nn.Conv2d(in_channels, base_channels, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)),
            *(_down(narrow, wide, norm) for narrow, wide in pairwise(widths)),
            nn.Conv2d(widths[-1], 1, SMALLEST),
        )
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        if min(height, width) < self.size:
            raise ValueError(f"size = {self.size} takes images of at least {self.size} px, not of {height} x {width}")
        logits: Tensor = self.layers(images)
        return logits


def _widths(size: int, base_channels: int) -> list[int]:
    """Channels of the maps between images of `size` px and maps of 4, from the largest maps to the smallest."""
    n_halvings = (size // SMALLEST).bit_length() - 1
    if size != (below := SMALLEST * 2**n_halvings):
        raise ValueError(f"size is a power of two, such as {below} or {2 * below}, not {size}")
    return [base_channels * 2**i for i in range(n_halvings)]


# The authors' Theano code has kernels of 5 px; those of 4 cover every pixel equally often at a stride of 2.
def _up(n_in: int, n_out: int, norm: Normalization, stride: int = 2, padding: int = 1) -> nn.Module:
    normalize = norm(n_out)
    up = nn.ConvTranspose2d(n_in, n_out, 4, stride, padding, bias=needs_bias(normalize))
    return nn.Sequential(up, normalize, nn.ReLU(inplace=True))


def _down(n_in: int, n_out: int, norm: Normalization) -> nn.Module:
    normalize = norm(n_out)
    down = nn.Conv2d(n_in, n_out, 4, 2, 1, bias=needs_bias(normalize))
    return nn.Sequential(down, normalize, nn.LeakyReLU(0.2, inplace=True))
