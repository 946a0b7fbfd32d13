"""Discriminators that are made of others, and the one that judges every pixel."""

import copy

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import is_parametrized

from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.receptive_field import receptive_field
from i2i.reference.patchgan import PatchGAN
from i2i.run import Run
from i2i.testing import check_component
from i2i_plugins.ensemble import Ensemble
from i2i_plugins.multiscale import Multiscale
from i2i_plugins.pixelgan import PixelGAN
from i2i_plugins.spectral import Spectral
from i2i_plugins.timm_features import Projected
from i2i_plugins.unet_discriminator import UnetDiscriminator

TINY = {"model": "test_resnet", "weights": "random"}
SMALL = {"name": "patchgan", "base_channels": 4, "n_layers": 1}


def patchgan(in_channels: int) -> PatchGAN:
    return PatchGAN(in_channels, base_channels=4, n_layers=1, norm=nn.Identity)


def averaged(image: torch.Tensor) -> torch.Tensor:
    """The mean over 3x3 px around every second pixel, of those that are inside."""
    height, width = image.shape[-2:]
    rows = []
    for y in range(0, height, 2):
        row = []
        for x in range(0, width, 2):
            row.append(image[..., max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean((-2, -1)))
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def test_multiscale_sees_a_pyramid():
    judge = Multiscale(3, n_scales=3, discriminator=patchgan)
    images = torch.rand(2, 3, 37, 42) * 2 - 1
    half = averaged(images)
    for found, one, level in zip(judge(images), judge.scales, (images, half, averaged(half)), strict=True):
        torch.testing.assert_close(found, one(level))
    assert len({id(p) for p in judge.parameters()}) == 3 * len(list(patchgan(3).parameters()))


def test_lists_of_maps_become_one_list():
    judge = Ensemble(3, members=(patchgan, lambda n: Multiscale(n, discriminator=patchgan), PixelGAN))
    images = torch.rand(1, 3, 32, 32)
    alone, several, pixels = judge.members
    expected = [alone(images), *several(images), pixels(images)]
    assert len(expected) == 4
    for found, map_ in zip(judge(images), expected, strict=True):
        torch.testing.assert_close(found, map_)


def test_an_ensemble_has_members(engine: Engine):
    with pytest.raises(I2IError, match=r"discriminator.members: takes a list of components, at least one"):
        engine.registry.resolve("discriminator", {"name": "ensemble", "members": []}, "discriminator")
    members = [{"name": "patchgan"}, {"name": "patchgan", "n_layer": 2}]
    with pytest.raises(I2IError, match=r"discriminator.members.1.n_layer: unknown option; did you mean 'n_layers'"):
        engine.registry.resolve("discriminator", {"name": "ensemble", "members": members}, "discriminator")


@pytest.mark.parametrize(
    "discriminator",
    [
        {"name": "spectral", "discriminator": SMALL | {"norm": "none"}},
        {"name": "multiscale", "discriminator": SMALL},
        {"name": "unet_discriminator", "base_channels": 4, "n_layers": 2},
        {
            "name": "ensemble",
            "members": [
                SMALL,
                {
                    "name": "projected",
                    "model": "test_resnet",
                    "weights": "random",
                    "layers": [0, 1],
                    "base_channels": 4,
                },
                {"name": "vision_aided", "model": "test_resnet", "weights": "random", "layers": [1]},
            ],
        },
    ],
    ids=lambda spec: spec["name"],
)
def test_cyclegan_plays_with_them(engine: Engine, tmp_path, discriminator):
    """One step moves what learns and nothing else, a resumed step is the same to the last bit, a run ends well."""
    options = {"generator": {"base_channels": 2, "n_blocks": 1}, "discriminator": discriminator}
    assert check_component(engine.registry.get("method", "cyclegan"), engine.registry, options) == []
    run = Run.create(tmp_path / "runs", "small")
    assert tiny.loop(tiny.recipe(tmp_path, engine, discriminator=discriminator), run, engine).go() == ""


def learnt(module: nn.Module) -> list[nn.Module]:
    return [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def test_spectral_divides_by_the_largest_singular_value():
    """Miyato et al. 2018, equation 8: W / sigma(W), of the weight as a matrix of outputs by all else."""
    judge = Spectral(3, discriminator=patchgan)
    originals = [layer.parametrizations.weight.original for layer in learnt(judge)]
    images = torch.rand(1, 3, 32, 32)
    for _ in range(300):  # one power iteration each
        judge(images)
    judge.eval()
    for layer, original in zip(learnt(judge), originals, strict=True):
        sigma = torch.linalg.svdvals(original.flatten(1))[0]
        torch.testing.assert_close(layer.weight, original / sigma, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(judge(images), judge.discriminator(images))


def test_spectral_keeps_the_initialization():
    torch.manual_seed(1)
    plain = patchgan(3)
    torch.manual_seed(1)
    judge = Spectral(3, discriminator=patchgan)
    for layer, original in zip(learnt(judge), learnt(plain), strict=True):
        assert torch.equal(layer.parametrizations.weight.original, original.weight)
        assert torch.equal(layer.bias, original.bias)


def test_spectral_iterates_in_training_alone():
    judge = Spectral(3, discriminator=patchgan)
    images = torch.rand(1, 3, 32, 32)

    def buffers() -> list[torch.Tensor]:
        return [buffer.clone() for buffer in judge.buffers()]

    start = buffers()
    judge(images)
    trained = buffers()
    assert not all(map(torch.equal, start, trained))
    judge.eval()
    torch.testing.assert_close(judge(images), judge(images), rtol=0, atol=0)
    assert all(map(torch.equal, trained, buffers()))


def test_spectral_leaves_frozen_and_normalized_weights_alone():
    judge = Spectral(3, discriminator=lambda n: Projected(n, **TINY, layers=(0,), base_channels=4)).discriminator
    assert not any(is_parametrized(layer) for layer in [*judge.features.modules(), *judge.mix_channels.modules()])
    weights = [layer.parametrizations.weight for layer in learnt(judge.judges)]
    assert weights and all(len(parametrizations) == 1 for parametrizations in weights)


def test_measuring_leaves_a_spectrally_normalized_network_as_it_was():
    judge = Spectral(3, discriminator=patchgan)
    images = torch.rand(1, 3, 32, 32)
    expected = copy.deepcopy(judge).eval()(images)
    assert receptive_field(judge, 3).pixels == receptive_field(patchgan(3), 3).pixels == 16
    torch.testing.assert_close(judge.eval()(images), expected)


def test_unet_discriminator_is_the_papers():
    """Schönfeld et al. 2020, figure 2, written from the state dict; widths of their code for 128 px in units of 2."""
    judge = UnetDiscriminator(3, base_channels=2).double()
    widths = [block.shortcut.out_channels for block in (judge.first, *judge.down, *judge.up)]
    inputs = [block.shortcut.in_channels for block in (judge.first, *judge.down, *judge.up)]
    assert [w // 2 for w in widths] == [1, 2, 4, 8, 16, 8, 4, 2, 1, 1]
    assert inputs[0] == 3 and [w // 2 for w in inputs[1:]] == [1, 2, 4, 8, 16, 8 * 2, 4 * 2, 2 * 2, 1 * 2]
    larger = UnetDiscriminator(3, base_channels=2, n_layers=6)  # theirs for 256 px
    widths = [block.shortcut.out_channels for block in (larger.first, *larger.down, *larger.up)]
    assert [w // 2 for w in widths] == [1, 2, 4, 8, 8, 16, 8, 8, 4, 2, 1, 1]

    def residual(x, block, active=True):
        _, first, _, second = block.residual
        inner = F.conv2d(x.relu() if active else x, first.weight, first.bias, padding=1).relu()
        inner = F.conv2d(inner, second.weight, second.bias, padding=1)
        return inner, F.conv2d(x, block.shortcut.weight, block.shortcut.bias)

    def halved(x):
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    images = torch.rand(2, 3, 64, 32, dtype=torch.float64) * 2 - 1
    maps, levels = images, []
    for block in (judge.first, *judge.down):
        inner, shortcut = residual(maps, block, active=block is not judge.first)
        maps = halved(inner) + halved(shortcut)
        levels.append(maps)
    whole = (levels.pop().relu().sum((2, 3)) @ judge.image_logit.weight[0, :, 0, 0]) + judge.image_logit.bias
    for block in judge.up:
        inner, shortcut = residual(maps.repeat_interleave(2, -1).repeat_interleave(2, -2), block)
        maps = inner + shortcut
        maps = torch.cat([maps, levels.pop()], 1) if levels else maps
    pixels = F.conv2d(maps, judge.pixel_logits.weight, judge.pixel_logits.bias)
    found_whole, found_pixels = judge(images)
    torch.testing.assert_close(found_whole.flatten(), whole)
    torch.testing.assert_close(found_pixels, pixels)


@pytest.mark.parametrize("size", [(33, 50), (5, 3), (1, 1)])
def test_unet_discriminator_scores_every_pixel_of_any_size(size):
    whole, pixels = UnetDiscriminator(1, base_channels=2, n_layers=3)(torch.rand(2, 1, *size))
    assert whole.shape == (2, 1, 1, 1) and pixels.shape == (2, 1, *size)
    assert whole.isfinite().all() and pixels.isfinite().all()
