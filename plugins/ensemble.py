"""Several discriminators that judge together."""

from __future__ import annotations

from torch import Tensor, nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.patchgan import PatchGAN
from i2i.slots import Discriminator
from i2i_plugins.multiscale import all_maps
from i2i_plugins.pixelgan import PixelGAN


class Ensemble(nn.Module):
    """Several discriminators at once; their maps count equally.

    As Kumari et al. 2022, "Ensembling Off-the-shelf Models for GAN Training", arXiv 2112.09130, add discriminators to
    the one that is trained from scratch. The paper sums the losses of its discriminators; an adversarial loss takes the
    mean over all maps, so that a member with four maps counts four times as much as one with a single map.

    Args:
        in_channels: of the images.
        members: the discriminators, such as [{name = "patchgan"}, {name = "projected"}].

    Shape: a list of all maps, in the order of `members`.
    """

    def __init__(self, in_channels: int, *, members: tuple[Discriminator, ...] = (PatchGAN, PixelGAN)) -> None:
        super().__init__()
        self.members = nn.ModuleList(member(in_channels) for member in members)

    def forward(self, images: Tensor) -> list[Tensor]:
        return all_maps(member(images) for member in self.members)


@hookimpl
def register_discriminators() -> Factories:
    return {"ensemble": Ensemble}
