"""CycleGAN with games in place of the cycle's L1: every term against its formula."""

import copy

import pytest
import torch

from i2i.errors import I2IError
from i2i.method import Batch
from i2i.trainer import Trainer, players_parameters

SMALL = {
    "name": "adversarial_cycle",
    "generator": {"base_channels": 2, "n_blocks": 1},
    "discriminator": {"base_channels": 2, "n_layers": 1},
    "cycle_discriminator": {"base_channels": 3, "n_layers": 1},
    "pool": "none",
}


def build(engine, channels=(3, 3), **change):
    return engine.registry.resolve("method", SMALL | change, "method")(*channels)


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.01)


def images(n=2):
    return torch.rand(n, 3, 16, 16, dtype=torch.float64) * 2 - 1


def test_two_steps_are_those_of_the_paper(engine):
    """Equation 3 with E[(D(F(G(x))) - 1)²] in place of the L1, least squares as in section 4."""
    method = build(engine, lambda_cycle=7.0, lambda_identity=0.25).double()
    own = copy.deepcopy(method)
    g, f = own.generator_ab, own.generator_ba
    d_a, d_b = own.game_a.discriminator, own.game_b.discriminator
    d_rec_a, d_rec_b = own.cycle_a.discriminator, own.cycle_b.discriminator
    step_g = sgd([*g.parameters(), *f.parameters()])
    step_d = sgd([p for d in (d_a, d_b, d_rec_a, d_rec_b) for p in d.parameters()])
    trainer = Trainer(method, {player: sgd(p.values()) for player, p in players_parameters(method).items()})

    def judged(d, real, fake):
        return ((d(real) - 1) ** 2).mean() / 2 + (d(fake.detach()) ** 2).mean() / 2

    for _ in range(2):
        a, b = images(), images()
        metrics = trainer.train_step([Batch(a, b)])
        fake_b, fake_a = g(a), f(b)
        rec_a, rec_b = f(fake_b), g(fake_a)
        on_g = {
            "adversarial_ab": ((d_b(fake_b) - 1) ** 2).mean(),
            "adversarial_ba": ((d_a(fake_a) - 1) ** 2).mean(),
            "cycle_a": 7 * ((d_rec_a(rec_a) - 1) ** 2).mean(),
            "cycle_b": 7 * ((d_rec_b(rec_b) - 1) ** 2).mean(),
            "identity_a": 7 * 0.25 * (f(a) - a).abs().mean(),
            "identity_b": 7 * 0.25 * (g(b) - b).abs().mean(),
        }
        step_g.zero_grad()
        sum(on_g.values()).backward()
        step_g.step()
        on_d = {
            "D_a": judged(d_a, a, fake_a),
            "D_b": judged(d_b, b, fake_b),
            "D_cycle_a": judged(d_rec_a, a, rec_a),
            "D_cycle_b": judged(d_rec_b, b, rec_b),
        }
        step_d.zero_grad()
        sum(on_d.values()).backward()
        step_d.step()
        expected = {f"loss.{name}": value.detach() for name, value in (on_g | on_d).items()}
        assert {name for name in metrics if name.startswith("loss.")} == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(metrics[name], value, atol=1e-12, rtol=0)
    for name, parameter in method.named_parameters():
        torch.testing.assert_close(parameter, own.get_parameter(name), atol=1e-12, rtol=0)


def test_each_game_has_a_discriminator_and_a_pool_of_its_own(engine):
    method = build(engine, pool={"name": "image_pool", "size": 3})
    games = (method.game_a, method.game_b, method.cycle_a, method.cycle_b)
    assert len({id(part) for game in games for part in (game.discriminator, game.loss, game.pool)}) == 12
    assert [game.discriminator.model[0].out_channels for game in games] == [2, 2, 3, 3]
    a, b = images().float(), images().float()
    moves = list(method.play(Batch(a, b), 0))
    published = moves[0].images
    assert {*published} == {"a", "b", "fake_a", "fake_b", "rec_a", "rec_b", "same_a", "same_b"}  # methods.md
    for game, name in zip(games, ("fake_a", "fake_b", "rec_a", "rec_b"), strict=True):
        assert torch.equal(game.pool.images, published[name])


def test_without_identity_there_is_no_such_term(engine):
    method = build(engine, (3, 1), lambda_identity=0.0)
    first, _ = method.play(Batch(torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16)), 0)
    assert not [name for name in first.losses if "identity" in name] and "same_a" not in first.images
    with pytest.raises(I2IError, match="the identity loss needs equal channels, not 3 and 1"):
        build(engine, (3, 1))
