"""The contract of its kind, for every registered component; tests/test_conformance.py shows what the checks notice."""

from pathlib import Path

import pytest
import torch

from i2i.component import KINDS
from i2i.engine import Engine
from i2i.testing import CHECKS, check_component

PLUGINS = Path(__file__).parent.parent / "plugins"


def everything() -> list:
    """Every component of this repository, as a parameter named after it."""
    names = [p.stem for p in PLUGINS.glob("[!_]*.py")] + [p.parent.name for p in PLUGINS.glob("*/__init__.py")]
    engine = Engine([f"i2i_plugins.{name}" for name in sorted(names)], entry_points=False)
    return [pytest.param(c, engine.registry, id=f"{c.kind.name}-{c.name}") for c in engine.components()]


RESNET = {"generator": {"base_channels": 4, "n_blocks": 1}, "discriminator": {"base_channels": 4}}
UNET = {"generator": {"base_channels": 4, "depth": 5}, "discriminator": {"base_channels": 4}}
DCGAN = {"generator": {"base_channels": 4}, "discriminator": {"base_channels": 4}}
SMALL = {
    "cyclegan": RESNET,
    "adversarial_cycle": {**RESNET, "cycle_discriminator": {"base_channels": 4}},
    "cycada": RESNET,
    "cut": RESNET,
    "fastcut": RESNET,
    "sincut": RESNET,
    "pix2pix": UNET,
    "colorization": UNET,
    "gan": DCGAN,
    "cogan": DCGAN,
    "unit": {
        "code_channels": 8,
        "encoder": {"base_channels": 2, "n_blocks": 2},
        "decoder": {"base_channels": 2, "n_blocks": 2},
        "discriminator": {"base_channels": 4},
    },
    "style_transfer": {"generator": {"base_channels": 4, "n_blocks": 1}},
    "resnet": {"base_channels": 8, "n_blocks": 2},
    "resnet_antialiased": {"base_channels": 8, "n_blocks": 2},
    "mobile_resnet": {"base_channels": 8, "n_blocks": 2},
    "unet": {"base_channels": 4, "depth": 6},
    "unet_attention": {"base_channels": 8, "depth": 2, "n_blocks": 1},
    "vit": {"width": 16, "n_blocks": 1, "n_heads": 2},
    "timm_unet": {"base_channels": 8, "layers": [0, 1]},
    "dcgan_discriminator": {"base_channels": 8},
    "projected": {"base_channels": 8, "layers": [1, 2]},
    "vision_aided": {"base_channels": 8, "layers": [2]},
    "unet_discriminator": {"base_channels": 8, "n_layers": 3},
    "multiscale": {"discriminator": {"base_channels": 8}},
    "spectral": {"discriminator": {"base_channels": 8}},
    "ensemble": {"members": [{"name": "patchgan", "base_channels": 8}, {"name": "pixelgan", "base_channels": 8}]},
    "dcgan_generator": {"base_channels": 8},
    "style": {"layers": [0, 1]},
    "unit_encoder": {"base_channels": 4, "n_blocks": 2},
    "unit_decoder": {"base_channels": 4, "n_blocks": 2},
}
"""Options that make a check quick; every default is built in the test after it."""


@pytest.mark.parametrize(("component", "registry"), everything())
def test_contract(component, registry):
    small = SMALL.get(component.name)
    if (component.kind.name, component.name) == ("metric", "ms_ssim"):  # there is a loss of that name
        small = {"n_scales": 3}
    assert [str(failure) for failure in check_component(component, registry, small)] == []


@pytest.mark.parametrize(("component", "registry"), [p for p in everything() if p.values[0].name in SMALL])
def test_defaults_build(component, registry):
    builder = registry.resolve(component.kind.name, component.name, component.name)
    with torch.device("meta"):
        builder(*[3] * len(component.kind.wired))


def test_what_is_made_small_is_there():
    assert SMALL.keys() <= {p.values[0].name for p in everything()}


def test_every_kind_has_checks():
    assert CHECKS.keys() == KINDS.keys()
