"""UNIT: every term against the paper's equations, shared layers, and translators that share their pieces."""

import copy

import pytest
import tiny
import torch
from safetensors.torch import load_file

from i2i import checkpoint
from i2i.engine import Engine
from i2i.method import Batch
from i2i.recipe import resolve
from i2i.run import Run
from i2i.trainer import Trainer, players_parameters
from i2i.translate import find_translator

NETWORKS = {
    "encoder": {"base_channels": 2, "n_blocks": 2},
    "decoder": {"base_channels": 2, "n_blocks": 2},
    "discriminator": {"base_channels": 2, "n_layers": 1},
}


def unit(engine: Engine, channels=(3, 1), **change):
    spec = {"name": "unit", "code_channels": 4, **NETWORKS, **change}
    return engine.registry.resolve("method", spec, "method")(*channels)


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.001)


def storage(module):
    return {p.data_ptr() for p in module.parameters()}


def log(net, x):
    return torch.log(1 / (1 + torch.exp(-net(x)))).mean()


def log_not(net, x):
    return torch.log(1 - 1 / (1 + torch.exp(-net(x)))).mean()


def test_two_steps_are_those_of_the_paper(engine):
    weights = {
        "lambda_adversarial": 9.0,
        "lambda_kl": 0.2,
        "lambda_reconstruction": 90.0,
        "lambda_cycle_kl": 0.3,
        "lambda_cycle": 80.0,
    }
    method = unit(engine, **weights).double()
    own = copy.deepcopy(method)
    e1, e2, g1, g2 = own.encoder_a, own.encoder_b, own.decoder_a, own.decoder_b
    d1, d2 = own.discriminator_a, own.discriminator_b
    step_d = sgd([*d1.parameters(), *d2.parameters()])
    step_g = sgd({*e1.parameters(), *e2.parameters(), *g1.parameters(), *g2.parameters()})
    l0, l1, l2, l3, l4 = weights.values()
    trainer = Trainer(method, {player: sgd(p.values()) for player, p in players_parameters(method).items()})
    for seed in range(2):
        x1, x2 = (torch.rand(2, channels, 16, 24, dtype=torch.float64) * 2 - 1 for channels in (3, 1))
        torch.manual_seed(seed)
        metrics = trainer.train_step([Batch(x1, x2)])

        torch.manual_seed(seed)
        mu1, mu2 = e1(x1), e2(x2)
        z1 = mu1 + torch.randn(mu1.shape, dtype=torch.float64)
        z2 = mu2 + torch.randn(mu2.shape, dtype=torch.float64)
        x12, x21 = g2(z1), g1(z2)
        on_d = {
            "D_a": -l0 * (log(d1, x1) + log_not(d1, x21.detach())) / 2,
            "D_b": -l0 * (log(d2, x2) + log_not(d2, x12.detach())) / 2,
        }
        step_d.zero_grad()
        sum(on_d.values()).backward()
        step_d.step()
        x11, x22 = g1(z1), g2(z2)
        mu12, mu21 = e2(x12), e1(x21)
        x121 = g1(mu12 + torch.randn(mu12.shape, dtype=torch.float64))
        x212 = g2(mu21 + torch.randn(mu21.shape, dtype=torch.float64))
        on_g = {
            "kl_a": l1 * (mu1**2).mean(),
            "kl_b": l1 * (mu2**2).mean(),
            "reconstruction_a": l2 * (x11 - x1).abs().mean(),
            "reconstruction_b": l2 * (x22 - x2).abs().mean(),
            "adversarial_ba": -l0 * log(d1, x21),
            "adversarial_ab": -l0 * log(d2, x12),
            "cycle_kl_a": l3 * ((mu1**2).mean() + (mu12**2).mean()),
            "cycle_kl_b": l3 * ((mu2**2).mean() + (mu21**2).mean()),
            "cycle_a": l4 * (x121 - x1).abs().mean(),
            "cycle_b": l4 * (x212 - x2).abs().mean(),
        }
        step_g.zero_grad()
        sum(on_g.values()).backward()
        step_g.step()
        expected = {f"loss.{name}": value.detach() for name, value in (on_d | on_g).items()}
        assert {name for name in metrics if name.startswith("loss.")} == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(metrics[name], value, atol=1e-11, rtol=0)
    for name, parameter in method.named_parameters():
        torch.testing.assert_close(parameter, own.get_parameter(name), atol=1e-11, rtol=0)


def test_the_weights_are_those_of_section_4(engine):
    options = engine.registry.resolve("method", "unit", "method").options
    names = ("adversarial", "kl", "reconstruction", "cycle_kl", "cycle")
    assert [options[f"lambda_{name}"] for name in names] == [10, 0.1, 100, 0.1, 100]


def test_the_code_is_shared(engine):
    method = unit(engine, n_shared_decoder=2)
    shared = {"encoder": (4,), "decoder": (0, 1)}  # of 5 layers each, two of which are residual blocks
    for name, places in shared.items():
        one, other = getattr(method, f"{name}_a"), getattr(method, f"{name}_b")
        for place, (first, second) in enumerate(zip(one.layers, other.layers, strict=True)):
            assert (first is second) == (place in places)
            assert bool(storage(first) & storage(second)) == (place in places)
    assert not storage(method.discriminator_a) & storage(method.discriminator_b)


def test_a_shared_layer_gets_one_gradient_of_both_domains(engine):
    method = unit(engine)
    parameter = next(method.encoder_a.layers[-1].parameters())
    a, b = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 16, 16)
    from_a, from_b = method.encoder_a(a).square().sum(), method.encoder_b(b).square().sum()
    apart = [torch.autograd.grad(loss, parameter, retain_graph=True)[0] for loss in (from_a, from_b)]
    (together,) = torch.autograd.grad(from_a + from_b, parameter)
    assert all(gradient.abs().sum() > 0 for gradient in apart)
    torch.testing.assert_close(together, apart[0] + apart[1])
    one = players_parameters(method)["generators"]
    assert len({id(p) for p in one.values()}) == len(one)
    assert sum(p is parameter for p in one.values()) == 1


def test_a_network_of_the_paper_has_its_shapes(engine):
    encoder = engine.registry.resolve("network", "unit_encoder", "")(3, 256)
    decoder = engine.registry.resolve("network", "unit_decoder", "")(256, 3)
    channels = []
    for layer in (*encoder.layers, *decoder.layers):
        layer.register_forward_hook(lambda module, given, maps: channels.append(maps.shape[1:]))
    images = decoder(encoder(torch.rand(1, 3, 32, 48)))
    assert channels[:3] == [(64, 32, 48), (128, 16, 24), (256, 8, 12)]  # three convolutions
    assert channels[3:11] == [(256, 8, 12)] * 8  # four residual blocks each
    assert channels[11:] == [(128, 16, 24), (64, 32, 48), (3, 32, 48)] and images.abs().max() < 1


def test_translators_decode_the_mean(engine):
    method = unit(engine)
    images = torch.rand(1, 3, 16, 16)
    translators = method.translators()
    with torch.no_grad():
        first, again = translators["ab"](images), translators["ab"](images)
        assert torch.equal(first, again)
        assert torch.equal(first, method.decoder_b(method.encoder_a(images)))
    assert {module.size_multiple for module in translators.values()} == {4}


@pytest.fixture(scope="module", params=["instance", "batch"])
def trained(engine, tmp_path_factory, request):
    """A run in two parts, the same in one, and its method; with batch normalization shared layers share buffers too."""
    folder = tmp_path_factory.mktemp("unit")
    networks = {name: NETWORKS[name] | {"norm": request.param} for name in ("encoder", "decoder")}
    document = tiny.document(folder, method={"name": "unit", "code_channels": 4}, **NETWORKS | networks)
    document["train"] |= {"save_every": 2}
    del document["generator"], document["pool"]
    runs, loops = [], []
    for name, stops in (("whole", (4,)), ("parted", (2, 4))):
        runs.append(Run.create(folder, name))
        for stop in stops:
            found = resolve(document | {"schedule": {"n_steps": stop}}, engine.registry, list(engine.plugins))
            loops.append(tiny.loop(found, runs[-1], engine))
            if (name, stop) == ("parted", 4):
                loops[-1].resume()
            assert loops[-1].go() == ""
    return runs, loops[-1].training.method


def test_a_run_that_goes_on_is_the_run_that_never_stopped(trained):
    (whole, parted), _ = trained
    one, other = (checkpoint.load(checkpoint.folder_of(run.checkpoints, 4))[0] for run in (whole, parted))
    for kind in ("parameters", "buffers"):
        assert one[kind].keys() == other[kind].keys()
        assert all(torch.equal(tensor, other[kind][name]) for name, tensor in one[kind].items())


def test_the_saved_translators_are_whole(engine, trained):
    (run, _), method = trained
    images = torch.rand(1, 3, 16, 16) * 2 - 1
    for direction, (source, target) in {"ab": "ab", "ba": "ba"}.items():
        weights = load_file(run.weights(direction))
        encoder, decoder = getattr(method, f"encoder_{source}"), getattr(method, f"decoder_{target}")
        expected = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
        expected |= {f"decoder.{k}": v for k, v in decoder.state_dict().items()}
        assert weights.keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in weights.items())
        with torch.no_grad():
            output = decoder.eval()(encoder.eval()(images))
        for at in ("latest", "4"):
            translator = find_translator(run.folder, engine.registry, engine.plugins, to=target, at=at)
            assert torch.equal(translator(images), output)
    earlier = find_translator(run.folder, engine.registry, engine.plugins, at="2")
    assert not torch.equal(earlier(images), find_translator(run.folder, engine.registry, engine.plugins)(images))
