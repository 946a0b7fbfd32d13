"""Normalizations of timm that take (N, C, H, W): over the channels of each pixel, and filter response."""

from __future__ import annotations

from torch import nn

from i2i import hookimpl
from i2i.hookspecs import Factories


def timm_layer2d(channels: int) -> nn.Module:
    """All channels of each pixel to mean 0 and variance 1, with weights (timm's LayerNorm2d).

    Ba et al. 2016, equation 3, at every position on its own, as in ConvNeXt (Liu et al. 2022), with epsilon 1e-6.

    Shape: (N, channels, H, W) to the same.
    """
    from timm.layers import LayerNorm2d  # takes seconds to import

    norm: nn.Module = LayerNorm2d(channels)
    return norm


def timm_rms2d(channels: int) -> nn.Module:
    """All channels of each pixel to a mean square of 1, with weights (timm's RmsNorm2d).

    Zhang and Sennrich 2019, equation 4, at every position on its own, with epsilon 1e-6; it is `pixel` with a scale for
    each channel.

    Shape: (N, channels, H, W) to the same.
    """
    from timm.layers import RmsNorm2d

    norm: nn.Module = RmsNorm2d(channels)
    return norm


def timm_simple2d(channels: int) -> nn.Module:
    """All channels of each pixel divided by their standard deviation, with weights (timm's SimpleNorm2d).

    The deviation is the unbiased one, with epsilon 1e-6; the mean is not taken off.

    Shape: (N, channels, H, W) to the same. Raises ValueError for a single channel.
    """
    if channels == 1:
        raise ValueError("1 channel has no standard deviation")
    from timm.layers import SimpleNorm2d

    norm: nn.Module = SimpleNorm2d(channels)
    return norm


def timm_filter_response(channels: int) -> nn.Module:
    """Each channel of each image to a mean square of 1, with weights (timm's filter response norm).

    Singh and Krishnan 2020, arXiv 1911.09737, with epsilon 1e-5, without the thresholded activation that
    the paper adds.

    Shape: (N, channels, H, W) to the same.
    """
    from timm.layers import FilterResponseNormAct2d

    norm: nn.Module = FilterResponseNormAct2d(channels, apply_act=False)
    return norm


@hookimpl
def register_normalizations() -> Factories:
    return {
        "timm_layer2d": timm_layer2d,
        "timm_rms2d": timm_rms2d,
        "timm_simple2d": timm_simple2d,
        "timm_filter_response": timm_filter_response,
    }
