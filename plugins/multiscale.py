"""Discriminators on several scales of an image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.patchgan import PatchGAN
from i2i.slots import Discriminator, Logits, maps_of


class Multiscale(nn.Module):
    """Equal discriminators, one for each level of an image pyramid: fine details and the whole.

    Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", arXiv
    1711.11585, section 3.2 and equation 3. Each level halves the one before it by an average over 3x3 pixels, as in the
    authors' code. The paper sums the losses of all levels; adversarial losses take their mean.

    Args:
        in_channels: of the images.
        n_scales: 3 in the paper, for images of 1024 x 2048 px; 2 is the authors' code's.
        discriminator: one for each scale, with weights of its own.

    Shape: a list of the maps of `discriminator` for images of H x W, H/2 x W/2, …
    """

    def __init__(
        self, in_channels: int, *, n_scales: Annotated[int, Ge(1)] = 2, discriminator: Discriminator = PatchGAN
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(discriminator(in_channels) for _ in range(n_scales))

    def forward(self, images: Tensor) -> list[Tensor]:
        pyramid = [images]
        for _ in self.scales[1:]:
            pyramid.append(F.avg_pool2d(pyramid[-1], 3, stride=2, padding=1, count_include_pad=False))
        return all_maps(discriminator(level) for discriminator, level in zip(self.scales, pyramid, strict=True))


def all_maps(judgements: Iterable[Logits]) -> list[Tensor]:
    """The maps of several discriminators in one list."""
    return [m for logits in judgements for m in maps_of(logits)]


@hookimpl
def register_discriminators() -> Factories:
    return {"multiscale": Multiscale}
