"""The cheap metrics of held-out pairs, and what all metrics of pixels share."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i.metric import ImageMetric, Need, Translation

PARTNER: frozenset[Need] = frozenset({"partner"})
MOST_DECIBEL = 100.0


class L1(ImageMetric):
    """Mean absolute difference to the true partner.

    Of images in [0, 1]: 0 where they are equal, 1 where one is black and the other white.
    """

    title = "L1"
    needs = PARTNER

    def values(self, translation: Translation) -> Tensor:
        return mean_difference(*pair(translation))


class PSNR(ImageMetric):
    """Peak signal-to-noise ratio: the mean squared difference to the true partner, in dB.

    10 log10(1 / MSE) for images in [0, 1], of each image by itself. An image that equals its partner counts as 100 dB,
    which is a difference of 1/400 of an 8-bit grey level; the mean over images would be infinite otherwise.
    """

    title = "PSNR"
    better = "higher"
    unit = "dB"
    needs = PARTNER

    def values(self, translation: Translation) -> Tensor:
        from kornia.metrics import psnr  # takes a while to import

        output, partner = ((images + 1) / 2 for images in pair(translation))
        each = [psnr(x, y, 1.0) for x, y in zip(output, partner, strict=True)]
        return torch.stack(each).clamp(max=MOST_DECIBEL)


def mean_difference(x: Tensor, y: Tensor) -> Tensor:
    """(N,): between images (N, C, H, W) in [-1, 1], as if they were in [0, 1]. Raises ValueError for unlike shapes."""
    check_alike(x, y)
    return ((x + 1) / 2 - (y + 1) / 2).abs().mean((1, 2, 3))


def check_alike(x: Tensor, y: Tensor) -> None:
    """Raises ValueError for images that cannot be compared pixel by pixel."""
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"it compares pixels, but the images have {x.shape[1]} and {y.shape[1]} channels")
    if x.shape != y.shape:
        sizes = (f"{width} x {height}" for height, width in (x.shape[-2:], y.shape[-2:]))
        raise ValueError(f"it compares pixels, but the images have {' and '.join(sizes)} px")


def pair(translation: Translation) -> tuple[Tensor, Tensor]:
    """Output and partner, which can be compared pixel by pixel."""
    assert translation.partner is not None  # `needs` says so
    check_alike(translation.output, translation.partner)
    return translation.output, translation.partner
