"""Generators beside the reference's: numbers, names and sizes of their authors' code."""

import math

import pytest
import torch
from torch import Tensor, nn

from i2i.errors import I2IError
from i2i.reference.normalization import InstanceNorm
from i2i.reference.resnet import ResnetGenerator
from i2i.translate import Translator
from i2i_plugins.antialiased import AntialiasedPatchGAN, AntialiasedResnet, BlurDown, BlurUp
from i2i_plugins.attention.transformer import Transformer
from i2i_plugins.attention.unet import AttentionUNet
from i2i_plugins.attention.vit import VisionTransformer
from i2i_plugins.mobile_resnet import MobileBlock, MobileResnet
from i2i_plugins.normalizations import BatchNorm
from i2i_plugins.unet import CurrentBatchNorm, UNet

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


@pytest.mark.parametrize("norm", [InstanceNorm, BatchNorm, nn.Identity])
@pytest.mark.parametrize("generator", [ResnetGenerator, AntialiasedResnet, MobileResnet])
def test_taps_are_not_changed_by_the_layers_behind_them(generator, norm):
    """By a ReLU in place: at once, or behind a norm that gives back what it is given."""
    network = generator(3, 3, base_channels=4, n_blocks=2, norm=norm).eval()
    images = torch.rand(1, 3, 8, 12) * 2 - 1
    taps = range(len(network.model))
    for tap, feature in zip(taps, network.encode(images, taps), strict=True):
        assert torch.equal(feature, network.model[: tap + 1](images))
        assert feature.shape[1] == network.feature_channels([tap])[0]


# ----------------------------------------------------------------------------------------------------------------- unet


@pytest.mark.parametrize(
    ("channels", "depth", "millions"),
    [(3, 8, 54.414), (3, 7, 41.829), (1, 8, 54.408), (1, 6, 29.238)],
)
def test_unet_has_the_parameters_of_the_authors_logs(channels, depth, millions):
    """Their training prints these for unet_256 and unet_128; the last two stand in their issue 1152."""
    with torch.device("meta"):
        assert round(n_parameters(UNet(channels, channels, depth=depth)) / 1e6, 3) == millions


def test_unet_has_the_names_of_the_authors():
    """Each level inside the fourth place of the one around it, the outermost without activation and norm."""
    with torch.device("meta"):
        batch, instance = UNet(3, 3), UNet(3, 3, norm=InstanceNorm)
    statistics = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {"model.model.0.weight", "model.model.3.weight", "model.model.3.bias"}
    biases = {"model.model.0.bias"}
    for n_around in range(6):
        level = "model.model.1.model" + n_around * ".3.model"
        expected |= names(f"{level}.1", f"{level}.5", parts=("weight",))
        expected |= names(f"{level}.2", f"{level}.6", parts=statistics)
        biases |= names(f"{level}.1", f"{level}.5", parts=("bias",))
    innermost = "model.model.1.model" + 6 * ".3.model"
    expected |= names(f"{innermost}.1", f"{innermost}.3", parts=("weight",)) | names(f"{innermost}.4", parts=statistics)
    biases |= names(f"{innermost}.1", f"{innermost}.3", parts=("bias",))
    assert set(batch.state_dict()) == expected
    without_norms = {name for name in expected if name.endswith("weight") and batch.get_parameter(name).dim() == 4}
    assert set(instance.state_dict()) == without_norms | biases | {"model.model.3.bias"}


@pytest.mark.parametrize("depth", [5, 6, 8])
def test_unet_halves_to_one_pixel_and_doubles_its_width_to_eight_times(depth):
    network = UNet(3, 1, base_channels=2, depth=depth, norm=InstanceNorm)
    down, up = [], []
    for m in network.modules():
        if isinstance(m, nn.Conv2d):
            m.register_forward_hook(lambda _m, _x, out: down.append(tuple(out.shape[1:])))
        if isinstance(m, nn.ConvTranspose2d):
            m.register_forward_hook(lambda _m, x, out: up.append((x[0].shape[1], *out.shape[1:])))
    side = network.size_multiple
    assert side == 2**depth and network(torch.rand(1, 3, side, side)).shape == (1, 1, side, side)
    widths = [2, 4, 8, 16, 16, 16, 16, 16][:depth]
    assert down == [(w, side >> i, side >> i) for i, w in enumerate(widths, 1)] and down[-1][1:] == (1, 1)
    outside = [1, *widths[:-1]][::-1]
    into = [widths[-1], *(2 * w for w in widths[-2::-1])]  # a skip beside what comes from inside
    assert up == [(i, o, 2 << n, 2 << n) for n, (i, o) in enumerate(zip(into, outside, strict=True))]


def unet_of_the_authors(state: dict[str, Tensor], images: Tensor, depth: int) -> Tensor:
    """U-Net as functions of its state dict; what goes across has been through the LeakyReLU, as in their code."""

    def norm(x: Tensor, layer: str) -> Tensor:
        return F.batch_norm(x, None, None, state[f"{layer}.weight"], state[f"{layer}.bias"], training=True)

    x, across = F.conv2d(images, state["model.model.0.weight"], stride=2, padding=1), []
    levels = ["model.model.1.model" + n_around * ".3.model" for n_around in range(depth - 1)]
    for level in levels:
        across.append(F.leaky_relu(x, 0.2))
        x = F.conv2d(across[-1], state[f"{level}.1.weight"], stride=2, padding=1)
        x = norm(x, f"{level}.2") if level != levels[-1] else x
    for level in reversed(levels):
        up, after = (3, 4) if level == levels[-1] else (5, 6)
        x = F.conv_transpose2d(x.relu(), state[f"{level}.{up}.weight"], stride=2, padding=1)
        x = torch.cat([across.pop(), norm(x, f"{level}.{after}")], 1)
    last = "model.model.3"
    return F.conv_transpose2d(x.relu(), state[f"{last}.weight"], state[f"{last}.bias"], stride=2, padding=1).tanh()


@pytest.mark.parametrize("depth", [2, 5, 6])
def test_unet_by_its_weights(depth):
    """Images and gradients of the authors' code, although its skips are activated in place and ours are not."""
    network = UNet(3, 2, base_channels=3, depth=depth, dropout=0.0).double()
    for p in network.parameters():
        nn.init.normal_(p, std=0.3)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64) * 2 - 1
    state = {k: v.detach().clone().requires_grad_(v.is_floating_point()) for k, v in network.state_dict().items()}
    expected = unet_of_the_authors(state, images, depth)
    output = network(images)
    torch.testing.assert_close(output, expected)
    weights = torch.randn_like(output)
    (weights * output).sum().backward()
    (weights * expected).sum().backward()
    for name, p in network.named_parameters():
        torch.testing.assert_close(p.grad, state[name].grad)


@pytest.mark.parametrize(("depth", "n"), [(4, 0), (5, 0), (6, 1), (7, 2), (8, 3)])
def test_unet_drops_out_where_the_authors_do(depth, n):
    """Last in `num_downs - 5` levels, after their norm, around the innermost one."""
    network = UNet(3, 3, base_channels=1, depth=depth, dropout=0.3)
    found = {name: m.p for name, m in network.named_modules() if isinstance(m, nn.Dropout)}
    levels = ["model.model.1.model" + n_around * ".3.model" for n_around in range(depth - 2)]
    assert found == {f"{level}.7": 0.3 for level in levels[len(levels) - n :]}


@pytest.mark.parametrize("at_inference", [True, False])
def test_unet_noise_at_inference(at_inference):
    network = UNet(3, 3, base_channels=2, depth=6, dropout_at_inference=at_inference)
    images = torch.rand(1, 3, 64, 64) * 2 - 1

    def seeded(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return network(images)

    assert not torch.equal(seeded(1), seeded(2))
    network.eval()
    assert torch.equal(seeded(1), seeded(1))
    assert torch.equal(seeded(1), seeded(2)) != at_inference


def test_translating_with_noise_and_batch_statistics_changes_nothing():
    network = UNet(3, 3, base_channels=2, depth=6)
    network(torch.rand(2, 3, 64, 64))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    translator = Translator(network)
    images = torch.rand(1, 3, 71, 67) * 2 - 1
    random_state = torch.get_rng_state()
    first = translator(images)
    assert first.shape == images.shape and torch.equal(first, translator(images))
    assert network.training and torch.equal(random_state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_current_batch_norm_is_of_the_images_at_hand():
    norm = CurrentBatchNorm(3).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    for mode in (True, False):
        norm.train(mode)
        x = torch.randn(4, 3, 5, 6, dtype=torch.float64) * 3 + 1
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = (x - mean).square().mean((0, 2, 3), keepdim=True)
        expected = (x - mean) / (variance + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
        torch.testing.assert_close(norm(x), expected)
    assert norm.num_batches_tracked == 1  # of the training batch alone
    assert norm.state_dict().keys() == BatchNorm(3).state_dict().keys()


def test_an_image_smaller_than_a_unet_is_told():
    translator = Translator(UNet(3, 3, base_channels=1, depth=7))
    with pytest.raises(I2IError, match="60x50 px is too small for this network"):
        translator(torch.zeros(1, 3, 50, 60))


# -------------------------------------------------------------------------------------------------------- mobile_resnet


def test_mobile_resnet_has_the_names_of_its_authors():
    network = MobileResnet(3, 3)
    inside = [f"{block}.conv_block.{i}.conv.{j}" for block in range(10, 19) for i in (1, 6) for j in (0, 2)]
    assert set(network.state_dict()) == names(*(f"model.{layer}" for layer in (1, 4, 7, 19, 22, 26, *inside)))
    around = [(3, 64, 49), (64, 128, 9), (128, 256, 9), (256, 128, 9), (128, 64, 9), (64, 3, 49)]
    separable = 9 * 256 + 256 + 256 * 256 + 256
    assert n_parameters(network) == sum(i * o * k + o for i, o, k in around) + 2 * 9 * separable
    assert network.feature_channels([0, 4, 8, 10, 14]) == [3, 128, 256, 256, 256]


def test_mobile_block_by_its_weights():
    block = MobileBlock(4, InstanceNorm, 0.0).double()
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    state = block.state_dict()

    def separable(x: Tensor, layer: str) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        one = state[f"{layer}.conv.0.weight"], state[f"{layer}.conv.0.bias"]
        maps = [F.conv2d(x[:, c : c + 1], one[0][c : c + 1], one[1][c : c + 1]) for c in range(4)]
        across = state[f"{layer}.conv.2.weight"][:, :, 0, 0]
        x = torch.einsum("oc,nchw->nohw", across, F.instance_norm(torch.cat(maps, 1)))
        return F.instance_norm(x + state[f"{layer}.conv.2.bias"][:, None, None])

    expected = x + separable(separable(x, "conv_block.1").relu(), "conv_block.6")
    torch.testing.assert_close(block(x), expected)


def test_mobile_resnet_shows_its_layers():
    network = MobileResnet(3, 3, base_channels=4, n_blocks=2)
    images = torch.rand(1, 3, 16, 12) * 2 - 1
    features = network.encode(images, [4, 11])
    assert [tuple(f.shape[1:]) for f in features] == [(8, 8, 6), (16, 4, 3)]
    assert torch.equal(features[1], network.model[:12](images))


# ------------------------------------------------------------------------------------------------------------ attention


def test_transformer_by_its_weights():
    """z' = MSA(LN(z)) + z, z'' = MLP(LN(z')) + z' over all pixels, each with the sines and cosines of its place."""
    n_heads, channels, height, width = 2, 8, 3, 4
    transformer = Transformer(channels, n_blocks=1, n_heads=n_heads).double()
    x = torch.randn(2, channels, height, width, dtype=torch.float64)
    state = {name.removeprefix("blocks.0."): p.detach() for name, p in transformer.state_dict().items()}

    def linear(z: Tensor, layer: str) -> Tensor:
        return z @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]

    def norm(z: Tensor, layer: str) -> Tensor:
        z = z - z.mean(-1, keepdim=True)
        return z / (z.square().mean(-1, keepdim=True) + 1e-6).sqrt() * state[f"{layer}.weight"] + state[f"{layer}.bias"]

    places = [
        [f(place * w) for f in (math.sin, math.cos) for place in (row, column) for w in (1.0, 10000**-0.5)]
        for row in range(height)
        for column in range(width)
    ]
    z = torch.stack([x[:, :, row, column] for row in range(height) for column in range(width)], 1)
    z = z + torch.tensor(places, dtype=torch.float32)  # timm computes them in float32
    q, k, v = linear(norm(z, "norm1"), "attn.qkv").reshape(2, -1, 3, n_heads, channels // n_heads).unbind(2)
    scores = torch.einsum("nqhc,nkhc->nhqk", q, k) / math.sqrt(channels / n_heads)
    attended = torch.einsum("nhqk,nkhc->nqhc", scores.softmax(-1), v).flatten(2)
    z = z + linear(attended, "attn.proj")
    z = z + linear(F.gelu(linear(norm(z, "norm2"), "mlp.fc1")), "mlp.fc2")
    torch.testing.assert_close(transformer(x), z.mT.reshape(x.shape), atol=1e-6, rtol=0)


ATTENDING = [
    pytest.param(AttentionUNet, {"base_channels": 8, "depth": 2, "n_blocks": 1}, id="unet_attention"),
    pytest.param(VisionTransformer, {"width": 16, "n_blocks": 1, "n_heads": 2}, id="vit"),
]


def conv_of(network: nn.Module, x: Tensor, layer: str, stride: int = 1, padding: int = 1) -> Tensor:
    weight, bias = (network.get_parameter(f"{layer}.{name}") for name in ("weight", "bias"))
    return F.conv2d(x, weight, bias, stride, padding)


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_vit_by_its_weights():
    """Patches, the transformer, a norm of each patch's channels, and doublings with convolutions."""
    network = VisionTransformer(3, 2, patch_size=4, width=16, n_blocks=1, n_heads=2).double()
    images = torch.rand(2, 3, 8, 12, dtype=torch.float64) * 2 - 1
    x = network.model[1](conv_of(network, images, "model.0", stride=4, padding=0))
    x = x - x.mean(1, keepdim=True)
    x = x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt()
    x = x * network.model[2].weight[:, None, None] + network.model[2].bias[:, None, None]
    for layer in ("model.4", "model.8"):
        x = F.instance_norm(conv_of(network, doubled(x), layer)).relu()
    torch.testing.assert_close(network(images), conv_of(network, x, "model.11").tanh())


def test_attention_unet_by_its_weights():
    network = AttentionUNet(3, 2, base_channels=4, depth=1, n_attention_scales=1, n_blocks=1).double()
    images = torch.rand(2, 3, 8, 12, dtype=torch.float64) * 2 - 1

    def norm_relu(x: Tensor, layer: str, stride: int = 1) -> Tensor:
        return F.instance_norm(conv_of(network, x, layer, stride)).relu()

    fine = norm_relu(norm_relu(images, "model.0"), "model.3.look.0")
    coarse = norm_relu(norm_relu(fine, "model.3.coarser.0", stride=2), "model.3.coarser.3.0")
    attended = network.get_submodule("model.3.coarser.3.3")(coarse)
    x = torch.cat([fine, norm_relu(doubled(attended), "model.3.coarser.5")], 1)
    torch.testing.assert_close(network(images), conv_of(network, norm_relu(x, "model.3.join.0"), "model.4").tanh())


@pytest.mark.parametrize(("generator", "options"), ATTENDING)
def test_attention_sees_from_corner_to_corner(generator, options):
    """And without attention it does not; nor are there norms of the image here, which couple it too."""
    network = generator(1, 1, **options, norm=nn.Identity, initialization=lambda: lambda module: None)

    def seen() -> float:
        images = torch.rand(1, 1, 64, 96).requires_grad_()
        network(images)[0, 0, 0, 0].backward()
        return float(images.grad[0, 0, -8:, -8:].abs().max())

    assert seen() > 0
    for m in network.modules():
        if isinstance(m, Transformer):
            m.register_forward_hook(lambda _m, x, _out: x[0])
    assert seen() == 0


@pytest.mark.parametrize(("generator", "options"), ATTENDING)
def test_attention_takes_any_size(generator, options):
    network = generator(3, 1, **options)
    translator = Translator(network)
    for size in ((64, 64), (71, 67), (40, 96)):
        assert translator(torch.rand(2, 3, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("n_scales", [1, 2, 4])
def test_attention_at_the_coarse_scales(n_scales):
    network = AttentionUNet(3, 3, base_channels=4, n_attention_scales=n_scales, n_blocks=1)
    sizes = []
    for m in network.modules():
        if isinstance(m, Transformer):
            m.register_forward_hook(lambda _m, _x, out: sizes.append(tuple(out.shape[1:])))
    network(torch.rand(1, 3, 32, 48))
    down = [(4, 32, 48), (8, 16, 24), (16, 8, 12), (32, 4, 6)][-n_scales:]
    assert sizes == down + down[-2::-1]


@pytest.mark.parametrize(
    ("generator", "options", "message"),
    [
        (AttentionUNet, {"n_attention_scales": 5}, "5 scales cannot attend; there are 4"),
        (AttentionUNet, {"base_channels": 30, "n_heads": 7}, "240 channels of attention are no multiple of 7 heads"),
        (VisionTransformer, {"width": 100}, "a width of 100 cannot be halved down to pixels of patches of 8"),
        (VisionTransformer, {"width": 200, "n_heads": 3}, "200 channels of attention are no multiple of 3 heads"),
    ],
)
def test_attention_refuses(generator, options, message):
    with pytest.raises(ValueError, match=message):
        generator(3, 3, **options)
