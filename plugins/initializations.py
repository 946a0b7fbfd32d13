"""Initializations beside the normal one: xavier, kaiming and orthogonal, as in the CycleGAN authors' code."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt
from torch import nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.init import initialize

Gain = Annotated[float, Gt(0)]

NORM_STD = 0.02
"""Spread of the weights of affine normalizations around 1; the authors' code has it for every initialization."""


class Xavier:
    """Weights from N(0, gain² · 2 / (fan_in + fan_out)), biases zero (Glorot and Bengio 2010).

    Args:
        gain: 0.02 in the authors' code, which makes small weights; 1 keeps the paper's variance (equation 12).
    """

    def __init__(self, *, gain: Gain = 0.02) -> None:
        self.gain = gain

    def __call__(self, module: nn.Module) -> None:
        initialize(module, lambda weight: nn.init.xavier_normal_(weight, self.gain), NORM_STD)


class Kaiming:
    """Weights from N(0, 2 / fan_in), biases zero (He et al. 2015, equation 10).

    The fan is the one torch computes: input channels times kernel for a convolution, output channels times kernel for
    a transposed one.
    """

    def __call__(self, module: nn.Module) -> None:
        initialize(module, lambda weight: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"), NORM_STD)


class Orthogonal:
    """Weights as random orthogonal matrices times gain, biases zero (Saxe et al. 2014).

    A convolution's weight counts as a matrix of its first dimension by all others; its rows, or its columns if there
    are fewer, are orthogonal and of length gain.

    Args:
        gain: 0.02 in the authors' code, which makes small weights; 1 keeps lengths.
    """

    def __init__(self, *, gain: Gain = 0.02) -> None:
        self.gain = gain

    def __call__(self, module: nn.Module) -> None:
        initialize(module, lambda weight: nn.init.orthogonal_(weight, self.gain), NORM_STD)


@hookimpl
def register_initializations() -> Factories:
    return {"xavier": Xavier, "kaiming": Kaiming, "orthogonal": Orthogonal}
