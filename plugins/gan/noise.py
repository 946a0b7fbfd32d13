"""Noise: what images are made from when there is no image to begin with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2i.errors import I2IError, Problem


def noise_for(images: Tensor, n_noise: int) -> Tensor:
    """Fresh z ~ N(0, I), (N, n_noise, 1, 1): one for each of N images, of their kind and on their device."""
    return torch.randn(len(images), n_noise, 1, 1, dtype=images.dtype, device=images.device)


def fixed_noise(n: int, n_noise: int, network: nn.Module) -> Tensor:
    """z ~ N(0, I), (n, n_noise, 1, 1), always the same, where the network's weights are; draws from no generator."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, n_noise, 1, 1, generator=generator).to(next(network.parameters()))


def check_sizes(fake: Tensor, real: Tensor) -> None:
    """Raises I2IError unless the generated images are as large as those of the data."""
    if fake.shape[2:] != real.shape[2:]:
        sizes = [" x ".join(map(str, images.shape[2:])) for images in (fake, real)]
        message = f"makes images of {sizes[0]} px, and those of the data have {sizes[1]} (data.crop_size); change one"
        raise I2IError(Problem("generator.size", message))
