"""The ResNet generator with depthwise separable blocks, of GAN Compression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, Lt
from torch import Tensor, nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.init import Normal
from i2i.reference.normalization import InstanceNorm
from i2i.reference.resnet import Upsample, channels_of, needs_bias, outputs_of, resnet_layers
from i2i.slots import Initialization, Normalization


class SeparableConv(nn.Module):
    """A 3x3 convolution of each channel alone, a norm, and a 1x1 convolution across channels.

    Howard et al. 2017, section 3.1, without a ReLU in between, as in the authors' code of GAN Compression. That code
    has instance normalization here even where batch normalization is chosen; here it is the chosen one.

    Shape: (N, C, H, W) to (N, C, H - 2, W - 2).
    """

    def __init__(self, channels: int, norm: Normalization) -> None:
        super().__init__()
        normalize = norm(channels)
        bias = needs_bias(normalize)
        self.conv = nn.Sequential(
            nn.Conv2d(channels, channels, 3, groups=channels, bias=bias), normalize,
            nn.Conv2d(channels, channels, 1, bias=bias),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class MobileBlock(nn.Module):
    """x + (pad, separable convolution, norm, ReLU, dropout, pad, separable convolution, norm)(x), by reflection."""

    def __init__(self, channels: int, norm: Normalization, dropout: float) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), SeparableConv(channels, norm), norm(channels), nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.ReflectionPad2d(1), SeparableConv(channels, norm), norm(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv_block(x)
        return out


class MobileResnet(nn.Module):
    """ResNet generator with depthwise separable residual blocks: a sixth of the weights of `resnet`.

    Li et al. 2020, "GAN Compression: Efficient Architectures for Interactive Conditional GANs", arXiv 2003.08936,
    section 3.2: only the blocks are separated, since halvings and doublings get worse by it. Weights have the names of
    the authors' code (`model.1.weight`, `model.10.conv_block.1.conv.0.weight`, …) with the default upsampling.

    Args:
        in_channels, out_channels: of the images.
        base_channels: of the first layer.
        n_blocks: residual blocks.
        norm: after every convolution but the last, and between both parts of a separable one.
        dropout: probability inside the blocks, in training.
        upsample: as in `resnet`; the others than `transposed` leave no checkerboard.
        initialization: of all weights.

    Shape: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in (-1, 1); H and W are multiples of
        `size_multiple` and at least 8.
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
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        upsample: Upsample = "transposed",
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        blocks = (MobileBlock(4 * base_channels, norm, dropout) for _ in range(n_blocks))
        self.model = resnet_layers(in_channels, out_channels, base_channels, blocks, norm, upsample)
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model(images)
        return out

    def encode(self, images: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """The outputs of these layers of `model` (see `i2i.slots.Encodes`)."""
        return outputs_of(self.model, images, taps)

    def feature_channels(self, taps: Sequence[int]) -> list[int]:
        """Their channels. Raises ValueError for a tap that is no layer."""
        return channels_of(self.model, taps)


@hookimpl
def register_generators() -> Factories:
    return {"mobile_resnet": MobileResnet}
