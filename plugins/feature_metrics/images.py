"""Distances between the feature maps of two images."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from i2i.metric import ImageMetric, Need, Translation
from i2i_plugins.feature_metrics.network import DEFAULT, INCEPTION, Weights, shared_network

PLACES = 100


class SeenOnMaps(ImageMetric):
    """A metric of the feature maps of a pretrained network."""

    def __init__(self, *, network: str = DEFAULT, weights: Weights = "auto") -> None:
        if network == INCEPTION:
            raise ValueError(f"{INCEPTION!r} gives no feature maps; take 'inception_v3', timm's, or another")
        self.see = shared_network(network, weights)
        self.network = self.see.name


class Perceptual(SeenOnMaps):
    """Distance of an output's features to its true partner's, at each place and level.

    Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", arXiv 1801.03924,
    equation 1: channels are scaled to unit length at each place, their squared differences summed over channels,
    averaged over places, summed over levels. All channels weigh 1: it is no LPIPS, whose weights are learned from
    human judgements, for networks that are not here.

    Args:
        network: whose features, at all its levels: `efficientnet_lite0` (comes with i2i), `dinov2` or any of timm
            (download).
        weights: `auto`, its own, or a .safetensors file with timm's names.
    """

    title = "perceptual distance"
    needs: ClassVar[frozenset[Need]] = frozenset({"partner"})

    def values(self, translation: Translation) -> Tensor:
        assert translation.partner is not None
        levels = zip(self.see(translation.output).maps, self.see(translation.partner).maps, strict=True)
        apart = [(F.normalize(x) - F.normalize(y)).square().sum(1).mean((1, 2)) for x, y in levels]
        return sum(apart[1:], apart[0])


class Structure(SeenOnMaps):
    """How much of the input's layout is lost: which places look alike, before and after.

    Tumanyan et al. 2022, "Splicing ViT Features for Semantic Appearance Transfer", arXiv 2201.00424, equation 4: the
    cosine between the features of every two places, in the input and in the output. As in the authors' code the
    squared differences are averaged, where the paper takes their root of sum: it does not depend on the number of
    places. The paper's features are the keys of DINO-ViT's last layer; these are the deepest maps of the network that
    have 100 places or more: 14 x 14 of the default one, as many as of a ViT with patches of 16 px.

    Args:
        network: whose features: `efficientnet_lite0` (comes with i2i), `dinov2` or any of timm (download).
        weights: `auto`, its own, or a .safetensors file with timm's names.
    """

    title = "structure distance"

    def values(self, translation: Translation) -> Tensor:
        given, made = (self_similarity(_layout(self.see(x).maps)) for x in (translation.source, translation.output))
        return (given - made).square().mean((1, 2))


def _layout(maps: list[Tensor]) -> Tensor:
    """The deepest maps that are fine enough to show where things are; the first if none are."""
    return next((level for level in reversed(maps) if level[0, 0].numel() >= PLACES), maps[0])


def self_similarity(maps: Tensor) -> Tensor:
    """(N, C, H, W) to (N, HW, HW): the cosine between the features of every two places."""
    places = F.normalize(maps.flatten(2))
    return places.mT @ places
