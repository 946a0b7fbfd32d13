"""Games beyond the reference's: formulas on numbers, penalties on critics with known slopes, augmentations by hand."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from i2i.errors import I2IError
from i2i.method import Scored
from i2i.reference.patchgan import PatchGAN
from i2i_plugins.augmented import ada, diffaugment

REAL, FAKE = [2.0, 0.5, -1.0, 0.0], [-2.0, 0.25, 1.5, -0.5]
"""Scores of four images, or patches, each."""


def build(engine, name, **options):
    return engine.registry.resolve("adversarial_loss", {"name": name, **options}, "adversarial")()


def column(numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64).view(-1, 1, 1, 1)


def mean(numbers) -> float:
    return math.fsum(numbers) / len(numbers)


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


def relativistic(above: list[float], below: list[float]) -> float:
    first = mean([log_sigmoid(x - mean(below)) for x in above])
    return -first - mean([math.log(1 - math.exp(log_sigmoid(y - mean(above)))) for y in below])


FORMULAS = {
    "hinge": (-mean(FAKE), mean([max(0, 1 - x) for x in REAL]) + mean([max(0, 1 + y) for y in FAKE])),
    "wasserstein": (-mean(FAKE), mean(FAKE) - mean(REAL)),
    "logistic": (
        -mean([log_sigmoid(y) for y in FAKE]),
        -mean([log_sigmoid(x) for x in REAL]) - mean([log_sigmoid(-y) for y in FAKE]),
    ),
    "relativistic_average": (relativistic(FAKE, REAL), relativistic(REAL, FAKE)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name, engine):
    """Each game on four scores, as a column of images and as one map."""
    game = build(engine, name)
    for shape in ((4, 1, 1, 1), (1, 1, 2, 2)):
        sides = [
            side(lambda scores: scores, column(REAL).view(shape), column(FAKE).view(shape)).item()
            for side in (game.for_generator, game.for_discriminator)
        ]
        assert sides == pytest.approx(FORMULAS[name], rel=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_list_of_maps_is_the_mean_of_each(name, engine):
    game, real, fake = build(engine, name), torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    coarse = nn.AvgPool2d(4)
    for side in (game.for_generator, game.for_discriminator):
        expected = (side(lambda x: x, real, fake) + side(coarse, real, fake)) / 2
        torch.testing.assert_close(side(lambda x: [x, coarse(x)], real, fake), expected)


@pytest.mark.parametrize("name", FORMULAS)
def test_scores_beyond_all_bounds_give_finite_losses_and_gradients(name, engine):
    real, fake = (torch.tensor([[-200.0, 200.0]], requires_grad=True) for _ in range(2))
    game = build(engine, name)
    total = game.for_generator(lambda x: x, real, fake) + game.for_discriminator(lambda x: x, real, fake)
    total.backward()
    assert total.isfinite() and real.grad.isfinite().all() and fake.grad.isfinite().all()


def test_hinge_ignores_what_is_sure(engine):
    real, fake = column(REAL).requires_grad_(), column(FAKE).requires_grad_()
    build(engine, "hinge").for_discriminator(lambda x: x, real, fake).backward()
    assert real.grad.flatten().tolist() == [0, -0.25, -0.25, -0.25]
    assert fake.grad.flatten().tolist() == [0, 0.25, 0.25, 0.25]


def test_the_relativistic_generator_also_lowers_real_scores(engine):
    real, fake = column(REAL).requires_grad_(), column(FAKE).requires_grad_()
    build(engine, "relativistic_average").for_generator(lambda x: x, real, fake).backward()
    assert (real.grad > 0).all() and (fake.grad < 0).all()


class Linear(nn.Module):
    """A critic <w, x> + c with a known slope w, of images of 2 x 3 x 3."""

    def __init__(self, length: float) -> None:
        super().__init__()
        w = torch.randn(2, 3, 3, dtype=torch.float64)
        self.w = nn.Parameter(length * w / w.norm())
        self.c = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.w).sum((1, 2, 3)) + self.c


def images(n: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 2, 3, 3, dtype=torch.float64), torch.randn(n, 2, 3, 3, dtype=torch.float64)


@pytest.mark.parametrize(("weight", "target", "length"), [(10, 1, 3), (10, 1, 0.25), (0.5, 2, 5)])
@pytest.mark.parametrize("loss", ["wasserstein", "hinge"])
def test_gradient_penalty_of_a_linear_critic(loss, weight, target, length, engine):
    """Gulrajani et al. 2017, equation 3: the slope is w everywhere, so the penalty is weight * (||w|| - target)²."""
    critic, (real, fake) = Linear(length), images()
    game = build(engine, "gradient_penalty", loss=loss, weight=weight, target=target)
    plain = build(engine, loss)
    penalty = game.for_discriminator(critic, real, fake) - plain.for_discriminator(critic, real, fake)
    assert penalty.item() == pytest.approx(weight * (length - target) ** 2, rel=1e-9)
    (gradient,) = torch.autograd.grad(penalty, critic.w)
    torch.testing.assert_close(gradient, 2 * weight * (length - target) * critic.w.detach() / length)
    assert game.for_generator(critic, real, fake) == plain.for_generator(critic, real, fake)


def test_the_default_is_the_papers(engine):
    critic, (real, fake) = Linear(3.0), images()
    expected = critic(fake).mean() - critic(real).mean() + 10 * (3.0 - 1) ** 2
    torch.testing.assert_close(build(engine, "gradient_penalty").for_discriminator(critic, real, fake), expected)


def test_slopes_are_taken_on_the_line_between_each_fake_and_its_real_image(engine):
    """D(x) = ||x||² / 2 has the slope x. On the line from 0 to (1, 1) its norm is √2 u, u uniform in [0, 1]."""
    game = build(engine, "gradient_penalty", weight=1)
    real = torch.ones(20000, 1, 1, 2, dtype=torch.float64)

    def critic(x: Tensor) -> Tensor:
        return x.square().sum((1, 2, 3)) / 2

    value = game.for_discriminator(critic, real, 0 * real) - (0 - 1)
    assert value.item() == pytest.approx(2 / 3 - math.sqrt(2) + 1, abs=0.01)  # E(√2 u - 1)²


@pytest.mark.parametrize("n_patches", [1, 2, 5])
@pytest.mark.parametrize("name", ["gradient_penalty", "r1"])
def test_scores_of_patches_are_held_as_one_score_is(name, n_patches, engine):
    """n x n patches side by side, each with a score <w, patch> of its own: the penalty of one of them alone."""
    net, size = nn.Conv2d(2, 1, 3, stride=3).double(), 3 * n_patches
    real, fake = torch.randn(2, 4, 2, size, size, dtype=torch.float64)
    slope = net.weight.detach().norm()
    expected = {"gradient_penalty": 10 * (slope - 1) ** 2, "r1": 10 / 2 * slope**2}[name]
    for judge in (net, lambda x: [net(x), net(x)]):
        game = build(engine, name, loss="wasserstein", **({"every": 1} if name == "r1" else {}))
        plain = build(engine, "wasserstein").for_discriminator(judge, real, fake)
        torch.testing.assert_close(game.for_discriminator(judge, real, fake) - plain, expected)


def test_the_slope_of_patches_that_overlap(engine):
    """That of the sum of n scores, which the CycleGAN authors' cal_gradient_penalty takes, over √n."""
    net, (real, fake) = nn.Conv2d(2, 1, 2).double(), images()
    sum_slope = F.conv_transpose2d(torch.ones(1, 1, 2, 2, dtype=torch.float64), net.weight).norm()
    plain = build(engine, "wasserstein").for_discriminator(net, real, fake)
    penalty = build(engine, "gradient_penalty").for_discriminator(net, real, fake) - plain
    torch.testing.assert_close(penalty, 10 * (sum_slope / math.sqrt(4) - 1) ** 2)


@pytest.mark.parametrize("name", ["gradient_penalty", "r1"])
def test_penalties_are_in_float32_under_autocast(name, engine):
    judge, real = PatchGAN(3, base_channels=4, n_layers=1), torch.randn(2, 3, 16, 16)
    plain, values = build(engine, "wasserstein"), []
    for enabled in (False, True):
        torch.manual_seed(1)
        game = build(engine, name, loss="wasserstein")
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = game.for_discriminator(judge, real, -real) - plain.for_discriminator(judge, real, -real)
        assert value.dtype == torch.float32
        values.append(value)
    torch.testing.assert_close(*values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["gradient_penalty", "r1"])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.SyncBatchNorm])
def test_batch_normalization_is_refused(name, norm, engine):
    judge = Scored(PatchGAN(3, base_channels=4, n_layers=1, norm=norm))
    real = torch.randn(2, 3, 16, 16)
    with pytest.raises(I2IError, match=rf"discriminator.*{norm.__name__} at 'model.3'"):
        build(engine, name).for_discriminator(judge, real, real)


def test_batch_normalization_without_running_statistics_is_refused_in_evaluation_mode_too(engine):
    norm, real = nn.BatchNorm2d(2, track_running_stats=False).eval(), torch.randn(2, 2, 3, 3)
    with pytest.raises(I2IError, match="BatchNorm2d at '0'"):
        build(engine, "r1").for_discriminator(nn.Sequential(norm).eval(), real, real)


@pytest.mark.parametrize("norm", ["instance", "group", "layer", "none", "frozen"])
def test_normalization_of_each_image_alone_is_not(norm, engine):
    def layer(channels: int) -> nn.Module:
        if norm == "frozen":
            return nn.BatchNorm2d(channels).eval()
        return engine.registry.resolve("normalization", norm, "norm")(channels)

    judge, real = PatchGAN(3, base_channels=32, n_layers=1, norm=layer), torch.randn(2, 3, 16, 16)
    game = build(engine, "gradient_penalty", loss="r1")
    game.for_discriminator(judge, real, -real).backward()
    assert all(p.grad.isfinite().all() for p in judge.parameters())


def test_images_that_do_not_pair_up_are_told(engine):
    real, _ = images()
    with pytest.raises(I2IError, match=r"shapes \(5, 2, 3, 3\) and \(4, 2, 3, 3\)"):
        build(engine, "gradient_penalty").for_discriminator(Linear(1.0), real, real[:4])


def test_r1_at_every_call(engine):
    """Mescheder et al. 2018, equation 9: weight / 2 * E||∇D(real)||², with D(x) = <w, x> and ||x||² / 2."""
    real, fake = images()
    game, plain = build(engine, "r1", loss="hinge", weight=3, every=1), build(engine, "hinge")
    linear = Linear(2.0)
    penalty = game.for_discriminator(linear, real, fake) - plain.for_discriminator(linear, real, fake)
    assert penalty.item() == pytest.approx(3 / 2 * 2.0**2)
    (gradient,) = torch.autograd.grad(penalty, linear.w)
    torch.testing.assert_close(gradient, 3 * linear.w.detach())

    def bowl(x: Tensor) -> Tensor:
        return x.square().sum((1, 2, 3)) / 2

    penalty = game.for_discriminator(bowl, real, fake) - plain.for_discriminator(bowl, real, fake)
    torch.testing.assert_close(penalty, 3 / 2 * real.flatten(1).square().sum(1).mean())
    assert game.for_generator(linear, real, fake) == plain.for_generator(linear, real, fake)
    assert not real.requires_grad


def test_lazy_r1_is_the_same_on_average(engine):
    (real, fake), critic = images(), Linear(2.0)
    game, plain = build(engine, "r1"), build(engine, "logistic").for_discriminator(critic, real, fake)
    penalties = [(game.for_discriminator(critic, real, fake) - plain).item() for _ in range(48)]
    assert penalties[::16] == [pytest.approx(16 * 10 / 2 * 2.0**2)] * 3
    assert mean(penalties) == pytest.approx(10 / 2 * 2.0**2)


def test_r1_goes_on_where_it_was(engine):
    (real, fake), critic = images(), Linear(2.0)
    game, other = build(engine, "r1", every=4), build(engine, "r1", every=4)
    for _ in range(3):
        game.for_discriminator(critic, real, fake)
    other.load_state_dict(game.state_dict())
    for _ in range(5):
        assert game.for_discriminator(critic, real, fake) == other.for_discriminator(critic, real, fake)
    assert game.calls == 8


@pytest.mark.parametrize("around", ["diffaugment", "ada", "feature_matching"])
def test_who_differentiates_twice_says_so_from_outside(around, engine):
    assert not build(engine, around).differentiates_twice
    assert build(engine, around, loss={"name": around, "loss": "r1"}).differentiates_twice


class Seeing:
    """A game that keeps what it is shown; both sides are the mean of all pixels."""

    def __init__(self) -> None:
        self.seen = []

    def for_generator(self, discriminator, real, fake):
        self.seen.append((real, fake))
        return discriminator(real).mean() + discriminator(fake).mean()

    for_discriminator = for_generator


@pytest.mark.parametrize("name", ["diffaugment", "ada"])
def test_both_kinds_of_images_are_augmented_for_both_sides(name, engine):
    game = build(engine, name)
    game.loss = Seeing()
    if name == "ada":
        game.p.fill_(1)
    real, fake = torch.rand(4, 3, 16, 24) * 2 - 1, (torch.rand(4, 3, 16, 24) * 2 - 1).requires_grad_()
    game.for_discriminator(lambda x: x, real, fake.detach())
    game.for_generator(lambda x: x, real, fake).backward()
    for shown in game.loss.seen:
        for before, after in zip((real, fake), shown, strict=True):
            assert after.shape == before.shape and after.dtype == before.dtype
            assert all(not torch.allclose(x, y, atol=0.1) for x, y in zip(before, after, strict=True))
    assert fake.grad.abs().sum((1, 2, 3)).min() > 0
    half = fake.detach().bfloat16()
    game.for_discriminator(lambda x: x, half, half)
    assert {images.dtype for images in game.loss.seen[-1]} == {torch.bfloat16}


def test_the_policy_is_what_happens(engine):
    game = build(engine, "diffaugment", policy=["color"])
    game.loss = Seeing()
    flat = torch.full((4, 3, 8, 8), 0.25)
    game.for_discriminator(lambda x: x, flat, flat)
    for shown in game.loss.seen[0]:  # colour alone keeps a flat image flat
        assert shown.std((2, 3)).max() < 1e-6 < (shown - flat).abs().min()


def test_colors_are_not_clipped_and_keep_their_gradients():
    """Zhao et al.: brightness moves by U(-0.5, 0.5), beyond white and black too."""
    white = torch.ones(400, 3, 2, 2, requires_grad=True)
    out = diffaugment.color(white)
    brightness = out[:, 0, 0, 0] - 1
    assert (out > 1).any() and brightness.abs().max() <= 0.5 + 1e-6
    assert brightness.mean().abs() < 0.05 and brightness.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.03)
    out.sum().backward()
    torch.testing.assert_close(white.grad, torch.ones_like(white))  # contrast and saturation keep an image's sum


def test_saturation_and_contrast_are_around_grey():
    x = torch.rand(300, 3, 4, 4, dtype=torch.float64) * 2 - 1
    out = diffaugment.color(x)
    grey, new_grey = x.mean(1, keepdim=True), out.mean(1, keepdim=True)
    middle, new_middle = grey.mean((2, 3), keepdim=True), new_grey.mean((2, 3), keepdim=True)
    contrast = ((new_grey - new_middle) / (grey - middle)).flatten(1)
    assert contrast.std(1).max() < 1e-6 and contrast.min() >= 0.5 and contrast.max() <= 1.5
    color = ((out - new_grey) / (x - grey)).flatten(1)  # saturation times contrast
    assert color.std(1).max() < 1e-6
    saturation = color[:, 0] / contrast[:, 0]
    assert saturation.min() >= 0 and saturation.max() <= 2 and saturation.max() - saturation.min() > 1.8


def test_translation_moves_by_whole_pixels_up_to_an_eighth():
    x = torch.rand(200, 3, 16, 24) + 1
    shifts = set()
    for before, after in zip(x, diffaugment.translation(x), strict=True):
        padded = F.pad(before, (3, 3, 2, 2))
        possible = {(i, j): padded[:, i : i + 16, j : j + 24] for i in range(5) for j in range(7)}
        found = [shift for shift, image in possible.items() if torch.equal(image, after)]
        assert len(found) == 1
        shifts.update(found)
    assert len(shifts) == 35


def test_cutout_is_a_rectangle_of_half_the_size():
    """Its middle lies at any line; what reaches over the edge is lost."""
    x = torch.rand(200, 3, 16, 10) + 1
    heights, widths = set(), set()
    for before, after in zip(x, diffaugment.cutout(x), strict=True):
        gone = after[0] == 0
        rows, columns = gone.any(1), gone.any(0)
        assert torch.equal(gone, rows[:, None] & columns)
        assert torch.equal(after, before * ~gone)
        for lines, ranges in ((rows, heights), (columns, widths)):
            at = lines.nonzero().flatten().tolist()
            assert at == [*range(at[0], at[-1] + 1)]
            ranges.add((at[0], at[-1]))
    assert heights == {(max(0, middle - 4), min(15, middle + 3)) for middle in range(17)}
    assert widths == {(max(0, middle - 2), min(9, middle + 2)) for middle in range(10)}


def test_adas_probability_follows_the_sign_of_real_scores(engine):
    """Karras et al. 2020: every 4 batches p moves by their images / `images`, up where E[sign(D(real))] > 0.6."""
    game, real = build(engine, "ada", images=100), torch.zeros(5, 3, 8, 8)

    def play(*scores: float) -> float:
        """The mean signs of four batches of one score."""
        for score in scores:
            game.for_discriminator(lambda x, score=score: torch.full((5, 1, 1, 1), float(score)), real, real)
        return round(game.p.item(), 6)

    assert play(3, 3, 3) == 0
    assert play(3) == 0.2  # 5 images x 4 / 100
    assert play(9, 9, 9, -0.1) == 0  # r = 0.5
    assert play(-1, -1, -1, -1) == 0  # not below
    assert play(*[0.1] * 12) == 0.6
    assert play(*[0.1] * 20) == 1  # nor above
    assert play(0, 1, 1, 1) == 1  # r = 0.75
    assert play(0, 0, 1, 1) == 0.8  # r = 0.5


def test_ada_goes_on_where_it_was(engine):
    game, real = build(engine, "ada", images=16, loss={"name": "r1", "every": 3}), torch.rand(2, 3, 8, 8)
    judge = nn.Conv2d(3, 1, 3)
    nn.init.constant_(judge.bias, 9.0)
    for _ in range(6):
        game.for_discriminator(judge, real, real)
    other = build(engine, "ada", images=16, loss={"name": "r1", "every": 3})
    other.load_state_dict(copy.deepcopy(game.state_dict()))
    for _ in range(6):
        values = []
        for one in (game, other):
            torch.manual_seed(1)
            values.append(one.for_discriminator(judge, real, real))
        assert torch.equal(*values)
    assert game.p == other.p == 1 and game.loss.calls == 12


@pytest.mark.parametrize("inner", ["diffaugment", "ada"])
def test_ada_needs_to_see_the_scores_of_real_images(inner, engine):
    """A game that changes images once more never shows ADA's own, so that r would be 0 and p stay there."""
    real = torch.rand(2, 3, 8, 8)
    with pytest.raises(I2IError, match="ada: .*put it around ada instead"):
        build(engine, "ada", loss=inner).for_discriminator(nn.Conv2d(3, 1, 3), real, real)
    outside = build(engine, inner, loss="ada") if inner == "diffaugment" else build(engine, "ada", loss="hinge")
    assert outside.for_discriminator(nn.Conv2d(3, 1, 3), real, real).isfinite()


def test_ada_begins_without_augmentation(engine):
    x = torch.rand(3, 3, 16, 20) * 2 - 1
    torch.testing.assert_close(ada.augment(x, torch.tensor(0.0)), x, rtol=0, atol=1e-5)


MOVES = ("flip", "quarters", "blit", "scale", "stretch", "before", "after", "shift")
COLORS = ("brightness", "contrast", "saturation", "flip", "hue")
NEUTRAL = {"flip": 1, "scale": 1, "stretch": 1, "contrast": 1, "saturation": 1, "blit": (0, 0), "shift": (0, 0)}


def chosen(monkeypatch, names, **values):
    """Sets what ADA would draw; the rest changes nothing."""
    amounts = iter([values.get(name, NEUTRAL.get(name, 0)) for name in names])

    def draw(drawn, otherwise, p):
        amount = torch.tensor(next(amounts), dtype=drawn.dtype)
        return amount.expand(drawn.shape)

    monkeypatch.setattr(ada, "_sometimes", draw)


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        ({"flip": -1}, lambda x: x.flip(3)),
        ({"quarters": 1}, lambda x: x.rot90(-1, (2, 3))),
        ({"quarters": 2}, lambda x: x.flip(2, 3)),
        ({"before": math.pi / 2}, lambda x: x.rot90(-1, (2, 3))),
        ({"after": -math.pi / 2}, lambda x: x.rot90(1, (2, 3))),
        ({"before": 0.7, "after": -0.7}, lambda x: x),
        ({"blit": (2.0, -3.0)}, lambda x: F.pad(x, (2, 0, 0, 3), mode="reflect")[:, :, 3:, :9]),
        ({"shift": (0.5, 0.0)}, lambda x: (x + F.pad(x, (1, 0, 0, 0), mode="reflect")[..., :9]) / 2),
        ({"scale": 2}, lambda x: F.interpolate(x[..., 2:7, 2:7], (9, 9), mode="bilinear", align_corners=True)),
        (  # 4 times as wide, as high as before
            {"scale": 2, "stretch": 2},
            lambda x: F.interpolate(x, (9, 33), mode="bilinear", align_corners=True)[..., 12:21],
        ),
        ({"flip": -1, "quarters": 1}, lambda x: x.flip(3).rot90(-1, (2, 3))),
        (
            {"quarters": 1, "blit": (2.0, 0.0)},
            lambda x: F.pad(x.rot90(-1, (2, 3)), (2, 0, 0, 0), mode="reflect")[..., :9],
        ),
    ],
)
def test_moves(move, expected, monkeypatch):
    """Appendix B, each against torch's own; in the paper's order. Angles turn x towards y, which points down."""
    chosen(monkeypatch, MOVES, **move)
    x = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(ada.move(x, torch.ones(())), expected(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("color", "expected"),
    [
        ({"brightness": 0.7}, lambda x: x + 0.7),
        ({"contrast": 2.0}, lambda x: 2 * x),
        ({"brightness": 0.5, "contrast": 3.0}, lambda x: 3 * (x + 0.5)),
        ({"saturation": 0.0}, lambda x: x.mean(1, keepdim=True).expand(x.shape)),
        ({"saturation": 3.0}, lambda x: 3 * x - 2 * x.mean(1, keepdim=True)),
        ({"flip": -1.0}, lambda x: x - 2 * x.mean(1, keepdim=True)),
        ({"hue": 2 * math.pi / 3}, lambda x: x.roll(1, 1)),  # red becomes green
        ({"hue": math.pi}, lambda x: 2 * x.mean(1, keepdim=True) - x),
    ],
)
def test_colors(color, expected, monkeypatch):
    """Appendix B; values of [-1, 1] leave it unclipped, and so do their gradients."""
    chosen(monkeypatch, COLORS, **color)
    x = torch.tensor([-1.0, 1.0, 0.5], dtype=torch.float64).view(1, 3, 1, 1).repeat(2, 1, 4, 4).requires_grad_()
    out = ada.recolor(x, torch.ones(()))
    torch.testing.assert_close(out, expected(x), rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(out.square().sum(), x)
    (want,) = torch.autograd.grad(expected(x).square().sum(), x)
    torch.testing.assert_close(gradient, want, rtol=0, atol=1e-5)


def test_grey_images_have_no_hue_nor_saturation(monkeypatch):
    chosen(monkeypatch, COLORS, saturation=3.0, hue=1.0, flip=-1.0, contrast=2.0, brightness=0.25)
    grey = torch.rand(2, 1, 4, 4) * 2 - 1
    torch.testing.assert_close(ada.recolor(grey, torch.ones(())), -2 * (grey + 0.25))


def what_is_drawn(monkeypatch, names, change, size):
    """What is drawn for each of 20,000 images, and the probabilities that it is used with, of p = 0.36."""
    amounts, probabilities, order = {}, {}, iter(names)

    def draw(values, otherwise, p):
        name = next(order)
        amounts[name], probabilities[name] = values, round(float(p), 6)
        return values

    monkeypatch.setattr(ada, "_sometimes", draw)
    monkeypatch.setattr("kornia.geometry.warp_affine", lambda images, *_, **__: images)
    change(torch.zeros(()).expand(20_000, 3, *size), torch.tensor(0.36))
    return amounts, probabilities


def assert_spread(values: Tensor, std: float) -> None:
    """Mean 0 and this standard deviation, each within 5 standard errors."""
    n = len(values)
    assert values.mean().abs() < 5 * std / math.sqrt(n)
    assert values.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * n))


def test_how_far_images_move(monkeypatch):
    """Appendix B: of images of 32 x 64 px, an eighth of the width is 4 px, of the height 8 px."""
    amounts, probabilities = what_is_drawn(monkeypatch, MOVES, ada.move, (64, 32))
    assert amounts["flip"].unique().tolist() == [-1, 1] and amounts["quarters"].unique().tolist() == [0, 1, 2, 3]
    assert [moves.unique().tolist() for moves in amounts["blit"].T] == [[*range(-4, 5)], [*range(-8, 9)]]
    for name in ("scale", "stretch"):
        assert_spread(amounts[name].log2(), 0.2)
    for name in ("before", "after"):  # in all directions alike, and in one of them with probability p
        assert amounts[name].abs().max() <= math.pi
        assert_spread(amounts[name], math.pi / math.sqrt(3))
        assert probabilities.pop(name) == 0.2
    for shift, size in zip(amounts["shift"].T, (32, 64), strict=True):
        assert_spread(shift, size / 8)
    assert {*probabilities.values()} == {0.36}


def test_how_far_colors_change(monkeypatch):
    amounts, probabilities = what_is_drawn(monkeypatch, COLORS, ada.recolor, (1, 1))
    assert_spread(amounts["brightness"], 0.2)
    assert_spread(amounts["contrast"].log2(), 0.5)
    assert_spread(amounts["saturation"].log2(), 1.0)
    assert amounts["flip"].unique().tolist() == [-1, 1]
    assert amounts["hue"].abs().max() <= math.pi
    assert_spread(amounts["hue"], math.pi / math.sqrt(3))
    assert {*probabilities.values()} == {0.36}


def test_each_augmentation_comes_with_its_probability():
    ones = torch.ones(20000, 2)
    drawn = ada._sometimes(ones, 0, torch.tensor(0.3))
    assert torch.equal(drawn[:, 0], drawn[:, 1]) and drawn.mean().item() == pytest.approx(0.3, abs=0.02)


class Patches(nn.Module):
    """Two discriminators of two activations each, the inner one in place."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2, True), nn.Conv2d(4, 4, 1), nn.Tanh())
        self.coarse = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.SiLU(), nn.Conv2d(4, 1, 1), nn.Sigmoid())
        self.n_calls = 0

    def forward(self, x: Tensor) -> list[Tensor]:
        self.n_calls += 1
        return [self.fine(x), self.coarse(x)]

    def features(self, x: Tensor) -> list[Tensor]:
        inner = [F.leaky_relu(self.fine[0](x), 0.2), F.silu(self.coarse[0](x))]
        return [*inner, torch.tanh(self.fine[2](inner[0])), torch.sigmoid(self.coarse[2](inner[1]))]


@pytest.mark.parametrize("loss", ["lsgan", "relativistic_average"])
def test_feature_matching(loss, engine):
    """Wang et al. 2018, equations 4 and 5: 10 Σ_i mean |D_i(real) - D_i(fake)|, for one of the two discriminators."""
    judge, real = Patches(), torch.rand(2, 3, 9, 9)
    fake = torch.rand(2, 3, 9, 9, requires_grad=True)
    game, plain = build(engine, "feature_matching", loss=loss), build(engine, loss)
    value = game.for_generator(Scored(judge), real, fake)
    assert judge.n_calls == 2  # one pass of each serves the game and the features
    matched = sum(
        (x.detach() - y).abs().mean() for x, y in zip(judge.features(real), judge.features(fake), strict=True)
    )
    expected = plain.for_generator(judge, real, fake) + 10 * matched / 2
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, fake)[0] for v in (value, expected)))
    assert game.for_discriminator(judge, real, fake) == plain.for_discriminator(judge, real, fake)
    assert not any(layer._forward_hooks for layer in judge.modules())


def test_features_of_real_images_carry_no_gradient(engine):
    judge, real, fake = Patches(), torch.rand(2, 3, 9, 9, requires_grad=True), torch.rand(2, 3, 9, 9)
    value = build(engine, "feature_matching").for_generator(judge, real, fake)
    assert torch.autograd.grad(value, real, allow_unused=True) == (None,)


def test_a_discriminator_without_activations_cannot_match(engine):
    for judge in (nn.Conv2d(3, 1, 3), lambda x: x):
        with pytest.raises(I2IError, match="no activations"):
            build(engine, "feature_matching").for_generator(judge, torch.rand(1, 3, 9, 9), torch.rand(1, 3, 9, 9))
