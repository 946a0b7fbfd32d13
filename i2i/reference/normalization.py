"""The normalization of CycleGAN."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class InstanceNorm(nn.InstanceNorm2d):
    """Each channel of each image to mean 0 and variance 1; no weights, no running statistics.

    Ulyanov et al. 2016, equation 4, with epsilon 1e-5; affine off, as in the authors' code.

    Shape: (N, channels, H, W) to the same; H x W must exceed 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, images: Tensor) -> Tensor:
        return instance_norm(images, eps=self.eps)


def instance_norm(
    images: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *, eps: float = 1e-5
) -> Tensor:
    """Each channel of each image to mean 0 and variance 1, then times `weight` plus `bias` (C,) if given.

    The bits are those of `torch.nn.functional.instance_norm` on images. That one has a wrong gradient on a CPU, in
    torch 2.14, for a single image whose gradient lies channels last in memory, as it does behind a permutation; with
    rows and columns as one axis it is right.

    Shape: (N, C, H, W) to the same.
    """
    return F.instance_norm(images.flatten(2), weight=weight, bias=bias, eps=eps).reshape(images.shape)
