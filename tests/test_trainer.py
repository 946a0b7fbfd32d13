"""The loop: who learns, what is added, what is refused."""

import pytest
import torch
from torch import nn

from i2i.errors import I2IError
from i2i.method import Batch, Method, Update
from i2i.optim import build
from i2i.reference.losses import L1
from i2i.trainer import ExtraTerm, Trainer, check_finite, players_parameters


class Duel(Method):
    """Two scalars: the first one lowers x * y, the second one lowers -x * y, sharing an activation."""

    def __init__(self, moves=("x", "y")):
        super().__init__()
        self.x, self.y, self.spare = (nn.Linear(1, 1, bias=False) for _ in range(3))
        self.moves = moves

    def players(self):
        return {"x": [self.x], "y": [self.y, self.y]}  # shared: counted once

    def translators(self):
        return {"ab": self.x}

    def play(self, batch, step):
        shared = self.x(batch.a)
        yield Update(
            self.moves[0], {"up": self.y(shared).sum()}, {"shared": shared, "b": batch.b}, {"seen": shared.mean()}
        )
        yield Update(self.moves[1], {"down": -self.y(shared.detach()).sum()})


def trainer(method=None, **options):
    method = method or Duel()
    return Trainer(
        method, build({"name": "momentum", "lr": 1.0, "momentum": 0.0}, players_parameters(method)), **options
    )


def batch(n=1):
    return Batch(torch.ones(n, 1), torch.full((n, 1), 3.0))


def values(method):
    return [m.weight.item() for m in (method.x, method.y, method.spare)]


def test_a_move_lowers_its_own_players_losses_and_nothing_else_moves():
    player = trainer()
    x, y, spare = values(player.method)
    metrics = player.train_step([batch()])
    assert values(player.method) == pytest.approx(
        [x - y, y + x, spare]
    )  # d(xy)/dx = y; then d(-xy)/dy = -x, x from before
    assert metrics["loss.up"].item() == pytest.approx(x * y) and metrics["score.seen"].item() == pytest.approx(x)
    assert player.method.spare.weight.grad is None


def test_the_discriminator_does_not_inherit_gradients_of_the_generators_step():
    player = trainer()
    for _ in range(2):
        x_before, y_before = values(player.method)[:2]
        player.train_step([batch()])
        assert player.method.y.weight.grad.item() == pytest.approx(-x_before)  # of its own move alone
        assert player.method.x.weight.grad.item() == pytest.approx(y_before)


def test_accumulated_gradients_are_the_large_batchs():
    class Mean(Duel):
        def play(self, batch, step):
            yield Update("x", {"up": (self.x(batch.a) * batch.b).square().mean()})

    torch.manual_seed(1)
    a, b = torch.randn(2, 6, 1)
    grads = []
    for batches in ([Batch(a, b)], [Batch(*pair) for pair in zip(a.chunk(3), b.chunk(3), strict=True)]):
        torch.manual_seed(0)
        player = trainer(Mean())
        player.train_step(batches)
        grads.append(player.method.x.weight.grad)
    torch.testing.assert_close(*grads)


def test_micro_batches_of_a_cyclegan_leave_the_gradients_of_the_large_batch(engine):
    """Of all players, to the rounding of float64; weights stay as they are, for the players who move later."""
    spec = {"name": "cyclegan", "generator": {"base_channels": 4, "n_blocks": 1}, "pool": "none"}
    spec["discriminator"] = {"base_channels": 4, "n_layers": 1}
    a, b = torch.rand(2, 6, 3, 16, 16, dtype=torch.float64) * 2 - 1
    grads = []
    for n in (1, 2, 3):
        torch.manual_seed(0)
        method = engine.registry.resolve("method", spec, "method")(3, 3).double()
        still = build({"name": "momentum", "lr": 0.0, "momentum": 0.0}, players_parameters(method))
        Trainer(method, still).train_step(Batch(a, b).split(n))
        grads.append({name: p.grad for name, p in method.named_parameters()})
    for micro in grads[1:]:
        torch.testing.assert_close(micro, grads[0], rtol=1e-9, atol=1e-12)


def test_an_extra_term_joins_the_first_move_that_publishes_both():
    term = ExtraTerm("pull", L1(), 2.0, ("shared", "b"), "x")
    player = trainer(terms=[term])
    x, y, _ = values(player.method)
    metrics = player.train_step([batch()])
    assert metrics["loss.pull"].item() == pytest.approx(2 * abs(x - 3))
    assert player.method.x.weight.item() == pytest.approx(x - (y - 2))  # d|x - 3|/dx = -1 below 3


@pytest.mark.parametrize(
    ("between", "who", "message"),
    [
        (("shared", "fake"), "x", "'fake' is not published"),
        (("shared", "b"), "y", "no move of 'y' publishes 'shared' and 'b' together"),
        (("shared", "b"), "z", "'z' is no player"),
    ],
)
def test_an_extra_term_that_never_plays_is_an_error(between, who, message):
    with pytest.raises(I2IError, match=message):
        trainer(terms=[ExtraTerm("pull", L1(), 1.0, between, who)]).train_step([batch()])


def test_an_extra_term_takes_no_loss_of_the_methods_away():
    with pytest.raises(I2IError, match="extra_loss 'up': the method has a loss of that name; give it a label"):
        trainer(terms=[ExtraTerm("up", L1(), 1.0, ("shared", "b"), "x")]).train_step([batch()])


@pytest.mark.parametrize("loss", [lambda m, b: m.y(b.a).sum(), lambda m, b: b.a.sum()])
def test_a_mover_without_gradient_is_an_error(loss):
    class Still(Duel):
        def play(self, batch, step):
            yield Update("x", {"up": loss(self, batch)})

    with pytest.raises(I2IError, match="player 'x' moved without any gradient"):
        trainer(Still()).train_step([batch()])


def test_an_unknown_player_is_an_error():
    with pytest.raises(I2IError, match="moves 'xx', who is no player; did you mean 'x'"):
        trainer(Duel(moves=("xx", "y"))).train_step([batch()])


def test_a_parameter_has_one_player():
    class Greedy(Duel):
        def players(self):
            return {"x": [self.x], "y": [self.y, self.x]}

    with pytest.raises(I2IError, match=r"'x.weight' belongs to two players"):
        players_parameters(Greedy())


def test_a_player_without_parameters_is_an_error():
    class Idle(Duel):
        def players(self):
            return {"x": [self.x], "y": [nn.ReLU()]}

    with pytest.raises(I2IError, match="'y' has nothing to learn"):
        players_parameters(Idle())


def test_gradients_are_clipped_by_their_norm():
    player = trainer(clip=0.25)
    before = player.method.x.weight.item()
    player.train_step([batch()])
    moved = abs(player.method.x.weight.item() - before)
    assert moved <= 0.25 + 1e-6


def test_rates_follow_the_schedule():
    player = trainer(rate=lambda step: [1.0, 0.5][step])
    assert [player.train_step([batch()]) and player.rates() for _ in range(2)] == [
        {"x": 1.0, "y": 1.0},
        {"x": 0.5, "y": 0.5},
    ]


def test_the_average_is_a_plain_mean_and_then_exponential():
    player = trainer(ema=0.5)
    weights = []
    for _ in range(3):
        player.train_step([batch()])
        weights.append(player.method.x.weight.item())
    first, second, third = weights
    expected = 0.5 * ((first + second) / 2) + 0.5 * third
    assert player.translators()["ab"].weight.item() == pytest.approx(expected)


def test_what_translators_share_is_averaged_once():
    """As UNIT's translators share layers: the same average as for one translator alone."""

    class Shared(Duel):
        def translators(self):
            return {"ab": self.x, "ba": nn.Sequential(self.x)}

    torch.manual_seed(0)
    alone = trainer(Duel(), ema=0.5)
    torch.manual_seed(0)
    shared = trainer(Shared(), ema=0.5)
    for _ in range(3):
        alone.train_step([batch()])
        shared.train_step([batch()])
    assert shared.translators()["ab"].weight.item() == alone.translators()["ab"].weight.item()


def test_a_loss_that_is_no_number_is_named():
    with pytest.raises(I2IError, match=r"step 7: loss 'loss.up' is nan"):
        check_finite({"loss.down": 1.0, "loss.up": float("nan")}, 7)


def test_k_discriminator_steps(engine):
    """Goodfellow et al. 2014, algorithm 1: D moves on k fresh batches, G once, on the first."""
    spec = {
        "name": "cyclegan",
        "discriminator_steps": 3,
        "generator": {"base_channels": 2, "n_blocks": 0},
        "discriminator": {"base_channels": 2, "n_layers": 1},
        "pool": "none",
    }
    method = engine.registry.resolve("method", spec, "method")(3, 3)
    assert method.n_batches == 3
    a, b = torch.rand(2, 6, 3, 16, 16) * 2 - 1
    seen = []
    for update in method.play(Batch(a, b), 0):
        seen.append((update.players, update.images))
    assert [players for players, _ in seen] == ["generators", *["discriminators"] * 3]
    assert torch.equal(seen[0][1]["a"], a[:2])
    fakes = torch.cat([images["pool_b"] for _, images in seen[1:]])
    torch.testing.assert_close(fakes, method.generator_ab(a))


def test_equation_3(engine):
    """The weighted sum of Zhu et al. 2017, equation 3, and the identity loss of section 5.2, each by its formula."""
    spec = {
        "name": "cyclegan",
        "lambda_cycle": [7.0, 3.0],
        "lambda_identity": 0.25,
        "generator": {"base_channels": 2, "n_blocks": 1},
        "discriminator": {"base_channels": 2, "n_layers": 1},
    }
    m = engine.registry.resolve("method", spec, "method")(3, 3).double()
    a, b = (torch.rand(2, 1, 3, 16, 16) * 2 - 1).double()
    first, second = m.play(Batch(a, b), 0)
    g, f = m.generator_ab, m.generator_ba
    expected = {
        "adversarial_ab": (m.discriminator_b(g(a)) - 1).square().mean(),
        "adversarial_ba": (m.discriminator_a(f(b)) - 1).square().mean(),
        "cycle_a": 7 * (f(g(a)) - a).abs().mean(),
        "cycle_b": 3 * (g(f(b)) - b).abs().mean(),
        "identity_a": 7 * 0.25 * (f(a) - a).abs().mean(),
        "identity_b": 3 * 0.25 * (g(b) - b).abs().mean(),
    }
    assert first.losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(first.losses[name], value)
    d = m.discriminator_b
    torch.testing.assert_close(second.losses["D_b"], 0.5 * ((d(b) - 1).square().mean() + d(g(a)).square().mean()))
    torch.testing.assert_close(second.scores["D_b_real"], d(b).mean().float(), check_dtype=False)
    torch.testing.assert_close(second.scores["D_b_fake"], d(g(a)).mean().float(), check_dtype=False)


def test_unequal_channels_need_no_identity_loss(engine):
    resolve = engine.registry.resolve
    with pytest.raises(I2IError, match="method: the identity loss needs equal channels, not 1 and 3"):
        resolve("method", "cyclegan", "method")(1, 3)
    small = {"generator": {"base_channels": 2, "n_blocks": 0}, "discriminator": {"base_channels": 2, "n_layers": 1}}
    method = resolve("method", {"name": "cyclegan", "lambda_identity": 0.0, **small}, "method")(1, 3)
    updates = list(method.play(Batch(torch.zeros(1, 1, 16, 16), torch.zeros(1, 3, 16, 16)), 0))
    assert "identity_a" not in updates[0].losses
