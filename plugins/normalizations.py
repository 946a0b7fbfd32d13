"""Normalizations beside instance normalization: batch, its forms, group, layer, pixel and none."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch import distributed as dist

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.losses import at_least_float32
from i2i.reference.normalization import instance_norm


class BatchNorm(nn.BatchNorm2d):
    """Each channel of the whole batch to mean 0 and variance 1, with weights and running statistics.

    Ioffe and Szegedy 2015, algorithm 1, with epsilon 1e-5 and momentum 0.1; translators use the running statistics
    (algorithm 2). With one image per batch, training sees what instance normalization would give.

    Shape: (N, channels, H, W) to the same; N x H x W must exceed 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch normalization over the batches of all processes together.

    As `batch`, and the same in one process; in several, each sees the statistics of the whole batch, so that what is
    learnt does not depend on their number. On any device, unlike torch's module of this name, which is for GPUs alone.

    Shape: (N, channels, H, W), the same in every process, to the same.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return super().forward(input)
        (x,) = at_least_float32(input)
        mean: Tensor = MeanOfProcesses.apply(x.mean((0, 2, 3), keepdim=True))
        variance: Tensor = MeanOfProcesses.apply((x - mean).square().mean((0, 2, 3), keepdim=True))
        n = dist.get_world_size() * x.numel() // x.shape[1]
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(variance.flatten() * n / (n - 1), self.momentum)
        weight, bias = (parameter.reshape(1, -1, 1, 1) for parameter in (self.weight, self.bias))
        return (((x - mean) * (variance + self.eps).rsqrt()) * weight + bias).to(input)


class MeanOfProcesses(torch.autograd.Function):
    """The mean of a tensor over all processes; so is its gradient, since each one's part is in everyone's mean."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        mean: Tensor = MeanOfProcesses.apply(gradient)
        return mean


class AffineInstanceNorm(nn.InstanceNorm2d):
    """Each channel of each image to mean 0 and variance 1, with weights.

    Ulyanov et al. 2016, equation 4, with epsilon 1e-5, then a scale and a shift for each channel.

    Shape: (N, channels, H, W) to the same; H x W must exceed 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, images: Tensor) -> Tensor:
        return instance_norm(images, self.weight, self.bias, eps=self.eps)


class PixelNorm(nn.Module):
    """Each pixel's vector of channels to a mean square of 1; no weights.

    Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", section 4.2, with
    epsilon 1e-8.

    Shape: (N, channels, H, W) to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, features: Tensor) -> Tensor:
        (x,) = at_least_float32(features)
        return (x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()).to(features)


class GroupNorm(nn.GroupNorm):
    """Each group of channels of each image to mean 0 and variance 1, with weights.

    Wu and He 2018, equations 1 and 7, with epsilon 1e-5.

    Args:
        channels: to normalize.
        groups: how many groups the channels form; 32 in the paper. Raises ValueError if it does not divide `channels`.

    Shape: (N, channels, H, W) to the same.
    """

    def __init__(self, channels: int, *, groups: Annotated[int, Ge(1)] = 32) -> None:
        if channels % groups:
            raise ValueError(f"{channels} channels do not form {groups} equal groups; choose a divisor of {channels}")
        super().__init__(groups, channels)


class LayerNorm(nn.GroupNorm):
    """All channels of each image together to mean 0 and variance 1, with weights for each channel.

    Ba et al. 2016, equation 3, with epsilon 1e-5. The statistics are taken over C, H and W; the paper says that this
    suits convolutions less well (section 6.7).

    Shape: (N, channels, H, W) to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)


class NoNormalization(nn.Identity):
    """No normalization: images pass unchanged.

    Shape: any to the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()


@hookimpl
def register_normalizations() -> Factories:
    return {
        "batch": BatchNorm,
        "sync_batch": SyncBatchNorm,
        "instance_affine": AffineInstanceNorm,
        "pixel": PixelNorm,
        "group": GroupNorm,
        "layer": LayerNorm,
        "none": NoNormalization,
    }
