"""A U-Net whose encoder is a network of timm."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from i2i.reference.init import Normal
from i2i.reference.normalization import InstanceNorm
from i2i.reference.resnet import needs_bias
from i2i.slots import Initialization, Normalization
from i2i_plugins.timm_features.backbone import MODEL, Backbone, Layers, Weights


class TimmUnet(nn.Module):
    """U-Net with any network of timm as its encoder, which learns too; enlarges by nearest neighbour.

    The U-Net of Ronneberger et al. 2015, arXiv 1505.04597, section 2, with another contracting path: at each level the
    maps from below are enlarged to its size, the encoder's are put beside them, and a 3x3 convolution follows.

    Args:
        in_channels, out_channels: of the images.
        model: of timm, see `timm.list_models()`; of those that take images of any size. Normalizations are its own.
        layers: its levels; 0 has the largest maps.
        weights: `random`; `package` (comes with i2i) or `timm` (downloads) for colour and grey images; or
            a .safetensors file.
        base_channels: of the decoder's last layer, twice as many at each level below, up to 8 times.
        norm: of the decoder.
        initialization: of the decoder.

    Shape: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in (-1, 1); H and W are multiples of
        `size_multiple`, the reduction of the last level.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        model: str = MODEL,
        layers: Layers = (0, 1, 2, 3),
        weights: Weights = "random",
        base_channels: Annotated[int, Ge(1)] = 32,
        norm: Normalization = InstanceNorm,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        self.encoder = Backbone(in_channels, model, layers, weights)
        self.size_multiple = self.encoder.reductions[-1]
        *skips, below = self.encoder.channels
        decoder = []
        for i, skip in reversed([*enumerate([in_channels, *skips])]):
            width = base_channels * min(2**i, 8)
            normalize = norm(width)
            convolution = nn.Conv2d(below + skip, width, 3, 1, 1, bias=needs_bias(normalize))
            decoder.append(nn.Sequential(convolution, normalize, nn.ReLU(inplace=True)))
            below = width
        self.decoder = nn.ModuleList(decoder)
        self.to_image = nn.Conv2d(below, out_channels, 3, 1, 1)
        for module in (self.decoder, self.to_image):
            initialization()(module)

    def forward(self, images: Tensor) -> Tensor:
        levels: list[Tensor] = [images, *self.encoder(images)]
        maps = levels.pop()
        for layer, skip in zip(self.decoder, reversed(levels), strict=True):
            maps = layer(torch.cat([F.interpolate(maps, size=skip.shape[-2:]), skip], 1))
        out: Tensor = self.to_image(maps).tanh()
        return out
