"""Networks of timm: frozen ones in losses and discriminators, and as the encoder of a generator."""

from __future__ import annotations

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i_plugins.timm_features.discriminators import Projected, VisionAided
from i2i_plugins.timm_features.losses import Perceptual, Style
from i2i_plugins.timm_features.unet import TimmUnet


@hookimpl
def register_generators() -> Factories:
    return {"timm_unet": TimmUnet}


@hookimpl
def register_discriminators() -> Factories:
    return {"projected": Projected, "vision_aided": VisionAided}


@hookimpl
def register_losses() -> Factories:
    return {"perceptual": Perceptual, "style": Style}
