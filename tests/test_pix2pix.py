"""pix2pix: its terms against the paper's formulas, and a few of its steps against a script of their own."""

import pytest
import torch
from torch import nn

from i2i.errors import I2IError
from i2i.method import Batch, Conditioned
from i2i.reference.patchgan import PatchGAN
from i2i.reference.resnet import ResnetGenerator
from i2i.trainer import Trainer, players_parameters
from i2i_plugins.adversarial_losses import Vanilla
from i2i_plugins.normalizations import BatchNorm
from i2i_plugins.pix2pix import Pix2Pix


def generator(n_in, n_out):
    return ResnetGenerator(n_in, n_out, base_channels=4, n_blocks=1, norm=BatchNorm)


def discriminator(n_in):
    return PatchGAN(n_in, base_channels=4, n_layers=2, norm=BatchNorm)


def tiny(channels_a=3, channels_b=3, **options):
    return Pix2Pix(channels_a, channels_b, generator=generator, discriminator=discriminator, **options).double()


def pairs(n_steps, channels_a=3, channels_b=3):
    return [
        Batch(*(torch.rand(2, c, 32, 32, dtype=torch.float64) * 2 - 1 for c in (channels_a, channels_b)))
        for _ in range(n_steps)
    ]


def adam(parameters):
    return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


def weights(*modules):
    return [parameter.detach().clone() for module in modules for parameter in module.parameters()]


def test_three_steps_agree_with_the_formulas():
    method = tiny(1, 3)
    g, d = generator(1, 3).double(), discriminator(4).double()
    g.load_state_dict(method.generator.state_dict())
    d.load_state_dict(method.discriminator.state_dict())
    trainer = Trainer(method, {p: adam(own.values()) for p, own in players_parameters(method).items()})
    adam_g, adam_d = adam(g.parameters()), adam(d.parameters())
    bce = nn.functional.binary_cross_entropy
    for batch in pairs(3, 1, 3):
        fake = g(batch.a)
        says = [torch.sigmoid(d(torch.cat([batch.a, b], 1))) for b in (fake.detach(), batch.b)]
        loss_d = (bce(says[0], torch.zeros_like(says[0])) + bce(says[1], torch.ones_like(says[1]))) / 2
        adam_d.zero_grad()
        loss_d.backward()
        adam_d.step()
        judged = torch.sigmoid(d(torch.cat([batch.a, fake], 1)))  # after D moved, on the same fake
        game, distance = bce(judged, torch.ones_like(judged)), 100 * (fake - batch.b).abs().mean()
        adam_g.zero_grad()
        (game + distance).backward()
        adam_g.step()

        metrics = trainer.train_step([batch])
        expected = {"loss.D": loss_d, "loss.adversarial": game, "loss.reconstruction": distance}
        for name, value in expected.items():
            torch.testing.assert_close(metrics[name], value.detach(), atol=1e-9, rtol=0)
        for name, said in zip(("score.D_fake", "score.D_real"), says, strict=True):
            torch.testing.assert_close(metrics[name], torch.logit(said).mean().detach(), atol=1e-6, rtol=0)
    expected = weights(g, d)
    torch.testing.assert_close(weights(method.generator, method.discriminator), expected, atol=1e-7, rtol=0)


def test_moves_in_the_order_of_the_authors():
    moves = list(tiny().play(pairs(1)[0], 0))
    assert [move.players for move in moves] == ["discriminator", "generator"]
    assert moves[1].images.keys() == {"a", "b", "fake_b"}


def test_needs_pairs():
    assert Pix2Pix.paired


def test_the_discriminator_sees_input_and_output():
    seen = []

    class Judge(nn.Module):
        def forward(self, images):
            seen.append(images)
            return images.mean((1, 2, 3))

    a, b = torch.rand(2, 1, 8, 8), torch.rand(2, 3, 8, 8)
    judge = Conditioned(Judge(), a)
    torch.testing.assert_close(judge(b), torch.cat([a, b], 1).mean((1, 2, 3)))
    assert torch.equal(seen[0][:, :1], a) and torch.equal(seen[0][:, 1:], b)
    assert any(isinstance(module, Judge) for module in judge.modules())
    assert not list(judge.parameters()) and not judge.state_dict()


def test_a_penalty_in_the_game_mixes_images_of_b_alone():
    class Watching(Vanilla):
        def for_discriminator(self, discriminator, real, fake):
            assert real.shape == fake.shape == (2, 3, 32, 32)
            return super().for_discriminator(discriminator, (real + fake) / 2, fake)

    next(tiny(1, 3, adversarial=Watching).play(pairs(1, 1, 3)[0], 0))


def test_a_weight_below_zero_is_refused(engine):
    with pytest.raises(I2IError, match="lambda_l1"):
        engine.registry.resolve("method", {"name": "pix2pix", "lambda_l1": -1.0}, "method")


def test_the_embedded_pairs(engine):
    source = engine.registry.resolve("source", {"name": "fluent-emoji", "paired": True}, "source")()
    train, test = source.train(), source.test()
    assert train.paired and test.paired
    sets = [[split.a.name(i) for i in range(len(split.a))] for split in (train, test)]
    assert [len(names) for names in sets] == [136, 34] and not set(sets[0]) & set(sets[1])
    for split in (train, test):
        assert [split.a.name(i) for i in range(len(split.a))] == [split.b.name(i) for i in range(len(split.b))]
    assert all(split.a.read(0) != split.b.read(0) for split in (train, test))
