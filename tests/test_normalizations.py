"""Normalizations against their formula: (x - mean) / sqrt(variance + 1e-5) over the paper's set of pixels."""

import pytest
import torch
from torch import nn

from i2i.engine import Engine
from i2i.errors import I2IError

EPSILON = 1e-5
N, C, H, W = 3, 6, 5, 4


def build(engine: Engine, name: str, channels: int = C, **options: object) -> nn.Module:
    module: nn.Module = engine.registry.resolve("normalization", {"name": name, **options}, "norm")(channels)
    return module.double()


@pytest.mark.parametrize(
    ("name", "options", "shape", "over"),
    [
        ("instance", {}, (N, C, H * W), (2,)),
        ("batch", {}, (N, C, H * W), (0, 2)),
        ("group", {"groups": 2}, (N, 2, C // 2 * H * W), (2,)),
        ("group", {"groups": 6}, (N, C, H * W), (2,)),
        ("layer", {}, (N, C * H * W), (1,)),
    ],
)
def test_formula(
    engine: Engine, name: str, options: dict[str, int], shape: tuple[int, ...], over: tuple[int, ...]
) -> None:
    norm = build(engine, name, **options)
    x = 3 + 2 * torch.randn(N, C, H, W, dtype=torch.float64)
    flat = x.reshape(shape)
    mean = flat.mean(over, keepdim=True)
    variance = (flat - mean).square().mean(over, keepdim=True)
    expected = ((flat - mean) / (variance + EPSILON).sqrt()).reshape(x.shape)
    torch.testing.assert_close(norm(x), expected)

    weights = dict(norm.named_parameters())
    assert set(weights) == (set() if name == "instance" else {"weight", "bias"})
    if weights:  # one scale and one shift for each channel
        with torch.no_grad():
            weights["weight"].copy_(torch.arange(1.0, C + 1))
            weights["bias"].copy_(-torch.arange(C))
        scale = torch.arange(1.0, C + 1, dtype=torch.float64).reshape(1, C, 1, 1)
        torch.testing.assert_close(norm(x), expected * scale + 1 - scale)


@pytest.mark.parametrize("name", ["instance", "group", "layer", "none"])
def test_images_do_not_see_each_other(engine: Engine, name: str) -> None:
    norm = build(engine, name, 32)
    x = torch.randn(2, 32, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(norm(x)[:1], norm(x[:1]))
    assert not list(norm.buffers())
    torch.testing.assert_close(norm.eval()(x), norm.train()(x), rtol=0, atol=0)


def test_batch_norm_keeps_running_statistics(engine: Engine) -> None:
    """Momentum 0.1, from 0 and 1, with the unbiased variance (Ioffe and Szegedy 2015, algorithm 2)."""
    norm = build(engine, "batch")
    x = 3 + 2 * torch.randn(N, C, H, W, dtype=torch.float64)
    norm(x)
    channels = x.transpose(0, 1).reshape(C, -1)
    mean, variance = 0.1 * channels.mean(1), 0.9 + 0.1 * channels.var(1, correction=1)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    expected = (x - mean.reshape(1, C, 1, 1)) / (variance + EPSILON).sqrt().reshape(1, C, 1, 1)
    torch.testing.assert_close(norm.eval()(x), expected)


def test_none_is_the_identity(engine: Engine) -> None:
    x = torch.randn(1, C, H, W, dtype=torch.float64)
    norm = build(engine, "none")
    assert norm(x) is x and isinstance(norm, nn.Identity) and not list(norm.parameters())


def test_groups_must_divide_the_channels(engine: Engine) -> None:
    with pytest.raises(I2IError, match=r"norm: 48 channels do not form 32 equal groups; choose a divisor of 48"):
        build(engine, "group", 48)


def test_groups_reach_the_error_through_a_network(engine: Engine) -> None:
    spec = {"name": "patchgan", "base_channels": 10, "norm": {"name": "group", "groups": 32}}
    with pytest.raises(I2IError, match=r"discriminator\.norm: 20 channels do not form 32 equal groups"):
        engine.registry.resolve("discriminator", spec, "discriminator")(3)
