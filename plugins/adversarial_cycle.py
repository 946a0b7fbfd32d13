"""CycleGAN with a game in place of the cycle's L1: the ablation of its paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.method import Batch, Method, Scored, Update, together
from i2i.reference.image_pool import ImagePool
from i2i.reference.losses import L1, LSGAN
from i2i.reference.patchgan import PatchGAN
from i2i.reference.resnet import ResnetGenerator
from i2i.slots import Adversarial, AdversarialLoss, Buffer, Discriminator, Generator, Pairwise

Weight = Annotated[float, Ge(0)]


class AdversarialCycle(Method):
    """CycleGAN whose cycle is judged by discriminators: does F(G(a)) look like a, and G(F(b)) like b?

    Zhu et al. 2017, arXiv 1703.10593, section 3.2: the authors tried an adversarial loss between F(G(x)) and x in place
    of the L1 norm and saw no improvement. The two further discriminators see one image at a time, as those of the
    domains do: x counts as real, F(G(x)) as fake. So a cycle has to come back to the domain, and nothing ties it to
    the very image it began with; the identity loss alone does that. All else is as in `cyclegan`.

    Args:
        channels_a, channels_b: of the images of each domain.
        lambda_cycle: weight of the cycle's games; that of equation 3.
        lambda_identity: weight of the identity loss, times lambda_cycle (section 5.2; as in the authors' code); 0
            leaves the term out. It needs equal channels.
        generator: one for each direction.
        discriminator: one for each domain.
        cycle_discriminator: one for the cycles of each domain.
        adversarial: the game, one for each of the four discriminators.
        identity: distance between images.
        pool: history of fakes, one for each of the four discriminators.
    """

    translates_with = frozenset({"generator"})

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        lambda_cycle: Weight = 10.0,
        lambda_identity: Weight = 0.5,
        generator: Generator = ResnetGenerator,
        discriminator: Discriminator = PatchGAN,
        cycle_discriminator: Discriminator = PatchGAN,
        adversarial: Adversarial = LSGAN,
        identity: Pairwise = L1,
        pool: Buffer = ImagePool,
    ) -> None:
        super().__init__()
        if lambda_identity and channels_a != channels_b:
            raise ValueError(
                f"the identity loss needs equal channels, not {channels_a} and {channels_b}; set lambda_identity = 0"
            )
        self.lambda_cycle, self.lambda_identity = lambda_cycle, lambda_identity
        self.generator_ab = generator(channels_a, channels_b)
        self.generator_ba = generator(channels_b, channels_a)
        self.game_a = Game(discriminator(channels_a), adversarial(), pool())
        self.game_b = Game(discriminator(channels_b), adversarial(), pool())
        self.cycle_a = Game(cycle_discriminator(channels_a), adversarial(), pool())
        self.cycle_b = Game(cycle_discriminator(channels_b), adversarial(), pool())
        self.identity = identity()

    def players(self) -> dict[str, list[nn.Module]]:
        games = (self.game_a, self.game_b, self.cycle_a, self.cycle_b)
        return {
            "generators": [self.generator_ab, self.generator_ba],
            "discriminators": [game.discriminator for game in games],
        }

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.generator_ab, "ba": self.generator_ba}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        a, b = batch.a, batch.b
        if self.lambda_identity > 0:
            (fake_b, same_b), (fake_a, same_a) = together(self.generator_ab, a, b), together(self.generator_ba, b, a)
        else:
            fake_b, fake_a = self.generator_ab(a), self.generator_ba(b)
        rec_a, rec_b = self.generator_ba(fake_b), self.generator_ab(fake_a)
        losses = {
            "adversarial_ab": self.game_b.fool(b, fake_b),
            "adversarial_ba": self.game_a.fool(a, fake_a),
            "cycle_a": self.lambda_cycle * self.cycle_a.fool(a, rec_a),
            "cycle_b": self.lambda_cycle * self.cycle_b.fool(b, rec_b),
        }
        images = {"a": a, "b": b, "fake_b": fake_b, "fake_a": fake_a, "rec_a": rec_a, "rec_b": rec_b}
        if self.lambda_identity > 0:
            images |= {"same_a": same_a, "same_b": same_b}
            weight = self.lambda_cycle * self.lambda_identity
            losses["identity_a"] = weight * self.identity(same_a, a)
            losses["identity_b"] = weight * self.identity(same_b, b)
        yield Update("generators", losses, images)

        rounds = {
            "D_b": (self.game_b, b, fake_b),
            "D_a": (self.game_a, a, fake_a),
            "D_cycle_a": (self.cycle_a, a, rec_a),
            "D_cycle_b": (self.cycle_b, b, rec_b),
        }
        losses = {}
        scores: dict[str, Tensor] = {}
        for name, (game, real, fake) in rounds.items():
            losses[name], means = game.judge(real, fake)
            scores |= {f"{name}_{shown}": mean for shown, mean in means.items()}
        yield Update("discriminators", losses, scores=scores)


class Game(nn.Module):
    """A discriminator, its loss, and the history of the fakes that it was shown."""

    def __init__(self, discriminator: nn.Module, loss: AdversarialLoss, pool: nn.Module) -> None:
        super().__init__()
        self.discriminator, self.loss, self.pool = discriminator, loss, pool

    def fool(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the generator lowers."""
        return self.loss.for_generator(self.discriminator, real, fake)

    def judge(self, real: Tensor, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What the discriminator lowers, and the mean logits of `real` and `fake`."""
        fake = self.pool(fake.detach())
        judge = Scored(self.discriminator)
        return self.loss.for_discriminator(judge, real, fake), judge.means(real=real, fake=fake)


@hookimpl
def register_methods() -> Factories:
    return {"adversarial_cycle": AdversarialCycle}
