"""The U-Net generator of pix2pix, and its batch normalization by the images at hand."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.init import Normal
from i2i.reference.resnet import needs_bias
from i2i.slots import Initialization, Normalization


class CurrentBatchNorm(nn.BatchNorm2d):
    """Batch normalization by the images at hand, in evaluation as in training.

    Isola et al. 2017, section 3.3: the statistics of the test batch, and not those gathered over the training images,
    which are kept and left alone. With one image this is instance normalization with weights. The weights are those
    of `batch`, by the same names.

    Shape: (N, channels, H, W) to the same; N x H x W must exceed 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(x)  # which gathers the statistics
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)


class CurrentDropout(nn.Dropout):
    """Dropout in evaluation as in training."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=True)


class Level(nn.Module):
    """x, and what deeper levels make of it: (N, C, H, W) to (N, 2C, H, W)."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        # In the authors' code the LeakyReLU that comes first inside works in place, so x is concatenated after it. The
        # outputs and gradients are these all the same: a ReLU follows, and ReLU(LeakyReLU(x)) = ReLU(x).
        return torch.cat([x, self.model(x)], 1)


class UNet(nn.Module):
    """U-Net generator: halvings down to one pixel, doublings back, and each level handed across.

    Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", arXiv 1611.07004, section
    3.2.1 and appendix 6.1.1: 4x4 convolutions of stride 2, LeakyReLU(0.2) on the way down and ReLU on the way up,
    widths that double up to eight times the first; no norm in the outermost level, nor at the innermost map of 1x1.
    Weights have the names of the authors' code (`model.model.0.weight`, `model.model.1.model.1.weight`, …).

    Args:
        in_channels, out_channels: of the images.
        base_channels: of the first level.
        depth: how often the image is halved; 8 takes 256 px to 1 px.
        norm: of the inner levels. The default normalizes by the images at hand at inference too, as the paper does
            (section 3.3); `batch` uses statistics of the training images, `instance` each image's own.
        dropout: probability on the way up, in levels between maps of eight times the first width.
        dropout_at_inference: whether translations keep this noise (section 3.3).
        initialization: of all weights.

    Shape: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in (-1, 1); H and W are multiples of
        `size_multiple` = 2 ** depth.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        base_channels: Annotated[int, Ge(1)] = 64,
        depth: Annotated[int, Ge(2)] = 8,
        norm: Normalization = CurrentBatchNorm,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.5,
        dropout_at_inference: bool = True,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        self.size_multiple = 2**depth
        widths = [base_channels * min(2**level, 8) for level in range(depth)]
        bias = needs_bias(norm(base_channels))  # as in the authors' code one rule for all, also where no norm follows
        noise = CurrentDropout if dropout_at_inference else nn.Dropout
        inner: list[nn.Module] = []
        for level in reversed(range(1, depth)):
            outside, inside = widths[level - 1], widths[level]
            layers = [
                nn.LeakyReLU(0.2), nn.Conv2d(outside, inside, 4, 2, 1, bias=bias),
                *([norm(inside), *inner] if inner else []), nn.ReLU(inplace=True),
                nn.ConvTranspose2d(2 * inside if inner else inside, outside, 4, 2, 1, bias=bias), norm(outside),
            ]  # fmt: skip
            # The authors' code has it in these levels, three of them for 256 px; the paper one level further inside.
            if inner and outside == 8 * base_channels:
                layers.append(noise(dropout))
            inner = [Level(*layers)]
        outermost = nn.Sequential(
            nn.Conv2d(in_channels, base_channels, 4, 2, 1, bias=bias), *inner, nn.ReLU(inplace=True),
            nn.ConvTranspose2d(2 * base_channels, out_channels, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.model = nn.Sequential(OrderedDict(model=outermost))
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model(images)
        return out


@hookimpl
def register_generators() -> Factories:
    return {"unet": UNet}


@hookimpl
def register_normalizations() -> Factories:
    return {"current_batch": CurrentBatchNorm}
