"""CoGAN: the sum of both games, and layers that really are the same."""

import copy

import pytest
import tiny
import torch

from i2i import checkpoint
from i2i.errors import I2IError
from i2i.method import Batch
from i2i.recipe import resolve
from i2i.run import Run
from i2i.trainer import Trainer, players_parameters

SMALL = {
    "name": "cogan",
    "n_noise": 5,
    "n_shared_generator": 2,
    "n_shared_discriminator": 1,
    "generator": {"size": 16, "base_channels": 2},
    "discriminator": {"size": 16, "base_channels": 2},
}


def cogan(engine, channels=(3, 1), **change):
    return engine.registry.resolve("method", SMALL | change, "method")(*channels)


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.1)


def trainer_of(method):
    return Trainer(method, {player: sgd(own.values()) for player, own in players_parameters(method).items()})


def batch_of(n=4):
    return Batch(*(torch.rand(n, channels, 16, 16, dtype=torch.float64) * 2 - 1 for channels in (3, 1)))


def storage(module):
    return {p.data_ptr() for p in module.parameters()}


def test_the_first_layers_of_the_generators_and_the_last_of_the_discriminators_are_one(engine):
    method = cogan(engine)
    for one, other, shared in (
        (method.generator_a, method.generator_b, (0, 1)),
        (method.discriminator_a, method.discriminator_b, (2,)),
    ):
        for place, (first, second) in enumerate(zip(one.layers, other.layers, strict=True)):
            assert (first is second) == (place in shared)
            assert (storage(first) == storage(second)) == (place in shared)
    n_own = sum(p.numel() for net in method.children() for p in net.parameters())
    n_shared = sum(p.numel() for p in method.generator_a.layers[:2].parameters())
    n_shared += sum(p.numel() for p in method.discriminator_a.layers[2:].parameters())
    n_learned = sum(p.numel() for own in players_parameters(method).values() for p in own.values())
    assert n_learned == n_own - n_shared


def test_two_steps_are_those_of_the_paper(engine):
    """Four networks that share nothing and are kept equal by hand: shared layers take the sum of both gradients."""
    method = cogan(engine).double()
    ga, gb = copy.deepcopy(method.generator_a), copy.deepcopy(method.generator_b)
    da, db = copy.deepcopy(method.discriminator_a), copy.deepcopy(method.discriminator_b)
    trainer = trainer_of(method)

    def log(net, x):
        return torch.log(1 / (1 + torch.exp(-net(x)))).mean()

    def log_not(net, x):
        return torch.log(1 - 1 / (1 + torch.exp(-net(x)))).mean()

    def step(one, other, shared):
        for first, second in zip(one.layers[shared].parameters(), other.layers[shared].parameters(), strict=True):
            first.grad = second.grad = first.grad + second.grad
        for net in (one, other):
            sgd(net.parameters()).step()
            net.zero_grad()

    for seed in range(2):
        batch = batch_of()
        torch.manual_seed(seed)
        metrics = trainer.train_step([batch])
        torch.manual_seed(seed)
        z = torch.randn(4, 5, 1, 1, dtype=torch.float64)
        on_d = [
            -(log(da, batch.a) + log_not(da, ga(z).detach())) / 2,
            -(log(db, batch.b) + log_not(db, gb(z).detach())) / 2,
        ]
        sum(on_d).backward()
        step(da, db, slice(2, 3))
        z = torch.randn(4, 5, 1, 1, dtype=torch.float64)
        on_g = [-log(da, ga(z)), -log(db, gb(z))]
        sum(on_g).backward()
        da.zero_grad(), db.zero_grad()
        step(ga, gb, slice(0, 2))
        for name, loss in zip(("D_a", "D_b", "adversarial_a", "adversarial_b"), on_d + on_g, strict=True):
            torch.testing.assert_close(metrics[f"loss.{name}"], loss.detach(), atol=1e-12, rtol=0)
    for ours, theirs in (
        (method.generator_a, ga), (method.generator_b, gb), (method.discriminator_a, da), (method.discriminator_b, db)
    ):  # fmt: skip
        for name, parameter in ours.named_parameters():
            torch.testing.assert_close(parameter, theirs.get_parameter(name), atol=1e-12, rtol=0)


def test_one_noise_makes_a_pair(engine):
    method = cogan(engine, (3, 3)).eval()
    made = method.imagine(3)
    assert [images.shape for images in made.values()] == [(3, 3, 16, 16)] * 2 and list(made) == ["a", "b"]
    assert not torch.equal(made["a"], made["b"])
    method.generator_b.load_state_dict(method.generator_a.state_dict())  # the layers that are not shared
    made = method.imagine(3)
    assert torch.equal(made["a"], made["b"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_shared_generator": 3}, "a DCGANGenerator has 3 layers: two can share 2, not 3"),
        ({"n_shared_discriminator": 4}, "a DCGANDiscriminator has 3 layers: two can share 2, not 4"),
        ({"discriminator": "patchgan"}, "'patchgan' cannot stand here: it is no Layered"),
    ],
)
def test_what_cannot_be_shared_is_told(engine, change, message):
    with pytest.raises(I2IError, match=message):
        cogan(engine, **change)


def test_nothing_has_to_be_shared(engine):
    method = cogan(engine, n_shared_generator=0, n_shared_discriminator=0)
    assert not storage(method.generator_a) & storage(method.generator_b)
    assert not storage(method.discriminator_a) & storage(method.discriminator_b)


def test_a_run_that_goes_on_is_the_run_that_never_stopped(engine, tmp_path):
    tables = {
        "method": {k: v for k, v in SMALL.items() if not isinstance(v, dict)},
        "generator": SMALL["generator"],
        "discriminator": SMALL["discriminator"],
    }
    document = tiny.document(tmp_path, **tables)
    del document["pool"]
    hashes = []
    for name, stops in (("whole", (4,)), ("parted", (2, 4))):
        run = Run.create(tmp_path, name)
        for stop in stops:
            found = resolve(document | {"schedule": {"n_steps": stop}}, engine.registry, list(engine.plugins))
            loop = tiny.loop(found, run, engine)
            if stop == 4 and name == "parted":
                loop.resume()
            assert loop.go() == ""
        about = checkpoint.load(checkpoint.folder_of(run.checkpoints, 4))[0]
        hashes.append(about["parameters"] | about["buffers"])
    assert hashes[0].keys() == hashes[1].keys()
    assert all(torch.equal(tensor, hashes[1][name]) for name, tensor in hashes[0].items())
