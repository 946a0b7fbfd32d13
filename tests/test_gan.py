"""The original GAN: its objective and its k steps, and the networks of DCGAN."""

import copy

import pytest
import torch

from i2i.errors import I2IError
from i2i.method import Batch
from i2i.preflight import examine
from i2i.trainer import Trainer, players_parameters

SMALL = {
    "name": "gan",
    "n_noise": 5,
    "generator": {"size": 8, "base_channels": 2},
    "discriminator": {"size": 8, "base_channels": 2},
}


def gan(engine, **change):
    return engine.registry.resolve("method", SMALL | change, "method")(3, 3)


def trainer_of(method):
    optimizers = {
        player: torch.optim.Adam(own.values(), 0.01, (0.5, 0.999)) for player, own in players_parameters(method).items()
    }
    return Trainer(method, optimizers)


def images(n=4, size=8, dtype=torch.float64):
    return torch.rand(n, 3, size, size, dtype=dtype) * 2 - 1


def probability(discriminator, shown):
    return 1 / (1 + torch.exp(-discriminator(shown)))


@pytest.mark.parametrize("adversarial", ["vanilla", "minimax"])
def test_two_steps_are_those_of_algorithm_1(engine, adversarial):
    method = gan(engine, adversarial=adversarial, discriminator_steps=2).double()
    g, d = copy.deepcopy(method.generator), copy.deepcopy(method.discriminator)
    step_g = torch.optim.Adam(g.parameters(), 0.01, (0.5, 0.999))
    step_d = torch.optim.Adam(d.parameters(), 0.01, (0.5, 0.999))
    trainer = trainer_of(method)
    for seed in range(2):
        b = images(8)
        torch.manual_seed(seed)
        metrics = trainer.train_step([Batch(images(8, dtype=torch.float32), b)])

        torch.manual_seed(seed)
        images(8, dtype=torch.float32)  # what the step was given has drawn as well
        on_d = []
        for real in (b[:4], b[4:]):
            fake = g(torch.randn(4, 5, 1, 1, dtype=torch.float64)).detach()
            value = torch.log(probability(d, real)).mean() + torch.log(1 - probability(d, fake)).mean()  # equation 1
            step_d.zero_grad()
            (-value / 2).backward()
            step_d.step()
            on_d.append(-value.detach() / 2)
        judged = probability(d, g(torch.randn(4, 5, 1, 1, dtype=torch.float64)))
        on_g = torch.log(1 - judged).mean() if adversarial == "minimax" else -torch.log(judged).mean()
        step_g.zero_grad()
        on_g.backward()
        step_g.step()
        torch.testing.assert_close(metrics["loss.D"], sum(on_d) / 2, atol=1e-12, rtol=0)
        torch.testing.assert_close(metrics["loss.adversarial"], on_g.detach(), atol=1e-12, rtol=0)
    for ours, theirs in ((method.generator, g), (method.discriminator, d)):
        for name, parameter in ours.named_parameters():
            torch.testing.assert_close(parameter, theirs.get_parameter(name), atol=1e-9, rtol=0)


def test_each_of_k_steps_sees_fresh_images_and_fresh_noise(engine):
    method = gan(engine, discriminator_steps=3)
    real, noise, judged = images(6, dtype=torch.float32), [], []
    method.generator.register_forward_pre_hook(lambda module, given: noise.append(given[0]))
    method.discriminator.register_forward_pre_hook(lambda module, given: judged.append(given[0]))
    moves = [update.players for update in method.play(Batch(real, real), 0)]
    assert moves == ["discriminator"] * 3 + ["generator"]
    assert torch.equal(torch.cat(judged[0:6:2]), real)  # each image once, as real; fakes stand between
    assert [len(z) for z in noise] == [2] * 4
    assert len({z.flatten()[0].item() for z in noise}) == 4


def test_it_imagines_the_same_from_the_same_weights(engine):
    method = gan(engine).eval()
    before = torch.get_rng_state()
    first, again = method.imagine(7)["b"], method.imagine(7)["b"]
    assert first.shape == (7, 3, 8, 8) and torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first[0], first[1])


def test_domain_a_may_be_anything(engine):
    method = engine.registry.resolve("method", SMALL, "method")(1, 3)
    trainer_of(method).train_step([Batch(torch.zeros(2, 1, 4, 4), images(2, dtype=torch.float32))])


def test_sizes_that_differ_are_told_before_the_first_step(engine):
    method = gan(engine)
    with pytest.raises(I2IError, match=r"generator.size: makes images of 8 x 8 px, and those of the data have 16 x 16"):
        next(method.play(Batch(images(2, 16), images(2, 16).float()), 0))
    (finding,) = examine(method, crop_size=16, channels=(3, 3), batch_size=2)
    assert (finding.level, finding.where) == ("error", "generator.size")
    assert examine(method, crop_size=8, channels=(3, 3), batch_size=2) == []


def test_the_networks_are_those_of_the_figure(engine):
    generator = engine.registry.resolve("network", "dcgan_generator", "")(100, 3)
    sizes = []
    for layer in generator.layers:
        layer.register_forward_hook(lambda module, given, maps: sizes.append(tuple(maps.shape[1:])))
    made = generator(torch.randn(2, 100, 1, 1))
    assert sizes == [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]  # figure 1
    assert made.abs().max() < 1
    discriminator = engine.registry.resolve("discriminator", "dcgan_discriminator", "")(3)
    assert discriminator(made).shape == (2, 1, 1, 1)
    for network, without in ((generator, (4,)), (discriminator, (0, 4))):
        normalized = [any(isinstance(m, torch.nn.BatchNorm2d) for m in layer.modules()) for layer in network.layers]
        assert [place for place, has in enumerate(normalized) if not has] == list(without)


@pytest.mark.parametrize("size", [8, 16, 32, 128])
def test_every_power_of_two_gets_one_score(engine, size):
    small = {"size": size, "base_channels": 1}
    made = engine.registry.resolve("network", {"name": "dcgan_generator", **small}, "")(2, 1)(torch.randn(2, 2, 1, 1))
    assert made.shape == (2, 1, size, size)
    judge = engine.registry.resolve("discriminator", {"name": "dcgan_discriminator", **small}, "")(1)
    assert judge(made).shape == (2, 1, 1, 1)


@pytest.mark.parametrize("size", [12, 63, 96])
def test_other_sizes_are_refused(engine, size):
    below = 1 << size.bit_length() - 1
    message = f"size is a power of two, such as {below} or {2 * below}, not {size}"
    with pytest.raises(I2IError, match=message):
        engine.registry.resolve("network", {"name": "dcgan_generator", "size": size}, "")(2, 1)
    with pytest.raises(I2IError, match=message):
        engine.registry.resolve("discriminator", {"name": "dcgan_discriminator", "size": size}, "")(1)


@pytest.mark.parametrize("size", [(16, 15), (15, 40)])
def test_images_below_the_size_are_refused(engine, size):
    judge = engine.registry.resolve("discriminator", {"name": "dcgan_discriminator", "size": 16}, "")(3)
    with pytest.raises(ValueError, match=f"size = 16 takes images of at least 16 px, not of {size[0]} x {size[1]}"):
        judge(torch.zeros(2, 3, *size))
    assert judge(torch.zeros(2, 3, 16, 40)).shape == (2, 1, 1, 7)
    small = {"discriminator": {"size": 16, "base_channels": 2}}
    (finding,) = examine(gan(engine, **small), crop_size=8, channels=(3, 3), batch_size=2)
    assert finding.level == "error" and "(in discriminator): ValueError: size = 16 takes images" in finding.message
