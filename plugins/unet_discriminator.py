"""A discriminator that judges the whole image and each pixel of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.init import Normal
from i2i.slots import Initialization


class UnetDiscriminator(nn.Module):
    """A U-Net of residual blocks: one score for the whole image, and one for each pixel.

    Schönfeld et al. 2020, "A U-Net Based Discriminator for Generative Adversarial Networks", arXiv 2002.12655, section
    3.1: BigGAN's blocks without normalization, halvings by average pooling, doublings by nearest
    neighbour, skips concatenated. The paper normalizes all weights spectrally (`spectral` around this one does) and
    sums the losses of both scores; adversarial losses take their mean.

    Args:
        in_channels: of the images.
        base_channels: of the first block, twice as many after each halving, up to 8 times, and 16 times at the last.
        n_layers: halvings; 5 in the paper for 128 px, 6 for 256 px.
        initialization: of all weights.

    Shape: (N, in_channels, H, W) to a list of (N, 1, 1, 1) and (N, 1, H, W) logits, for any H and W.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        base_channels: Annotated[int, Ge(1)] = 64,
        n_layers: Annotated[int, Ge(1)] = 5,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        widths = [base_channels * min(2**i, 16 if i == n_layers - 1 else 8) for i in range(n_layers)]
        outputs = [*reversed(widths[:-1]), base_channels]
        inputs = [widths[-1], *(2 * n for n in outputs[:-1])]  # maps from below, and beside them those of the level
        self.first = Residual(in_channels, base_channels, nn.Identity())  # an image's sign is not to be lost
        self.down = nn.ModuleList(Residual(*n, nn.ReLU()) for n in pairwise(widths))
        self.up = nn.ModuleList(Residual(*n, nn.ReLU()) for n in zip(inputs, outputs, strict=True))
        self.image_logit = nn.Conv2d(widths[-1], 1, 1)
        self.pixel_logits = nn.Conv2d(base_channels, 1, 1)
        initialization()(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        levels = [_half(self.first(images))]
        for block in self.down:
            levels.append(_half(block(levels[-1])))
        maps = levels.pop()
        image_logit = self.image_logit(maps.relu().sum((2, 3), keepdim=True))
        for block in self.up:
            size = (levels[-1] if levels else images).shape[-2:]
            maps = block(F.interpolate(maps, size=size))
            maps = torch.cat([maps, levels.pop()], 1) if levels else maps
        return [image_logit, self.pixel_logits(maps)]


class Residual(nn.Module):
    """Two 3x3 convolutions beside a 1x1 convolution (Brock et al. 2019, appendix B), without a change of size.

    Averaging its output halves both branches, enlarging its input doubles both, as the paper's blocks do.
    """

    def __init__(self, n_in: int, n_out: int, activation: nn.Module) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            activation, nn.Conv2d(n_in, n_out, 3, 1, 1), nn.ReLU(), nn.Conv2d(n_out, n_out, 3, 1, 1)
        )
        self.shortcut = nn.Conv2d(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.residual(x) + self.shortcut(x)
        return out


def _half(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, 2, ceil_mode=True)


@hookimpl
def register_discriminators() -> Factories:
    return {"unet_discriminator": UnetDiscriminator}
