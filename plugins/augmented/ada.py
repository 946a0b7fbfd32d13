"""ADA: augmentation whose probability follows the discriminator's overfitting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from i2i.errors import I2IError, Problem
from i2i.reference.losses import at_least_float32, mean_over_maps, without_autocast
from i2i.slots import Adversarial, Judge, Logits
from i2i_plugins.adversarial_losses import Logistic
from i2i_plugins.penalties import layers


class ADA(nn.Module):
    """Augments what the discriminator sees, the more the surer it is of real images.

    Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 3: each augmentation is
    applied with probability p, which rises where r = E[sign(D(real))] (equation 1) is above its target, and falls where
    it is below. The augmentations are the pixel blits, geometric and colour transformations of appendix B. The game
    must be one whose scores are 0 where the discriminator is undecided, which those of `lsgan` are not. Not for a
    discriminator that compares an image with its input, as pix2pix's, since the input does not move along.

    Args:
        loss: the game.
        target: of r.
        every: calls of `for_discriminator` from one change of p to the next.
        images: real images until p has risen from 0 to 1, if it always rises.

    Several processes adapt a p each. Raises I2IError for a game that changes images before it shows them, as
    `diffaugment` does: r is then unknown.
    """

    p: Tensor
    signs: Tensor
    calls: Tensor

    def __init__(
        self,
        *,
        loss: Adversarial = Logistic,
        target: Annotated[float, Ge(-1), Le(1)] = 0.6,
        every: Annotated[int, Ge(1)] = 4,
        images: Annotated[int, Ge(1)] = 500_000,
    ) -> None:
        super().__init__()
        self.loss = loss()
        self.differentiates_twice = getattr(self.loss, "differentiates_twice", False)
        self.target, self.every, self.images = target, every, images
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("signs", torch.zeros(()))  # the sum of r since p has changed
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return self.loss.for_generator(discriminator, augment(real, self.p), augment(fake, self.p))

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        judge = _Signs(discriminator, augment(real, self.p))
        game = self.loss.for_discriminator(judge, judge.images, augment(fake, self.p))
        if judge.mean is None:
            raise I2IError(Problem("ada", "its loss changes images before it shows them; put it around ada instead"))
        self._adapt(judge.mean, len(real))
        return game

    def _adapt(self, sign: Tensor, n_images: int) -> None:
        self.calls += 1
        self.signs += sign
        if self.calls % self.every == 0:
            step = n_images * self.every / self.images * (self.signs / self.every - self.target).sign()
            # the paper keeps p above 0 alone; above 1 it would only take longer to come back
            self.p.add_(step).clamp_(0, 1)
            self.signs.zero_()


class _Signs:
    """A discriminator that notes the mean sign of the scores that it gives to `images`."""

    def __init__(self, discriminator: Judge, images: Tensor) -> None:
        self.discriminator, self.images = discriminator, images
        self.mean: Tensor | None = None

    def __call__(self, images: Tensor) -> Logits:
        logits = self.discriminator(images)
        if images is self.images:
            self.mean = mean_over_maps(logits, lambda m: m.detach().sign().mean())
        return logits

    def modules(self) -> Iterator[nn.Module]:
        return iter(layers(self.discriminator).values())


def augment(images: Tensor, p: Tensor) -> Tensor:
    """Moves, turns, scales and recolours each image, each of these with probability p; values are not clipped."""
    with without_autocast(images):  # coordinates in bf16 would miss by pixels
        (wide,) = at_least_float32(images)
        return recolor(move(wide, p), p).to(images.dtype)


def move(images: Tensor, p: Tensor) -> Tensor:
    """The pixel blits and geometric transformations of appendix B, as one; edges mirror what comes in."""
    from kornia.geometry import warp_affine  # takes a while to import

    n, _, height, width = images.shape
    size = images.new_tensor([width, height])
    flip = _sometimes(1 - 2 * images.new_empty(n, 1).random_(2), 1, p)
    quarters = _sometimes(images.new_empty(n, 1).random_(4), 0, p)
    blit = _sometimes((_uniform(images, 2) / 8 * size).round(), 0, p)
    scale, stretch = (_sometimes((0.2 * _normal(images, 1)).exp2(), 1, p) for _ in range(2))
    before, after = (_sometimes(math.pi * _uniform(images, 1), 0, 1 - (1 - p).sqrt()) for _ in range(2))
    shift = _sometimes(_normal(images, 2) / 8 * size, 0, p)

    blits = _turn(quarters * (math.pi / 2)) @ torch.cat([flip, flip.abs()], 1).diag_embed()
    warp = _turn(after) @ torch.cat([scale * stretch, scale / stretch], 1).diag_embed() @ _turn(before)
    linear, center = warp @ blits, (size - 1).view(1, 2, 1) / 2
    offset = warp @ blit.unsqueeze(2) + shift.unsqueeze(2) + center - linear @ center
    # sampled once and bilinearly, without the wavelet filter of the paper, which is for images that shrink much
    return warp_affine(images, torch.cat([linear, offset], 2), (height, width), padding_mode="reflection")


def recolor(images: Tensor, p: Tensor) -> Tensor:
    """The colour transformations of appendix B: one linear map of each image's colours.

    kornia's own would clip to [0, 1] and lose gradients there. The hue is left alone unless there are three channels.
    """
    from kornia.geometry import axis_angle_to_rotation_matrix

    n, channels = images.shape[:2]
    brightness = _sometimes(0.2 * _normal(images, 1), 0, p)
    contrast, saturation = (_sometimes((std * _normal(images, 1)).exp2(), 1, p) for std in (0.5, 1.0))
    flip = _sometimes(1 - 2 * images.new_empty(n, 1).random_(2), 1, p)
    hue = _sometimes(math.pi * _uniform(images, 1), 0, p)

    luma = images.new_full((channels, channels), 1 / channels)  # projects colours on the greys
    turned = torch.eye(channels).to(images)
    if channels == 3:
        turned = axis_angle_to_rotation_matrix((hue / math.sqrt(3)).expand(n, 3))
    flip, saturation, contrast, brightness = (t.unsqueeze(2) for t in (flip, saturation, contrast, brightness))
    colors = contrast * (flip * luma + saturation * (turned - luma))  # (N, C, C)
    return torch.einsum("nij,njhw->nihw", colors, images + brightness.unsqueeze(3))


def _sometimes(values: Tensor, otherwise: float, p: Tensor) -> Tensor:
    """The row of each image with probability p."""
    return torch.where(torch.rand_like(values[:, :1]) < p, values, otherwise)


def _uniform(images: Tensor, k: int) -> Tensor:
    return images.new_empty(len(images), k).uniform_(-1, 1)


def _normal(images: Tensor, k: int) -> Tensor:
    return images.new_empty(len(images), k).normal_()


def _turn(angle: Tensor) -> Tensor:
    """Rotations, (N, 2, 2), by angles of shape (N, 1)."""
    return torch.cat([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
