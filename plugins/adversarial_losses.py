"""Adversarial losses of the original GAN: cross-entropy, with both forms for the generator."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.losses import mean_over_maps
from i2i.slots import Judge


class Vanilla:
    """Cross-entropy in its non-saturating form: the generator raises log D(fake).

    Goodfellow et al. 2014, section 3: L(D) = -½ E[log D(real)] - ½ E[log(1 - D(fake))] and L(G) = -E[log D(fake)],
    where D is the sigmoid of the logits. The ½ is that of the CycleGAN authors' code (`gan_mode vanilla`).
    """

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return _minus_log_d(discriminator, fake)

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * (_minus_log_d(discriminator, real) - _log_one_minus_d(discriminator, fake))


class Minimax:
    """Cross-entropy in its original form: the generator lowers log(1 - D(fake)).

    Goodfellow et al. 2014, equation 1 and algorithm 1: L(D) is that of `vanilla`, L(G) = E[log(1 - D(fake))]. L(G) is
    below zero, and its gradient vanishes where the discriminator is sure that an image is fake.
    """

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return _log_one_minus_d(discriminator, fake)

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * (_minus_log_d(discriminator, real) - _log_one_minus_d(discriminator, fake))


def _minus_log_d(discriminator: Judge, images: Tensor) -> Tensor:
    return mean_over_maps(discriminator(images), lambda m: F.softplus(-m).mean())


def _log_one_minus_d(discriminator: Judge, images: Tensor) -> Tensor:
    return mean_over_maps(discriminator(images), lambda m: -F.softplus(m).mean())


@hookimpl
def register_adversarial_losses() -> Factories:
    return {"vanilla": Vanilla, "minimax": Minimax}
