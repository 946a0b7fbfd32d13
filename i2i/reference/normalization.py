"""The normalization of CycleGAN."""

from torch import nn


class InstanceNorm(nn.InstanceNorm2d):
    """Each channel of each image to mean 0 and variance 1; no weights, no running statistics.

    Ulyanov et al. 2016, equation 4, with epsilon 1e-5; affine off, as in the authors' code.

    Shape: (N, channels, H, W) to the same; H x W must exceed 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
