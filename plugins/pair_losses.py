"""Pair losses beside L1 that look at one pixel, or at neighbours: powers, Charbonnier, total variation."""

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
        apart = distance != 0
        # autograd would give 0 x inf = NaN at a distance of 0 for p < 1
        return (torch.where(apart, distance, 1.0).pow(self.p) * apart).mean()


class Charbonnier:
    """Mean of sqrt(d² + eps²): L1 with its corner rounded off.

    Charbonnier et al. 1994; with eps 1e-3 as in Lai et al. 2017, arXiv 1704.03915, section 3.2. It is eps where the
    tensors are equal.

    Args:
        eps: the difference below which it is more like L2, in units of the images, which span [-1, 1].

    Shape: two tensors of one shape, compared in float32 or wider, to a scalar.
    """

    def __init__(self, *, eps: Annotated[float, Gt(0)] = 1e-3) -> None:
        self.eps = eps

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = at_least_float32(prediction, target)
        return ((prediction - target).square() + self.eps**2).sqrt().mean()


class TotalVariation:
    """How much neighbouring pixels of the prediction differ; the target is not looked at.

    After Rudin et al. 1992, in the anisotropic form: the mean absolute difference of pixels above each other plus that
    of pixels beside each other.

    Shape: two tensors (N, C, H, W), the first of which is measured in float32 or wider, to a scalar.
    """

    least_at_equality = False

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        (image,) = at_least_float32(prediction)
        return image.diff(dim=-2).abs().mean() + image.diff(dim=-1).abs().mean()


@hookimpl
def register_losses() -> Factories:
    return {"l2": L2, "lp": Lp, "charbonnier": Charbonnier, "total_variation": TotalVariation}
