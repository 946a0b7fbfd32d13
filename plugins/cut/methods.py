"""CUT, FastCUT and SinCUT: unpaired translation in one direction, by contrast between patches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from i2i.method import Batch, Method, Update, judged
from i2i.reference.losses import L1, LSGAN
from i2i.slots import Adversarial, Discriminator, EncodingGenerator, Network, Pairwise
from i2i_plugins.antialiased import AntialiasedPatchGAN, AntialiasedResnet
from i2i_plugins.cut.contrast import (
    TAPS,
    Contrast,
    Count,
    PatchProjector,
    Positive,
    Several,
    Taps,
    Weight,
    across_images,
    require_equal,
)
from i2i_plugins.patch_nce import PatchNCE
from i2i_plugins.penalties import R1


class CUT(Method):
    """One generator, held to its input by telling each patch's source from other patches.

    Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", arXiv 2007.15651: equation 1 is
    the game, equations 2 and 3 the contrast, equation 5 the objective. The order of moves is the authors' code's: the
    discriminator first, then the generator and the projectors together, on the same fake.

    Args:
        channels_a, channels_b: of the images of each domain; they must be equal.
        lambda_gan: weight of the game.
        lambda_nce: weight of the contrast between a and its translation (λ_X of equation 5).
        lambda_identity: weight of the contrast between b and its own translation (λ_Y); 0 leaves the term out. Where
            it is there, both contrasts count half, as in the authors' code.
        taps: the layers of the generator that are compared.
        n_patches: places that are compared in each layer; one alone has no negatives.
        n_features: length of the vectors that are compared.
        generator: from a to b; it shows its layers (`i2i.slots.Encodes`).
        discriminator: of images of b.
        projector: from a layer's channels to vectors, one for each tap.
        adversarial: the game.
        nce: the contrast.
    """

    translates_with = frozenset({"generator"})

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        lambda_gan: Weight = 1.0,
        lambda_nce: Positive = 1.0,
        lambda_identity: Weight = 1.0,
        taps: Taps = TAPS,
        n_patches: Several = 256,
        n_features: Count = 256,
        generator: EncodingGenerator = AntialiasedResnet,
        discriminator: Discriminator = AntialiasedPatchGAN,
        projector: Network = PatchProjector,
        adversarial: Adversarial = LSGAN,
        nce: Pairwise = PatchNCE,
    ) -> None:
        super().__init__()
        require_equal(channels_a, channels_b)
        self.lambda_gan = lambda_gan
        share = 0.5 if lambda_identity > 0 else 1.0
        self.lambda_nce, self.lambda_identity = share * lambda_nce, share * lambda_identity
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
        translated = self.generator(torch.cat([a, b]) if self.lambda_identity > 0 else a)
        fake_b, same_b = translated[: len(a)], translated[len(a) :]
        yield judged(self.adversarial, self.discriminator, b, fake_b)

        images = {"a": a, "b": b, "fake_b": fake_b}
        losses = {
            "adversarial": self.lambda_gan * self.adversarial.for_generator(self.discriminator, b, fake_b),
            "nce": self.lambda_nce * self.contrast(self.generator, fake_b, a),
        }
        if self.lambda_identity > 0:
            images["same_b"] = same_b
            losses["nce_identity"] = self.lambda_identity * self.contrast(self.generator, same_b, b)
        yield Update(("generator", "projector"), losses, images)


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
        n_patches: places that are compared in each layer; one alone has no negatives.
        n_features: length of the vectors that are compared.
        generator: from a to b; it shows its layers (`i2i.slots.Encodes`).
        discriminator: of images of b.
        projector: from a layer's channels to vectors, one for each tap.
        adversarial: the game.
        nce: the contrast.
    """

    translates_with = frozenset({"generator"})

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        lambda_gan: Weight = 1.0,
        lambda_nce: Positive = 10.0,
        taps: Taps = TAPS,
        n_patches: Several = 256,
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


class SinCUT(Method):
    """CUT between two single images, in which the crops of a batch give each other's negatives.

    Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", arXiv 2007.15651, the paragraphs
    on high-resolution single image translation. As in the authors' code, few patches of each crop are compared, with
    those of all crops of the batch, and a translation of b stays close to b. Their networks are StyleGAN2's, which i2i
    does not have; any generator that shows its layers stands in their place.

    Args:
        channels_a, channels_b: of the images of each domain; they must be equal.
        lambda_gan: weight of the game.
        lambda_nce: weight of both contrasts, between a and its translation and between b and its own, half for each.
        lambda_identity: weight of the distance between b and its own translation.
        taps: the layers of the generator that are compared.
        n_patches: places that are compared in each layer of each crop; with 1, the other crops give all negatives.
        n_features: length of the vectors that are compared.
        generator: from a to b; it shows its layers (`i2i.slots.Encodes`).
        discriminator: of images of b.
        projector: from a layer's channels to vectors, one for each tap.
        adversarial: the game; the authors' is `vanilla` within `r1`, of weight 1 and at every step.
        nce: the contrast.
        identity: distance of an image of b and its own translation.
    """

    translates_with = frozenset({"generator"})

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        lambda_gan: Weight = 1.0,
        lambda_nce: Positive = 4.0,
        lambda_identity: Weight = 1.0,
        taps: Taps = TAPS,
        n_patches: Count = 1,
        n_features: Count = 256,
        generator: EncodingGenerator = AntialiasedResnet,
        discriminator: Discriminator = AntialiasedPatchGAN,
        projector: Network = PatchProjector,
        adversarial: Adversarial = R1,
        nce: Pairwise = PatchNCE,
        identity: Pairwise = L1,
    ) -> None:
        super().__init__()
        require_equal(channels_a, channels_b)
        self.lambda_gan, self.lambda_nce, self.lambda_identity = lambda_gan, lambda_nce, lambda_identity
        self.generator: Any = generator(channels_a, channels_b)
        self.discriminator = discriminator(channels_b)
        self.contrast = Contrast(self.generator, projector, across_images(nce()), taps, n_patches, n_features)
        self.adversarial, self.identity = adversarial(), identity()

    def players(self) -> dict[str, list[nn.Module]]:
        return {"discriminator": [self.discriminator], "generator": [self.generator], "projector": [self.contrast]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.generator}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        a, b = batch.a, batch.b
        fake_b, same_b = self.generator(torch.cat([a, b])).split(len(a))
        yield judged(self.adversarial, self.discriminator, b, fake_b)

        losses = {
            "adversarial": self.lambda_gan * self.adversarial.for_generator(self.discriminator, b, fake_b),
            "nce": 0.5 * self.lambda_nce * self.contrast(self.generator, fake_b, a),
            "nce_identity": 0.5 * self.lambda_nce * self.contrast(self.generator, same_b, b),
            "identity": self.lambda_identity * self.identity(same_b, b),
        }
        yield Update(("generator", "projector"), losses, {"a": a, "b": b, "fake_b": fake_b, "same_b": same_b})
