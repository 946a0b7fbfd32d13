"""Buffers beside the image pool: none."""

from __future__ import annotations

from torch import Tensor, nn

from i2i import hookimpl
from i2i.hookspecs import Factories


class NoBuffer(nn.Module):
    """No history: the discriminator sees the newest images.

    Shape: any to the same, without gradient.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, images: Tensor) -> Tensor:
        return images.detach()


@hookimpl
def register_buffers() -> Factories:
    return {"none": NoBuffer}
