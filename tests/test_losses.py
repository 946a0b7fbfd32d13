"""Losses against the theorems of their papers, on discrete distributions and in float64."""

import math

import pytest
import torch
from torch import Tensor, nn

from i2i.engine import Engine
from i2i.errors import I2IError

# Two distributions over four "images" (the numbers 0 to 3), given by how often each occurs in a batch of 16.
COUNTS_P = torch.tensor([8, 4, 3, 1])
COUNTS_Q = torch.tensor([2, 2, 5, 7])
P, Q = COUNTS_P.double() / 16, COUNTS_Q.double() / 16
REAL = torch.arange(4).repeat_interleave(COUNTS_P).reshape(-1, 1, 1, 1)
FAKE = torch.arange(4).repeat_interleave(COUNTS_Q).reshape(-1, 1, 1, 1)


class Table:
    """A discriminator with a logit for each of the four images."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits.clone().requires_grad_()

    def __call__(self, images: Tensor) -> Tensor:
        return self.logits[images]


def adversarial(engine: Engine, name: str, **options: object):
    return engine.registry.resolve("adversarial_loss", {"name": name, **options}, "adversarial")()


def pairwise(engine: Engine, name: str, **options: object):
    return engine.registry.resolve("loss", {"name": name, **options}, "cycle")()


def slope(loss, logits: list[float]) -> Tensor:
    """The gradient of the generator's loss at these logits of the fakes, times their number."""
    fake = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    loss.for_generator(lambda images: images, fake.detach(), fake).backward()
    assert fake.grad is not None
    return fake.grad * len(logits)


@pytest.mark.parametrize(("real", "fake"), [(1.0, -1.0), (1.0, 0.0), (0.25, 3.0)])
def test_lsgan_optimal_discriminator(engine: Engine, real: float, fake: float) -> None:
    """Mao et al. 2017, equation 5: D*(x) = (b p + a q) / (p + q) minimizes L(D)."""
    loss = adversarial(engine, "lsgan", real=real, fake=fake)
    optimum = Table((real * P + fake * Q) / (P + Q))
    at_optimum = loss.for_discriminator(optimum, REAL, FAKE)
    at_optimum.backward()
    torch.testing.assert_close(optimum.logits.grad, torch.zeros(4, dtype=torch.float64))
    for _ in range(5):
        elsewhere = Table(optimum.logits.detach() + torch.randn(4, dtype=torch.float64))
        assert loss.for_discriminator(elsewhere, REAL, FAKE) > at_optimum


def test_lsgan_pearson_divergence(engine: Engine) -> None:
    """Mao et al. 2017, section 3.2: for (b, a, c) = (1, -1, 0), 2 C(G) is Pearson's chi-square of p + q and 2 q."""
    loss = adversarial(engine, "lsgan", real=1.0, fake=-1.0, generator=0.0)
    optimum = Table((P - Q) / (P + Q))
    # C(G) is half of E_p[(D* - c)²] + E_q[(D* - c)²]; the first term does not depend on G and is left out of L(G).
    twice_c = loss.for_generator(optimum, FAKE, REAL) + loss.for_generator(optimum, REAL, FAKE)
    pearson = ((2 * Q - (P + Q)) ** 2 / (P + Q)).sum()
    torch.testing.assert_close(twice_c.detach(), pearson)


def test_lsgan_halves_only_the_discriminators_loss(engine: Engine) -> None:
    loss = adversarial(engine, "lsgan")
    table = Table(torch.tensor([0.3, -0.7, 1.1, 0.2], dtype=torch.float64))
    d = table.logits.detach()
    on_real, on_fake = (P * (d - 1) ** 2).sum(), (Q * d**2).sum()
    torch.testing.assert_close(loss.for_discriminator(table, REAL, FAKE).detach(), (on_real + on_fake) / 2)
    torch.testing.assert_close(loss.for_generator(table, REAL, FAKE).detach(), (Q * (d - 1) ** 2).sum())


def test_lsgan_with_sigmoid_saturates(engine: Engine) -> None:
    logits = [-30.0, -1.0, 0.0, 2.0]
    x = torch.tensor(logits, dtype=torch.float64)
    s = 1 / (1 + torch.exp(-x))
    plain, squashed = (
        slope(adversarial(engine, "lsgan"), logits),
        slope(adversarial(engine, "lsgan", sigmoid=True), logits),
    )
    torch.testing.assert_close(plain, 2 * (x - 1))
    torch.testing.assert_close(squashed, 2 * (s - 1) * s * (1 - s))
    assert abs(squashed[0]) < 1e-12 < 62 <= abs(plain[0])


def test_cross_entropy_at_the_optimum(engine: Engine) -> None:
    """Goodfellow et al. 2014, proposition 1 and theorem 1: the value at D* = p / (p + q) is -log 4 + 2 JSD."""
    vanilla, minimax = adversarial(engine, "vanilla"), adversarial(engine, "minimax")
    optimum = Table(torch.log(P / Q))
    middle = (P + Q) / 2
    divergence = (P * torch.log(P / middle)).sum() / 2 + (Q * torch.log(Q / middle)).sum() / 2
    value = -math.log(4) + 2 * divergence
    for loss in (vanilla, minimax):
        torch.testing.assert_close(-2 * loss.for_discriminator(optimum, REAL, FAKE).detach(), value)
    # E_p[log D] is minus the non-saturating loss of the real images.
    log_d_real = -vanilla.for_generator(optimum, FAKE, REAL)
    torch.testing.assert_close((log_d_real + minimax.for_generator(optimum, REAL, FAKE)).detach(), value)

    minimax.for_discriminator(optimum, REAL, FAKE).backward()
    torch.testing.assert_close(optimum.logits.grad, torch.zeros(4, dtype=torch.float64))


def test_both_generators_raise_d(engine: Engine) -> None:
    """The slope of -log sigmoid(x) is sigmoid(x) - 1, that of log(1 - sigmoid(x)) is -sigmoid(x), which saturates."""
    logits = [-20.0, -1.0, 0.0, 3.0]
    s = 1 / (1 + torch.exp(-torch.tensor(logits, dtype=torch.float64)))
    torch.testing.assert_close(slope(adversarial(engine, "vanilla"), logits), s - 1)
    torch.testing.assert_close(slope(adversarial(engine, "minimax"), logits), -s)


@pytest.mark.parametrize("name", ["lsgan", "vanilla", "minimax"])
def test_sure_discriminator_gives_finite_losses(engine: Engine, name: str) -> None:
    sure = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    loss = adversarial(engine, name)
    total = loss.for_generator(lambda x: x, sure, sure) + loss.for_discriminator(lambda x: x, sure, sure)
    total.backward()
    assert total.isfinite() and sure.grad is not None and sure.grad.isfinite().all()


@pytest.mark.parametrize("name", ["lsgan", "vanilla", "minimax"])
def test_list_of_maps_is_the_mean_of_each(engine: Engine, name: str) -> None:
    loss = adversarial(engine, name)
    real, fake = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    coarse = nn.AvgPool2d(4)

    def both(x: Tensor) -> list[Tensor]:
        return [x, coarse(x)]

    for side in (loss.for_generator, loss.for_discriminator):
        expected = (side(lambda x: x, real, fake) + side(coarse, real, fake)) / 2
        torch.testing.assert_close(side(both, real, fake), expected)


@pytest.mark.parametrize("name", ["lsgan", "vanilla", "minimax"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_give_float32_losses(engine: Engine, name: str, dtype: torch.dtype) -> None:
    loss = adversarial(engine, name)
    real, fake = torch.randn(4, 1, 3, 3).to(dtype), torch.randn(4, 1, 3, 3).to(dtype)
    for side in (loss.for_generator, loss.for_discriminator):
        value = side(lambda x: x, real, fake)
        assert value.dtype == torch.float32 and value.dim() == 0
        torch.testing.assert_close(value, side(lambda x: x, real.float(), fake.float()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "options", "p"),
    [("l1", {}, 1.0), ("l2", {}, 2.0), ("lp", {}, 1.5), ("lp", {"p": 0.5}, 0.5), ("lp", {"p": 3}, 3.0)],
)
def test_pair_losses(engine: Engine, name: str, options: dict[str, float], p: float) -> None:
    loss = pairwise(engine, name, **options)
    x, y = torch.randn(2, 3, 5, 7, dtype=torch.float64), torch.randn(2, 3, 5, 7, dtype=torch.float64)
    expected = sum(abs(u - v) ** p for u, v in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True)) / 210
    assert loss(x, y).item() == pytest.approx(expected, rel=1e-12)
    assert loss(x, x).item() == 0
    half = loss(x.bfloat16(), y.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(x.bfloat16().float(), y.bfloat16().float()), rtol=0, atol=0)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda u: loss(u, y), x)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0])
def test_equal_pixels_have_no_gradient(engine: Engine, p: float) -> None:
    x = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    pairwise(engine, "lp", p=p)(x, torch.tensor([0.0, 0.5, 0.0], dtype=torch.float64)).backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.0, 0.0, p / 3], dtype=torch.float64))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_not_hidden(engine: Engine, bad: float) -> None:
    loss = pairwise(engine, "lp", p=0.5)(torch.tensor([bad, 0.0]), torch.zeros(2))
    assert not loss.isfinite()


def test_exponent_above_zero(engine: Engine) -> None:
    with pytest.raises(I2IError, match=r"cycle\.p: .*greater than 0"):
        pairwise(engine, "lp", p=0)
