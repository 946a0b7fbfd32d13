"""torch as it stands."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from i2i.backends.contract import Compute, ComputedIn

_ROUNDED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_FORWARDS = [kind.forward for kind in _ROUNDED]


def prepare(module: nn.Module, example: Tensor, precision: ComputedIn) -> Compute:
    """In bf16: convolutions and matrix products under autocast, as in training; statistics are of float32."""
    if precision == "fp32":
        return module
    # Weights are rounded once: autocast would do it in each pass, a twentieth of the time of a ResNet. Those that are
    # computed out of others (spectral normalization), or computed with, are left to it, and are so in float32.
    try:
        light = deepcopy(module)
    except RuntimeError:  # torch.nn.utils.weight_norm keeps a weight with its gradient's graph, which nothing copies
        light = module
    else:
        for part in filter(_is_plain, light.modules()):
            part.to(torch.bfloat16)

    def compute(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            out: Tensor = light(images)
        return out

    return compute


def _is_plain(part: nn.Module) -> bool:
    """Whether a layer's weights only go into torch's own convolution or matrix product."""
    computed = torch.nn.utils.parametrize.is_parametrized(part) or part._forward_pre_hooks
    return isinstance(part, _ROUNDED) and type(part).forward in _FORWARDS and not computed
