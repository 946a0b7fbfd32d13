"""Feature matching: the generator also imitates what the discriminator makes of the real images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from i2i import hookimpl
from i2i.errors import I2IError, Problem
from i2i.hookspecs import Factories
from i2i.reference.losses import L1, LSGAN
from i2i.slots import Adversarial, Judge, Logits, maps_of
from i2i_plugins.penalties import layers

ACTIVATIONS = (
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Softplus, nn.Hardtanh, nn.Hardswish, nn.Tanh, nn.Sigmoid),
)


class FeatureMatching(nn.Module):
    """Makes fakes agree with their real images inside the discriminator too; for paired methods.

    Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (pix2pixHD),
    equations 4 and 5: adds weight * Σ mean |D_i(real) - D_i(fake)| to the generator's loss, over the outputs D_i of the
    discriminator's activations; no gradient flows along D_i(real). Of a discriminator with several maps the sum is
    divided by their number, since the game's own terms are a mean over them here and a sum there. Real and fake images
    are compared by their index: it makes sense where both show the same scene.

    Args:
        loss: the game.
        weight: λ of equation 5.

    Raises I2IError for a discriminator without activations.
    """

    def __init__(self, *, loss: Adversarial = LSGAN, weight: Annotated[float, Ge(0)] = 10.0) -> None:
        super().__init__()
        self.loss, self.distance = loss(), L1()
        self.differentiates_twice = getattr(self.loss, "differentiates_twice", False)
        self.weight = weight

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        judge = _Recording(discriminator)
        game = self.loss.for_generator(judge, real, fake)
        with torch.no_grad():
            wanted = judge.features(real)
        pairs = zip(judge.features(fake), wanted, strict=True)
        distances = [self.distance(feature, target.detach()) for feature, target in pairs]
        return game + self.weight * torch.stack(distances).sum() / judge.n_maps

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return self.loss.for_discriminator(discriminator, real, fake)


class _Recording:
    """A discriminator that remembers the outputs of its activations for each tensor it was shown."""

    def __init__(self, discriminator: Judge) -> None:
        self.discriminator = discriminator
        self.n_maps = 1
        self._features: dict[int, list[Tensor]] = {}

    def __call__(self, images: Tensor) -> Logits:
        outputs: list[Tensor] = []
        activations = [layer for layer in self.modules() if isinstance(layer, ACTIVATIONS)]
        hooks = [layer.register_forward_hook(lambda *call: outputs.append(call[2])) for layer in activations]
        try:
            logits = self.discriminator(images)
        finally:
            for hook in hooks:
                hook.remove()
        if not outputs:
            raise I2IError(Problem("feature_matching", "the discriminator has no activations to match"))
        self.n_maps = len(maps_of(logits))
        self._features[id(images)] = outputs
        return logits

    def modules(self) -> Iterator[nn.Module]:
        return iter(layers(self.discriminator).values())

    def features(self, images: Tensor) -> list[Tensor]:
        """The outputs for these images, which are shown now if they were not before."""
        if id(images) not in self._features:
            self(images)
        return self._features[id(images)]


@hookimpl
def register_adversarial_losses() -> Factories:
    return {"feature_matching": FeatureMatching}
