"""Generators beside the reference's: numbers, names and sizes of their authors' code."""

import pytest
import torch
from i2i_plugins.antialiased import AntialiasedPatchGAN, AntialiasedResnet, BlurDown, BlurUp
from torch import Tensor, nn

from i2i.reference.normalization import InstanceNorm

F = nn.functional


def n_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def names(*layers: object, parts: tuple[str, ...] = ("weight", "bias")) -> set[str]:
    return {f"{layer}.{part}" for layer in layers for part in parts}


# ---------------------------------------------------------------------------------------------------------- antialiased


def reflected(i: int, n: int) -> int:
    return -i if i < 0 else 2 * (n - 1) - i if i >= n else i


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_blur_before_halving(size):
    """Every second pixel of the map weighted by 1 2 1 / 2 4 2 / 1 2 1 over 16, reflected at the border."""
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    height, width = size
    expected = torch.zeros(2, 3, (height + 1) // 2, (width + 1) // 2, dtype=torch.float64)
    weights = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    for y in range(expected.shape[2]):
        for x in range(expected.shape[3]):
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    pixel = image[:, :, reflected(2 * y + dy, height), reflected(2 * x + dx, width)]
                    expected[:, :, y, x] += weights[dy + 1][dx + 1] / 16 * pixel
    torch.testing.assert_close(BlurDown(3).double()(image), expected)


def test_blur_after_doubling():
    """Pixel 2i is ¾ x[i] + ¼ x[i-1] and pixel 2i+1 is ¾ x[i] + ¼ x[i+1], along both axes, the border repeated."""
    image = torch.randn(2, 3, 4, 5, dtype=torch.float64)

    def doubled(rows: Tensor) -> Tensor:  # along the last axis
        before, after = torch.cat([rows[..., :1], rows[..., :-1]], -1), torch.cat([rows[..., 1:], rows[..., -1:]], -1)
        return torch.stack([0.75 * rows + 0.25 * before, 0.75 * rows + 0.25 * after], -1).flatten(-2)

    torch.testing.assert_close(BlurUp(3).double()(image), doubled(doubled(image).mT).mT)


def test_antialiased_resnet_has_the_names_and_layers_of_cut():
    network = AntialiasedResnet(3, 3)
    blocks = [f"model.{block}.conv_block.{i}" for block in range(12, 21) for i in (1, 5)]
    layers = ["model.1", "model.4", "model.8", *blocks, "model.22", "model.26", "model.30"]
    blurs = names("model.7", "model.11", "model.21", "model.25", parts=("filt",))
    assert set(network.state_dict()) == names(*layers) | blurs
    assert {k: tuple(network.state_dict()[k].shape) for k in blurs} == {
        "model.7.filt": (128, 1, 3, 3), "model.11.filt": (256, 1, 3, 3),
        "model.21.filt": (256, 1, 4, 4), "model.25.filt": (128, 1, 4, 4),
    }  # fmt: skip
    assert round(n_parameters(network) / 1e6, 3) == 11.378  # the blurs learn nothing: as many as without


def test_antialiased_resnet_shows_the_taps_of_cut():
    """Layers 0, 4, 8, 12 and 16: the padded image, both convolutions that widen, the first and the fifth block."""
    network = AntialiasedResnet(3, 3, base_channels=4, n_blocks=5)
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    taps = [0, 4, 8, 12, 16]
    shapes = [(3, 22, 30), (8, 16, 24), (16, 8, 12), (16, 4, 6), (16, 4, 6)]
    features = network.encode(images, taps)
    assert [tuple(f.shape[1:]) for f in features] == shapes
    assert network.feature_channels(taps) == [c for c, _, _ in shapes]
    assert AntialiasedResnet(3, 3).feature_channels(taps) == [3, 128, 256, 256, 256]
    for tap, feature in zip(taps, features, strict=True):
        assert torch.equal(feature, network.model[: tap + 1](images))
    with pytest.raises(ValueError, match="there is no layer 28"):
        network.feature_channels([28])


def test_antialiased_resnet_by_its_weights():
    """The generator written out as functions of its state dict."""
    network = AntialiasedResnet(3, 2, base_channels=4, n_blocks=1).double()
    images = torch.rand(2, 3, 12, 8, dtype=torch.float64) * 2 - 1
    state = network.state_dict()

    def conv(x: Tensor, layer: str, reflect: int = 0, zeros: int = 0) -> Tensor:
        x = F.pad(x, (reflect,) * 4, mode="reflect") if reflect else x
        return F.conv2d(x, state[f"{layer}.weight"], state[f"{layer}.bias"], padding=zeros)

    def norm_relu(x: Tensor) -> Tensor:
        return F.instance_norm(x).relu()

    x = norm_relu(conv(images, "model.1", reflect=3))
    x = BlurDown(8).double()(norm_relu(conv(x, "model.4", zeros=1)))
    x = BlurDown(16).double()(norm_relu(conv(x, "model.8", zeros=1)))
    inner = norm_relu(conv(x, "model.12.conv_block.1", reflect=1))
    x = x + F.instance_norm(conv(inner, "model.12.conv_block.5", reflect=1))
    x = norm_relu(conv(BlurUp(16).double()(x), "model.14", zeros=1))
    x = norm_relu(conv(BlurUp(8).double()(x), "model.18", zeros=1))
    torch.testing.assert_close(network(images), conv(x, "model.22", reflect=3).tanh())


def test_antialiased_patchgan_has_the_names_of_cut():
    network = AntialiasedPatchGAN(3)
    blurs = names("model.2", "model.6", "model.10", parts=("filt",))
    assert set(network.state_dict()) == names(*(f"model.{i}" for i in (0, 3, 7, 11, 14))) | blurs
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [
        (3, 64), (64, 128), (128, 256), (256, 512), (512, 1),
    ]  # fmt: skip
    assert all(m.kernel_size == (4, 4) and m.stride == (1, 1) and m.padding == (1, 1) for m in convolutions)
    assert [type(m) for m in network.model[:7]] == [
        nn.Conv2d, nn.LeakyReLU, BlurDown, nn.Conv2d, InstanceNorm, nn.LeakyReLU, BlurDown,
    ]  # fmt: skip
    assert network(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


@pytest.mark.parametrize(("n_layers", "side"), [(1, 18), (2, 40), (3, 84)])
def test_antialiased_patchgan_sees(n_layers, side):
    """By the pixels that move one score; without norms, which couple the whole image."""
    network = AntialiasedPatchGAN(3, base_channels=2, n_layers=n_layers, norm=nn.Identity).double()
    images = torch.rand(1, 3, 2 * side, 2 * side, dtype=torch.float64).requires_grad_()
    scores = network(images)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    seen = images.grad.abs().sum((0, 1)).nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [side, side]
