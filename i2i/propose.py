"""A first recipe for two folders: looks at the images and the machine, times a step, and fits the time there is."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from i2i.data.folders import find_images
from i2i.device import pick_device, pick_precision
from i2i.errors import I2IError
from i2i.images import header
from i2i.method import Batch
from i2i.optim import DEFAULTS, build
from i2i.registry import Registry
from i2i.trainer import Trainer, players_parameters

N_LOOKED_AT = 50
FEW = 100
ENOUGH_STEPS = 10_000
"""Steps that a smaller configuration must not be tried without: below, a run ends before it is plain to see."""


@dataclass(frozen=True)
class Seen:
    """What a look at a folder found.

    Args:
        n_images: how many.
        short_side: the median of their shorter sides, in px.
        channels: the most that any of them has.
        deep: some have more than 8 bits.
        stretched: most are not nearly square.
    """

    folder: Path
    n_images: int
    short_side: int
    channels: int
    deep: bool = False
    stretched: bool = False

    @property
    def name(self) -> str:
        return self.folder.resolve().name


@dataclass(frozen=True)
class Scale:
    """Sizes of a training, from the paper's down."""

    crop_size: int
    base_channels: int
    n_blocks: int

    @property
    def n_layers(self) -> int:
        """Of the discriminator: 3 as in the paper, 2 where its patches would be larger than the image."""
        return 3 if self.crop_size > 70 else 2


EVAL = """
[eval]
every = 2000                 # steps; images are judged: those to train on, unless the source has test_a and test_b
metrics = ["kid"]            # how far translations are from real images of the other folder
best_by = "kid"              # the best translators are kept, for --checkpoint best
n_images = 50                # of each domain
"""
"""What a pretrained network can judge: of domains with 1 or 3 channels."""

SCALES = (Scale(256, 64, 9), Scale(128, 64, 6), Scale(128, 32, 6), Scale(64, 32, 6))


def look(folder: Path, where: str) -> Seen:
    """Counts the images below a folder and opens some of them, evenly spaced. Raises I2IError."""
    found = find_images(folder, where)
    sides, colours, deep, shapes = [], [], False, []
    for index in range(0, len(found), math.ceil(len(found) / N_LOOKED_AT)):
        try:
            seen = header(found.folder / found.name(index))
        except I2IError:
            continue  # training says which, and what to do about it
        sides.append(min(seen.size))
        colours.append(seen.channels)
        deep = deep or seen.dtype != "uint8"
        shapes.append(max(seen.size) / min(seen.size))
    if not sides:
        raise I2IError(f"{where}: none of the images in {str(folder)!r} can be read")
    stretched = statistics.median(shapes) > 1.1
    return Seen(folder, len(found), int(statistics.median(sides)), max(colours), deep, stretched)


def propose(a: Seen, b: Seen, hours: float, registry: Registry, tell: Callable[[str], None]) -> str:
    """The text of a recipe for these images that ends within `hours` on this machine."""
    side = min(a.short_side, b.short_side)
    fitting = [s for s in SCALES if s.crop_size <= side] or [SCALES[-1]]
    per_epoch = max(a.n_images, b.n_images)
    for scale in fitting:
        seconds = seconds_per_step(scale, (a.channels, b.channels), registry, deep=a.deep or b.deep)
        steps = int(hours * 3600 / seconds)
        tell(
            f"{scale.crop_size} px, {scale.base_channels} channels: {seconds:.2f} s per step, {steps:,} in {hours:g} h"
        )
        if steps >= min(ENOUGH_STEPS, 200 * per_epoch):
            break
    n_epochs = min(200.0, _three_digits(steps / per_epoch))
    return _text(a, b, scale, n_epochs, seconds * n_epochs * per_epoch / 3600, hours, seconds)


def seconds_per_step(scale: Scale, channels: tuple[int, int], registry: Registry, *, deep: bool = False) -> float:
    """Time of one step of CycleGAN on random images, measured after one to warm up."""
    device = pick_device("auto")
    spec = {
        "name": "cyclegan",
        "lambda_identity": 0.5 if channels[0] == channels[1] else 0.0,
        "generator": {"base_channels": scale.base_channels, "n_blocks": scale.n_blocks},
        "discriminator": {"base_channels": scale.base_channels, "n_layers": scale.n_layers},
    }
    with torch.random.fork_rng():
        method = registry.resolve("method", spec, "method")(*channels).to(device)
        bf16 = pick_precision("auto", device, deep=deep) == "bf16"
        trainer = Trainer(method, build(DEFAULTS, players_parameters(method)), autocast=bf16)
        a, b = (torch.rand(1, c, scale.crop_size, scale.crop_size, device=device) * 2 - 1 for c in channels)
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            metrics = trainer.train_step([Batch(a, b)])
            float(next(iter(metrics.values())))  # waits for the device
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def _three_digits(value: float) -> float:
    """Rounded down to three significant digits, at least 0.01."""
    digits = 2 - math.floor(math.log10(max(value, 0.01)))
    return max(0.01, math.floor(value * 10.0**digits) / 10.0**digits)


def _toml(value: str | int | list[str] | list[int]) -> str:
    """A string, a number or a list of them: JSON's notation is TOML's as well."""
    return json.dumps(value, ensure_ascii=False)


def _text(a: Seen, b: Seen, scale: Scale, n_epochs: float, takes: float, hours: float, seconds: float) -> str:
    same = a.channels == b.channels
    channels = a.channels if same else [a.channels, b.channels]
    load_size = round(scale.crop_size * 286 / 256)
    half = f"{n_epochs / 2:g}"
    notes = []
    for seen in (a, b):
        if seen.n_images < FEW:
            notes.append(f"# {_toml(seen.name)}: only {seen.n_images} images; expect it to be learnt by heart.")
        if seen.short_side < scale.crop_size:
            notes.append(f"# {_toml(seen.name)}: most images are under {scale.crop_size} px and will be enlarged.")
    if max(a.n_images, b.n_images) > 3 * min(a.n_images, b.n_images):
        notes.append("# One folder has over three times as many images; the longer one sets the epoch.")
    if n_epochs < 200:
        notes.append(f"# The paper trains 200 epochs; {hours:g} h are enough for {n_epochs:g} on this machine.")
    notes = [*notes, "#"] if notes else []
    ranges = ["auto" if seen.deep else "type" for seen in (a, b)]
    told = _toml(ranges[0] if a.deep == b.deep else ranges)
    range_ = f"range = {told:<20} # values that become -1 and 1: measured, or [low, high]\n" if "auto" in ranges else ""
    squeezed = ' # into squares; "scale_shorter_and_crop" keeps shapes' if a.stretched or b.stretched else ""
    why = "; 0 leaves the term out" if same else "; 0, since the channels differ"
    names = [a.name, b.name] if a.name != b.name else ["a", "b"]
    return f"""\
# CycleGAN for {_toml(names[0])} ({a.n_images} images) and {_toml(names[1])} ({b.n_images} images).
# Takes about {takes:.1f} h: {seconds:.2f} s per step, measured on this machine.
#
{chr(10).join([*notes, ""])}#     i2i check THIS_FILE     before you start
#     i2i train THIS_FILE

[method]
name = "cyclegan"
lambda_cycle = 10.0          # higher: nearer to the input
lambda_identity = {0.5 if same else 0.0}        # keeps colours{why}

[generator]
name = "resnet"
base_channels = {scale.base_channels}           # 64 in the paper
n_blocks = {scale.n_blocks}                 # 6 for 128 px, 9 from 256 px on
upsample = "transposed"      # nearest, bilinear or pixel_shuffle if you see a checkerboard

[discriminator]
name = "patchgan"
base_channels = {scale.base_channels}
n_layers = {scale.n_layers}                 # each score sees {34 if scale.n_layers == 2 else 70} px

[data]
source = {{ name = "folders", a = {_toml(str(a.folder.resolve()))}, b = {_toml(str(b.folder.resolve()))} }}
channels = {_toml(channels)}                 # 1: greyscale, 3: RGB
{range_}preprocess = "resize_and_crop"{squeezed}
load_size = {load_size}              # images become squares of this size …
crop_size = {scale.crop_size}              # … and are cut to this one at random
flip = true                  # false where left and right matter, as in writing
batch_size = 1
names = {_toml(names)}

[schedule]
n_epochs = {half}               # constant learning rate, then
n_epochs_decay = {half}         # falling to zero

[train]
seed = 0
device = "auto"
precision = "auto"
log_every = 50               # steps
sample_every = 500
save_every = 1000
{EVAL if {a.channels, b.channels} & {1, 3} else ""}"""
