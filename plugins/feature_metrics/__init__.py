"""Metrics that see images through a pretrained network: distances of sets, and of an image to another."""

from __future__ import annotations

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i_plugins.feature_metrics.images import Perceptual, Structure
from i2i_plugins.feature_metrics.sets import FID, KID, Coverage, Density, Diversity, Precision, Recall


@hookimpl
def register_metrics() -> Factories:
    return {
        "kid": KID,
        "fid": FID,
        "precision": Precision,
        "recall": Recall,
        "density": Density,
        "coverage": Coverage,
        "diversity": Diversity,
        "perceptual": Perceptual,
        "structure": Structure,
    }
