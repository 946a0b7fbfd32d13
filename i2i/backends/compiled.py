"""torch.compile, whose results are kept for the next command."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from i2i.backends import eager
from i2i.backends.contract import Compute, ComputedIn
from i2i.compiling import fault

N_SIZES = 3
"""That are compiled for, each as long as the first, by then for any size; others may be computed as written."""

_fault = cache(fault)  # which forgets what was compiled before


def prepare(module: nn.Module, example: Tensor, precision: ComputedIn) -> Compute:
    """Raises OSError where nothing can be compiled, which is no fault of the network."""
    if why := _fault(example.device):
        raise OSError(why)
    network = torch.compile(eager.prepare(module, example, precision))
    sizes: set[torch.Size] = set()

    def compute(images: Tensor) -> Tensor:
        if len(sizes) < N_SIZES:
            sizes.add(images.shape)
        # Translators otherwise compute as written.
        with torch.compiler.set_stance("default" if images.shape in sizes else "eager_on_recompile"):
            out: Tensor = network(images)
        return out

    return compute
