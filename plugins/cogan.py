"""CoGAN: pairs of images from noise, learned without pairs; and how two networks share layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Protocol, runtime_checkable

import torch
from annotated_types import Ge
from torch import Tensor, nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.method import Batch, Method, Scored, Update
from i2i.slots import Adversarial, Slot
from i2i_plugins.adversarial_losses import Vanilla
from i2i_plugins.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from i2i_plugins.gan.noise import check_sizes, fixed_noise, noise_for


@runtime_checkable
class Layered(Protocol):
    """A network that is one layer after the other, so that two of its kind can share some."""

    layers: nn.Sequential


LayeredNetwork = Annotated[Callable[..., Any], Slot("network", Layered)]
LayeredDiscriminator = Annotated[Callable[..., Any], Slot("discriminator", Layered)]
N = Annotated[int, Ge(0)]


def share_first(n: int, one: Layered, other: Layered) -> None:
    """Gives `other` the first n layers of `one` in place of its own. Raises ValueError if these are all."""
    _share(range(n), one, other)


def share_last(n: int, one: Layered, other: Layered) -> None:
    """Gives `other` the last n layers of `one` in place of its own. Raises ValueError if these are all."""
    _share(range(-n, 0), one, other)


def _share(places: range, one: Layered, other: Layered) -> None:
    if len(places) >= len(one.layers):
        most = len(one.layers) - 1
        raise ValueError(f"a {type(one).__name__} has {most + 1} layers: two can share {most}, not {len(places)}")
    for place in places:
        other.layers[place] = one.layers[place]


class CoGAN(Method):
    """Pairs of images of both domains from noise, learned without pairs: two GANs that share layers.

    Liu and Tuzel 2016, "Coupled Generative Adversarial Networks", arXiv 1606.07536, section 3: both generators make
    their images from one noise, and their first layers, which decide what there is to see, are the same; so are the
    discriminators' last. The objective is the sum of both games. The discriminators move first, then the generators
    with fresh noise, which raise log f(g(z)): both as in the authors' code. `adversarial = "minimax"` plays the paper's
    game to the letter.

    Args:
        channels_a, channels_b: of the images of each domain.
        n_noise: numbers that a pair is made from, z ~ N(0, I); 100 in the authors' code.
        n_shared_generator: k, the first layers that both generators share; all but one of the default's five, as in the
            authors' code.
        n_shared_discriminator: l, the last layers that both discriminators share; likewise. Raises ValueError if a
            network would have no layer of its own.
        generator: from (N, n_noise, 1, 1) to images of the data's size; one for each domain.
        discriminator: one for each domain.
        adversarial: the game, one for each discriminator.

    Raises I2IError in the first step if the generators' images are not as large as the data's.
    """

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        n_noise: Annotated[int, Ge(1)] = 100,
        n_shared_generator: N = 4,
        n_shared_discriminator: N = 4,
        generator: LayeredNetwork = DCGANGenerator,
        discriminator: LayeredDiscriminator = DCGANDiscriminator,
        adversarial: Adversarial = Vanilla,
    ) -> None:
        super().__init__()
        self.n_noise = n_noise
        self.generator_a, self.generator_b = generator(n_noise, channels_a), generator(n_noise, channels_b)
        self.discriminator_a, self.discriminator_b = discriminator(channels_a), discriminator(channels_b)
        self.adversarial_a, self.adversarial_b = adversarial(), adversarial()
        share_first(n_shared_generator, self.generator_a, self.generator_b)
        share_last(n_shared_discriminator, self.discriminator_a, self.discriminator_b)

    def players(self) -> dict[str, list[nn.Module]]:
        return {
            "generators": [self.generator_a, self.generator_b],
            "discriminators": [self.discriminator_a, self.discriminator_b],
        }

    def translators(self) -> dict[str, nn.Module]:
        return {}

    def imagine(self, n: int) -> dict[str, Tensor]:
        """n pairs of images, from noise that is always the same."""
        a, b = self._pair(fixed_noise(n, self.n_noise, self.generator_a))
        return {"a": a, "b": b}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        a, b = batch.a, batch.b
        with torch.no_grad():
            fake_a, fake_b = self._pair(noise_for(a, self.n_noise))
        check_sizes(fake_a, a)
        judge_a, judge_b = Scored(self.discriminator_a), Scored(self.discriminator_b)
        losses = {
            "D_a": self.adversarial_a.for_discriminator(judge_a, a, fake_a),
            "D_b": self.adversarial_b.for_discriminator(judge_b, b, fake_b),
        }
        scores = judge_a.means(D_a_real=a, D_a_fake=fake_a) | judge_b.means(D_b_real=b, D_b_fake=fake_b)
        yield Update("discriminators", losses, scores=scores)

        fake_a, fake_b = self._pair(noise_for(a, self.n_noise))
        losses = {
            "adversarial_a": self.adversarial_a.for_generator(self.discriminator_a, a, fake_a),
            "adversarial_b": self.adversarial_b.for_generator(self.discriminator_b, b, fake_b),
        }
        yield Update("generators", losses, {"a": a, "b": b, "fake_a": fake_a, "fake_b": fake_b})

    def _pair(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        return self.generator_a(noise), self.generator_b(noise)


@hookimpl
def register_methods() -> Factories:
    return {"cogan": CoGAN}
