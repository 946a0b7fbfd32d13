"""Colorization: pix2pix from lightness to colour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.method import Batch, Method, Update
from i2i.reference.losses import L1, at_least_float32, without_autocast
from i2i.reference.patchgan import PatchGAN
from i2i.slots import Adversarial, Discriminator, Generator, Pairwise
from i2i_plugins.adversarial_losses import Vanilla
from i2i_plugins.pix2pix import Pix2Pix
from i2i_plugins.unet import UNet


class Colorization(Method):
    """Gives grey images colour: pix2pix from the lightness of Lab to its a and b.

    Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", arXiv 1611.07004, the
    experiments on colorization, after Zhang et al. 2016; equation 4 between L and ab. The channels have the ranges of
    the authors' code: L / 50 - 1 and ab / 110. What is learned comes from domain b; domain a holds images to colour.

    Args:
        channels_a, channels_b: of grey images, 1, or colour images that are shown without their colour, 3; and 3.
        lambda_l1: weight of the reconstruction.
        generator: from L to ab.
        discriminator: of L and ab together.
        adversarial: the game.
        reconstruction: distance of the ab that the generator gives and those of the image.
    """

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
        if channels_a not in (1, 3) or channels_b != 3:
            raise ValueError(f"colours images of 1 or 3 channels by images of 3, not of {channels_a} by {channels_b}")
        objective = Pix2Pix(
            1,
            2,
            lambda_l1=lambda_l1,
            generator=generator,
            discriminator=discriminator,
            adversarial=adversarial,
            reconstruction=reconstruction,
        )
        self.colorizer = Colorizer(objective.generator)  # first, since buffers are saved by the first of two names
        self.objective = objective

    def players(self) -> dict[str, list[nn.Module]]:
        return self.objective.players()

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.colorizer}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        lightness, chroma = to_lab(batch.b)
        for move in self.objective.play(Batch(lightness, chroma), step):
            shown = {name: to_rgb(lightness, move.images[name]) for name in ("b", "fake_b") if name in move.images}
            yield replace(move, images=shown)


class Colorizer(nn.Module):
    """Images with the colours that a generator from L to ab gives them: (N, 1 or 3, H, W) to (N, 3, H, W)."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator
        self.size_multiple = int(getattr(generator, "size_multiple", 1))

    def forward(self, images: Tensor) -> Tensor:
        lightness, _ = to_lab(images.expand(-1, 3, -1, -1))
        return to_rgb(lightness, self.generator(lightness)).clamp(-1, 1)


def to_lab(images: Tensor) -> tuple[Tensor, Tensor]:
    """RGB in [-1, 1] as (N, 1, H, W) lightness in [-1, 1] and (N, 2, H, W) a and b, divided by 110."""
    from kornia.color import rgb_to_lab  # takes a while to import

    (images,) = at_least_float32(images)
    with without_autocast(images):
        lab = rgb_to_lab((images + 1) / 2)
    return lab[:, :1] / 50 - 1, lab[:, 1:] / 110


def to_rgb(lightness: Tensor, chroma: Tensor) -> Tensor:
    """The inverse. Colours that no RGB has lie outside of [-1, 1], where a clip would leave them no gradient."""
    from kornia.color import lab_to_rgb

    lightness, chroma = at_least_float32(lightness, chroma)
    with without_autocast(lightness):
        return lab_to_rgb(torch.cat([(lightness + 1) * 50, chroma * 110], 1), clip=False) * 2 - 1


@hookimpl
def register_methods() -> Factories:
    return {"colorization": Colorization}
