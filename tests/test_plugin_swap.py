"""Each kind of the reference is replaced by a component written here, and trains through the same Trainer."""

import types

import pytest
import tiny
import torch
from PIL import Image
from torch import nn

from i2i import hookimpl
from i2i.component import KINDS
from i2i.data.source import Split
from i2i.engine import Engine
from i2i.method import Method, Update
from i2i.metric import ImageMetric
from i2i.recipe import resolve
from i2i.run import Run
from i2i.slots import Network
from i2i.trainer import Trainer
from i2i.watch import Stop

CALLED = []
SEEN = []
"""The last batch of the method below."""


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


class Night:
    """Makes every image black."""

    def draw(self, rng):
        return None

    def image(self, pixels, drawn):
        CALLED.append("augmentation")
        return pixels * 0

    def mask(self, mask, drawn):
        return mask


class Brightness(ImageMetric):
    """Mean of the outputs."""

    def values(self, translation):
        CALLED.append("metric")
        return translation.output.mean((1, 2, 3))


class Watcher:
    """Stops at once."""

    def started(self, run):
        CALLED.append("watcher")

    def logged(self, run, step, metrics, images):
        return Stop("seen enough")

    def finished(self, run):
        pass


class Grey(nn.Identity):
    """An encoder that changes nothing."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()


class Halves(nn.AvgPool2d):
    """An encoder to half the size."""

    def __init__(self, in_channels: int, out_channels: int, *, factor: int = 2) -> None:
        super().__init__(factor)

    def forward(self, x):
        CALLED.append("network")
        return super().forward(x)


class Regression(Method):
    """a to b by what an encoder sees of both: no discriminator in sight."""

    def __init__(self, channels_a: int, channels_b: int, *, weight: float = 1.0, encoder: Network = Grey) -> None:
        super().__init__()
        self.net, self.weight = Generator(channels_a, channels_b), weight
        self.encoder = encoder(channels_b, channels_b)

    def players(self):
        return {"net": [self.net]}

    def translators(self):
        return {"ab": self.net}

    def play(self, batch, step):
        CALLED.append("method")
        SEEN[:] = [batch.a, batch.b]
        l1 = (self.encoder(self.net(batch.a)) - self.encoder(batch.b)).abs().mean()
        yield Update("net", {"l1": self.weight * l1})


class Noise:
    """Three images of noise, from memory."""

    def __len__(self):
        return 3

    def name(self, index):
        return f"{index}.png"

    def read(self, index):
        CALLED.append("source")
        return Image.effect_noise((20, 20), 50 + index).convert("RGB")

    def digest(self):
        return "three of noise"


class Source:
    """Noise in both domains."""

    def __init__(self, *, paired: bool = False) -> None:
        self.paired = paired

    def train(self):
        return Split(Noise(), Noise(), self.paired)

    def test(self):
        return None


def plugin():
    module = types.ModuleType("mine")
    offers = {
        "methods": {"mine": Regression},
        "generators": {"mine": Generator},
        "discriminators": {"mine": Discriminator},
        "networks": {"grey": Grey, "mine": Halves},
        "normalizations": {"mine": Norm},
        "losses": {"mine": Loss},
        "adversarial_losses": {"mine": Hinge},
        "buffers": {"mine": Last},
        "initializations": {"mine": Ones},
        "schedules": {"mine": Halving},
        "sources": {"mine": Source},
        "augmentations": {"mine": Night},
        "metrics": {"mine": Brightness},
        "watchers": {"mine": Watcher},
    }
    for plural, factories in offers.items():
        setattr(module, f"register_{plural}", hookimpl(lambda f=factories: f, specname=f"register_{plural}"))
    return module


PATCHGAN = {"base_channels": 2, "n_layers": 1}
RESNET = {"base_channels": 2, "n_blocks": 1}
DATA = {"load_size": 18, "crop_size": 16}
WITHOUT_GAME = {"generator": None, "discriminator": None, "pool": None}
SWAPS = {
    "method": {"method": {"name": "mine", "weight": 2.0}, **WITHOUT_GAME},
    "generator": {"generator": {"name": "mine", "size": 5}},
    "discriminator": {"discriminator": {"name": "mine", "width": 2}},
    "network": {"method": "mine", "encoder": {"name": "mine", "factor": 4}, **WITHOUT_GAME},
    "normalization": {"generator": {**RESNET, "norm": "mine"}},
    "loss": {"cycle": "mine"},
    "adversarial_loss": {"adversarial": "mine", "discriminator": "mine"},
    "buffer": {"pool": "mine"},
    "initialization": {"discriminator": {**PATCHGAN, "initialization": "mine"}},
    "schedule": {"schedule": {"name": "mine", "n_steps": 2}},
    "source": {"data": {"source": {"name": "mine", "paired": True}, **DATA}},
    "augmentation": {
        "augment": [{"name": "mine", "domain": "b"}],
        "data": {"source": "mine", "n_workers": 0, **DATA},
        "method": "mine",
        **WITHOUT_GAME,
    },
    "metric": {"eval": {"metrics": ["mine"]}},
    "watcher": {"watch": ["mine"]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_swapped(kind, tmp_path):
    engine = Engine([plugin()], entry_points=False)
    document = tiny.document(tmp_path, **SWAPS[kind])
    recipe = resolve(
        {table: value for table, value in document.items() if value is not None}, engine.registry, list(engine.plugins)
    )
    run = Run.create(tmp_path, "run")
    CALLED.clear()
    loop = tiny.loop(recipe, run, engine)
    loop.audience.watchers += [w() for w in recipe.watch]
    before = {name: p.detach().clone() for name, p in loop.training.method.named_parameters()}
    reason = loop.go()
    assert type(loop.training.trainer) is Trainer
    assert kind in CALLED
    assert kind != "augmentation" or ((SEEN[1] == -1).all() and SEEN[0].std() > 0.1)  # black in b alone
    assert reason == ("seen enough" if kind == "watcher" else "")
    assert any(not torch.equal(p, before[name]) for name, p in loop.training.method.named_parameters())
    assert run.weights("ab").is_file()
    assert run.weights("ba").exists() == ("ba" in loop.training.method.translators())
