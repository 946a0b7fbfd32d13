"""What CUT, FastCUT and SinCUT share: patches of a translation are told by the patches of its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, MinLen
from torch import Tensor, nn

from i2i.errors import I2IError, Problem
from i2i.reference.init import Normal
from i2i.slots import Initialization, Network, PairLoss

Taps = Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)]
Count = Annotated[int, Ge(1)]
Several = Annotated[int, Ge(2)]
Weight = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]

TAPS = (0, 4, 8, 12, 16)
"""The authors' layers of the antialiased ResNet: padded image, both downsampling convolutions, blocks 1 and 5."""


class PatchProjector(nn.Sequential):
    """Two linear layers with a ReLU between, from features to the space where patches are compared.

    Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", arXiv 2007.15651, section 3: H_l,
    one for each layer. The vectors get their length of 1 in the loss. Weights have the names of the authors' code
    (`0.weight`, `2.weight` behind `mlp_0`, `mlp_1`, …).

    Args:
        in_channels, out_channels: of the features and of the vectors; the inner layer is as wide as the vectors.
        initialization: of all weights.

    Shape: (…, in_channels) to (…, out_channels).
    """

    def __init__(self, in_channels: int, out_channels: int, *, initialization: Initialization = Normal) -> None:
        super().__init__(nn.Linear(in_channels, out_channels), nn.ReLU(), nn.Linear(out_channels, out_channels))
        initialization()(self)


class Contrast(nn.Module):
    """PatchNCE between a translation and its source, layer by layer of the generator (Park et al. 2020, equation 3).

    Where the equation sums over layers and patches, this takes means, as the authors' code does.

    Args:
        generator: whose layers are compared.
        projector: from a layer's channels to vectors, one for each tap, named as in the authors' code.
        nce: the loss between vectors (N, P, C).
        taps: the layers.
        n_patches: places that are compared in each layer, the same in all images; all of them if a layer has fewer.
        n_features: length of the vectors.

    Raises ValueError for a tap that is no layer.
    """

    def __init__(
        self, generator: Any, projector: Network, nce: PairLoss, taps: Sequence[int], n_patches: int, n_features: int
    ) -> None:
        super().__init__()
        channels = enumerate(generator.feature_channels(taps))
        self.projectors = nn.ModuleDict({f"mlp_{place}": projector(n, n_features) for place, n in channels})
        self.nce, self.taps, self.n_patches = nce, taps, n_patches

    def forward(self, generator: Any, translation: Tensor, source: Tensor, *, mirrored: bool = False) -> Tensor:
        """Scalar, the mean over the layers; gradients flow through the translation alone.

        Args:
            mirrored: the translation is that of the mirrored source, so that its features have to be mirrored back.
        """
        queries = generator.encode(translation, self.taps)
        with torch.no_grad():
            keys = generator.encode(source, self.taps)
        losses = []
        for project, query, key in zip(self.projectors.values(), queries, keys, strict=True):
            # no place twice; drawn on the CPU, so that no device has to wait
            places = torch.randperm(query.shape[2] * query.shape[3])[: self.n_patches].to(query.device)
            with torch.no_grad():
                target = project(vectors(key, places))
            losses.append(self.nce(project(vectors(query.flip(3) if mirrored else query, places)), target))
        return torch.stack(losses).mean()


def vectors(maps: Tensor, places: Tensor) -> Tensor:
    """(N, C, H, W) to (N, P, C): what stands at P places, counted row by row."""
    return maps.flatten(2)[:, :, places].mT


def across_images(nce: PairLoss) -> PairLoss:
    """The contrast with the patches of all images of the batch as if they were one image's."""

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        query, key = (t.flatten(0, 1)[None] for t in (prediction, target))
        if query.shape[1] == 1:
            message = "one crop with one patch has no negatives; take more crops, or a higher method.n_patches"
            raise I2IError(Problem("data.batch_size", message))
        return nce(query, key)

    return loss


def require_equal(channels_a: int, channels_b: int) -> None:
    """Raises ValueError where the generator could not encode what it gives."""
    if channels_a != channels_b:
        raise ValueError(
            f"the generator encodes its own images, so channels must be equal, not {channels_a} and {channels_b}"
        )
