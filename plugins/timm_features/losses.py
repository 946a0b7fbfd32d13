"""Losses between the feature maps of two images: what they show, and in which style."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from i2i.reference.losses import without_autocast
from i2i_plugins.timm_features.backbone import MODEL, FrozenFeatures, Layers, Weights

Weight = Annotated[float, Ge(0)]


class Perceptual(nn.Module):
    """Mean squared difference between the features of two images, from a frozen network of timm.

    Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", arXiv 1603.08155,
    equation 2: for each level, the squared distance of the feature maps divided by C H W. The paper's network is
    `model = "vgg16"` with `weights = "timm"`, which is a download.

    Args:
        model: of timm, see `timm.list_models()`; of those that take images of any size.
        layers: levels whose distances are summed; 0 has the largest maps.
        lambda_layer: weight of all levels, or of each.
        weights: `package` (comes with i2i), `timm` (downloads), `random`, or a .safetensors file.

    Shape: two tensors (N, 3, H, W) or (N, 1, H, W) in [-1, 1], computed in float32 or wider, to a scalar.
    """

    def __init__(
        self,
        *,
        model: str = MODEL,
        layers: Layers = (2,),
        lambda_layer: Weight | tuple[Weight, ...] = 1.0,
        weights: Weights = "package",
    ) -> None:
        super().__init__()
        self.lambdas = _for_each(layers, lambda_layer)
        self.features = FrozenFeatures(3, model, layers, weights)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return _sum_over_levels(F.mse_loss, self.lambdas, self.features, prediction, target)


class Style(nn.Module):
    """Squared distance between the Gram matrices of two images' features: their textures.

    Gatys et al. 2016, "Image Style Transfer Using Convolutional Neural Networks", equations 3 to 5, in the
    normalization of Johnson et al. 2016, arXiv 1603.08155, equations 3 and 4: G = F Fᵀ / (C H W) for features F of C
    rows, and the squared Frobenius norm of the difference, which is 4 times Gatys' E.

    Args:
        model: of timm, see `timm.list_models()`; of those that take images of any size.
        layers: levels whose distances are summed; 0 has the largest maps.
        lambda_layer: weight of all levels, or of each (Gatys' w).
        weights: `package` (comes with i2i), `timm` (downloads), `random`, or a .safetensors file.

    Shape: (N, 3, H, W) or (N, 1, H, W) in [-1, 1] twice, of any two sizes, computed in float32 or wider, to a
        scalar.
    """

    def __init__(
        self,
        *,
        model: str = MODEL,
        layers: Layers = (0, 1, 2, 3),
        lambda_layer: Weight | tuple[Weight, ...] = 1.0,
        weights: Weights = "package",
    ) -> None:
        super().__init__()
        self.lambdas = _for_each(layers, lambda_layer)
        self.features = FrozenFeatures(3, model, layers, weights)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return _sum_over_levels(_gram_distance, self.lambdas, self.features, prediction, target)


def gram(features: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C, C): the mean products of channels over the image, divided by C."""
    rows = features.flatten(2)
    with without_autocast(features):  # it would multiply in half precision
        return rows @ rows.mT / (rows.shape[1] * rows.shape[2])


def _gram_distance(prediction: Tensor, target: Tensor) -> Tensor:
    return (gram(prediction) - gram(target)).square().sum((1, 2)).mean()


def _for_each(layers: Sequence[int], weight: float | tuple[float, ...]) -> tuple[float, ...]:
    weights = weight if isinstance(weight, tuple) else (weight,) * len(layers)
    if len(weights) != len(layers):
        raise ValueError(f"lambda_layer has {len(weights)} weights for {len(layers)} layers")
    return weights


def _sum_over_levels(
    distance: Callable[[Tensor, Tensor], Tensor],
    lambdas: Sequence[float],
    features: FrozenFeatures,
    prediction: Tensor,
    target: Tensor,
) -> Tensor:
    levels = zip(features(prediction), features(target), strict=True)
    return torch.stack([w * distance(*maps) for w, maps in zip(lambdas, levels, strict=True)]).sum()
