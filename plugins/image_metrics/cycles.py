"""What comes back from a translation, and what is hidden in it."""

from __future__ import annotations

from io import BytesIO
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from i2i.metric import ImageMetric, Need, Translation
from i2i.reference.metrics import mean_difference
from i2i.sampling import noised

BACK: frozenset[Need] = frozenset({"back"})


class CycleError(ImageMetric):
    """Mean absolute difference of an image and what comes back from its translation.

    Zhu et al. 2017, equation 2, for images in [0, 1]. See `hidden_information` for how much of it is honest.
    """

    title = "Cycle error"
    needs = BACK

    def values(self, translation: Translation) -> Tensor:
        return _error(translation, translation.output)


class HiddenInformation(ImageMetric):
    """How much worse images come back once their translation was rounded to 8 bits and slightly noised.

    A CycleGAN can hide its input in detail that nobody sees, and read it there on the way back (Chu et al. 2017,
    "CycleGAN, a Master of Steganography", arXiv 1712.02950). This is `cycle` of the noised translation less `cycle` of
    the translation itself: 0 if nothing is hidden; below 0 where noise happens to help. Every image gets the same
    noise, every time.

    Args:
        sigma: standard deviation of the noise, in grey levels of 8 bits.
    """

    title = "Hidden information"
    needs = BACK

    def __init__(self, *, sigma: Annotated[float, Ge(0)] = 1.0) -> None:
        self.sigma = sigma

    def values(self, translation: Translation) -> Tensor:
        return _worsening(translation, noised(translation.output, self.sigma))


class HiddenInformationQuantized(ImageMetric):
    """How much worse images come back once their translation was rounded to 8 bits, as most files hold it.

    As `hidden_information`, without the noise: what is hidden below one grey level.
    """

    title = "Hidden information (8 bits)"
    needs = BACK

    def values(self, translation: Translation) -> Tensor:
        return _worsening(translation, rounded(translation.output))


class HiddenInformationJPEG(ImageMetric):
    """How much worse images come back once their translation was a JPEG file.

    As `hidden_information`. JPEG leaves out faint fine detail, where noise only covers it. The files are those that
    `i2i translate` writes: by Pillow, with colours as fine as brightness. Raises ValueError for images that are neither
    grey nor RGB.

    Args:
        quality: of the files.
    """

    title = "Hidden information (JPEG)"
    needs = BACK

    def __init__(self, *, quality: Annotated[int, Ge(1), Le(100)] = 95) -> None:
        self.quality = quality

    def values(self, translation: Translation) -> Tensor:
        return _worsening(translation, compressed(translation.output, self.quality))


def _worsening(translation: Translation, disturbed: Tensor) -> Tensor:
    return _error(translation, disturbed) - _error(translation, translation.output)


def _error(translation: Translation, output: Tensor) -> Tensor:
    assert translation.back is not None  # `needs` says so
    return mean_difference(translation.back(output), translation.source)


def rounded(images: Tensor) -> Tensor:
    """To the nearest of the 256 levels of 8 bits; still in [-1, 1]."""
    return _levels(images) / 127.5 - 1


def compressed(images: Tensor, quality: int) -> Tensor:
    """As they come out of JPEG files. Raises ValueError for images that are neither grey nor RGB."""
    if images.shape[1] not in (1, 3):
        raise ValueError(f"a JPEG has 1 or 3 channels, and the images have {images.shape[1]}")
    pixels = _levels(images).byte().permute(0, 2, 3, 1).cpu().numpy()
    found = np.stack([_through_jpeg(one, quality) for one in pixels])
    return torch.from_numpy(found).to(images.device).permute(0, 3, 1, 2) / 127.5 - 1


def _levels(images: Tensor) -> Tensor:
    """[-1, 1] to whole numbers from 0 to 255."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round()


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """(H, W, 1 or 3) to the same."""
    file = BytesIO()
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    image.save(file, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(file)).reshape(pixels.shape)
