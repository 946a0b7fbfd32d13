"""The networks of CycleGAN, against the layer lists of the paper, and PixelGAN against its own."""

import re

import pytest
import torch
from torch import Tensor, nn

from i2i.engine import Engine
from i2i.reference.normalization import InstanceNorm
from i2i.reference.patchgan import PatchGAN
from i2i.reference.resnet import ResidualBlock, ResnetGenerator

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
Layer = tuple[str, int, int, int, int]
"""Class, channels in and out, kernel, stride."""


def layers(network: nn.Module) -> list[Layer]:
    return [
        (
            next(c.__name__ for c in CONVOLUTIONS if isinstance(m, c)),
            m.in_channels,
            m.out_channels,
            m.kernel_size[0],
            m.stride[0],
        )
        for m in network.modules()
        if isinstance(m, CONVOLUTIONS)
    ]


def n_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def n_weights_and_biases(of: list[Layer]) -> int:
    return sum(n_in * n_out * kernel**2 + n_out for _, n_in, n_out, kernel, _ in of)


def paper_generator(names: str) -> list[Layer]:
    """Layers by the names of Zhu et al. 2017, appendix 7.2: c7s1-k, dk, Rk, uk."""
    found: list[Layer] = []
    channels = 3
    for name in names.split(","):
        match = re.fullmatch(r"(c7s1-|[dRu])(\d+)", name)
        assert match
        kind, k = match[1], int(match[2])
        found += {
            "c7s1-": [("Conv2d", channels, k, 7, 1)],
            "d": [("Conv2d", channels, k, 3, 2)],
            "R": [("Conv2d", channels, k, 3, 1), ("Conv2d", k, k, 3, 1)],
            "u": [("ConvTranspose2d", channels, k, 3, 2)],
        }[kind]
        channels = k
    return found


@pytest.mark.parametrize("n_blocks", [6, 9])
def test_resnet_layers(n_blocks: int) -> None:
    names = ",".join(["c7s1-64", "d128", "d256", *["R256"] * n_blocks, "u128", "u64", "c7s1-3"])
    network = ResnetGenerator(3, 3, n_blocks=n_blocks)
    assert layers(network) == paper_generator(names)
    assert n_parameters(network) == n_weights_and_biases(paper_generator(names))
    assert sum(isinstance(m, ResidualBlock) for m in network.modules()) == n_blocks
    assert sum(isinstance(m, InstanceNorm) for m in network.modules()) == 5 + 2 * n_blocks  # after each but the last
    reflected = [m.padding[0] for m in network.modules() if isinstance(m, nn.ReflectionPad2d)]
    assert reflected == [3, *[1, 1] * n_blocks, 3]


def test_parameters_of_the_authors_logs() -> None:
    """Their training logs print 11.378 M for G_A and 2.765 M for D_A."""
    assert round(n_parameters(ResnetGenerator(3, 3)) / 1e6, 3) == 11.378
    assert round(n_parameters(PatchGAN(3)) / 1e6, 3) == 2.765


def test_resnet_names_of_the_authors() -> None:
    names = set(ResnetGenerator(3, 3).state_dict())
    expected = [1, 4, 7, 19, 22, 26, *(f"{block}.conv_block.{i}" for block in range(10, 19) for i in (1, 5))]
    assert names == {f"model.{layer}.{part}" for layer in expected for part in ("weight", "bias")}


@pytest.mark.parametrize("upsample", ["transposed", "nearest", "bilinear", "pixel_shuffle"])
def test_every_upsampling_doubles_twice(upsample: str) -> None:
    network = ResnetGenerator(3, 1, base_channels=4, n_blocks=1, upsample=upsample)
    images = torch.rand(2, 3, 24, 32) * 2 - 1
    sizes: list[tuple[int, ...]] = []
    for m in network.modules():
        if isinstance(m, InstanceNorm):
            m.register_forward_hook(lambda _m, _x, out: sizes.append(tuple(out.shape[1:])))
    out = network(images)
    assert out.shape == (2, 1, 24, 32) and out.abs().max() < 1
    assert sizes[-2:] == [(8, 12, 16), (4, 24, 32)]
    if upsample != "transposed":
        assert not any(isinstance(m, nn.ConvTranspose2d) for m in network.modules())


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_bias_before_a_norm(engine: Engine, norm: str) -> None:
    """Kept before a norm without a shift of its own, dropped before batch normalization, as in the authors' code."""
    g = engine.registry.resolve("generator", {"name": "resnet", "norm": norm, "base_channels": 4}, "generator")(3, 3)
    d = engine.registry.resolve("discriminator", {"name": "patchgan", "norm": norm, "base_channels": 4}, "d")(3)
    in_g = [m.bias is not None for m in g.modules() if isinstance(m, CONVOLUTIONS)]
    in_d = [m.bias is not None for m in d.modules() if isinstance(m, CONVOLUTIONS)]
    inner = norm != "batch"
    assert in_g == [inner] * 23 + [True]
    assert in_d == [True, inner, inner, inner, True]


def test_residual_block_adds() -> None:
    block = ResidualBlock(4, InstanceNorm).double()
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    pad = nn.functional.pad
    first, second = block.conv_block[1], block.conv_block[5]

    def normalize(t: Tensor) -> Tensor:
        mean = t.mean((2, 3), keepdim=True)
        return (t - mean) / ((t - mean).square().mean((2, 3), keepdim=True) + 1e-5).sqrt()

    inner = normalize(nn.functional.conv2d(pad(x, (1, 1, 1, 1), mode="reflect"), first.weight, first.bias)).clamp(min=0)
    inner = normalize(nn.functional.conv2d(pad(inner, (1, 1, 1, 1), mode="reflect"), second.weight, second.bias))
    torch.testing.assert_close(block(x), x + inner)


def test_patchgan_layers() -> None:
    """C64-C128-C256-C512 and one channel: 4x4, stride 2 but in the last two (Isola et al. 2017, appendix 6.1.2)."""
    channels = [3, *(int(c) for c in re.findall(r"C(\d+)", "C64-C128-C256-C512")), 1]
    strides = [2, 2, 2, 1, 1]
    expected: list[Layer] = [("Conv2d", channels[i], channels[i + 1], 4, strides[i]) for i in range(5)]
    network = PatchGAN(3)
    assert layers(network) == expected
    assert n_parameters(network) == n_weights_and_biases(expected)
    kinds = [type(m).__name__ for m in network.model]
    assert kinds == ["Conv2d", "LeakyReLU", *["Conv2d", "InstanceNorm", "LeakyReLU"] * 3, "Conv2d"]
    assert {m.negative_slope for m in network.model if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert network(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def test_patchgan_channels_stop_at_eight_times_the_base() -> None:
    assert [n_out for _, _, n_out, _, _ in layers(PatchGAN(1, base_channels=2, n_layers=5))] == [2, 4, 8, 16, 16, 16, 1]


def receptive_field(network: nn.Module, size: int) -> tuple[int, int]:
    """Height and width of what the middle score sees: where its gradient with respect to the image is not zero."""
    image = torch.randn(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    scores = network.double()(image)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert image.grad is not None
    seen = image.grad[0].abs().sum(0) > 0
    (rows,), (columns,) = seen.any(1).nonzero(as_tuple=True), seen.any(0).nonzero(as_tuple=True)
    assert rows[0] > 0 and rows[-1] < size - 1, "the field is cut off by the border"
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


@pytest.mark.parametrize(("n_layers", "pixels"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_patchgan_receptive_field(engine: Engine, n_layers: int, pixels: int) -> None:
    spec = {"name": "patchgan", "n_layers": n_layers, "base_channels": 2, "norm": "none"}
    network = engine.registry.resolve("discriminator", spec, "discriminator")(3)
    assert receptive_field(network, 2 * pixels + 32) == (pixels, pixels)


def test_instance_norm_couples_all_pixels() -> None:
    with pytest.raises(AssertionError, match="cut off"):
        receptive_field(PatchGAN(3, base_channels=2), 172)


@pytest.mark.parametrize(("norm", "bias"), [("none", True), ("instance", True), ("batch", False)])
def test_pixelgan(engine: Engine, norm: str, bias: bool) -> None:
    """C64-C128 of 1x1 convolutions (Isola et al. 2017, appendix 6.1.2), by the authors' names and biases."""
    network = engine.registry.resolve("discriminator", {"name": "pixelgan", "norm": norm}, "discriminator")(3)
    assert layers(network) == [("Conv2d", 3, 64, 1, 1), ("Conv2d", 64, 128, 1, 1), ("Conv2d", 128, 1, 1, 1)]
    names = {f"net.{i}.weight" for i in (0, 2, 5)} | {"net.0.bias"} | ({"net.2.bias", "net.5.bias"} if bias else set())
    names |= {"net.3.weight", "net.3.bias"} if norm == "batch" else set()
    assert set(dict(network.named_parameters())) == names
    assert network(torch.zeros(2, 3, 17, 9)).shape == (2, 1, 17, 9)
    if norm == "none":
        assert receptive_field(network, 9) == (1, 1)
