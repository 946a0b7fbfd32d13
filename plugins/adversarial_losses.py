"""Adversarial losses: cross-entropy in four forms, hinge and Wasserstein."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.losses import at_least_float32, mean_over_maps
from i2i.slots import Judge, maps_of


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


class Logistic:
    """Cross-entropy in softplus form, as in StyleGAN: `vanilla` without the ½ for the discriminator.

    L(D) = E[softplus(-D(real))] + E[softplus(D(fake))] and L(G) = E[softplus(-D(fake))], D being the logits: -log s(D)
    is softplus(-D). Karras et al. 2019, "A Style-Based Generator Architecture", section 2.1, together with `r1`.
    """

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return _minus_log_d(discriminator, fake)

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return _minus_log_d(discriminator, real) - _log_one_minus_d(discriminator, fake)


class RelativisticAverage:
    """Cross-entropy of how much more real an image looks than the others do on average.

    Jolicoeur-Martineau 2018, "The relativistic discriminator", RaSGAN: with s the sigmoid and D the logits,
    L(D) = -E[log s(D(real) - E D(fake))] - E[log(1 - s(D(fake) - E D(real)))]; L(G) is the same with real and fake
    changing places, so that the generator also lowers the scores of real images. E is over the batch and the map of
    scores. Without the ½ of the author's code.
    """

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return _relative(discriminator, fake, real)

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return _relative(discriminator, real, fake)


class Hinge:
    """Hinge loss: scores count until real ones are above 1 and fakes below -1.

    Lim and Ye 2017, "Geometric GAN"; Miyato et al. 2018, "Spectral Normalization", equations 16 and 17:
    L(D) = E[relu(1 - D(real))] + E[relu(1 + D(fake))] and L(G) = -E[D(fake)].
    """

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return -_mean(discriminator, fake)

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        on_real = mean_over_maps(discriminator(real), lambda m: F.relu(1 - m).mean())
        return on_real + mean_over_maps(discriminator(fake), lambda m: F.relu(1 + m).mean())


class Wasserstein:
    """Wasserstein loss: the critic's mean score of fakes minus that of real images.

    Arjovsky et al. 2017, "Wasserstein GAN", equations 2 and 3: L(D) = E[D(fake)] - E[D(real)], L(G) = -E[D(fake)].
    -L(D) estimates the distance only while D is Lipschitz; nothing here keeps it so, and scores grow without bound.
    Put `gradient_penalty` around it.
    """

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return -_mean(discriminator, fake)

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return _mean(discriminator, fake) - _mean(discriminator, real)


def _minus_log_d(discriminator: Judge, images: Tensor) -> Tensor:
    return mean_over_maps(discriminator(images), lambda m: F.softplus(-m).mean())


def _log_one_minus_d(discriminator: Judge, images: Tensor) -> Tensor:
    return mean_over_maps(discriminator(images), lambda m: -F.softplus(m).mean())


def _mean(discriminator: Judge, images: Tensor) -> Tensor:
    return mean_over_maps(discriminator(images), Tensor.mean)


def _relative(discriminator: Judge, above: Tensor, below: Tensor) -> Tensor:
    """Least where images of `above` score far higher than those of `below` do on average, and the other way round."""
    high_maps, low_maps = (at_least_float32(*maps_of(discriminator(images))) for images in (above, below))
    both = zip(high_maps, low_maps, strict=True)
    losses = [F.softplus(low.mean() - high).mean() + F.softplus(low - high.mean()).mean() for high, low in both]
    return torch.stack(losses).mean()


@hookimpl
def register_adversarial_losses() -> Factories:
    return {
        "vanilla": Vanilla,
        "minimax": Minimax,
        "logistic": Logistic,
        "relativistic_average": RelativisticAverage,
        "hinge": Hinge,
        "wasserstein": Wasserstein,
    }
