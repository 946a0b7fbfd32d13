"""UNIT: two variational autoencoders with one code, and a GAN for each domain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from i2i.method import Batch, Method, Scored, Update, together
from i2i.reference.losses import L1, at_least_float32
from i2i.reference.patchgan import PatchGAN
from i2i.slots import Adversarial, Discriminator, Pairwise
from i2i_plugins.adversarial_losses import Vanilla
from i2i_plugins.cogan import LayeredNetwork, share_first, share_last
from i2i_plugins.unit.networks import UNITDecoder, UNITEncoder

Weight = Annotated[float, Ge(0)]
N = Annotated[int, Ge(0)]


class UNIT(Method):
    """Unpaired translation through a code that both domains share: two autoencoders and two GANs.

    Liu, Breuel and Kautz 2017, "Unsupervised Image-to-Image Translation Networks", arXiv 1703.00848: equation 2 is the
    objective, section 4 has the weights. The encoders share their last layers and the decoders their first, so that a
    code means the same in both domains. The autoencoders are variational: in training z ~ N(mean, I), where the mean is
    what the encoder gives; translators decode the mean itself, as in the authors' code, where the paper draws z. The
    discriminators move first, as in section 3.

    Args:
        channels_a, channels_b: of the images of each domain.
        code_channels: of the code.
        n_shared_encoder, n_shared_decoder: layers that both domains share; one residual block each in the authors'
            code. Raises ValueError if a network would have no layer of its own.
        lambda_adversarial: λ0, of the games (equations 5 and 6).
        lambda_kl: λ1, of the distance of the code to N(0, I) (equations 3 and 4).
        lambda_reconstruction: λ2, of each image decoded from its own code (equations 3 and 4).
        lambda_cycle_kl: λ3, of the distances of the codes of an image and of its translation (equations 7 and 8).
        lambda_cycle: λ4, of each image translated and back (equations 7 and 8).
        encoder, decoder: from images to the code and back; one for each domain.
        discriminator: one for each domain.
        adversarial: the game, one for each discriminator.
        reconstruction, cycle: distances between images; L1 is the paper's Laplacian likelihood.
    """

    translates_with = frozenset({"encoder", "decoder"})

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        code_channels: Annotated[int, Ge(1)] = 256,
        n_shared_encoder: N = 1,
        n_shared_decoder: N = 1,
        lambda_adversarial: Weight = 10.0,
        lambda_kl: Weight = 0.1,
        lambda_reconstruction: Weight = 100.0,
        lambda_cycle_kl: Weight = 0.1,
        lambda_cycle: Weight = 100.0,
        encoder: LayeredNetwork = UNITEncoder,
        decoder: LayeredNetwork = UNITDecoder,
        discriminator: Discriminator = PatchGAN,
        adversarial: Adversarial = Vanilla,
        reconstruction: Pairwise = L1,
        cycle: Pairwise = L1,
    ) -> None:
        super().__init__()
        self.lambda_adversarial = lambda_adversarial
        self.lambda_kl, self.lambda_reconstruction = lambda_kl, lambda_reconstruction
        self.lambda_cycle_kl, self.lambda_cycle = lambda_cycle_kl, lambda_cycle
        self.encoder_a, self.encoder_b = encoder(channels_a, code_channels), encoder(channels_b, code_channels)
        self.decoder_a, self.decoder_b = decoder(code_channels, channels_a), decoder(code_channels, channels_b)
        share_last(n_shared_encoder, self.encoder_a, self.encoder_b)
        share_first(n_shared_decoder, self.decoder_a, self.decoder_b)
        self.discriminator_a, self.discriminator_b = discriminator(channels_a), discriminator(channels_b)
        self.adversarial_a, self.adversarial_b = adversarial(), adversarial()
        self.reconstruction, self.cycle = reconstruction(), cycle()
        self.ab, self.ba = Route(self.encoder_a, self.decoder_b), Route(self.encoder_b, self.decoder_a)

    def players(self) -> dict[str, list[nn.Module]]:
        return {
            "generators": [self.encoder_a, self.encoder_b, self.decoder_a, self.decoder_b],
            "discriminators": [self.discriminator_a, self.discriminator_b],
        }

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.ab, "ba": self.ba}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        a, b = batch.a, batch.b
        mean_a, mean_b = self.encoder_a(a), self.encoder_b(b)
        code_a, code_b = _sample(mean_a), _sample(mean_b)
        (fake_a, same_a), (fake_b, same_b) = (
            together(self.decoder_a, code_b, code_a),
            together(self.decoder_b, code_a, code_b),
        )
        yield self._judge(batch, fake_a.detach(), fake_b.detach())

        mean_fake_b, mean_fake_a = self.encoder_b(fake_b), self.encoder_a(fake_a)
        rec_a, rec_b = self.decoder_a(_sample(mean_fake_b)), self.decoder_b(_sample(mean_fake_a))
        kl_a, kl_b = _kl(mean_a), _kl(mean_b)
        fool_a = self.adversarial_a.for_generator(self.discriminator_a, a, fake_a)
        fool_b = self.adversarial_b.for_generator(self.discriminator_b, b, fake_b)
        losses = {
            "kl_a": self.lambda_kl * kl_a,  # equation 3
            "kl_b": self.lambda_kl * kl_b,  # equation 4
            "reconstruction_a": self.lambda_reconstruction * self.reconstruction(same_a, a),  # equation 3
            "reconstruction_b": self.lambda_reconstruction * self.reconstruction(same_b, b),  # equation 4
            "adversarial_ba": self.lambda_adversarial * fool_a,  # equation 5
            "adversarial_ab": self.lambda_adversarial * fool_b,  # equation 6
            # The authors' code leaves kl_a and kl_b out of these two; the equations have them.
            "cycle_kl_a": self.lambda_cycle_kl * (kl_a + _kl(mean_fake_b)),  # equation 7
            "cycle_kl_b": self.lambda_cycle_kl * (kl_b + _kl(mean_fake_a)),  # equation 8
            "cycle_a": self.lambda_cycle * self.cycle(rec_a, a),  # equation 7
            "cycle_b": self.lambda_cycle * self.cycle(rec_b, b),  # equation 8
        }
        images = {"a": a, "b": b, "fake_b": fake_b, "fake_a": fake_a, "rec_a": rec_a, "rec_b": rec_b}
        yield Update("generators", losses, images | {"same_a": same_a, "same_b": same_b})

    def _judge(self, batch: Batch, fake_a: Tensor, fake_b: Tensor) -> Update:
        """The discriminators' move (equations 5 and 6)."""
        judge_a, judge_b = Scored(self.discriminator_a), Scored(self.discriminator_b)
        losses = {
            "D_a": self.lambda_adversarial * self.adversarial_a.for_discriminator(judge_a, batch.a, fake_a),
            "D_b": self.lambda_adversarial * self.adversarial_b.for_discriminator(judge_b, batch.b, fake_b),
        }
        scores = {
            **judge_a.means(D_a_real=batch.a, D_a_fake=fake_a),
            **judge_b.means(D_b_real=batch.b, D_b_fake=fake_b),
        }
        return Update("discriminators", losses, scores=scores)


class Route(nn.Module):
    """A translator: the encoder of one domain, then the decoder of the other, without noise between them."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.size_multiple = int(getattr(encoder, "size_multiple", 1))

    def forward(self, images: Tensor) -> Tensor:
        translated: Tensor = self.decoder(self.encoder(images))
        return translated


def _sample(mean: Tensor) -> Tensor:
    """z ~ N(mean, I)."""
    return mean + torch.randn_like(mean)


def _kl(mean: Tensor) -> Tensor:
    """The distance of N(mean, I) to N(0, I), for each number of the code; without the ½, as in the authors' code."""
    # That code squares z in place of the mean: the same gradient on average, with noise.
    (mean,) = at_least_float32(mean)
    return mean.square().mean()
