"""Buffers beside the image pool: none, a queue, and replay that prefers the young."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt
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


class FeatureQueue(nn.Module):
    """First in, first out: shows what was shown to it `size` images ago.

    While the queue is not full, every image goes in and is returned. Then each image pushes out the oldest, which is
    returned in its place (the queue of He et al. 2020, section 3.2, whose keys are features).

    Args:
        size: images kept.

    Shape: (N, ...), images or features, to the same, without gradient.
    """

    images: Tensor

    def __init__(self, *, size: Annotated[int, Ge(1)] = 50) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.empty(0))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        n_free = self.size - len(self.images)
        queue = after(self.images, images)
        self.images = queue[-self.size :].clone()
        return torch.cat([images[:n_free], queue[: max(0, len(images) - n_free)]])


class Replay(nn.Module):
    """Shows one of the last images, the likelier the younger it is.

    In place of each image, one is drawn from it and those before it, with probability proportional to
    2^(-age / half_life); the newest has age 0. Unlike in the image pool (Shrivastava et al. 2017, section 2.3), an
    image stays when it is shown, and leaves when it is `size` images old. Draws from torch's CPU generator, so that no
    device has to wait.

    Args:
        size: images kept.
        half_life: images after which the chance to be drawn has halved.

    Shape: (N, C, H, W) to the same, without gradient.
    """

    images: Tensor

    def __init__(self, *, size: Annotated[int, Ge(1)] = 50, half_life: Annotated[float, Gt(0)] = 25.0) -> None:
        super().__init__()
        self.size, self.half_life = size, half_life
        self.register_buffer("images", torch.empty(0))  # the oldest first, so that the place tells the age

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self._draw(image) for image in images])

    def _draw(self, image: Tensor) -> Tensor:
        self.images = after(self.images, image[None])[-self.size :].clone()
        ages = torch.arange(len(self.images) - 1, -1, -1, device="cpu")
        place = int(torch.multinomial(0.5 ** (ages / self.half_life), 1).item())
        return self.images[place].clone()


def after(older: Tensor, images: Tensor) -> Tensor:
    """Older images, or none, and behind them the new ones, in the type of these."""
    return torch.cat([older.reshape(-1, *images.shape[1:]).to(images), images])


@hookimpl
def register_buffers() -> Factories:
    return {"none": NoBuffer, "feature_queue": FeatureQueue, "replay": Replay}
