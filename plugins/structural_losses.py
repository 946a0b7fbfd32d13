"""Structural similarity, at one scale and at several."""

from __future__ import annotations

from functools import reduce
from operator import mul

import torch
from torch import Tensor

from i2i import hookimpl
from i2i.errors import I2IError, Problem
from i2i.hookspecs import Factories
from i2i.reference.losses import at_least_float32, without_autocast


class SSIM:
    """1 - SSIM: compares local means, contrasts and correlations instead of pixels.

    Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity", equations 13 and 17:
    for each channel, in a Gaussian window of 11 x 11 px with standard deviation 1.5; averaged over pixels and channels.
    0 where the images are equal, 2 at most. Borders are mirrored; the paper leaves them out.

    Shape: two tensors (N, C, H, W) in [-1, 1], compared in float32 or wider, to a scalar. Raises I2IError for images
    of less than 6 px.
    """

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        luminance, structure = similarity(prediction, target, 11, 1.5, "ssim")
        return 1 - (luminance * structure).mean()


class MultiScaleSSIM:
    """1 - MS-SSIM: structural similarity in windows of five sizes at once.

    Zhao et al. 2017, "Loss Functions for Image Restoration with Neural Networks", arXiv 1511.08861, section III.C: the
    contrast and structure in Gaussian windows of standard deviations 0.5, 1, 2, 4 and 8 px, multiplied, times the
    luminance in the widest one, for each channel. The images keep their size, where Wang et al. 2003 halve them four
    times. The paper takes this at the middle of each patch; here it is averaged over pixels and channels, with borders
    mirrored. The paper's mix with L1 (section III.D) is nearly this and `l1` as two terms, with weights 0.84 and 0.16.

    Shape: two tensors (N, C, H, W) in [-1, 1], compared in float32 or wider, to a scalar. Raises I2IError for images
    of less than 17 px.
    """

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        scales = [similarity(prediction, target, 33, sigma, "ms_ssim") for sigma in (0.5, 1.0, 2.0, 4.0, 8.0)]
        luminance, _ = scales[-1]
        return 1 - reduce(mul, (structure for _, structure in scales), luminance).mean()


def similarity(x: Tensor, y: Tensor, window: int, sigma: float, name: str) -> tuple[Tensor, Tensor]:
    """Luminance (equation 6), and contrast times structure (equations 9 and 10), of Wang et al. 2004 at every pixel.

    Args:
        x, y: (N, C, H, W) in [-1, 1].
        window: taps of the Gaussian, odd.
        sigma: standard deviation of the Gaussian in px.
        name: of the loss, for the message about images that are too small.
    """
    from kornia.filters import gaussian_blur2d  # takes a while to import

    height, width = x.shape[-2:]
    if min(height, width) <= window // 2:
        message = f"images of {width} x {height} px are too small for it; it needs {window // 2 + 1} px each way"
        raise I2IError(Problem(f"loss {name!r}", message))
    c1, c2 = 0.01**2, 0.03**2  # for images in [0, 1]: the luminance is a ratio, and needs black to be 0
    x, y = ((image + 1) / 2 for image in at_least_float32(x, y))
    with without_autocast(x):
        blurred = gaussian_blur2d(torch.cat([x, y, x * x, y * y, x * y]), (window, window), (sigma, sigma), "reflect")
    mean_x, mean_y, xx, yy, xy = blurred.chunk(5)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
    return luminance, structure


@hookimpl
def register_losses() -> Factories:
    return {"ssim": SSIM, "ms_ssim": MultiScaleSSIM}
