"""Metrics without a network: against true partners, around the cycle, and what a translation does to an image."""

from __future__ import annotations

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i_plugins.image_metrics.cycles import (
    CycleError,
    HiddenInformation,
    HiddenInformationJPEG,
    HiddenInformationQuantized,
)
from i2i_plugins.image_metrics.partners import SSIM, MultiScaleSSIM
from i2i_plugins.image_metrics.properties import Change, ColourShift, HighFrequency


@hookimpl
def register_metrics() -> Factories:
    return {
        "ssim": SSIM,
        "ms_ssim": MultiScaleSSIM,
        "cycle": CycleError,
        "hidden_information": HiddenInformation,
        "hidden_information_quantized": HiddenInformationQuantized,
        "hidden_information_jpeg": HiddenInformationJPEG,
        "change": Change,
        "colour_shift": ColourShift,
        "high_frequency": HighFrequency,
    }
