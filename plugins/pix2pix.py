"""pix2pix: translation that is learned from pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Ge
from torch import nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.method import Batch, Conditioned, Method, Update, judged
from i2i.reference.losses import L1
from i2i.reference.patchgan import PatchGAN
from i2i.slots import Adversarial, Discriminator, Generator, Pairwise
from i2i_plugins.adversarial_losses import Vanilla
from i2i_plugins.unet import UNet


class Pix2Pix(Method):
    """One generator that learns from pairs; the discriminator sees input and output together.

    Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", arXiv 1611.07004: equation 1
    is the game, equation 3 the distance to the true partner, equation 4 the objective, section 3.3 the training. The
    discriminator moves first, as in the authors' code, and the generator on the same fake. The noise z of the paper is
    the generator's dropout.

    Args:
        channels_a, channels_b: of the images of each domain.
        lambda_l1: weight of the reconstruction (equation 4; 100 in section 4.2).
        generator: from a to b.
        discriminator: of the channels of a and b together.
        adversarial: the game. A penalty in it mixes images of b alone, beside the same a.
        reconstruction: distance of a translation and its true partner (equation 3).
    """

    paired = True
    translates_with = frozenset({"generator"})

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        lambda_l1: Annotated[float, Ge(0)] = 100.0,
        generator: Generator = UNet,
        discriminator: Discriminator = PatchGAN,
        adversarial: Adversarial = Vanilla,
        reconstruction: Pairwise = L1,
    ) -> None:
        super().__init__()
        self.lambda_l1 = lambda_l1
        self.generator = generator(channels_a, channels_b)
        self.discriminator = discriminator(channels_a + channels_b)
        self.adversarial, self.reconstruction = adversarial(), reconstruction()

    def players(self) -> dict[str, list[nn.Module]]:
        return {"discriminator": [self.discriminator], "generator": [self.generator]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.generator}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        a, b = batch.a, batch.b
        fake_b = self.generator(a)
        conditioned = Conditioned(self.discriminator, a)
        yield judged(self.adversarial, conditioned, b, fake_b)

        losses = {
            "adversarial": self.adversarial.for_generator(conditioned, b, fake_b),
            "reconstruction": self.lambda_l1 * self.reconstruction(fake_b, b),
        }
        yield Update("generator", losses, {"a": a, "b": b, "fake_b": fake_b})


@hookimpl
def register_methods() -> Factories:
    return {"pix2pix": Pix2Pix}
