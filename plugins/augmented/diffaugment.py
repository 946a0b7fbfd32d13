"""DiffAugment: colour, translation and cutout."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from i2i.reference.losses import LSGAN, at_least_float32
from i2i.slots import Adversarial, Judge


class DiffAugment(nn.Module):
    """Shows the discriminator images in other colours, shifted and with a part cut out.

    Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 3; amounts are those of the
    authors' code. For a discriminator that compares an image with its input, as pix2pix's, choose `color` alone: the
    input does not move along.

    Args:
        loss: the game.
        policy: what is done, in this order. color: brightness by up to ±0.5 of a range of 2, saturation times 0 to 2,
            contrast times 0.5 to 1.5; translation: up to an eighth of the size, zeros move in; cutout: a rectangle of
            half the size, zeros, at any place.
    """

    def __init__(
        self,
        *,
        loss: Adversarial = LSGAN,
        policy: tuple[Literal["color", "translation", "cutout"], ...] = ("color", "translation", "cutout"),
    ) -> None:
        super().__init__()
        self.loss = loss()
        self.differentiates_twice = getattr(self.loss, "differentiates_twice", False)
        self.steps = [{"color": color, "translation": translation, "cutout": cutout}[name] for name in policy]

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return self.loss.for_generator(discriminator, self._augment(real), self._augment(fake))

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return self.loss.for_discriminator(discriminator, self._augment(real), self._augment(fake))

    def _augment(self, images: Tensor) -> Tensor:
        (wide,) = at_least_float32(images)
        for step in self.steps:
            wide = step(wide)
        return wide.to(images.dtype)


def color(images: Tensor) -> Tensor:
    """Brightness, saturation and contrast of each image, around its own grey; values are not clipped."""
    brightness, saturation, contrast = images.new_empty(3, len(images), 1, 1, 1).uniform_()
    images = images + brightness - 0.5
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey, images, 2 * saturation)
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, contrast + 0.5)


def translation(images: Tensor) -> Tensor:
    """Moves each image by whole pixels, up to an eighth of its height and width; zeros come in."""
    n, _, height, width = images.shape
    # looked up rather than sampled: exact, and its gradient is deterministic on CUDA, which grid_sample's is not
    rows, columns = (_shifted(images, size) for size in (height, width))
    padded = F.pad(images, (1, 1, 1, 1)).movedim(1, -1)  # (N, H + 2, W + 2, C)
    image = torch.arange(n, device=images.device).view(n, 1, 1)
    return padded[image, rows.view(n, height, 1), columns.view(n, 1, width)].movedim(-1, 1)


def _shifted(images: Tensor, size: int) -> Tensor:
    """For each image, which of `size` + 2 lines goes where; the first and the last are padding. (N, size)"""
    shift = torch.randint(-(size // 8), size // 8 + 1, (len(images), 1), device=images.device)
    return (torch.arange(1, size + 1, device=images.device) + shift).clamp(0, size + 1)


def cutout(images: Tensor) -> Tensor:
    """Puts zeros in a rectangle of half the height and width of each image, which may reach over the edge."""
    n, _, height, width = images.shape
    rows, columns = (_covered(images, size) for size in (height, width))
    return images * ~(rows.view(n, 1, height, 1) & columns.view(n, 1, 1, width))


def _covered(images: Tensor, size: int) -> Tensor:
    """For each image, which of `size` lines lie within a window of half their number. (N, size)"""
    window = size // 2
    center = torch.randint(0, size + 1 - window % 2, (len(images), 1), device=images.device)
    start = center - window // 2
    lines = torch.arange(size, device=images.device)
    return (lines >= start) & (lines < start + window)
