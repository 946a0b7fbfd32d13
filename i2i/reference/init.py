"""The initialization of CycleGAN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import is_parametrized


class Normal:
    """Weights from N(0, std²), biases zero (Zhu et al. 2017, appendix 7.1: std 0.02).

    Weights of affine normalizations are drawn from N(1, std²), as in the authors' code for batch normalization.
    """

    def __init__(self, *, std: Annotated[float, Gt(0)] = 0.02) -> None:
        self.std = std

    def __call__(self, module: nn.Module) -> None:
        initialize(module, lambda weight: nn.init.normal_(weight, 0.0, self.std), self.std)


def initialize(module: nn.Module, fill: Callable[[Tensor], object], norm_std: float) -> None:
    """Fills the weights of all convolutions and linear layers, zeroes biases, and draws norm weights from N(1, std²).

    Args:
        module: changed in place, with everything inside it.
        fill: fills a weight in place; of a parametrized one (spectral normalization, say) what it is computed from.
        norm_std: standard deviation of the weights of affine normalizations; anything else, such as the slope of a
            PReLU, is left alone.
    """
    for layer in module.modules():
        weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
        if isinstance(layer, (_ConvNd, nn.Linear)):
            if is_parametrized(layer, "weight"):  # computed at each access, so what it is computed from has to change
                filled = torch.empty_like(layer.weight)
                fill(filled)
                layer.weight = filled
            else:
                fill(layer.weight)
        elif isinstance(weight, nn.Parameter) and weight.dim() == 1 and isinstance(bias, nn.Parameter):
            nn.init.normal_(weight, 1.0, norm_std)
        else:
            continue
        if bias is not None:
            nn.init.zeros_(bias)
