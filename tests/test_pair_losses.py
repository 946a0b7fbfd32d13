"""Pair losses beyond powers of the difference, against their formulas."""

import math
from pathlib import Path

import kornia
import pytest
import tiny
import torch
from torch import Tensor, nn

from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.recipe import resolve
from i2i.training import Training


def build(engine: Engine, name: str, **options: object):
    return engine.registry.resolve("loss", {"name": name, **options}, "cycle")()


def info_nce(query: Tensor, keys: Tensor, positive: int, temperature: float) -> Tensor:
    """Park et al. 2020, equation 2: -log exp(v v+ / τ) / (exp(v v+ / τ) + Σ exp(v v- / τ)) of one query."""
    cosine = torch.stack([(query * key).sum() / (query.norm() * key.norm()) for key in keys])
    exponentials = (cosine / temperature).exp()
    return -(exponentials[positive] / exponentials.sum()).log()


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_patch_nce_is_equation_2_at_every_place(engine: Engine, temperature: float) -> None:
    prediction, target = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64)
    expected = []
    for queries, keys in zip(prediction.flatten(2), target.flatten(2), strict=True):
        expected += [info_nce(queries[:, i], keys.T, i, temperature) for i in range(12)]
    loss = build(engine, "patch_nce", temperature=temperature)
    torch.testing.assert_close(loss(prediction, target), torch.stack(expected).mean(), atol=1e-6, rtol=1e-6)
    as_vectors = (prediction.flatten(2).mT, target.flatten(2).mT)
    torch.testing.assert_close(loss(*as_vectors), loss(prediction, target), rtol=0, atol=0)


def test_patch_nce_is_the_authors_arrangement(engine: Engine) -> None:
    """The positive as class 0, then all places with the query's own at -10: the same number at temperature 0.07."""
    query, key = torch.nn.functional.normalize(torch.randn(2, 3, 7, 16, dtype=torch.float64), dim=-1)
    positive = (query * key).sum(-1).reshape(-1, 1)
    others = (query @ key.mT).masked_fill(torch.eye(7, dtype=torch.bool), -10.0).reshape(-1, 7)
    logits = torch.cat([positive, others], 1) / 0.07
    expected = torch.nn.functional.cross_entropy(logits, torch.zeros(21, dtype=torch.long))
    torch.testing.assert_close(build(engine, "patch_nce")(query, key), expected, atol=1e-5, rtol=0)


def test_patch_nce_of_what_cannot_be_told_apart(engine: Engine) -> None:
    """P equal patches, or patches of zeros, give log P; patches that are orthogonal and in place give nearly 0."""
    loss = build(engine, "patch_nce")
    for same in (torch.ones(1, 9, 4), torch.zeros(1, 9, 4)):
        same.requires_grad_()
        value = loss(same, same)
        value.backward()
        assert value.item() == pytest.approx(math.log(9), abs=1e-5) and same.grad.isfinite().all()
    axes = torch.eye(9)[None]
    assert loss(axes, axes).item() == pytest.approx(math.log(1 + 8 * math.exp(-1 / 0.07)), abs=1e-6)
    assert loss(axes, axes.roll(1, 1)).item() == pytest.approx(1 / 0.07, rel=1e-4)


def test_patch_nce_teaches_the_prediction_alone(engine: Engine) -> None:
    prediction, target = (torch.randn(1, 4, 3, 3, requires_grad=True) for _ in range(2))
    build(engine, "patch_nce")(prediction, target).backward()
    assert prediction.grad.abs().sum() > 0 and target.grad is None


def test_charbonnier(engine: Engine) -> None:
    prediction, target = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    differences = (prediction - target).flatten().tolist()
    expected = sum(math.hypot(d, 0.1) for d in differences) / len(differences)
    assert build(engine, "charbonnier", eps=0.1)(prediction, target).item() == pytest.approx(expected, rel=1e-12)
    assert build(engine, "charbonnier")(target, target).item() == pytest.approx(1e-3)


def test_total_variation(engine: Engine) -> None:
    """A ramp of slope s down and t across differs by s and t everywhere; the target does not matter."""
    down, across = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    ramp = (0.3 * down - 0.2 * across).expand(2, 3, 6, 9)
    loss = build(engine, "total_variation")
    assert loss(ramp, torch.randn(2, 3, 6, 9)).item() == pytest.approx(0.5, rel=1e-6)
    image = torch.randn(1, 2, 5, 7, dtype=torch.float64)
    rows, columns = image.numpy(), image.mT.numpy()
    expected = abs(rows[..., 1:, :] - rows[..., :-1, :]).mean() + abs(columns[..., 1:, :] - columns[..., :-1, :]).mean()
    assert loss(image, image).item() == pytest.approx(expected, rel=1e-12)


def moments(x: Tensor, y: Tensor, window: int, sigma: float) -> list[Tensor]:
    """Means, variances and covariance in a Gaussian window around every pixel, one window after the other."""
    taps = torch.exp(-((torch.arange(window) - window // 2) ** 2) / (2 * sigma**2)).double()
    weights = torch.outer(taps, taps) / taps.sum() ** 2
    pad = (window // 2,) * 4
    patches = [
        nn.functional.pad(image, pad, mode="reflect").unfold(2, window, 1).unfold(3, window, 1) for image in (x, y)
    ]
    p, q = patches
    mean_p, mean_q = ((weights * patch).sum((-2, -1), keepdim=True) for patch in patches)
    products = [(p - mean_p) ** 2, (q - mean_q) ** 2, (p - mean_p) * (q - mean_q)]
    return [mean_p[..., 0, 0], mean_q[..., 0, 0], *((weights * product).sum((-2, -1)) for product in products)]


def luminance_and_structure(x: Tensor, y: Tensor, window: int, sigma: float) -> tuple[Tensor, Tensor]:
    """l (equation 6) and c · s (equations 9 and 10, with C3 = C2 / 2) of Wang et al. 2004, for a range of 1."""
    mean_x, mean_y, var_x, var_y, covariance = moments(x, y, window, sigma)
    c1, c2 = 1e-4, 9e-4
    contrast = (2 * var_x.sqrt() * var_y.sqrt() + c2) / (var_x + var_y + c2)
    structure = (covariance + c2 / 2) / (var_x.sqrt() * var_y.sqrt() + c2 / 2)
    return (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1), contrast * structure


def two_images(size: tuple[int, int]) -> Tensor:
    """Smooth and noisy, in [-1, 1]."""
    first = torch.rand(2, 3, *size, dtype=torch.float64) * 2 - 1
    return torch.stack([first, 0.7 * first.roll(1, -1) + 0.3 * torch.rand_like(first)])


def test_ssim(engine: Engine) -> None:
    prediction, target = two_images((18, 13))
    x, y = (prediction + 1) / 2, (target + 1) / 2
    luminance, structure = luminance_and_structure(x, y, 11, 1.5)
    value = build(engine, "ssim")(prediction, target)
    torch.testing.assert_close(value, 1 - (luminance * structure).mean())
    torch.testing.assert_close(value, 1 - kornia.metrics.ssim(x, y, 11, max_val=1.0).mean())


def test_ms_ssim(engine: Engine) -> None:
    """Zhao et al. 2017, section III.C: the product of c · s over the widths, times l at the widest."""
    prediction, target = two_images((20, 17))
    x, y = (prediction + 1) / 2, (target + 1) / 2
    scales = [luminance_and_structure(x, y, 33, sigma) for sigma in (0.5, 1.0, 2.0, 4.0, 8.0)]
    product = scales[-1][0]
    for _, structure in scales:
        product = product * structure
    torch.testing.assert_close(build(engine, "ms_ssim")(prediction, target), 1 - product.mean())


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_structural_losses(engine: Engine, name: str) -> None:
    loss = build(engine, name)
    prediction, target = two_images((24, 24)).float()
    assert loss(target, target).item() == pytest.approx(0, abs=1e-6)
    assert 0 < loss(prediction, target) < loss(-target, target) <= 2
    exact = loss(prediction.bfloat16().float(), target.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(prediction.bfloat16(), target.bfloat16()), exact)


@pytest.mark.parametrize(("name", "least"), [("ssim", 6), ("ms_ssim", 17)])
def test_images_too_small_for_the_window(engine: Engine, name: str, least: int) -> None:
    loss = build(engine, name)
    loss(torch.zeros(1, 3, least, least), torch.zeros(1, 3, least, least))
    small = torch.zeros(1, 3, 64, least - 1)
    message = f"loss '{name}': images of {least - 1} x 64 px are too small for it; it needs {least} px each way"
    with pytest.raises(I2IError, match=message):
        loss(small, small)


def test_masked_l1_is_the_mean_over_the_mask(engine: Engine) -> None:
    prediction, target = torch.randn(2, 2, 3, 6, 5, dtype=torch.float64)
    mask = torch.rand(2, 1, 6, 5) < 0.3
    inside = mask.expand_as(target)
    loss = build(engine, "masked")
    expected = (prediction - target)[inside].abs().mean()
    for one in (mask, mask.float(), inside):
        torch.testing.assert_close(loss(prediction, target, one), expected)
    torch.testing.assert_close(loss(prediction, target), (prediction - target).abs().mean())


def test_outside_the_mask_nothing_counts(engine: Engine) -> None:
    loss = build(engine, "masked", loss={"name": "ssim"})
    prediction, target = two_images((24, 24))
    mask = torch.zeros(2, 1, 24, 24)
    mask[..., 5:9, 3:20] = 1
    other = torch.where(mask > 0, prediction, torch.randn_like(prediction)).requires_grad_()
    value = loss(other, target, mask)
    torch.testing.assert_close(value, loss(prediction, target, mask))
    value.backward()
    assert other.grad[:, :, 6, 6].all() and not other.grad[(mask == 0).expand_as(other)].any()


@pytest.mark.parametrize("name", ["l1", "ssim", "charbonnier"])
def test_an_empty_mask_gives_zero(engine: Engine, name: str) -> None:
    prediction = torch.randn(1, 3, 8, 8, requires_grad=True)
    value = build(engine, "masked", loss=name)(prediction, torch.randn(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))
    value.backward()
    assert value.item() == 0 and not prediction.grad.any()


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [("charbonnier", "eps", 0), ("patch_nce", "temperature", 0.0), ("masked", "loss", "l3")],
)
def test_bounds(engine: Engine, name: str, option: str, value: object) -> None:
    with pytest.raises(I2IError, match=rf"cycle\.{option}: "):
        build(engine, name, **{option: value})


SMALL = {"ms_ssim": {"data": {"load_size": 20, "crop_size": 20}}}
"""Tables of a recipe that a loss needs."""


def losses() -> list[str]:
    folder = Path(__file__).parent.parent / "plugins"
    names = [p.stem for p in folder.glob("[!_]*.py")] + [p.parent.name for p in folder.glob("*/__init__.py")]
    return Engine([f"i2i_plugins.{name}" for name in sorted(names)], entry_points=False).registry.names("loss")


@pytest.mark.parametrize(
    ("name", "between"), [*((name, ["rec_a", "a"]) for name in losses()), ("masked", ["rec_a", "a", "same_a"])]
)
def test_every_loss_is_an_extra_loss(engine: Engine, tmp_path: Path, name: str, between: list[str]) -> None:
    document = tiny.document(tmp_path)
    for table, options in SMALL.get(name, {}).items():
        document[table] |= options
    document["extra_loss"] = [{"name": name, "between": between, "player": "generators", "weight": 0.5}]
    training = Training.build(resolve(document, engine.registry, list(engine.plugins)))
    metrics = training.trainer.train_step(training.data.batches(0))
    assert metrics[f"loss.{name}"].isfinite()
