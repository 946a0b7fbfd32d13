"""UNIT: unpaired translation through a code that both domains share."""

from __future__ import annotations

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i_plugins.unit.method import UNIT
from i2i_plugins.unit.networks import UNITDecoder, UNITEncoder


@hookimpl
def register_methods() -> Factories:
    return {"unit": UNIT}


@hookimpl
def register_networks() -> Factories:
    return {"unit_encoder": UNITEncoder, "unit_decoder": UNITDecoder}
