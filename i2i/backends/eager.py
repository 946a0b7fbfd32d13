"""torch as it stands."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from i2i.backends.contract import Compute, ComputedIn

_ROUNDED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def prepare(module: nn.Module, example: Tensor, precision: ComputedIn) -> Compute:
    """In bf16: convolutions and matrix products under autocast, as in training; statistics are of float32."""
    if precision == "fp32":
        return module
    # Weights are rounded once: autocast would do it in each pass, a twentieth of the time of a ResNet. Those that are
    # computed out of others (spectral normalization) are left to it, and are so in float32.
    light = deepcopy(module)
    for part in light.modules():
        if isinstance(part, _ROUNDED) and not torch.nn.utils.parametrize.is_parametrized(part):
            part.to(torch.bfloat16)

    def compute(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            out: Tensor = light(images)
        return out

    return compute
