"""Normalizations beside instance normalization: batch, group, layer and none."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import nn

from i2i import hookimpl
from i2i.hookspecs import Factories


class BatchNorm(nn.BatchNorm2d):
    """Each channel of the whole batch to mean 0 and variance 1, with weights and running statistics.

    Ioffe and Szegedy 2015, algorithm 1, with epsilon 1e-5 and momentum 0.1; translators use the running statistics
    (algorithm 2). With one image per batch, training sees what instance normalization would give.

    Shape: (N, channels, H, W) to the same; N x H x W must exceed 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)


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
    return {"batch": BatchNorm, "group": GroupNorm, "layer": LayerNorm, "none": NoNormalization}
