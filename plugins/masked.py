"""Any pair loss where a mask says so."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.losses import L1, at_least_float32
from i2i.slots import Pairwise


class Masked(nn.Module):
    """Another pair loss, where a mask is 1; what lies outside does not count.

    Compares mask · prediction + (1 - mask) · target with the target and divides by the mean of the mask, so that losses
    of single pixels, such as `l1`, become their mean over the mask. An empty mask gives 0. Without a mask it is the
    loss inside. For `[[extra_loss]]` with `between = ["rec_a", "a", "mask_a"]`.

    Args:
        loss: what compares the two.

    Shape: two tensors (N, C, H, W) and a mask in [0, 1] that broadcasts to them, such as (N, 1, H, W), to a scalar.
    """

    def __init__(self, *, loss: Pairwise = L1) -> None:
        super().__init__()
        self.loss = loss()

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return self.loss(prediction, target)
        prediction, target = at_least_float32(prediction, target)
        mask = mask.to(prediction)
        share = mask.mean()
        inside = self.loss(mask * prediction + (1 - mask) * target, target)
        return torch.where(share > 0, inside / torch.where(share > 0, share, 1), 0)


@hookimpl
def register_losses() -> Factories:
    return {"masked": Masked}
