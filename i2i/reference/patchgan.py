"""The PatchGAN discriminator of pix2pix and CycleGAN."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from i2i.reference.init import Normal
from i2i.reference.normalization import InstanceNorm
from i2i.reference.resnet import needs_bias
from i2i.slots import Initialization, Normalization


class PatchGAN(nn.Module):
    """C64-C128-C256-C512 and a map of scores, each for one patch: 70 x 70 px with three layers.

    Zhu et al. 2017, appendix 7.2, and Isola et al. 2017, appendix 6.1.2: 4x4 convolutions, LeakyReLU(0.2), no norm in
    the first layer. Weights have the names of the authors' code (`model.0.weight`, …).

    Args:
        in_channels: of the images.
        base_channels: of the first layer.
        n_layers: with stride 2; a score sees 16, 34, 70, 142, 286 px for 1 to 5.
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
        layers: list[nn.Module] = [nn.Conv2d(in_channels, base_channels, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        channels = base_channels
        for layer in range(1, n_layers + 1):
            wider = base_channels * min(2**layer, 8)
            normalize = norm(wider)
            stride = 2 if layer < n_layers else 1
            layers += [
                nn.Conv2d(channels, wider, 4, stride, 1, bias=needs_bias(normalize)),
                normalize,
                nn.LeakyReLU(0.2, inplace=True),
            ]
            channels = wider
        self.model = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, 1, 1))
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits
