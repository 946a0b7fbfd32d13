"""Spectral normalization around any discriminator."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.patchgan import PatchGAN
from i2i.slots import Discriminator, Logits


class Spectral(nn.Module):
    """Another discriminator with each of its weights divided by its largest singular value.

    Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", arXiv 1802.05957: equation 8, by
    one power iteration per pass in training (algorithm 1). Convolutions and linear layers are normalized; what is
    frozen or normalized so already stays as it is. The paper has no other normalization beside it: `norm = "none"`.

    Args:
        in_channels: of the images.
        discriminator: the one that is normalized.

    Shape: that of `discriminator`.
    """

    def __init__(self, in_channels: int, *, discriminator: Discriminator = PatchGAN) -> None:
        super().__init__()
        self.discriminator = discriminator(in_channels)
        normalize_spectrally(self.discriminator)

    def forward(self, images: Tensor) -> Logits:
        logits: Logits = self.discriminator(images)
        return logits


def normalize_spectrally(module: nn.Module) -> None:
    """Divides every weight of convolutions and linear layers that learns by its largest singular value, from now on."""
    for layer in [*module.modules()]:
        is_weighted = isinstance(layer, (_ConvNd, nn.Linear)) and not is_parametrized(layer, "weight")
        if is_weighted and layer.weight.requires_grad:
            spectral_norm(layer)


@hookimpl
def register_discriminators() -> Factories:
    return {"spectral": Spectral}
