"""Augmentations of training images: flips, turns, affine motions, crops and colours.

All chance comes from the generator that they are given. They are written in torch alone: torchvision takes two to four
times as long for motions that reflect and for colours, and seconds to be imported in a process that prepares batches.
"""

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i_plugins.augmentations.colour import ColourJitter
from i2i_plugins.augmentations.geometry import (
    Affine,
    QuarterTurn,
    RandomResizedCrop,
    horizontal_flip,
    rotation,
    vertical_flip,
)


@hookimpl
def register_augmentations() -> Factories:
    return {
        "horizontal_flip": horizontal_flip,
        "vertical_flip": vertical_flip,
        "quarter_turn": QuarterTurn,
        "rotation": rotation,
        "affine": Affine,
        "random_resized_crop": RandomResizedCrop,
        "colour_jitter": ColourJitter,
    }
