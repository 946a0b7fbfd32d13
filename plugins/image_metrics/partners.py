"""The likeness of translations to their true partners, which only pairs have. L1 and PSNR stand in i2i.reference."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor
from torch.nn import functional as F

from i2i.metric import ImageMetric, Translation
from i2i.reference.metrics import PARTNER, pair
from i2i_plugins.structural_losses import similarity

WINDOW, SIGMA = 11, 1.5
"""Of SSIM's Gaussian, in px (Wang et al. 2004, section III.C)."""
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of MS-SSIM's scales, finest first (Wang et al. 2003, section 3.2)."""


class SSIM(ImageMetric):
    """Structural similarity to the true partner: local means, contrasts and correlations, not pixels.

    Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", equations 13 and 17:
    in a Gaussian window of 11 x 11 px with standard deviation 1.5, wherever all of it lies in the image, averaged over
    places and channels. 1 where the images are equal; it can be below 0. Raises ValueError for images below 11 px.
    """

    title = "SSIM"
    better = "higher"
    needs = PARTNER

    def values(self, translation: Translation) -> Tensor:
        output, partner = pair(translation)
        _check_size(output, 1)
        return _similarity(output, partner)[0]


class MultiScaleSSIM(ImageMetric):
    """Structural similarity to the true partner on several scales, each half as fine as the one before.

    Wang, Simoncelli and Bovik 2003, "Multi-scale Structural Similarity for Image Quality Assessment", equation 7:
    contrasts and correlations on every scale, means on the coarsest, weighted as in section 3.2. A scale on which they
    are negative on average counts as 0. Five scales are the paper's, and need images of 176 px each way. Fewer take the
    first of its weights, enlarged to the same sum, and give other values than five. Raises ValueError for images that
    are too small.

    Args:
        n_scales: how many; 64 px are enough for three.
    """

    title = "MS-SSIM"
    better = "higher"
    needs = PARTNER

    def __init__(self, *, n_scales: Annotated[int, Ge(2), Le(5)] = 5) -> None:
        self.n_scales = n_scales

    def values(self, translation: Translation) -> Tensor:
        output, partner = pair(translation)
        _check_size(output, self.n_scales)
        weights = WEIGHTS[: self.n_scales]
        value = torch.ones(len(output), device=output.device)
        for weight in weights[:-1]:
            _, structure = _similarity(output, partner)
            value *= structure.relu() ** (weight / sum(weights))
            output, partner = F.avg_pool2d(output, 2), F.avg_pool2d(partner, 2)
        both, _ = _similarity(output, partner)
        return value * both.relu() ** (weights[-1] / sum(weights))


def _check_size(images: Tensor, n_scales: int) -> None:
    height, width = images.shape[-2:]
    least = [WINDOW * 2**scale for scale in range(n_scales)]
    if min(height, width) < least[-1]:
        fitting = sum(side <= min(height, width) for side in least)
        instead = f"; n_scales = {fitting} would do" if fitting > 1 else ""
        raise ValueError(f"images of {width} x {height} px are too small: it needs {least[-1]} px each way{instead}")


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) each: SSIM, and its part of contrast and structure alone, where the whole window lies in the image."""
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    luminance, structure = (part[..., inside, inside] for part in similarity(x, y, WINDOW, SIGMA, "ssim"))
    return (luminance * structure).mean((1, 2, 3)), structure.mean((1, 2, 3))
