"""Classifiers of images, for methods that must know what an image shows."""

from __future__ import annotations

from torch import nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.init import Normal
from i2i.slots import Initialization


class LeNet(nn.Sequential):
    """Two convolutions with pooling and two linear layers: a small classifier of images of any size.

    LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", section II.B, as the authors of CyCADA
    vary it (Hoffman et al. 2018): 20 and 50 filters, max pooling, ReLU, 500 features. Theirs takes 28 px only; here
    the maps are averaged down to the 4 x 4 that it has there. It has no dropout, unlike theirs: CyCADA takes its
    predictions for labels while it is trained, and these are not to depend on chance.

    Args:
        in_channels: of the images.
        out_channels: classes.
        initialization: of all weights.

    Shape: (N, in_channels, H, W), H and W at least 16, to (N, out_channels) logits.
    """

    def __init__(self, in_channels: int, out_channels: int, *, initialization: Initialization = Normal) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 20, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(20, 50, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(50 * 4 * 4, 500),
            nn.ReLU(),
            nn.Linear(500, out_channels),
        )
        initialization()(self)


@hookimpl
def register_networks() -> Factories:
    return {"lenet": LeNet}
