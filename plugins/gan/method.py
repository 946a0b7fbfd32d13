"""The original GAN: images from noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from i2i.method import Batch, Method, Update, judged
from i2i.slots import Adversarial, Discriminator, Network
from i2i_plugins.adversarial_losses import Vanilla
from i2i_plugins.gan.dcgan import DCGANDiscriminator, DCGANGenerator
from i2i_plugins.gan.noise import check_sizes, fixed_noise, noise_for


class GAN(Method):
    """Images of domain b from noise: one generator, one discriminator; domain a is not looked at.

    Goodfellow et al. 2014, "Generative Adversarial Nets", arXiv 1406.2661: equation 1 is the game, algorithm 1 the
    order of moves. The generator raises log D(G(z)), as section 3 advises; `adversarial = "minimax"` plays equation 1
    to the letter. The paper leaves the noise open: it is z ~ N(0, I) here.

    Args:
        channels_a, channels_b: of the images of each domain.
        n_noise: numbers that an image is made from; 100 in Radford et al. 2016.
        discriminator_steps: k; a step takes k fresh batches with fresh noise, the discriminator moves on each, then
            the generator once.
        generator: from (N, n_noise, 1, 1) to images of the data's size.
        discriminator: of images of domain b.
        adversarial: the game.

    Raises I2IError in the first step if the generator's images are not as large as the data's.
    """

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        n_noise: Annotated[int, Ge(1)] = 100,
        discriminator_steps: Annotated[int, Ge(1)] = 1,
        generator: Network = DCGANGenerator,
        discriminator: Discriminator = DCGANDiscriminator,
        adversarial: Adversarial = Vanilla,
    ) -> None:
        super().__init__()
        self.n_noise = n_noise
        self.n_batches = discriminator_steps
        self.generator = generator(n_noise, channels_b)
        self.discriminator = discriminator(channels_b)
        self.adversarial = adversarial()

    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.generator], "discriminator": [self.discriminator]}

    def translators(self) -> dict[str, nn.Module]:
        return {}

    def imagine(self, n: int) -> dict[str, Tensor]:
        """n images of domain b, from noise that is always the same."""
        return {"b": self.generator(fixed_noise(n, self.n_noise, self.generator))}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        for fresh in batch.split(self.n_batches):
            b = fresh.b
            with torch.no_grad():
                fake_b = self.generator(noise_for(b, self.n_noise))
            check_sizes(fake_b, b)
            yield judged(self.adversarial, self.discriminator, b, fake_b)

        fake_b = self.generator(noise_for(b, self.n_noise))
        loss = self.adversarial.for_generator(self.discriminator, b, fake_b)
        yield Update("generator", {"adversarial": loss}, {"b": b, "fake_b": fake_b})
