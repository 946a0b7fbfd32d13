"""Generators that look at the whole image at once: a U-Net with attention, and a vision transformer."""

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i_plugins.attention.unet import AttentionUNet
from i2i_plugins.attention.vit import VisionTransformer


@hookimpl
def register_generators() -> Factories:
    return {"unet_attention": AttentionUNet, "vit": VisionTransformer}
