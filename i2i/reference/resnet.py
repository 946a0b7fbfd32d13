"""The ResNet generator of CycleGAN."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from i2i.reference.init import Normal
from i2i.reference.normalization import InstanceNorm
from i2i.slots import Initialization, Normalization

Upsample = Literal["transposed", "nearest", "bilinear", "pixel_shuffle"]


def needs_bias(norm: nn.Module) -> bool:
    """Whether the convolution before `norm` keeps its bias: unless the norm has a shift of its own (affine).

    As in the authors' code for instance and batch normalization; the bias before an affine-free instance norm has a
    true gradient of zero, and is kept so that their weights load.
    """
    return next(norm.parameters(), None) is None


class ResidualBlock(nn.Module):
    """x + (pad, conv, norm, ReLU, pad, conv, norm)(x), by reflection (Zhu et al. 2017, appendix 7.2: `Rk`)."""

    def __init__(self, channels: int, norm: Normalization) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), *_conv(channels, channels, norm, 3), nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1), *_conv(channels, channels, norm, 3),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv_block(x)
        return out


class ResnetGenerator(nn.Module):
    """c7s1-64, d128, d256, R256 x n, u128, u64, c7s1-3 and tanh, padded by reflection.

    Zhu et al. 2017, appendix 7.2, after Johnson et al. 2016. Weights have the names of the authors' code
    (`model.1.weight`, `model.10.conv_block.1.weight`, …) with the default upsampling.

    Args:
        in_channels, out_channels: of the images.
        base_channels: of the first layer; 64 in the paper.
        n_blocks: residual blocks; 9 from 256 px on, 6 for 128 px.
        norm: after every convolution but the last.
        upsample: `transposed` convolution as in the paper; `nearest` or `bilinear` interpolation and a convolution,
            or `pixel_shuffle`, leave no checkerboard (Odena et al. 2016; Shi et al. 2016).
        initialization: of all weights.

    Shape: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in (-1, 1); H and W are multiples of
        `size_multiple` and at least 12.
    """

    size_multiple = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        base_channels: Annotated[int, Ge(1)] = 64,
        n_blocks: Annotated[int, Ge(0)] = 9,
        norm: Normalization = InstanceNorm,
        upsample: Upsample = "transposed",
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        c = base_channels
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3), *_conv(in_channels, c, norm, 7), nn.ReLU(inplace=True),
            *_conv(c, 2 * c, norm, 3, stride=2, padding=1), nn.ReLU(inplace=True),
            *_conv(2 * c, 4 * c, norm, 3, stride=2, padding=1), nn.ReLU(inplace=True),
            *(ResidualBlock(4 * c, norm) for _ in range(n_blocks)),
            *_up(4 * c, 2 * c, norm, upsample), nn.ReLU(inplace=True),
            *_up(2 * c, c, norm, upsample), nn.ReLU(inplace=True),
            nn.ReflectionPad2d(3), nn.Conv2d(c, out_channels, 7), nn.Tanh(),
        )  # fmt: skip
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model(images)
        return out


def _conv(n_in: int, n_out: int, norm: Normalization, size: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    normalize = norm(n_out)
    return [nn.Conv2d(n_in, n_out, size, stride, padding, bias=needs_bias(normalize)), normalize]


def _up(n_in: int, n_out: int, norm: Normalization, upsample: Upsample) -> list[nn.Module]:
    normalize = norm(n_out)
    bias = needs_bias(normalize)
    if upsample == "transposed":
        return [nn.ConvTranspose2d(n_in, n_out, 3, 2, 1, output_padding=1, bias=bias), normalize]
    if upsample == "pixel_shuffle":
        return [nn.ReflectionPad2d(1), nn.Conv2d(n_in, 4 * n_out, 3, bias=bias), nn.PixelShuffle(2), normalize]
    enlarge = nn.Upsample(scale_factor=2, mode=upsample)
    return [enlarge, nn.ReflectionPad2d(1), nn.Conv2d(n_in, n_out, 3, bias=bias), normalize]
