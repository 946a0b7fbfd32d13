"""A U-Net that attends at its coarse scales."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from i2i.reference.init import Normal
from i2i.reference.normalization import InstanceNorm
from i2i.reference.resnet import conv_norm
from i2i.slots import Initialization, Normalization
from i2i_plugins.attention.transformer import Transformer


class Scale(nn.Module):
    """What is seen at one scale, joined with what coarser scales make of it.

    Args:
        look: from (N, C, H, W) to the same.
        coarser: from (N, C, H, W) to the same, by way of a smaller map.
        join: from (N, 2C, H, W) to (N, C, H, W).
    """

    def __init__(self, look: nn.Module, coarser: nn.Module, join: nn.Module) -> None:
        super().__init__()
        self.look, self.coarser, self.join = look, coarser, join

    def forward(self, x: Tensor) -> Tensor:
        x = self.look(x)
        out: Tensor = self.join(torch.cat([x, self.coarser(x)], 1))
        return out


class AttentionUNet(nn.Module):
    """U-Net generator with transformer blocks at its coarse scales.

    After Torbunov et al. 2022, "UVCGAN: UNet Vision Transformer cycle-consistent GAN for unpaired image-to-image
    translation", arXiv 2203.02557, section 3: a transformer over the pixels of a U-Net's coarsest map. Here the scale
    above it attends as well, on the way down and on the way up, as in Ho et al. 2020, appendix B. The blocks are
    timm's; maps are enlarged by nearest neighbour and a convolution, which leaves no checkerboard.

    Args:
        in_channels, out_channels: of the images.
        base_channels: of the finest scale; they double up to eight times.
        depth: how often the image is halved.
        n_attention_scales: coarsest scales that attend, of depth + 1; the time grows with the square of their pixels.
        n_blocks: transformer blocks wherever there is attention.
        n_heads: of attention.
        norm: after every convolution but the last.
        initialization: of all weights.

    Shape: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in (-1, 1); H and W are multiples of
        `size_multiple` = 2 ** depth, and twice as large at least. Raises ValueError for more attention than scales and
        for channels that n_heads or 4 do not divide.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        base_channels: Annotated[int, Ge(1)] = 32,
        depth: Annotated[int, Ge(1)] = 3,
        n_attention_scales: Annotated[int, Ge(1)] = 2,
        n_blocks: Annotated[int, Ge(1)] = 2,
        n_heads: Annotated[int, Ge(1)] = 4,
        norm: Normalization = InstanceNorm,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        if n_attention_scales > depth + 1:
            raise ValueError(f"{n_attention_scales} scales cannot attend; there are {depth + 1}, depth + 1")
        self.size_multiple = 2**depth
        widths = [base_channels * min(2**scale, 8) for scale in range(depth + 1)]

        def seen(n_in: int, scale: int) -> nn.Sequential:
            layers = [*conv_norm(n_in, widths[scale], norm, 3, padding=1), nn.ReLU(inplace=True)]
            if scale > depth - n_attention_scales:
                layers.append(Transformer(widths[scale], n_blocks=n_blocks, n_heads=n_heads))
            return nn.Sequential(*layers)

        inside: nn.Module = seen(widths[depth], depth)
        for scale in reversed(range(depth)):
            fine, coarse = widths[scale], widths[scale + 1]
            coarser = nn.Sequential(
                *conv_norm(fine, coarse, norm, 4, stride=2, padding=1), nn.ReLU(inplace=True),
                inside,
                nn.Upsample(scale_factor=2), *conv_norm(coarse, fine, norm, 3, padding=1), nn.ReLU(inplace=True),
            )  # fmt: skip
            inside = Scale(seen(fine, scale), coarser, seen(2 * fine, scale))
        self.model = nn.Sequential(
            *conv_norm(in_channels, base_channels, norm, 3, padding=1), nn.ReLU(inplace=True),
            inside,
            nn.Conv2d(base_channels, out_channels, 3, padding=1), nn.Tanh(),
        )  # fmt: skip
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model(images)
        return out
