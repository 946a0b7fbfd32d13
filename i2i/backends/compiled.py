"""torch.compile, whose results are kept for the next command."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i.backends import eager
from i2i.backends.contract import Compute, ComputedIn
from i2i.compiling import fault


def prepare(module: nn.Module, example: Tensor, precision: ComputedIn) -> Compute:
    """Raises RuntimeError where nothing can be compiled."""
    if why := fault(example.device):
        raise RuntimeError(why)
    network = torch.compile(eager.prepare(module, example, precision))

    def compute(images: Tensor) -> Tensor:
        with torch.compiler.set_stance("default"):  # translators otherwise compute as written
            out: Tensor = network(images)
        return out

    return compute
