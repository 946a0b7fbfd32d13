"""A discriminator that judges each pixel alone."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.init import Normal
from i2i.reference.normalization import InstanceNorm
from i2i.reference.resnet import needs_bias
from i2i.slots import Initialization, Normalization


class PixelGAN(nn.Module):
    """C64-C128 of 1x1 convolutions: a score for each pixel, by its colour alone.

    Isola et al. 2017, appendix 6.1.2 (the 1 x 1 discriminator) and section 4.4: it makes colours livelier and does
    nothing for sharpness. Weights have the names of the authors' code (`net.0.weight`, …).

    Args:
        in_channels: of the images.
        base_channels: of the first layer; the second has twice as many.
        norm: in the second layer. A norm with statistics over the image lets a score see all pixels' averages.
        initialization: of all weights.

    Shape: (N, in_channels, H, W) to (N, 1, H, W) logits.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        base_channels: Annotated[int, Ge(1)] = 64,
        norm: Normalization = InstanceNorm,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        c = base_channels
        normalize = norm(2 * c)
        bias = needs_bias(normalize)
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, c, 1), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(c, 2 * c, 1, bias=bias), normalize, nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * c, 1, 1, bias=bias),  # without a bias after an affine norm, as in the authors' code
        )  # fmt: skip
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images)
        return logits


@hookimpl
def register_discriminators() -> Factories:
    return {"pixelgan": PixelGAN}
