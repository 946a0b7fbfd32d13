"""CUT, FastCUT and SinCUT: their terms against the paper's formulas, step by step, by a script of its own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from i2i.errors import I2IError
from i2i.forecast import forecast
from i2i.method import Batch
from i2i.rehearsal import Shown
from i2i.trainer import Trainer, players_parameters
from i2i_plugins.adversarial_losses import Vanilla
from i2i_plugins.antialiased import AntialiasedPatchGAN, AntialiasedResnet
from i2i_plugins.cut import CUT, FastCUT, PatchProjector, SinCUT
from i2i_plugins.patch_nce import PatchNCE
from i2i_plugins.penalties import R1

TAPS = [0, 4, 8, 12, 16]


def generator(n_in, n_out):
    return AntialiasedResnet(n_in, n_out, base_channels=4, n_blocks=5)


def discriminator(n_in):
    return AntialiasedPatchGAN(n_in, base_channels=4, n_layers=2)


def tiny(method, **options):
    options = {"generator": generator, "discriminator": discriminator, "n_features": 16, **options}
    return method(3, 3, **options).double()


def batch(n=2):
    return Batch(*torch.rand(2, n, 3, 32, 32, dtype=torch.float64) * 2 - 1)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


class Script:
    """One step as the paper has it, in plain torch on copies of a method's networks."""

    def __init__(self, method, n_patches):
        self.g, self.d = generator(3, 3).double(), discriminator(3).double()
        self.g.load_state_dict(method.generator.state_dict())
        self.d.load_state_dict(method.discriminator.state_dict())
        heads = method.contrast.projectors
        assert list(heads) == ["mlp_0", "mlp_1", "mlp_2", "mlp_3", "mlp_4"]
        names = ("0.weight", "0.bias", "2.weight", "2.bias")
        self.heads = [
            [heads[key].get_parameter(name).detach().clone().requires_grad_() for name in names] for key in heads
        ]
        self.f = [weight for head in self.heads for weight in head]
        self.adam_g, self.adam_d, self.adam_f = adam(self.g.parameters()), adam(self.d.parameters()), adam(self.f)
        self.n_patches = n_patches

    def features(self, images):
        """Outputs of the layers, seen by hooks."""
        seen = {}
        hooks = [
            self.g.model[t].register_forward_hook(lambda _, __, out, t=t: seen.update({t: out.clone()})) for t in TAPS
        ]
        self.g(images)
        for hook in hooks:
            hook.remove()
        return [seen[t] for t in TAPS]

    def vectors(self, features, places, head):
        rows = torch.stack([features[:, :, place // features.shape[3], place % features.shape[3]] for place in places])
        first, first_bias, second, second_bias = head
        out = torch.relu(rows @ first.T + first_bias) @ second.T + second_bias  # (P, N, C)
        return out / (out.pow(2).sum(-1, keepdim=True).sqrt() + 1e-7)

    def nce(self, translation, source, mirrored=False, across=False):
        losses = []
        pairs = zip(self.features(translation), self.features(source), self.heads, strict=True)
        for query, key, head in pairs:
            places = torch.randperm(key.shape[2] * key.shape[3])[: self.n_patches].tolist()
            q = self.vectors(torch.flip(query, [3]) if mirrored else query, places, head)
            k = self.vectors(key, places, head).detach()
            groups = [(q.flatten(0, 1), k.flatten(0, 1))] if across else zip(q.unbind(1), k.unbind(1), strict=True)
            for queries, keys in groups:
                for i, one in enumerate(queries):
                    similarity = keys @ one / 0.07
                    losses.append((torch.logsumexp(similarity, 0) - similarity[i]) / len(queries))
        return torch.stack(losses).sum() / len(TAPS) / (1 if across else len(source))

    def move(self, optimizers, loss):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    def agrees(self, method):
        for ours, theirs in ((method.generator, self.g), (method.discriminator, self.d)):
            for name, value in theirs.state_dict().items():
                torch.testing.assert_close(ours.state_dict()[name], value, atol=1e-7, rtol=0)
        for ours, theirs in zip(method.contrast.projectors.parameters(), self.f, strict=True):
            torch.testing.assert_close(ours.data, theirs.data, atol=1e-7, rtol=0)


def lsgan_d(d, real, fake):
    return 0.5 * (d(fake).pow(2).mean() + (d(real) - 1).pow(2).mean())


def cut(script, shown, identity=True):
    fake = script.g(shown.a)
    loss_d = lsgan_d(script.d, shown.b, fake.detach())
    script.move([script.adam_d], loss_d)
    game = (script.d(fake) - 1).pow(2).mean()
    if not identity:
        nce = script.nce(fake, shown.a)
        script.move([script.adam_g, script.adam_f], game + nce)
        return {"D": loss_d, "adversarial": game, "nce": nce}
    nce, nce_y = script.nce(fake, shown.a), script.nce(script.g(shown.b), shown.b)
    script.move([script.adam_g, script.adam_f], game + (nce + nce_y) / 2)
    return {"D": loss_d, "adversarial": game, "nce": nce / 2, "nce_identity": nce_y / 2}


def fastcut(script, shown):
    mirrored = bool(torch.rand(()) < 0.5)
    fake = script.g(torch.flip(shown.a, [3]) if mirrored else shown.a)
    loss_d = lsgan_d(script.d, shown.b, fake.detach())
    script.move([script.adam_d], loss_d)
    game, nce = (script.d(fake) - 1).pow(2).mean(), 10 * script.nce(fake, shown.a, mirrored)
    script.move([script.adam_g, script.adam_f], game + nce)
    return {"D": loss_d, "adversarial": game, "nce": nce}


def sincut(script, shown):
    real = shown.b.clone().requires_grad_()
    fake, logits = script.g(shown.a), script.d(real)
    # each of a map's n scores is held as the only one of the authors' discriminator
    (slope,) = torch.autograd.grad(logits.sum() / logits[0].numel() ** 0.5, real, create_graph=True)
    r1 = 0.5 * slope.pow(2).sum((1, 2, 3)).mean()
    loss_d = 0.5 * (F.softplus(-logits).mean() + F.softplus(script.d(fake.detach())).mean()) + r1
    script.move([script.adam_d], loss_d)
    game, same = F.softplus(-script.d(fake)).mean(), script.g(shown.b)
    nce, nce_y = script.nce(fake, shown.a, across=True), script.nce(same, shown.b, across=True)
    identity = (same - shown.b).abs().mean()
    script.move([script.adam_g, script.adam_f], game + 4 * (nce + nce_y) / 2 + identity)
    return {"D": loss_d, "adversarial": game, "nce": 2 * nce, "nce_identity": 2 * nce_y, "identity": identity}


@pytest.mark.parametrize(
    ("method", "options", "step", "n"),
    [
        (CUT, {"n_patches": 20}, cut, 2),
        (CUT, {"n_patches": 20, "lambda_identity": 0.0}, lambda script, shown: cut(script, shown, identity=False), 1),
        (FastCUT, {"n_patches": 300}, fastcut, 2),  # more than the inner layers have
        (SinCUT, {"adversarial": lambda: R1(loss=Vanilla, weight=1.0, every=1)}, sincut, 3),
    ],
    ids=["cut", "cut without identity", "fastcut", "sincut"],
)
def test_three_steps_agree_with_the_formulas(method, options, step, n):
    ours = tiny(method, **options)
    script = Script(ours, options.get("n_patches", 1))
    trainer = Trainer(ours, {p: adam(own.values()) for p, own in players_parameters(ours).items()})
    for seed in range(3):
        shown = batch(n)
        torch.manual_seed(seed)
        expected = step(script, shown)
        torch.manual_seed(seed)
        metrics = trainer.train_step([shown])
        assert {name for name in metrics if name.startswith("loss.")} == {f"loss.{name}" for name in expected}
        for name, value in expected.items():
            torch.testing.assert_close(metrics[f"loss.{name}"], value.detach(), atol=1e-9, rtol=0)
    script.agrees(ours)


def test_taps_are_the_layers_of_the_authors():
    network, images = generator(3, 3), torch.rand(1, 3, 32, 32)
    seen = {}
    for tap in TAPS:
        network.model[tap].register_forward_hook(lambda _, __, out, tap=tap: seen.update({tap: out.clone()}))
    network(images)
    for ours, tap in zip(network.encode(images, TAPS), TAPS, strict=True):
        assert torch.equal(ours, seen[tap])
    assert [tuple(seen[tap].shape[1:]) for tap in TAPS] == [
        (3, 38, 38), (8, 32, 32), (16, 16, 16), (16, 8, 8), (16, 8, 8),
    ]  # fmt: skip


def test_defaults_are_the_paper_s(engine):
    with torch.device("meta"):
        method = engine.registry.resolve("method", "cut", "method")(3, 3)
    shapes = {name: tuple(p.shape) for name, p in method.contrast.projectors.named_parameters() if "weight" in name}
    assert shapes == {
        f"mlp_{place}.{layer}.weight": (256, channels if layer == 0 else 256)
        for place, channels in enumerate((3, 128, 256, 256, 256))
        for layer in (0, 2)
    }
    assert method.contrast.n_patches == 256 and method.contrast.nce.temperature == 0.07
    assert list(method.contrast.taps) == TAPS


def test_places_are_drawn_without_repetition():
    class Counting(PatchNCE):
        def __call__(self, prediction, target):
            assert len(prediction[0].unique(dim=0)) == prediction.shape[1] == 1000
            return super().__call__(prediction, target)

    method = tiny(CUT, nce=Counting, taps=(4,), n_patches=1000)
    list(method.play(batch(), 0))


def test_the_discriminator_moves_first_and_the_images_are_published():
    moves = list(tiny(CUT).play(batch(), 0))
    assert [move.players for move in moves] == ["discriminator", ("generator", "projector")]
    assert moves[0].scores.keys() == {"D_real", "D_fake"}
    assert moves[1].images.keys() == {"a", "b", "fake_b", "same_b"}


def test_published_translations_belong_to_their_input():
    method, shown = tiny(FastCUT), batch(1)
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        mirrored = bool(torch.rand(()) < 0.5)
        torch.manual_seed(seed)
        *_, move = method.play(shown, 0)
        given = method.generator(shown.a.flip(3)).flip(3) if mirrored else method.generator(shown.a)
        torch.testing.assert_close(move.images["fake_b"], given)
        seen.add(mirrored)
    assert seen == {True, False}


@pytest.mark.parametrize("name", ["cut", "fastcut", "sincut"])
def test_mistakes_are_told(engine, name):
    small = {"name": name, "generator": {"base_channels": 4, "n_blocks": 1}, "discriminator": {"base_channels": 4}}
    with pytest.raises(I2IError, match="channels must be equal, not 3 and 1"):
        engine.registry.resolve("method", small, "method")(3, 1)
    with pytest.raises(I2IError, match="there is no layer 99"):
        engine.registry.resolve("method", small | {"taps": [0, 99]}, "method")(3, 3)
    with pytest.raises(I2IError, match="taps"):
        engine.registry.resolve("method", small | {"taps": []}, "method")
    with pytest.raises(I2IError, match="generator: .* it is no Encodes, it lacks encode, feature_channels"):
        engine.registry.resolve("method", small | {"generator": {"name": "unet", "depth": 2}}, "method")(3, 3)


@pytest.mark.parametrize("name", ["cut", "fastcut"])
def test_a_patch_alone_has_no_negatives(engine, name):
    with pytest.raises(I2IError, match="n_patches: should be greater than or equal to 2"):
        engine.registry.resolve("method", {"name": name, "n_patches": 1}, "method")


def test_a_crop_alone_has_no_negatives():
    with pytest.raises(I2IError, match=r"data.batch_size: one crop with one patch has no negatives"):
        list(tiny(SinCUT).play(batch(1), 0))
    list(tiny(SinCUT, n_patches=2).play(batch(1), 0))


def test_projector():
    projector = PatchProjector(3, 8)
    assert isinstance(projector[1], nn.ReLU) and projector(torch.rand(2, 5, 3)).shape == (2, 5, 8)
    assert all(not projector.get_parameter(f"{layer}.bias").any() for layer in (0, 2))


def test_a_step_with_a_penalty_can_be_foreseen():
    """`i2i check` counts operations also where the discriminator's slope is taken within the step."""
    method = tiny(SinCUT).float()
    trainer = Trainer(method, {p: adam(own.values()) for p, own in players_parameters(method).items()})
    found = forecast(trainer, Shown((3, 3), 2), (32, 32))
    assert found.gmacs > 0 and trainer.step == 0
