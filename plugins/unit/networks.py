"""The encoder and the decoder of UNIT: convolutions at the side of the image, residual blocks at that of the code."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from i2i.reference.init import Normal
from i2i.reference.normalization import InstanceNorm
from i2i.reference.resnet import ResidualBlock
from i2i.slots import Initialization, Normalization

Channels = Annotated[int, Ge(1)]
Blocks = Annotated[int, Ge(0)]


class UNITEncoder(nn.Module):
    """From images to the means of their codes, of a quarter of their size: convolutions, residual blocks.

    Liu et al. 2017, section 4 and the table of networks in the appendix; LeakyReLU(0.01), and a normalization in the
    residual blocks alone, as in the authors' code. The blocks are those of `resnet` and pad by reflection.

    Args:
        in_channels: of the images.
        out_channels: of the code.
        base_channels: of the first layer; the second has twice as many.
        n_blocks: residual blocks; 4 in the paper.
        norm: in the residual blocks.
        initialization: of all weights.

    Shape: (N, in_channels, H, W) to (N, out_channels, H/4, W/4); H and W are multiples of `size_multiple`.
    """

    size_multiple = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        base_channels: Channels = 64,
        n_blocks: Blocks = 4,
        norm: Normalization = InstanceNorm,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        c = base_channels
        self.layers = nn.Sequential(
            nn.Sequential(nn.Conv2d(in_channels, c, 7, 1, 3), nn.LeakyReLU(inplace=True)),
            nn.Sequential(nn.Conv2d(c, 2 * c, 3, 2, 1), nn.LeakyReLU(inplace=True)),
            nn.Sequential(nn.Conv2d(2 * c, out_channels, 3, 2, 1), nn.LeakyReLU(inplace=True)),
            *(ResidualBlock(out_channels, norm) for _ in range(n_blocks)),
        )
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        mean: Tensor = self.layers(images)
        return mean


class UNITDecoder(nn.Module):
    """From codes to images of four times their size: residual blocks, transposed convolutions.

    Liu et al. 2017, section 4 and the table of networks in the appendix: the encoder turned around, with tanh at the
    end. The widths are those of the authors' code.

    Args:
        in_channels: of the code.
        out_channels: of the images.
        base_channels: of the last layer before the image; the one before it has twice as many.
        n_blocks: residual blocks; 4 in the paper.
        norm: in the residual blocks.
        initialization: of all weights.

    Shape: (N, in_channels, H, W) to (N, out_channels, 4 H, 4 W) in (-1, 1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        base_channels: Channels = 64,
        n_blocks: Blocks = 4,
        norm: Normalization = InstanceNorm,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        c = base_channels
        self.layers = nn.Sequential(
            *(ResidualBlock(in_channels, norm) for _ in range(n_blocks)),
            nn.Sequential(nn.ConvTranspose2d(in_channels, 2 * c, 3, 2, 1, 1), nn.LeakyReLU(inplace=True)),
            nn.Sequential(nn.ConvTranspose2d(2 * c, c, 3, 2, 1, 1), nn.LeakyReLU(inplace=True)),
            nn.Sequential(nn.ConvTranspose2d(c, out_channels, 1), nn.Tanh()),
        )
        initialization()(self)

    def forward(self, code: Tensor) -> Tensor:
        images: Tensor = self.layers(code)
        return images
