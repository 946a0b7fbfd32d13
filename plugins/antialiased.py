"""ResNet and PatchGAN that blur before they halve and after they double, as the authors of CUT build them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.init import Normal
from i2i.reference.normalization import InstanceNorm
from i2i.reference.resnet import ResidualBlock, channels_of, conv_norm, outputs_of
from i2i.reference.to_image import ToImage
from i2i.slots import Initialization, Normalization


class BlurDown(nn.Module):
    """Halves a map: each channel through [1, 2, 1] ⊗ [1, 2, 1] / 16, then every second pixel (Zhang 2019, section 3).

    Shape: (N, C, H, W) to (N, C, ⌈H/2⌉, ⌈W/2⌉), padded by reflection.
    """

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", _binomial(channels, 1, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=x.shape[1])


class BlurUp(nn.Module):
    """Doubles a map: zeros between the pixels, then each channel through [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 16.

    Each pixel becomes ¾ of the nearest and ¼ of the next one, along both axes.

    Shape: (N, C, H, W) to (N, C, 2H, 2W), padded by repeating the border.
    """

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", _binomial(channels, 1, 3, 3, 1, total=4))

    def forward(self, x: Tensor) -> Tensor:
        # A padding of 3 cuts off as much as the authors' padding of 2 and a border of 1 pixel that they drop.
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(padded, self.filt, stride=2, padding=3, groups=x.shape[1])


class AntialiasedResnet(nn.Module):
    """ResNet generator that blurs before it halves and after it doubles; the default of CUT's authors.

    Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", arXiv 2007.15651: the generator of
    their code, with the filters of Zhang 2019, "Making Convolutional Networks Shift-Invariant Again", arXiv 1904.11486.
    As `resnet`, but its strided convolutions have stride 1 and a blur that halves behind them, its transposed
    convolutions a blur that doubles before a convolution of stride 1. Weights and places of layers are those of the
    authors' code (`model.1.weight`, `model.7.filt`, `model.12.conv_block.1.weight`, …): CUT's taps are 0, 4, 8, 12, 16.

    Args:
        in_channels, out_channels: of the images.
        base_channels: of the first layer.
        n_blocks: residual blocks.
        norm: after every convolution but the last.
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
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        c = base_channels
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3), *conv_norm(in_channels, c, norm, 7), nn.ReLU(inplace=True),
            *conv_norm(c, 2 * c, norm, 3, padding=1), nn.ReLU(inplace=True), BlurDown(2 * c),
            *conv_norm(2 * c, 4 * c, norm, 3, padding=1), nn.ReLU(inplace=True), BlurDown(4 * c),
            *(ResidualBlock(4 * c, norm) for _ in range(n_blocks)),
            BlurUp(4 * c), *conv_norm(4 * c, 2 * c, norm, 3, padding=1), nn.ReLU(inplace=True),
            BlurUp(2 * c), *conv_norm(2 * c, c, norm, 3, padding=1), nn.ReLU(inplace=True),
            nn.ReflectionPad2d(3), ToImage(c, out_channels, 7), nn.Tanh(),
        )  # fmt: skip
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


class AntialiasedPatchGAN(nn.Module):
    """PatchGAN that blurs before it halves: a score sees 84 x 84 px with three layers.

    The default discriminator of the authors' code of CUT (Park et al. 2020): each 4x4 convolution that has stride 2 in
    `patchgan` has stride 1 and a blur that halves behind its LeakyReLU. Weights have the names of their code
    (`model.0.weight`, `model.2.filt`, …).

    Args:
        in_channels: of the images.
        base_channels: of the first layer.
        n_layers: that halve; a score sees 18, 40, 84, 172, 348 px for 1 to 5.
        norm: from the second layer on.
        initialization: of all weights.

    Shape: (N, in_channels, H, W) to (N, 1, H', W') logits; 30 x 30 for 256 px and three layers.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        base_channels: Annotated[int, Ge(1)] = 64,
        n_layers: Annotated[int, Ge(1)] = 3,
        norm: Normalization = InstanceNorm,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        channels = [base_channels * min(2**layer, 8) for layer in range(n_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, base_channels, 4, padding=1)]
        for narrow, wide in pairwise(channels):
            layers += [nn.LeakyReLU(0.2, inplace=True), BlurDown(narrow), *conv_norm(narrow, wide, norm, 4, padding=1)]
        last = nn.Conv2d(channels[-1], 1, 4, padding=1)
        self.model = nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True), last)
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits


def _binomial(channels: int, *row: float, total: float = 1.0) -> Tensor:
    """(channels, 1, n, n): a filter of this sum for each channel, the product of a row with itself."""
    one = torch.tensor([[total * x * y / sum(row) ** 2 for y in row] for x in row])
    return one.expand(channels, 1, -1, -1).contiguous()


@hookimpl
def register_generators() -> Factories:
    return {"resnet_antialiased": AntialiasedResnet}


@hookimpl
def register_discriminators() -> Factories:
    return {"patchgan_antialiased": AntialiasedPatchGAN}
