"""FastCUT: CUT without the identity term, lighter and faster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from i2i_plugins.antialiased import AntialiasedPatchGAN, AntialiasedResnet
from i2i_plugins.cut.contrast import (
    TAPS,
    Contrast,
    Count,
    PatchProjector,
    Positive,
    Taps,
    Weight,
    judged,
    require_equal,
)
from i2i_plugins.patch_nce import PatchNCE
from torch import nn

from i2i.method import Batch, Method, Update
from i2i.reference.losses import LSGAN
from i2i.slots import Adversarial, Discriminator, EncodingGenerator, Network, Pairwise


class FastCUT(Method):
    """CUT without the identity term, and with a translation that follows its input when that is mirrored.

    Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", arXiv 2007.15651: the objective is
    equation 5 with λ_X = 10 and λ_Y = 0. As in the authors' code, every second batch of a, by chance, is mirrored
    before it is translated, and the translation's features are mirrored back before they are compared with those of a.

    Args:
        channels_a, channels_b: of the images of each domain; they must be equal.
        lambda_gan: weight of the game.
        lambda_nce: weight of the contrast between a and its translation (λ_X of equation 5).
        taps: the layers of the generator that are compared.
        n_patches: places that are compared in each layer.
        n_features: length of the vectors that are compared.
        generator: from a to b; it shows its layers (`i2i.slots.Encodes`).
        discriminator: of images of b.
        projector: from a layer's channels to vectors, one for each tap.
        adversarial: the game.
        nce: the contrast.
    """

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        lambda_gan: Weight = 1.0,
        lambda_nce: Positive = 10.0,
        taps: Taps = TAPS,
        n_patches: Count = 256,
        n_features: Count = 256,
        generator: EncodingGenerator = AntialiasedResnet,
        discriminator: Discriminator = AntialiasedPatchGAN,
        projector: Network = PatchProjector,
        adversarial: Adversarial = LSGAN,
        nce: Pairwise = PatchNCE,
    ) -> None:
        super().__init__()
        require_equal(channels_a, channels_b)
        self.lambda_gan, self.lambda_nce = lambda_gan, lambda_nce
        self.generator: Any = generator(channels_a, channels_b)
        self.discriminator = discriminator(channels_b)
        self.contrast = Contrast(self.generator, projector, nce(), taps, n_patches, n_features)
        self.adversarial = adversarial()

    def players(self) -> dict[str, list[nn.Module]]:
        return {"discriminator": [self.discriminator], "generator": [self.generator], "projector": [self.contrast]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.generator}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        a, b = batch.a, batch.b
        mirrored = torch.rand(()).item() < 0.5
        fake_b = self.generator(a.flip(3) if mirrored else a)
        yield judged(self.adversarial, self.discriminator, b, fake_b)

        losses = {
            "adversarial": self.lambda_gan * self.adversarial.for_generator(self.discriminator, b, fake_b),
            "nce": self.lambda_nce * self.contrast(self.generator, fake_b, a, mirrored=mirrored),
        }
        images = {"a": a, "b": b, "fake_b": fake_b.flip(3) if mirrored else fake_b}
        yield Update(("generator", "projector"), losses, images)
