"""Each kind of the reference is replaced by a component written here, and trains through the same Trainer."""

import types

import pytest
import tiny
import torch
from torch import nn

from i2i import hookimpl
from i2i.engine import Engine
from i2i.method import Method, Update
from i2i.run import Run
from i2i.watch import Stop

CALLED = []


class Generator(nn.Module):
    """One convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, size, padding="same")

    def forward(self, x):
        CALLED.append("generator")
        return self.conv(x).tanh()


class Discriminator(nn.Sequential):
    """Judges colour, pixel by pixel, in two maps."""

    def __init__(self, in_channels: int, *, width: int = 4) -> None:
        super().__init__(nn.Conv2d(in_channels, width, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 1))

    def forward(self, x):
        CALLED.append("discriminator")
        return [super().forward(x), super().forward(x[..., ::2, ::2])]


class Norm(nn.Module):
    """Divides by the largest value."""

    def __init__(self, channels: int, *, epsilon: float = 1e-3) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x):
        CALLED.append("normalization")
        return x / (x.abs().amax((1, 2, 3), keepdim=True) + self.epsilon)


class Loss:
    """Largest absolute difference."""

    def __call__(self, prediction, target):
        CALLED.append("loss")
        return (prediction - target).abs().max().float()


class Hinge:
    """Hinge loss."""

    def for_generator(self, discriminator, real, fake):
        CALLED.append("adversarial_loss")
        return -torch.stack([m.float().mean() for m in discriminator(fake)]).mean()

    def for_discriminator(self, discriminator, real, fake):
        maps = [
            (1 - r).relu().mean() + (1 + f).relu().mean()
            for r, f in zip(discriminator(real), discriminator(fake), strict=True)
        ]
        return torch.stack(maps).mean().float()


class Last(nn.Module):
    """Shows the batch before."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.empty(0))

    def forward(self, images):
        CALLED.append("buffer")
        shown, self.last = (self.last if self.last.numel() else images), images.detach()
        return shown


class Ones:
    """All weights 0.01."""

    def __call__(self, module):
        CALLED.append("initialization")
        for parameter in module.parameters():
            nn.init.constant_(parameter, 0.01)


class Halving:
    """Halves the rate each step."""

    def __init__(self, n_steps: int, n_steps_decay: int) -> None:
        CALLED.append("schedule")

    def __call__(self, step):
        return 0.5**step


class Watcher:
    """Stops at once."""

    def started(self, run):
        CALLED.append("watcher")

    def logged(self, run, step, metrics, images):
        return Stop("seen enough")

    def finished(self, run):
        pass


class Regression(Method):
    """a to b by a pair loss alone: no discriminator in sight."""

    def __init__(self, channels_a: int, channels_b: int, *, weight: float = 1.0) -> None:
        super().__init__()
        self.net, self.weight = Generator(channels_a, channels_b), weight

    def players(self):
        return {"net": [self.net]}

    def translators(self):
        return {"ab": self.net}

    def play(self, batch, step):
        CALLED.append("method")
        yield Update("net", {"l1": self.weight * (self.net(batch.a) - batch.b).abs().mean()})


def plugin():
    module = types.ModuleType("mine")
    offers = {
        "methods": {"regression": Regression},
        "generators": {"mine": Generator},
        "discriminators": {"mine": Discriminator},
        "normalizations": {"mine": Norm},
        "losses": {"mine": Loss},
        "adversarial_losses": {"mine": Hinge},
        "buffers": {"mine": Last},
        "initializations": {"mine": Ones},
        "schedules": {"mine": Halving},
        "watchers": {"mine": Watcher},
    }
    for plural, factories in offers.items():
        setattr(module, f"register_{plural}", hookimpl(lambda f=factories: f, specname=f"register_{plural}"))
    return module


PATCHGAN = {"base_channels": 2, "n_layers": 1}
SWAPS = {
    "generator": {"generator": {"name": "mine", "size": 5}},
    "discriminator": {"discriminator": {"name": "mine", "width": 2}},
    "normalization": {"generator": {"base_channels": 2, "n_blocks": 1, "norm": "mine"}},
    "loss": {"cycle": "mine"},
    "adversarial_loss": {"adversarial": "mine", "discriminator": "mine"},
    "buffer": {"pool": "mine"},
    "initialization": {"discriminator": {**PATCHGAN, "initialization": "mine"}},
    "schedule": {"schedule": {"name": "mine", "n_steps": 2}},
    "watcher": {"watch": ["mine"]},
}


@pytest.mark.parametrize("kind", SWAPS)
def test_swapped(kind, tmp_path):
    engine = Engine([plugin()], entry_points=False)
    CALLED.clear()
    run = Run.create(tmp_path, "run")
    loop = tiny.loop(tiny.recipe(tmp_path, engine, **SWAPS[kind]), run, engine)
    loop.watchers += [w() for w in loop.training.recipe.watch]
    reason = loop.go()
    assert kind in CALLED
    assert reason == ("seen enough" if kind == "watcher" else "")
    assert run.weights("ab").is_file()


def test_another_method(tmp_path):
    engine = Engine([plugin()], entry_points=False)
    document = tiny.document(tmp_path, method={"name": "regression", "weight": 2.0})
    for slot in ("generator", "discriminator", "pool"):
        del document[slot]
    from i2i.recipe import resolve

    run = Run.create(tmp_path, "run")
    tiny.loop(resolve(document, engine.registry, list(engine.plugins)), run, engine).go()
    assert run.weights("ab").is_file() and not run.weights("ba").exists()
