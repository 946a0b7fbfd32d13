"""Measurements against formulas: counts of a convolution, receptive fields by recursion, bytes of known tensors."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from i2i.engine import Engine
from i2i.measure import FlopCount, feature_maps, gmacs, n_parameters, pass_memory, peak_memory, timing
from i2i.receptive_field import ReceptiveField, receptive_field
from i2i.reference.patchgan import PatchGAN
from i2i.reference.resnet import ResnetGenerator


def test_counts_of_the_paper_s_networks() -> None:
    """c7s1-64, d128, d256, nine R256, u128, u64, c7s1-3 of Zhu et al. 2017, appendix 7.2, layer by layer."""
    with torch.device("meta"):
        generator, discriminator = ResnetGenerator(3, 3), PatchGAN(3)
        image = torch.empty(1, 3, 256, 256)
    layers = [  # kernel side, channels in and out, side of the map that the kernel moves over, times
        (7, 3, 64, 256, 1), (3, 64, 128, 128, 1), (3, 128, 256, 64, 1), (3, 256, 256, 64, 18),
        (3, 256, 128, 64, 1), (3, 128, 64, 128, 1), (7, 64, 3, 256, 1),
    ]  # fmt: skip
    assert n_parameters(generator) == sum(n * (k * k * i * o + o) for k, i, o, _, n in layers)
    assert gmacs(generator, image) == sum(n * k * k * i * o * s * s for k, i, o, s, n in layers) / 1e9
    layers = [(4, 3, 64, 128, 1), (4, 64, 128, 64, 1), (4, 128, 256, 32, 1), (4, 256, 512, 31, 1), (4, 512, 1, 30, 1)]
    assert n_parameters(discriminator) == sum(k * k * i * o + o for k, i, o, _, _ in layers)
    assert gmacs(discriminator, image) == sum(k * k * i * o * s * s for k, i, o, s, _ in layers) / 1e9
    assert discriminator(image).shape == (1, 1, 30, 30)


def test_frozen_and_shared_parameters() -> None:
    shared = nn.Linear(3, 4)
    assert n_parameters(nn.Sequential(shared, shared, nn.Linear(2, 2).requires_grad_(False))) == 16


@pytest.mark.parametrize(("n_layers", "pixels"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_receptive_field_of_patchgan(n_layers: int, pixels: int) -> None:
    """Isola et al. 2017, appendix 6.1.2."""
    field = receptive_field(PatchGAN(3, base_channels=2, n_layers=n_layers), 3)
    assert field == ReceptiveField(pixels, "InstanceNorm")


@pytest.mark.parametrize(("norm", "name"), [("batch", "BatchNorm"), ("layer", "LayerNorm"), ("none", None)])
def test_norms_that_couple_pixels_are_named(engine: Engine, norm: str, name: str | None) -> None:
    discriminator = engine.registry.resolve("discriminator", {"name": "pixelgan", "norm": norm}, "discriminator")(3)
    assert receptive_field(discriminator, 3) == ReceptiveField(1, name)


class ChannelNorm(nn.Module):
    """Someone's own: over the channels of each pixel, with an instance norm inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.InstanceNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(1, keepdim=True)) / self.inner(x).exp()


def test_normalizations_of_plugins() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), ChannelNorm(), nn.Conv2d(4, 1, 3, padding=1))
    assert receptive_field(network, 1, normalizations=(ChannelNorm,)) == ReceptiveField(5, "ChannelNorm")
    over_channels = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(4, 4), nn.MaxPool2d(4), nn.Conv2d(4, 1, 2))
    assert receptive_field(over_channels, 1) == ReceptiveField(3 + 3 + 4, "GroupNorm")


class Awkward(nn.Module):
    """Dead weights, spectral norm, activations as functions, noise, and a list of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 8, 5, padding=2))
        self.second = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4)
        self.gate = nn.Parameter(torch.zeros(()))
        nn.init.constant_(self.second.weight, -1)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = nn.functional.relu_(self.first(x))
        x = torch.tanh(x + self.gate * self.second(nn.functional.interpolate(x, scale_factor=2)))
        return [nn.functional.avg_pool2d(x, 8), x + torch.rand(())]


def test_receptive_field_of_an_awkward_network() -> None:
    network = Awkward()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    # The second convolution sees three pixels of the doubled map, which are two of x: the centre and its left.
    assert receptive_field(network, 2) == ReceptiveField(5 + 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert "forward" not in vars(network.second)


def test_receptive_field_without_end() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 1, 1))
    field = receptive_field(network, 3)
    assert field == ReceptiveField(None) and str(field) == "> 512 px"
    with pytest.raises(RuntimeError):
        receptive_field(nn.Sequential(nn.Flatten(), nn.Linear(7, 1)), 3)


def test_feature_maps_of_what_networks_return() -> None:
    x = torch.zeros(2)
    assert len(feature_maps(x)) == 1 and len(feature_maps([x, {"y": x}, (None, x)])) == 3


def test_peak_memory_counts_what_lives_at_once() -> None:
    kilobyte = 256  # float32

    def one_after_the_other() -> None:
        for _ in range(4):
            torch.zeros(kilobyte)

    def all_at_once() -> list[Tensor]:
        kept = [torch.zeros(kilobyte) for _ in range(4)]
        return [t.view(2, -1) for t in kept] + [t.add_(1) for t in kept]  # views and in-place: nothing new

    old = torch.zeros(kilobyte)
    cpu = torch.device("cpu")
    assert peak_memory(one_after_the_other, cpu) == 1024
    assert peak_memory(all_at_once, cpu) == 4096
    assert peak_memory(lambda: old.view(-1).mul_(2), cpu) == 0


def test_memory_of_a_pass() -> None:
    """tanh keeps its result for backward: three maps, then a gradient beside them."""
    x = torch.zeros(1, 1, 32, 32, requires_grad=True)
    network = nn.Sequential(nn.Tanh(), nn.Tanh(), nn.Tanh())
    peak = pass_memory(network, x)
    assert 4 * 4096 <= peak <= 5.1 * 4096
    assert x.grad is not None


def test_timing() -> None:
    x = torch.randn(1, 3, 32, 32)
    both = timing(nn.Conv2d(3, 8, 3), x)
    assert both.forward > 0 and both.backward is not None and both.backward > 0
    assert timing(nn.Tanh(), x).backward is None
    assert timing(lambda x: None, x, repeats=1).backward is None


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention_is_counted(device):
    q, k, v = (torch.rand(2, 3, 16, 8, device=device, requires_grad=True) for _ in range(3))
    product = 2 * 2 * 3 * 16 * 16 * 8  # of queries and keys, or of weights and values
    with FlopCount() as counter:
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert counter.total == 2 * product
    assert gmacs(torch.nn.functional.scaled_dot_product_attention, q, k, v) == 2 * product / 2e9
    with FlopCount() as counter:
        out.sum().backward()
    assert counter.total in (4 * product, 5 * product)  # fused, the weights are computed a second time


def test_a_step_is_counted_as_torch_counts_it():
    network, images = PatchGAN(3, base_channels=4, n_layers=2), torch.rand(2, 3, 32, 32)
    ours, theirs = FlopCount(), FlopCounterMode(display=False)
    for counter in (ours, theirs):
        with counter:
            network(images).sum().backward()
    assert ours.total == theirs.get_total_flops() > 0


def test_a_gradient_within_a_pass_is_counted():
    """Of a convolution: y, dy/dx; then backward through both of them, to the weight and to what each was made of."""
    convolution, images = nn.Conv2d(3, 4, 3, padding=1), torch.rand(2, 3, 8, 8, requires_grad=True)
    with FlopCount() as counter:
        y = convolution(images).square()
        (slope,) = torch.autograd.grad(y.sum(), images, create_graph=True)
        slope.square().sum().backward()
    assert counter.total == 6 * (2 * 2 * 8 * 8 * 4 * 3 * 9)
