"""Penalties on the slope of the discriminator, around any adversarial loss: WGAN-GP's and R1."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from i2i import hookimpl
from i2i.errors import I2IError, Problem
from i2i.hookspecs import Factories
from i2i.reference.losses import at_least_float32, mean_over_maps, without_autocast
from i2i.slots import Adversarial, Judge
from i2i_plugins.adversarial_losses import Logistic, Wasserstein


class GradientPenalty(nn.Module):
    """Keeps the discriminator's slope near 1 between real images and fakes, as in WGAN-GP.

    Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", equation 3: adds weight * E[(||∇D(x)|| - target)²]
    to the discriminator's loss, where x lies on the line from a fake to a real image, at a place drawn for each pair,
    and the norm is over all pixels of an image. Of a map of n scores, ∇D is the gradient of their sum divided by √n,
    which holds the score of each patch as the paper holds its only one; of several maps it is the mean of theirs.

    Args:
        loss: the game.
        weight: of the penalty.
        target: the slope that costs nothing.

    Raises I2IError for a discriminator with batch normalization, where a score has a slope along other images too
    (section 4), and for real images and fakes that do not pair up.
    """

    differentiates_twice = True

    def __init__(
        self,
        *,
        loss: Adversarial = Wasserstein,
        weight: Annotated[float, Ge(0)] = 10.0,
        target: Annotated[float, Ge(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.loss = loss()
        self.weight, self.target = weight, target

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return self.loss.for_generator(discriminator, real, fake)

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        if real.shape != fake.shape:
            shapes = f"{tuple(real.shape)} and {tuple(fake.shape)}"
            raise I2IError(Problem("gradient_penalty", f"mixes each real image with a fake; they have shapes {shapes}"))
        game = self.loss.for_discriminator(discriminator, real, fake)
        start, end = at_least_float32(fake, real)
        between = torch.lerp(start, end, torch.rand_like(end[:, :1, :1, :1]))
        norms = torch.linalg.vector_norm(slopes(discriminator, between), dim=1)
        return game + self.weight * (norms - self.target).square().mean()


class R1(nn.Module):
    """Flattens the discriminator at real images.

    Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", equation 9: adds
    weight / 2 * E[||∇D(real)||²] to the discriminator's loss; the norm is over all pixels of an image. Of a map of n
    scores, ∇D is the gradient of their sum divided by √n, which holds the score of each patch as the paper holds its
    only one; of several maps it is the mean of theirs. The penalty is computed lazily, at the first of every 16 calls,
    and then counts 16 times (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B).

    Args:
        loss: the game.
        weight: γ of the paper.
        every: calls of `for_discriminator` from one penalty to the next; 1 is the paper's equation.

    Raises I2IError for a discriminator with batch normalization, where a score has a slope along other images too.
    """

    differentiates_twice = True
    calls: Tensor

    def __init__(
        self,
        *,
        loss: Adversarial = Logistic,
        weight: Annotated[float, Ge(0)] = 10.0,
        every: Annotated[int, Ge(1)] = 16,
    ) -> None:
        super().__init__()
        self.loss = loss()
        self.weight, self.every = weight, every
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return self.loss.for_generator(discriminator, real, fake)

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        game = self.loss.for_discriminator(discriminator, real, fake)
        # joins the game's own move; the authors' is one more, for which they change Adam's learning rate and betas
        if self.calls % self.every == 0:
            game = game + self.every * self.weight / 2 * slopes(discriminator, real).square().sum(1).mean()
        self.calls += 1
        return game


def slopes(discriminator: Judge, images: Tensor) -> Tensor:
    """The gradient of an image's scores, (N, C * H * W), in float32 or wider; it can be differentiated.

    Of a map of n scores, that of their sum over √n; of several maps, the mean of theirs. Where no two scores see one
    pixel, its square is the mean of theirs. Raises I2IError for a discriminator with batch normalization.
    """
    modules = layers(discriminator)
    for name, layer in modules.items():
        if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
            message = (
                f"has {type(layer).__name__} at {name!r}; a gradient penalty is for each image alone: take another norm"
            )
            raise I2IError(Problem("discriminator", message))
    weights = (p.dtype for layer in modules.values() for p in layer.parameters())
    images = images.detach().to(next(weights, torch.promote_types(images.dtype, torch.float32))).requires_grad_()
    with without_autocast(images):  # the square of a slope in bf16 would lose it
        # the CycleGAN authors' `cal_gradient_penalty` takes the sum alone; each score is then the flatter, the larger
        # the images are, until a generator that hears their mean learns from its other losses only
        total = mean_over_maps(discriminator(images), lambda m: m.sum() / math.sqrt(m[0].numel()))
        (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    return at_least_float32(gradient.flatten(1))[0]


def layers(discriminator: Judge) -> dict[str, nn.Module]:
    """The layers of the network behind a discriminator, by name; a plain function has none."""
    modules = getattr(discriminator, "modules", lambda: iter(()))()
    network = next(modules, None)  # the first is the network itself
    return dict(network.named_modules()) if network is not None else {}


@hookimpl
def register_adversarial_losses() -> Factories:
    return {"gradient_penalty": GradientPenalty, "r1": R1}
