"""CycleGAN: unpaired translation by cycle consistency."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from annotated_types import Ge
from torch import nn

from i2i.method import Batch, Method, Scored, Update, together
from i2i.reference.image_pool import ImagePool
from i2i.reference.losses import L1, LSGAN
from i2i.reference.patchgan import PatchGAN
from i2i.reference.resnet import ResnetGenerator
from i2i.slots import Adversarial, Buffer, Discriminator, Generator, Pairwise

Weight = Annotated[float, Ge(0)]


class CycleGAN(Method):
    """Two generators and two discriminators, held together by a -> b -> a and b -> a -> b.

    Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", arXiv
    1703.10593: equation 3 is the objective, section 4 the training. The order of moves is the authors' code's:
    generators first, then the discriminators on fakes made before that.

    Args:
        channels_a, channels_b: of the images of each domain.
        lambda_cycle: weight of the cycle loss (equation 3), or one for a -> b -> a and one for b -> a -> b.
        lambda_identity: weight of the identity loss, times lambda_cycle of the same domain (section 5.2; as in the
            authors' code); 0 leaves the term out. It needs equal channels.
        discriminator_steps: k; a step takes k fresh batches, the discriminators move on each, the generators on the
            first (Goodfellow et al. 2014, algorithm 1).
        generator, discriminator: one for each direction and each domain.
        adversarial: the game (equation 1 in its least-squares form), one for each discriminator.
        cycle, identity: distances between images.
        pool: history of fakes, one for each domain.
    """

    translates_with = frozenset({"generator"})

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        lambda_cycle: Weight | tuple[Weight, Weight] = 10.0,
        lambda_identity: Weight = 0.5,
        discriminator_steps: Annotated[int, Ge(1)] = 1,
        generator: Generator = ResnetGenerator,
        discriminator: Discriminator = PatchGAN,
        adversarial: Adversarial = LSGAN,
        cycle: Pairwise = L1,
        identity: Pairwise = L1,
        pool: Buffer = ImagePool,
    ) -> None:
        super().__init__()
        if lambda_identity and channels_a != channels_b:
            raise ValueError(
                f"the identity loss needs equal channels, not {channels_a} and {channels_b}; set lambda_identity = 0"
            )
        self.lambda_a, self.lambda_b = lambda_cycle if isinstance(lambda_cycle, tuple) else (lambda_cycle,) * 2
        self.lambda_identity = lambda_identity
        self.n_batches = discriminator_steps
        self.generator_ab = generator(channels_a, channels_b)
        self.generator_ba = generator(channels_b, channels_a)
        self.discriminator_a = discriminator(channels_a)
        self.discriminator_b = discriminator(channels_b)
        self.adversarial_a, self.adversarial_b = adversarial(), adversarial()
        self.cycle, self.identity = cycle(), identity()
        self.pool_a, self.pool_b = pool(), pool()

    def players(self) -> dict[str, list[nn.Module]]:
        return {
            "generators": [self.generator_ab, self.generator_ba],
            "discriminators": [self.discriminator_a, self.discriminator_b],
        }

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.generator_ab, "ba": self.generator_ba}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        first, *others = batch.split(self.n_batches)
        a, b = first.a, first.b
        if self.lambda_identity > 0:
            (fake_b, same_b), (fake_a, same_a) = together(self.generator_ab, a, b), together(self.generator_ba, b, a)
        else:
            fake_b, fake_a = self.generator_ab(a), self.generator_ba(b)
        rec_a, rec_b = self.generator_ba(fake_b), self.generator_ab(fake_a)
        losses = {
            "adversarial_ab": self.adversarial_b.for_generator(self.discriminator_b, b, fake_b),
            "adversarial_ba": self.adversarial_a.for_generator(self.discriminator_a, a, fake_a),
            "cycle_a": self.lambda_a * self.cycle(rec_a, a),
            "cycle_b": self.lambda_b * self.cycle(rec_b, b),
        }
        images = {"a": a, "b": b, "fake_b": fake_b, "fake_a": fake_a, "rec_a": rec_a, "rec_b": rec_b}
        images |= {name: mask for name, mask in first.extras.items() if name.startswith("mask")}
        if self.lambda_identity > 0:
            images |= {"same_a": same_a, "same_b": same_b}
            losses["identity_a"] = self.lambda_a * self.lambda_identity * self.identity(same_a, a)
            losses["identity_b"] = self.lambda_b * self.lambda_identity * self.identity(same_b, b)
        yield Update("generators", losses, images)

        yield self._judge(first, fake_a, fake_b)
        for fresh in others:
            with torch.no_grad():
                fake_b, fake_a = self.generator_ab(fresh.a), self.generator_ba(fresh.b)
            yield self._judge(fresh, fake_a, fake_b)

    def _judge(self, batch: Batch, fake_a: torch.Tensor, fake_b: torch.Tensor) -> Update:
        """The discriminators' move: D_b first, as in the authors' code, since the pools draw in this order."""
        fake_b, fake_a = self.pool_b(fake_b.detach()), self.pool_a(fake_a.detach())
        judge_a, judge_b = Scored(self.discriminator_a), Scored(self.discriminator_b)
        losses = {
            "D_b": self.adversarial_b.for_discriminator(judge_b, batch.b, fake_b),
            "D_a": self.adversarial_a.for_discriminator(judge_a, batch.a, fake_a),
        }
        scores = {
            **judge_a.means(D_a_real=batch.a, D_a_fake=fake_a),
            **judge_b.means(D_b_real=batch.b, D_b_fake=fake_b),
        }
        return Update("discriminators", losses, {"pool_a": fake_a, "pool_b": fake_b}, scores)
