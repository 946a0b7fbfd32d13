"""The contract of its kind, for every registered component; and that the checks notice what breaks it."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from i2i.component import KINDS
from i2i.engine import Engine
from i2i.method import Batch, Method, Update
from i2i.testing import CHECKS, check, check_component

PLUGINS = Path(__file__).parent.parent / "plugins"


def everything() -> list:
    """Every component of this repository, as a parameter named after it."""
    names = [p.stem for p in PLUGINS.glob("[!_]*.py")] + [p.parent.name for p in PLUGINS.glob("*/__init__.py")]
    engine = Engine([f"i2i_plugins.{name}" for name in sorted(names)], entry_points=False)
    return [pytest.param(c, engine.registry, id=f"{c.kind.name}-{c.name}") for c in engine.components()]


SMALL = {
    "cyclegan": {"generator": {"base_channels": 4, "n_blocks": 1}, "discriminator": {"base_channels": 4}},
    "cycada": {"generator": {"base_channels": 4, "n_blocks": 1}, "discriminator": {"base_channels": 4}},
    "resnet": {"base_channels": 8},
    "resnet_antialiased": {"base_channels": 8},
    "mobile_resnet": {"base_channels": 8},
    "unet": {"base_channels": 4, "depth": 6},
    "unet_attention": {"base_channels": 8, "depth": 2, "n_blocks": 1},
    "vit": {"width": 16, "n_blocks": 1, "n_heads": 2},
    **dict.fromkeys(
        ("pix2pix", "colorization"),
        {"generator": {"base_channels": 4, "depth": 5}, "discriminator": {"base_channels": 4}},
    ),
    **dict.fromkeys(
        ("cut", "fastcut", "sincut"),
        {"generator": {"base_channels": 4, "n_blocks": 1}, "discriminator": {"base_channels": 4}},
    ),
    "style_transfer": {"generator": {"base_channels": 4, "n_blocks": 1}},
    "timm_unet": {"base_channels": 8, "layers": [0, 1]},
    "projected": {"base_channels": 8, "layers": [1, 2]},
    "vision_aided": {"base_channels": 8, "layers": [2]},
    "unet_discriminator": {"base_channels": 8, "n_layers": 3},
    **dict.fromkeys(("multiscale", "spectral"), {"discriminator": {"base_channels": 8}}),
    "ensemble": {"members": [{"name": "patchgan", "base_channels": 8}, {"name": "pixelgan", "base_channels": 8}]},
}
"""Options that make a check quick; every default is built in the test after it."""


@pytest.mark.parametrize(("component", "registry"), everything())
def test_contract(component, registry):
    assert [str(failure) for failure in check_component(component, registry, SMALL.get(component.name))] == []


@pytest.mark.parametrize("name", SMALL)
def test_defaults_build(engine, name):
    kind = next(kind for kind in KINDS if name in engine.registry.names(kind))
    with torch.device("meta"):
        engine.registry.resolve(kind, name, name)(*[3] * len(KINDS[kind].wired))


def test_every_kind_has_checks():
    assert CHECKS.keys() == KINDS.keys()


class Blur(nn.Module):
    """A generator that is broken in ways the tests choose."""

    def __init__(self, in_channels: int, out_channels: int, *, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(in_channels, out_channels, 3, 2 if how == "size" else 1, 1)
        self.noise = nn.Parameter(torch.ones(()))
        if how == "meta":
            self.register_buffer("scale", torch.ones(()), persistent=False)
        if how == "state":
            self.offset = float(torch.rand(()))

    def forward(self, images: Tensor) -> Tensor:
        out = self.conv(images)
        if self.how != "gradient":
            out = out * self.noise
        if self.how == "infinite":
            out = out / 0
        if self.how == "eval":
            Blur.calls = getattr(Blur, "calls", 0) + 1
            out = out * Blur.calls
        return out + self.offset if self.how == "state" else out


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("size", r"gives \(2, 3, 32, 32\) for images of shape \(2, 3, 64, 64\); expected is \(2, 3, 64, 64\)"),
        ("gradient", "parameter 'noise' gets no gradient"),
        ("infinite", "gives values that are not finite"),
        ("eval", "gives two outputs for one input in evaluation mode"),
        ("state", "gives another output after load_state_dict"),
        ("meta", "'scale' is not in the state dict"),
    ],
)
def test_broken_generators(how, message):
    failures = check("generator", Blur, {"how": how})
    assert any(re.search(message, failure.message) for failure in failures), failures
    assert all(failure.place.startswith(__file__) for failure in failures)
    assert all(failure.component == "generator 'blur'" for failure in failures)


def test_sound_generator():
    assert check("generator", Blur) == []


class NoOptions:
    """A loss whose options cannot be read."""

    def __init__(self, scale=1.0):
        pass


class Raises:
    """A loss that fails when it is called."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        raise KeyError("oops")


class Half:
    """A loss that stays in bf16."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).square().mean()


class Backwards:
    """A loss that is greatest at equality."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return -(prediction - target).float().square().mean() if prediction.dtype != torch.float64 else prediction.sum()


class WrongGradient:
    """A loss that hides half of its gradient."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        wide = prediction if prediction.dtype == torch.float64 else prediction.float()
        return ((wide - target) * (wide - target).detach()).mean()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (NoOptions, r"takes \(\*, options…\), but its positional parameters are: scale"),
        (Raises, r"raised KeyError: 'oops' \(while checking that it gives a finite float32 scalar"),
        (Half, "gives torch.bfloat16, not torch.float32"),
        (Backwards, "is -?0 where both are equal and only -"),
        (WrongGradient, "where finite differences give"),
    ],
)
def test_broken_losses(factory, message):
    failures = check("loss", factory)
    assert any(re.search(message, failure.message) for failure in failures), failures


def test_the_line_that_raised_is_named():
    (failure, *_) = check("loss", Raises)
    line = int(failure.place.rpartition(":")[2])
    assert 'KeyError("oops")' in Path(__file__).read_text(encoding="utf-8").splitlines()[line - 1]


class Game:
    """A game that is broken in ways the tests choose."""

    def __init__(self, *, generator: float = -1.0, discriminator: float = -1.0, maps: bool = True) -> None:
        self.generator, self.discriminator, self.maps = generator, discriminator, maps

    def _mean(self, logits):
        if isinstance(logits, list) and self.maps:
            logits = torch.cat([one.flatten() for one in logits])
        return (logits if logits.dtype == torch.float64 else logits.float()).mean()

    def for_generator(self, discriminator, real: Tensor, fake: Tensor) -> Tensor:
        return self.generator * self._mean(discriminator(fake))

    def for_discriminator(self, discriminator, real: Tensor, fake: Tensor) -> Tensor:
        return self.discriminator * (self._mean(discriminator(real)) - self._mean(discriminator(fake)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator": 1.0}, "for_generator pulls the wrong way"),
        ({"discriminator": 1.0}, "for_discriminator pulls the wrong way"),
        ({"maps": False}, "AttributeError: 'list' object"),
    ],
)
def test_broken_games(options, message):
    assert check("adversarial_loss", Game) == []
    failures = check("adversarial_loss", Game, options)
    assert any(message in failure.message for failure in failures), failures


class Memory(nn.Module):
    """A buffer that is broken in ways the tests choose."""

    def __init__(self, *, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.register_buffer("last", torch.empty(0))
        self.hidden = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        if self.how == "gradient":
            return images
        if self.how == "shape":
            return images[:1].detach()
        if self.how == "invents":
            return images.detach() + 1
        before, new = (self.hidden if self.how == "state" else self.last), images.detach()
        if self.how == "state":
            self.hidden = new
        else:
            self.last = new
        return before if len(before) else new


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("gradient", "carry a gradient"),
        ("shape", r"gives \(1, 3, 2, 2\)"),
        ("invents", "never shown"),
        ("state", "goes on differently after its buffers are restored"),
    ],
)
def test_broken_buffers(how, message):
    assert check("buffer", Memory) == []
    failures = check("buffer", Memory, {"how": how})
    assert any(re.search(message, failure.message) for failure in failures), failures


class Pull(Method):
    """A method that is broken in ways the tests choose."""

    def __init__(self, channels_a: int, channels_b: int, *, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.net = nn.Conv2d(channels_a, channels_b, 1)
        self.still = nn.Conv2d(1, 1, 1)
        self.seen = 0.0

    def players(self):
        return {"net": [self.net]} | ({"still": [self.still]} if self.how == "still" else {})

    def translators(self):
        return {"ab": self.net} | ({"aba": self.net} if self.how == "direction" else {})

    def play(self, batch: Batch, step: int):
        fake = self.net(batch.a)
        loss = (fake - batch.b).square().mean() * (1 + self.seen)
        if self.how == "state":
            self.seen += 1.0
        if self.how == "scalar":
            loss = (fake - batch.b).square()
        if self.how == "grad":
            torch.set_grad_enabled(False)
        if self.how == "steps":
            with torch.no_grad():
                self.net.bias += 1
        yield Update("nett" if self.how == "name" else "net", {"loss": loss}, {"fake": fake})
        torch.set_grad_enabled(True)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("still", "player 'still' does not move in a step"),
        ("direction", "translator 'aba'"),
        ("scalar", "it must be a scalar"),
        ("grad", "leaves torch's grad mode changed to False at a yield"),
        ("steps", "changes its own parameters"),
        ("name", "moves 'nett', who is no player; did you mean 'net'"),
        ("state", "goes on differently after its state is restored"),
    ],
)
def test_broken_methods(how, message):
    assert check("method", Pull) == []
    failures = check("method", Pull, {"how": how})
    torch.set_grad_enabled(True)
    assert any(re.search(message, failure.message) for failure in failures), failures


class Constant:
    """An initialization that fills convolutions with one number and forgets the rest."""

    def __call__(self, module: nn.Module) -> None:
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.ones_(layer.weight)


class Negative:
    """A schedule that falls below zero."""

    def __init__(self, n_steps: int, n_steps_decay: int) -> None:
        self.n_steps = n_steps

    def __call__(self, step: int) -> float:
        return 1.0 - step / 4


class Deaf:
    """A watcher that never ends."""

    def started(self, run: object) -> None: ...

    def logged(self, run: object, step: int, metrics: object, images: object) -> None: ...


class Empty:
    """A source of nothing."""

    def train(self) -> object:
        return [1, 2]

    def test(self) -> None: ...


@pytest.mark.parametrize(
    ("kind", "factory", "message"),
    [
        ("initialization", Constant, "fills the weight of Conv2d with one number"),
        ("initialization", Constant, "leaves the bias of Linear unfilled"),
        ("schedule", Negative, "gives -0.25"),
        ("watcher", Deaf, r"has no method finished\(\)"),
        ("source", Empty, r"train\(\) gives a list, not a Split"),
    ],
)
def test_broken_parts(kind, factory, message):
    assert any(re.search(message, failure.message) for failure in check(kind, factory))
