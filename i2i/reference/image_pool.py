"""The history of generated images of CycleGAN."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn


class ImagePool(nn.Module):
    """Shows the discriminator an older image half of the time (Shrivastava et al. 2017, section 2.3).

    While the pool is not full, every image goes in and is returned. Then, for each image with probability ½, a random
    one of the pool is returned in its place and the new one takes its slot (Zhu et al. 2017, section 4). Draws from
    torch's CPU generator, so that no device has to wait.

    Args:
        size: images kept; 50 in the paper; 0 returns every image as it is.

    Shape: (N, C, H, W) to the same, without gradient.
    """

    images: Tensor

    def __init__(self, *, size: Annotated[int, Ge(0)] = 50) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.empty(0))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        if self.size == 0:
            return images.detach()
        return torch.stack([self._swap(image) for image in images])

    def _swap(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images = torch.cat([self.images.reshape(-1, *image.shape).to(image), image[None]])
            return image
        if torch.rand(()).item() > 0.5:
            slot = int(torch.randint(self.size, ()).item())
            older = self.images[slot].clone()
            self.images[slot] = image
            return older
        return image
