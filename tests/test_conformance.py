"""The contract's checks notice what breaks it: for each of them, a component that it catches."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from i2i.data.source import Split
from i2i.errors import I2IError
from i2i.images import Header
from i2i.method import Batch, Method, Update
from i2i.metric import ImageMetric, SetMetric, Subsets, Translation
from i2i.testing import CHECKS, check


class Blur(nn.Module):
    """A generator that is broken in ways the tests choose."""

    size_multiple = 4

    def __init__(self, in_channels: int, out_channels: int, *, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(in_channels, out_channels, 3, 2 if how == "size" else 1, 1)
        self.noise = nn.Parameter(torch.ones(()))
        self.offset = float(torch.rand(())) if how == "state" else 0.0
        if how == "meta":
            self.register_buffer("scale", torch.ones(()), persistent=False)
        if how == "stray":
            self.scale = torch.full((), 2.0) if self.noise.is_meta else torch.ones(())
        if how == "declares":
            self.compiles = False

    def forward(self, images: Tensor) -> Tensor:
        if self.how == "padding" and not self.training:
            images = images[..., ::2]
        out = self.conv(images)
        if self.how != "gradient":
            out = out * (self.noise * 0 + 1 if self.how == "zero" else self.noise)
        if self.how == "infinite":
            out = out / 0
        if self.how == "eval":
            Blur.calls = getattr(Blur, "calls", 0) + 1
            out = out * Blur.calls
        if self.how == "stray" and not self.noise.is_meta:
            out = out * (2 if self.scale.is_meta else 1)
        if self.how in ("compiles", "declares") and torch.compiler.is_compiling():
            out = out * 2
        return out + self.offset

    def encode(self, images: Tensor, taps: Sequence[int]) -> list[Tensor]:
        features = [self.conv(images) + (self.how == "features") for _ in taps]
        return features[1:] if self.how == "few" else features

    def feature_channels(self, taps: Sequence[int]) -> list[int]:
        if self.how != "taps" and (self.how == "none" or set(taps) - {0}):
            raise ValueError("there is one layer, 0")
        return [self.conv.out_channels + (self.how == "channels") for _ in taps]


class Patches(nn.Module):
    """A discriminator that is broken in ways the tests choose."""

    def __init__(self, in_channels: int, *, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(in_channels, 1, 4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.conv(images)
        return logits.flatten(1) if self.how == "flat" else logits / (self.how != "infinite")


class Power(nn.Module):
    """A normalization that is broken in ways the tests choose."""

    def __init__(self, channels: int, *, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        if self.how == "order":  # right for a single image only if its gradient lies in memory row by row
            maps = nn.functional.instance_norm(maps)
        if self.how == "batch":
            maps = maps - maps.mean(0, keepdim=True)
        return (maps[..., 1:] if self.how == "size" else maps) * self.weight


class Classifier(nn.Sequential):
    """A network that is broken in ways the tests choose."""

    def __init__(self, in_channels: int, out_channels: int, *, how: str = "") -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        if how == "unused":
            self.spare = nn.Identity()
            self.spare.weight = nn.Parameter(torch.ones(3))

    def forward(self, images: Tensor) -> Tensor:
        return self[2](self[1](self[0](images)))


def no_module(in_channels: int, out_channels: int) -> str:
    """Gives what is no module."""
    return "a generator"


class NoOptions:
    """A loss whose options cannot be read."""

    def __init__(self, scale=1.0):
        pass


class Raises:
    """A loss that fails when it is called."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        raise KeyError("oops")


class Distance(nn.Module):
    """A loss that is broken in ways the tests choose."""

    def __init__(self, *, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.scale = float(torch.rand(())) if how == "state" else 1.0
        self.least_at_equality = how != "exempt"
        if how == "meta":
            self.register_buffer("window", torch.ones(3), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        if self.how == "half":
            return (prediction - target).square().mean()
        if prediction.dtype.itemsize < 4:
            prediction, target = prediction.float(), target.float()
        difference = self.scale * (prediction - target)
        if self.how == "gradient":
            return (difference * difference.detach()).mean()
        if self.how == "corner":  # too little to be seen along a random direction
            return difference.square().mean() + 1e-6 * prediction.detach()[..., 0, 0].square().mean()
        if self.how in ("backwards", "exempt"):
            return -difference.square().mean()
        return difference.square().mean()


class Game(nn.Module):
    """A game that is broken in ways the tests choose."""

    def __init__(self, *, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.n_calls = 0.0
        self.differentiates_twice = how in ("penalty", "boasts")
        if how == "meta":
            self.register_buffer("target", torch.ones(()), persistent=False)

    def _mean(self, logits):
        if isinstance(logits, list) and self.how != "maps":
            logits = torch.cat([one.flatten() for one in logits])
        return (logits if logits.dtype == torch.float64 or self.how == "half" else logits.float()).mean()

    def for_generator(self, discriminator, real: Tensor, fake: Tensor) -> Tensor:
        logits = discriminator(fake)
        return (1 if self.how == "generator" else -1) * self._mean(
            logits.detach() * logits if self.how == "gradient" else logits
        )

    def for_discriminator(self, discriminator, real: Tensor, fake: Tensor) -> Tensor:
        self.n_calls += self.how == "state"
        loss = self._mean(discriminator(fake)) - self._mean(discriminator(real))
        if self.how == "discriminator":
            loss = -loss
        if self.how in ("penalty", "silent"):
            real = real.clone().requires_grad_()
            maps = discriminator(real)
            scores = sum(m.sum() for m in (maps if isinstance(maps, list) else [maps]))
            (gradient,) = torch.autograd.grad(scores, real, create_graph=True)
            loss = loss + gradient.square().mean()
        return loss * (1 + self.n_calls)


class Memory(nn.Module):
    """A buffer that is broken in ways the tests choose."""

    def __init__(self, *, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.register_buffer("last", torch.empty(0), persistent=how != "meta")
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


class Pull(Method):
    """A method that is broken in ways the tests choose."""

    def __init__(self, channels_a: int, channels_b: int, *, how: str = "") -> None:
        super().__init__()
        self.how = how
        self.net = nn.Conv2d(channels_a, channels_a if how == "channels" else channels_b, 1)
        self.still = nn.Conv2d(1, 1, 1)
        self.seen = 0.0
        if how == "equal" and channels_a != channels_b:
            raise ValueError("needs equal channels")
        if how == "meta":
            self.net.weight.detach().sum().item()

    def players(self):
        players = {"net": [self.net]}
        if self.how == "still":
            players["still"] = [self.still]
        if self.how == "half still":
            players["net"].append(self.still)
        return players

    def translators(self):
        translators = {"ab": self.net}
        if self.how == "direction":
            translators["aba"] = self.net
        if self.how == "stranger":
            translators["ab"] = nn.Conv2d(3, 3, 1)
        return translators

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
        if self.how == "strays":
            self.still.weight.data += 1
        images = {"fake": fake.mean() if self.how == "images" else fake}
        yield Update("nett" if self.how == "name" else "net", {"loss": loss}, images)
        torch.set_grad_enabled(True)


class Dream(Pull):
    """A method that imagines, and is broken in ways the tests choose."""

    def __init__(self, channels_a: int, channels_b: int, *, how: str = "") -> None:
        super().__init__(channels_a, channels_b)
        self.how = how
        noise = torch.rand(9, channels_b, 8, 8)
        self.register_buffer("noise", noise)
        self.hidden = noise.clone()

    def imagine(self, n: int) -> dict[str, Tensor]:
        images = {"hidden": self.hidden, "random": torch.rand(9, 3, 8, 8)}.get(self.how, self.noise)
        images = images[: n + (self.how == "many")] * (9 if self.how == "range" else 1)
        return {"c" if self.how == "domain" else "b": images}


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


class Forgetful:
    """A schedule that gives another factor each time."""

    def __init__(self, n_steps: int, n_steps_decay: int) -> None:
        self.n_calls = 0

    def __call__(self, step: int) -> float:
        self.n_calls += 1
        return 1.0 / self.n_calls


class Deaf:
    """A watcher that never ends."""

    def started(self, run: object) -> None: ...

    def logged(self, run: object, step: int, metrics: object, images: object) -> None: ...


class Grey:
    """Images of one grey."""

    def __init__(self, how: str = "") -> None:
        self.how = how

    def __len__(self) -> int:
        return 0 if self.how == "empty" else 2

    def name(self, index: int) -> str:
        return f"../{index}" if self.how == "outside" else str(index)

    def read(self, index: int) -> object:
        if self.how == "flat":
            return np.zeros(64, np.uint8)
        value = int.from_bytes(os.urandom(1)) if self.how == "random" else 128
        return Image.new("RGB", (8, 8), (value, value, value))

    def header(self, index: int) -> Header:
        return Header((8, 9 if self.how == "high" else 8), 3, "uint8", "rgb", False, 1, "png", "RGB")

    def digest(self) -> str:
        return os.urandom(4).hex() if self.how == "digest" else "grey"


class Greys:
    """A source that is broken in ways the tests choose."""

    def __init__(self, *, how: str = "") -> None:
        self.how = how

    def train(self) -> object:
        extras = {"": {"label_a": [0, 1], "mask_b": Grey()}, "nameless": {"label": [0, 1]}, "short": {"label_a": [0]}}
        extras["words"] = {"label_a": ["cat", "dog"]}
        return [1, 2] if self.how == "list" else Split(Grey(), Grey(self.how), extras=extras.get(self.how, {}))

    def test(self) -> None: ...


class Needy:
    """A source that cannot be built without options."""

    def __init__(self, *, folder: str = "") -> None:
        raise I2IError("data.source.folder says nothing")


class Shift:
    """An augmentation that is broken in ways the tests choose."""

    def __init__(self, *, how: str = "") -> None:
        self.how = how
        self.n_calls = 0

    def draw(self, rng: np.random.Generator) -> int:
        if self.how == "global":
            return int(torch.randint(9, ()))
        return int((np.random.default_rng() if self.how == "entropy" else rng).integers(9))

    def image(self, pixels: Tensor, drawn: int) -> Tensor:
        if len(pixels) == 5 if self.how == "some" else self.how == "none":
            raise ValueError("5 channels are too many")
        self.n_calls += self.how == "memory"
        if self.how == "writes":
            pixels[:] = 0
        if self.how == "infinite" and pixels.is_floating_point():
            return pixels / 0
        if self.how == "raises":
            raise KeyError("oops")
        moved = pixels.roll(drawn + self.n_calls, 2)
        if self.how in ("shape", "large"):
            return moved[:, 1:] if self.how == "shape" else moved[:, :60]
        return {"type": moved.double(), "array": moved.numpy()}.get(self.how, moved)

    def mask(self, mask: Tensor, drawn: int) -> Tensor:
        if self.how == "mask":
            return mask.float()
        return mask.roll({"still": 0, "back": -drawn}.get(self.how, drawn), 2)


class Darken:
    """An augmentation that moves nothing."""

    def draw(self, rng: np.random.Generator) -> float:
        return rng.random()

    def image(self, pixels: Tensor, drawn: float) -> Tensor:
        return (pixels * drawn).to(pixels.dtype)

    def mask(self, mask: Tensor, drawn: float) -> Tensor:
        return mask


class Maskless:
    """An augmentation that forgot the masks."""

    draw, image = Darken.draw, Darken.image


class Apart(ImageMetric):
    """A metric of images that is broken in ways the tests choose."""

    def __init__(self, *, how: str = "") -> None:
        self.how = how
        self.n_calls = 0
        self.scale = nn.Parameter(torch.ones(()))
        self.title = None if how == "title" else "apart"
        self.better = {"smaller": "smaller", "backwards": "higher"}.get(how, "lower")
        self.needs = {"silent": set(), "needs": {"pair"}}.get(how, {"partner"})

    def values(self, translation: Translation) -> Tensor:
        output = translation.output
        if self.how == "refuses" or (self.how == "some" and output.shape[-1] < 64):
            raise ValueError("it needs 64 px")
        if self.how == "writes":
            output.clamp_(-0.5, 0.5)
        self.n_calls += self.how == "memory"
        values = (output - translation.partner).abs().mean((1, 2, 3)) + self.n_calls
        if self.how == "batch":
            values = values / values.max()
        if self.how == "global":
            values = values + 0 * torch.rand(())
        if self.how == "gradient":
            values = values * self.scale
        broken = {"scalar": values.mean(), "list": values.tolist(), "infinite": values / 0, "whole": values.long()}
        return broken.get(self.how, values)


class Colours(SetMetric):
    """A metric of sets that is broken in ways the tests choose."""

    def __init__(self, *, how: str = "") -> None:
        self.how = how
        self.better = "higher" if how == "backwards" else "lower"

    def features(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3)) if self.how == "flat" else images.mean((2, 3))

    def statistic(self, outputs: Tensor, targets: Tensor) -> float:
        distance = (outputs.mean(0) - targets.mean(0)).norm()
        if self.how == "many" and min(len(outputs), len(targets)) < 15:
            raise ValueError("it needs 15 images")
        if self.how == "dice":
            distance = distance + torch.rand(())
        return distance if self.how == "tensor" else distance.item() * (math.inf if self.how == "infinite" else 1)

    def of_subsets(self, outputs: Tensor, targets: Tensor) -> Subsets:
        if self.how == "subsets":
            return lambda some, others: self.statistic(outputs, targets)
        return super().of_subsets(outputs, targets)


SOUND = [
    ("generator", Blur),
    ("discriminator", Patches),
    ("normalization", Power),
    ("network", Classifier),
    ("loss", Distance),
    ("adversarial_loss", Game),
    ("buffer", Memory),
    ("method", Pull),
    ("method", Dream),
    ("source", Greys),
    ("source", Needy),
    ("augmentation", Shift),
    ("augmentation", Darken),
    ("metric", Apart),
    ("metric", Colours),
]

BROKEN = [
    ("generator", "builds", no_module, "", "gives a str, not a torch.nn.Module"),
    (
        "generator",
        "generator_maps_shapes",
        Blur,
        "size",
        r"gives \(2, 3, 32, 32\) for images of shape \(2, 3, 64, 64\)",
    ),
    ("generator", "generator_maps_shapes", Blur, "infinite", "gives values that are not finite"),
    (
        "generator",
        "generator_translates",
        Blur,
        "padding",
        r"gives \(1, 3, 71, 34\) for images of shape \(1, 3, 71, 67\)",
    ),
    ("generator", "generator_encodes", Blur, "features", "encode.. gives for tap 0 what no layer makes"),
    ("generator", "generator_encodes", Blur, "channels", "where feature_channels.. says 4 channels"),
    ("generator", "generator_encodes", Blur, "few", "encode.. gives 0 features for 1 taps"),
    ("generator", "generator_encodes", Blur, "taps", r"feature_channels\(\[-1\]\) raises no ValueError"),
    ("generator", "generator_encodes", Blur, "none", r"feature_channels\(\[0\]\) raises ValueError"),
    ("generator", "learns", Blur, "gradient", "parameter 'noise' gets no gradient"),
    ("generator", "learns", Blur, "zero", "parameter 'noise' gets a gradient of zero"),
    ("generator", "learns", Blur, "infinite", "gets a gradient that is not finite"),
    ("generator", "repeats_itself", Blur, "eval", "gives two outputs for one input in evaluation mode"),
    ("generator", "repeats_itself", Blur, "state", "gives another output after load_state_dict"),
    ("generator", "lays_out", Blur, "meta", "'scale' is not in the state dict"),
    ("generator", "lays_out", Blur, "stray", "gives another output when it was built on the meta device"),
    ("generator", "compiles", Blur, "compiles", "gives another output under torch.compile"),
    ("discriminator", "discriminator_gives_maps", Patches, "flat", r"gives \(2, 1024\) for images of shape"),
    ("discriminator", "discriminator_gives_maps", Patches, "infinite", "gives logits that are not finite"),
    ("normalization", "normalization_keeps_shapes", Power, "size", r"gives \(2, 64, 16, 15\) for images of shape"),
    ("normalization", "treats_samples_apart", Power, "batch", "makes something else of a sample in another batch"),
    ("normalization", "normalization_has_its_gradient", Power, "order", "has another gradient if images or gradients"),
    ("network", "learns", Classifier, "unused", "parameter 'spare.weight' gets no gradient"),
    ("loss", "pair_loss_gives_a_scalar", Distance, "half", "gives torch.bfloat16, not torch.float32"),
    ("loss", "pair_loss_is_least_at_equality", Distance, "backwards", "is -?0 where both are equal and only -"),
    ("loss", "pair_loss_has_its_gradient", Distance, "gradient", "has a slope of .* where finite differences give"),
    ("loss", "pair_loss_has_its_gradient", Distance, "corner", "torch.autograd.gradcheck refuses"),
    ("loss", "repeats_itself", Distance, "state", "gives another output after load_state_dict"),
    ("loss", "lays_out", Distance, "meta", "'window' is not in the state dict"),
    ("adversarial_loss", "game_gives_scalars", Game, "half", "gives torch.bfloat16, not torch.float32"),
    ("adversarial_loss", "game_gives_scalars", Game, "maps", "AttributeError: 'list' object"),
    ("adversarial_loss", "game_has_its_gradients", Game, "gradient", "for_generator: has a slope"),
    ("adversarial_loss", "game_pulls_the_right_way", Game, "generator", "for_generator pulls the wrong way"),
    ("adversarial_loss", "game_pulls_the_right_way", Game, "discriminator", "for_discriminator pulls the wrong way"),
    ("adversarial_loss", "game_differentiates_as_it_declares", Game, "silent", "set differentiates_twice = True"),
    ("adversarial_loss", "game_differentiates_as_it_declares", Game, "boasts", "takes no gradient of a gradient"),
    ("adversarial_loss", "game_restores_its_state", Game, "state", "goes on differently after its state is restored"),
    ("adversarial_loss", "lays_out", Game, "meta", "'target' is not in the state dict"),
    ("buffer", "buffer_gives_images_back", Memory, "gradient", "carry a gradient"),
    ("buffer", "buffer_gives_images_back", Memory, "shape", r"gives \(1, 3, 2, 2\)"),
    ("buffer", "buffer_gives_images_back", Memory, "invents", "never shown"),
    ("buffer", "buffer_restores_its_state", Memory, "state", "goes on differently after its buffers are restored"),
    ("method", "method_builds", no_module, "", "gives a str, not a subclass of i2i.method.Method"),
    ("method", "method_steps", Pull, "still", "'still' of player 'still' does not move in a step"),
    ("method", "method_steps", Pull, "half still", "'still' of player 'net' does not move in a step"),
    ("method", "method_steps", Pull, "strays", "parameter 'still.weight' moves and belongs to no player"),
    ("method", "method_steps", Pull, "scalar", "it must be a scalar"),
    ("method", "method_steps", Pull, "grad", "leaves torch's grad mode changed to False at a yield"),
    ("method", "method_steps", Pull, "steps", "changes its own parameters"),
    ("method", "method_steps", Pull, "name", "moves 'nett', who is no player; did you mean 'net'"),
    ("method", "method_steps", Pull, "images", "publishes 'fake' among its images, which is no tensor"),
    ("method", "method_translates", Pull, "direction", "translator 'aba'"),
    ("method", "method_translates", Pull, "stranger", "translator 'ab' is no module of the method"),
    ("method", "method_translates", Pull, "channels", r"translator 'ab' gives \(1, 3, 32, 32\) for images of shape"),
    ("method", "method_imagines", Dream, "domain", "gives images of 'c'; the names are 'a' and 'b'"),
    ("method", "method_imagines", Dream, "many", r"imagine\(2\) gives \(3, 3, 8, 8\)"),
    ("method", "method_imagines", Dream, "range", r"gives images of domain 'b' beyond \[-1, 1\]"),
    ("method", "method_imagines", Dream, "random", "gives other images the second time"),
    ("method", "method_imagines", Dream, "hidden", "gives other images after load_state_dict"),
    ("method", "method_goes_on_exactly", Pull, "state", "goes on differently after its state is restored"),
    ("method", "method_lays_out", Pull, "meta", "raised RuntimeError"),
    ("initialization", "initialization_fills_everything", Constant, "", "fills the weight of Conv2d with one number"),
    ("initialization", "initialization_fills_everything", Constant, "", "leaves the bias of Linear unfilled"),
    ("schedule", "schedule_gives_factors", Negative, "", "gives -0.25"),
    (
        "schedule",
        "schedule_is_pure_or_saves",
        Forgetful,
        "",
        "gives another factor for a step that it was asked before",
    ),
    ("source", "source_gives_images", Greys, "list", r"train\(\) gives a list, not a Split"),
    ("source", "source_gives_images", Greys, "nameless", "an extra 'label'; its name ends in _a or _b"),
    ("source", "source_gives_images", Greys, "short", "1 of 'label_a' for 2 images"),
    ("source", "source_gives_images", Greys, "words", "gives a 'label_a' that is neither an integer for each image"),
    ("source", "source_gives_images", Greys, "empty", r"train\(\): gives no image"),
    ("source", "source_gives_images", Greys, "outside", r"name\(\) gives '../1'; a name is a path below some folder"),
    ("source", "source_gives_images", Greys, "flat", r"read\(\) gives a ndarray, not .*: has the shape \(64,\)"),
    ("source", "source_tells_the_truth_in_headers", Greys, "high", r"tells of \(\(8, 9\), 3, .* gives \(\(8, 8\), 3,"),
    ("source", "source_repeats_itself", Greys, "digest", "built again, it gives another digest or other names"),
    ("source", "source_repeats_itself", Greys, "random", "reading image 1 again gives another image"),
    ("augmentation", "augmentation_has_its_methods", Maskless, "", r"has no method mask\(\)"),
    ("augmentation", "augmentation_keeps_shapes", Shift, "shape", r"gives torch.uint8 of shape \(3, 63, 64\) for"),
    ("augmentation", "augmentation_keeps_shapes", Shift, "type", r"image\(\) gives torch.float64 of shape"),
    ("augmentation", "augmentation_keeps_shapes", Shift, "array", r"image\(\) gives a ndarray, not a tensor"),
    ("augmentation", "augmentation_keeps_shapes", Shift, "mask", r"mask\(\) gives torch.float32 of shape"),
    ("augmentation", "augmentation_keeps_shapes", Shift, "infinite", r"image\(\) gives values that are not finite"),
    ("augmentation", "augmentation_keeps_shapes", Shift, "writes", r"image\(\) writes to what it is given"),
    ("augmentation", "augmentation_keeps_shapes", Shift, "none", "refuses images of 1, 3 and 5 channels"),
    ("augmentation", "augmentation_draws_from_its_generator", Shift, "global", "draws from a global generator"),
    ("augmentation", "augmentation_draws_from_its_generator", Shift, "entropy", "another image for the same draw"),
    ("augmentation", "augmentation_draws_from_its_generator", Shift, "memory", "another image for the same draw"),
    ("augmentation", "augmentation_moves_masks_along", Shift, "still", "moves a mask otherwise than its image"),
    ("augmentation", "augmentation_moves_masks_along", Shift, "back", "moves a mask otherwise than its image"),
    ("metric", "metric_says_what_it_is", Distance, "", "gives a Distance, not an i2i.metric.ImageMetric or SetMetric"),
    (
        "metric",
        "metric_says_what_it_is",
        Apart,
        "smaller",
        "has better = 'smaller'; possible are 'lower', 'higher', ''",
    ),
    ("metric", "metric_says_what_it_is", Apart, "title", "has a title that is a NoneType, not text"),
    ("metric", "metric_says_what_it_is", Apart, "needs", "needs 'pair'; possible are 'partner', 'back'"),
    ("metric", "metric_gives_numbers", Apart, "silent", "raised TypeError"),
    ("metric", "metric_gives_numbers", Apart, "scalar", r"gives \(\) for images of shape .*; expected is \(N,\)"),
    ("metric", "metric_gives_numbers", Apart, "list", "gives a list for images of shape"),
    ("metric", "metric_gives_numbers", Apart, "infinite", "gives values that are not finite"),
    ("metric", "metric_gives_numbers", Apart, "whole", "gives torch.int64"),
    ("metric", "metric_gives_numbers", Apart, "refuses", "refuses images of 16, 64, 192 px .*: it needs 64 px"),
    ("metric", "metric_gives_numbers", Colours, "flat", r"gives \(2,\) for images of .*; expected is \(N, D\)"),
    (
        "metric",
        "metric_judges_each_image_alone",
        Apart,
        "batch",
        "of an image by itself than of the same image in a batch",
    ),
    ("metric", "metric_leaves_no_trace", Apart, "global", "draws from a global generator"),
    ("metric", "metric_leaves_no_trace", Colours, "dice", "draws from a global generator"),
    ("metric", "metric_leaves_no_trace", Apart, "memory", "something else of the same images the second time"),
    ("metric", "metric_leaves_no_trace", Apart, "gradient", "carry a gradient"),
    ("metric", "metric_leaves_no_trace", Apart, "writes", "writes to the output that it is given"),
    ("metric", "metric_states_a_number", Colours, "tensor", r"statistic\(\) gives tensor\(.*, not a finite float"),
    ("metric", "metric_states_a_number", Colours, "infinite", r"statistic\(\) gives inf, not a finite float"),
    ("metric", "metric_states_a_number", Colours, "subsets", r"of_subsets\(\) gives for 6 outputs and 6 real images"),
    ("metric", "metric_knows_what_is_better", Apart, "backwards", "says higher is better, but gives 0 for real images"),
    (
        "metric",
        "metric_knows_what_is_better",
        Colours,
        "backwards",
        "says higher is better, but gives 0 for real images",
    ),
    ("watcher", "watcher_has_its_methods", Deaf, "", r"has no method finished\(\)"),
]


@pytest.mark.parametrize(("kind", "factory"), SOUND)
def test_sound(kind, factory):
    assert check(kind, factory) == []


@pytest.mark.parametrize(("kind", "name", "factory", "how", "message"), BROKEN)
def test_broken(kind, name, factory, how, message, monkeypatch):
    only = [one for one in CHECKS[kind] if one.__name__ == name]
    monkeypatch.setitem(CHECKS, kind, only)
    failures = check(kind, factory, {"how": how} if how else None)
    torch.set_grad_enabled(True)
    assert only and any(re.search(message, failure.message) for failure in failures), failures
    assert all(re.fullmatch(re.escape(__file__) + r":\d+", failure.place) for failure in failures)


def test_every_check_catches_something():
    assert {one.__name__ for checks in CHECKS.values() for one in checks} == {name for _, name, *_ in BROKEN}


@pytest.mark.parametrize(("kind", "factory", "how"), [
    ("generator", Blur, "declares"),
    ("loss", Distance, "exempt"),
    ("adversarial_loss", Game, "penalty"),
    ("method", Pull, "equal"),
    ("augmentation", Shift, "some"),
    ("metric", Apart, "some"),
    ("metric", Colours, "many"),
])  # fmt: skip
def test_what_is_declared_is_allowed(kind, factory, how):
    assert check(kind, factory, {"how": how}) == []


@pytest.mark.parametrize("how", ["shape", "large", "type", "array", "mask", "raises", "none"])
def test_an_augmentation_that_breaks_off_is_told_of_once(how):
    (failure,) = check("augmentation", Shift, {"how": how})
    assert "gives" in failure.message or "refuses" in failure.message or "KeyError" in failure.message


def test_a_signature_that_cannot_be_read():
    (failure,) = check("loss", NoOptions)
    assert "takes (*, options…), but its positional parameters are: scale" in failure.message


def test_a_long_first_line():
    class Long(Distance):
        __doc__ = "L" * 101

    (failure,) = check("loss", Long)
    assert "the first line of its docstring has 101 characters, more than 100" in failure.message


def test_the_line_that_raised_is_named():
    (failure, *_) = check("loss", Raises)
    assert "raised KeyError: 'oops' (while checking that it gives a finite float32 scalar" in failure.message
    line = int(failure.place.rpartition(":")[2])
    assert 'KeyError("oops")' in Path(__file__).read_text(encoding="utf-8").splitlines()[line - 1]
