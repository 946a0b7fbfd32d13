"""Initializations: what is drawn, from which distribution, and what is left alone."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from i2i.engine import Engine
from i2i.errors import I2IError

ALL = ["normal", "xavier", "kaiming", "orthogonal"]


def initialize(engine: Engine, module: nn.Module, name: str, **options: object) -> nn.Module:
    engine.registry.resolve("initialization", {"name": name, **options}, "initialization")()(module)
    return module


def assert_normal(values: Tensor, mean: float, std: float) -> None:
    """Mean, standard deviation and the share within one of it, each within 5 standard errors."""
    n = values.numel()
    assert abs(values.mean().item() - mean) < 5 * std / math.sqrt(n)
    assert abs(values.std().item() / std - 1) < 5 / math.sqrt(2 * n)
    share, expected = ((values - mean).abs() < std).float().mean().item(), math.erf(1 / math.sqrt(2))
    assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / n)


LAYERS = {  # (layer, fan in, fan out) as torch counts them; a transposed convolution's weight is (in, out, k, k)
    "conv": (lambda: nn.Conv2d(40, 60, 3), 40 * 9, 60 * 9),
    "transposed": (lambda: nn.ConvTranspose2d(40, 60, 3), 60 * 9, 40 * 9),
    "linear": (lambda: nn.Linear(200, 100), 200, 100),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("name", "options", "std"),
    [
        ("normal", {}, lambda fan_in, fan_out: 0.02),
        ("normal", {"std": 0.5}, lambda fan_in, fan_out: 0.5),
        ("xavier", {}, lambda fan_in, fan_out: 0.02 * math.sqrt(2 / (fan_in + fan_out))),
        ("xavier", {"gain": 1}, lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
        ("kaiming", {}, lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
    ],
)
def test_distribution(engine: Engine, layer: str, name: str, options: dict[str, float], std) -> None:
    build, fan_in, fan_out = LAYERS[layer]
    module = initialize(engine, build(), name, **options)
    assert_normal(module.weight.detach(), 0.0, std(fan_in, fan_out))


@pytest.mark.parametrize("gain", [0.02, 1.0])
@pytest.mark.parametrize("layer", [nn.Linear(30, 12), nn.Linear(12, 30), nn.Conv2d(4, 8, 3), nn.Conv2d(2, 40, 3)])
def test_orthogonal(engine: Engine, layer: nn.Module, gain: float) -> None:
    initialize(engine, layer, "orthogonal", gain=gain)
    matrix = layer.weight.detach().flatten(1).double()
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(gram, gain**2 * torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-6 * gain**2)


@pytest.mark.parametrize("name", ALL)
def test_biases_norms_and_the_rest(engine: Engine, name: str) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 2000, 1), nn.BatchNorm2d(2000), nn.PReLU(), nn.InstanceNorm2d(2000), nn.Embedding(3, 4),
        nn.Bilinear(2, 3, 4),
    )  # fmt: skip
    with torch.no_grad():
        net[1].bias.fill_(7.0)
    others = [net[i].weight.clone() for i in (4, 5)]
    initialize(engine, net, name)
    assert not net[0].bias.any() and not net[1].bias.any()
    assert_normal(net[1].weight.detach(), 1.0, 0.02)
    assert net[2].weight.item() == 0.25  # a PReLU's slope is no norm's weight
    for i, weight in zip((4, 5), others, strict=True):
        torch.testing.assert_close(net[i].weight, weight, rtol=0, atol=0)


def test_normal_draws_the_weights_of_norms_with_its_own_spread(engine: Engine) -> None:
    assert_normal(initialize(engine, nn.BatchNorm2d(2000), "normal", std=0.3).weight.detach(), 1.0, 0.3)


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
@pytest.mark.parametrize("name", ALL)
def test_networks_take_any(engine: Engine, kind: str, name: str) -> None:
    spec = {"initialization": name, "base_channels": 4}
    wired = (3, 3) if kind == "generator" else (3,)
    component = {"generator": "resnet", "discriminator": "patchgan"}[kind]
    network = engine.registry.resolve(kind, {"name": component, **spec}, kind)(*wired)
    convolutions = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert convolutions and all(m.weight.any() and not m.bias.any() for m in convolutions)


def test_same_seed_same_weights(engine: Engine) -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(initialize(engine, nn.Conv2d(3, 4, 3), "kaiming").weight)
    torch.testing.assert_close(drawn[0], drawn[1], rtol=0, atol=0)


@pytest.mark.parametrize(("name", "option"), [("normal", "std"), ("xavier", "gain"), ("orthogonal", "gain")])
def test_spread_is_positive(engine: Engine, name: str, option: str) -> None:
    with pytest.raises(I2IError, match=rf"initialization\.{option}: .*greater than 0"):
        initialize(engine, nn.Linear(2, 2), name, **{option: 0})


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("parametrize", [spectral_norm, weight_norm])
@pytest.mark.parametrize("build", [build for build, *_ in LAYERS.values()])
def test_parametrized_weights(engine: Engine, name: str, parametrize, build) -> None:
    """Weight normalization gives back the weight that was drawn; spectral normalization divides it by its norm."""
    plain, layer = build(), parametrize(build())
    parameters = list(layer.parameters())
    for one in (plain, layer):
        torch.manual_seed(1)
        initialize(engine, one, name)
    assert all(p is q and q.is_leaf and q.requires_grad for p, q in zip(parameters, layer.parameters(), strict=True))
    found = layer.weight if parametrize is weight_norm else layer.parametrizations.weight.original
    torch.testing.assert_close(found, plain.weight)
    assert not layer.bias.any()
