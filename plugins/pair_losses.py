"""Pair losses beside L1: mean squared difference, and any power of the difference."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor
from torch.nn import functional as F

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.losses import at_least_float32


class L2:
    """Mean squared difference.

    Blurs more than L1 (Isola et al. 2017, section 3.1).

    Shape: two tensors of one shape, compared in float32 or wider, to a scalar.
    """

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = at_least_float32(prediction, target)
        return F.mse_loss(prediction, target)


class Lp:
    """Mean of |difference|^p.

    p = 1 is `l1`, p = 2 is `l2`. Below 1 the slope p |d|^(p-1) grows without bound as d goes to 0; where the tensors
    are equal the gradient is zero for every p.

    Args:
        p: the exponent; without the p-th root.

    Shape: two tensors of one shape, compared in float32 or wider, to a scalar.
    """

    def __init__(self, *, p: Annotated[float, Gt(0)] = 1.5) -> None:
        self.p = p

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = at_least_float32(prediction, target)
        distance = (prediction - target).abs()
        apart = distance > 0
        # autograd would give 0 x inf = NaN at a distance of 0 for p < 1
        return (torch.where(apart, distance, 1.0).pow(self.p) * apart).mean()


@hookimpl
def register_losses() -> Factories:
    return {"l2": L2, "lp": Lp}
