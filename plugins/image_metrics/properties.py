"""What a translator does to images. None of it is better or worse by itself: the task says how much is right."""

from __future__ import annotations

import torch
from torch import Tensor

from i2i.metric import ImageMetric, SetMetric, Translation
from i2i.reference.metrics import mean_difference

LEAST_SIDE = 8
FAINT = 1e-8
"""Mean square, in [-1, 1], below which an image has one colour: an eightieth of a grey level of 8 bits."""


class Change(ImageMetric):
    """Mean absolute difference of an image and its translation: how far images are moved at all.

    Of images in [0, 1]; near 0 the translator copies them. Raises ValueError where the domains have unlike channels.
    """

    title = "Change"
    better = ""

    def values(self, translation: Translation) -> Tensor:
        return mean_difference(translation.output, translation.source)


class ColourShift(ImageMetric):
    """Distance between the mean colours of an image and its translation, in CIELAB.

    The CIE 1976 colour difference ΔE*ab of two colours, each the mean of L*, a* and b* over an sRGB image. From black
    to white it is 100; 2.3 can just be seen (Mahy et al. 1994). The identity loss is there to keep it small (Zhu et al.
    2017, section 5.2). Raises ValueError for images of other than 3 channels.
    """

    title = "Colour shift"
    better = ""
    unit = "ΔE"

    def values(self, translation: Translation) -> Tensor:
        images = translation.source, translation.output
        if any(one.shape[1] != 3 for one in images):
            n_channels = " and ".join(str(one.shape[1]) for one in images)
            raise ValueError(f"it compares colours of 3 channels, and the domains have {n_channels}")
        from kornia.color import rgb_to_lab  # takes a while to import

        before, after = (rgb_to_lab((one + 1) / 2).mean((2, 3)) for one in images)
        return (after - before).norm(dim=1)


class HighFrequency(SetMetric):
    """Fine detail of translations over that of real images; 1 is as much, more is noise or a checkerboard.

    An image's share is that of its spectral energy above half of the Nyquist frequency, in waves shorter than 4 px: of
    the Fourier transform under a Hann window, the mean left out. The mean share of the translations is divided by that
    of the real images. Raises ValueError for images below 8 px, and where the real ones have no such detail.
    """

    title = "High frequencies"
    better = ""
    bounds = (0, torch.inf)

    def features(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if min(height, width) < LEAST_SIDE:
            raise ValueError(f"images of {width} x {height} px are too small: it needs {LEAST_SIDE} px each way")
        window = torch.outer(*(torch.hann_window(side, device=images.device) for side in (height, width)))
        waves = images - (images * window).sum((2, 3), keepdim=True) / window.sum()
        energy = torch.fft.fft2(waves * window, norm="forward").abs().square().sum(1)
        down, across = (torch.fft.fftfreq(side, device=images.device) for side in (height, width))
        is_fine = torch.hypot(down[:, None], across) > 0.25  # cycles per pixel; Nyquist's is a half
        return ((energy * is_fine).sum((1, 2)) / energy.sum((1, 2)).clamp_min(FAINT))[:, None]

    def statistic(self, outputs: Tensor, targets: Tensor) -> float:
        real = float(targets.mean())
        if not real:
            raise ValueError("the real images have no waves shorter than 4 px to compare with")
        return float(outputs.mean()) / real
