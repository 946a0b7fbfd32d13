"""Who steps in the benchmarks: the textbook, or i2i in one of its variants; on request in a process of its own.

    python benchmarks/contender.py bf16-compiled --size 128 --blocks 6 --width 64

plays steps, one to warm up, and prints the seconds of each and the memory of the process as JSON: at its peak, and what
it held before the networks were built. The process of the textbook imports torch alone. Linux and macOS only, since
they tell what a process held at its peak.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from textbook_cyclegan import Textbook
from torch import Tensor, nn

if TYPE_CHECKING:
    from i2i.method import Method

TEXTBOOK = "textbook"
VARIANTS = ("fp32", "fp32-compiled", "bf16", "bf16-compiled", "fp32-checkpointed", "bf16-checkpointed")
"""Precisions of i2i: as they are, with compiled networks, or with checkpointed activations."""

Step = Callable[[], dict[str, float]]
"""Plays one step and returns its losses by name, so that it has come to its end."""


@dataclass(frozen=True)
class Setting:
    """How large images, networks and batches are: px, residual blocks, channels after the first convolution, images."""

    size: int
    blocks: int
    width: int
    batch: int = 1

    def images(self) -> tuple[Tensor, Tensor]:
        """The batch of each domain, (N, 3, H, W) in [-1, 1]: always the same."""
        draw = torch.Generator().manual_seed(0)
        shape = (self.batch, 3, self.size, self.size)
        return torch.rand(shape, generator=draw) * 2 - 1, torch.rand(shape, generator=draw) * 2 - 1


def textbook(setting: Setting) -> Textbook:
    torch.manual_seed(0)
    return Textbook(setting.width, setting.blocks)


def textbook_step(setting: Setting, model: Textbook) -> Step:
    warnings.filterwarnings("ignore", "Converting a tensor with requires_grad")  # of its losses
    return partial(model.step, *setting.images())


def i2i_method(setting: Setting) -> "Method":
    """The CycleGAN of i2i that plays the textbook's game."""
    from i2i.reference.cyclegan import CycleGAN
    from i2i.reference.patchgan import PatchGAN
    from i2i.reference.resnet import ResnetGenerator

    return CycleGAN(
        3,
        3,
        generator=partial(ResnetGenerator, base_channels=setting.width, n_blocks=setting.blocks),
        discriminator=partial(PatchGAN, base_channels=setting.width),
    )


def i2i_step(setting: Setting, variant: str, like: Textbook | None = None) -> Step:
    """A step of i2i by its own `Trainer`, from the weights of a textbook if there is one."""
    from i2i.activations import checkpoint_activations
    from i2i.compiling import compile_networks, networks_to_compile
    from i2i.method import Batch
    from i2i.optim import DEFAULTS, build
    from i2i.trainer import Trainer, players_parameters

    precision, _, how = variant.partition("-")
    torch.manual_seed(0)
    method = i2i_method(setting)
    if like is not None:
        same = {"generator_ab": like.g_ab, "generator_ba": like.g_ba,
                "discriminator_a": like.d_a, "discriminator_b": like.d_b}  # fmt: skip
        for name, network in same.items():
            getattr(method, name).load_state_dict(network.state_dict())
    if how == "checkpointed":
        checkpoint_activations(method)
    if how == "compiled":
        compile_networks(networks_to_compile(method))
    trainer = Trainer(method, build(DEFAULTS, players_parameters(method)), autocast=precision == "bf16")
    batch = Batch(*setting.images())

    def step() -> dict[str, float]:
        metrics = trainer.train_step([batch])
        return {name.removeprefix("loss."): float(v) for name, v in metrics.items() if name.startswith("loss.")}

    return step


def arithmetic(setting: Setting) -> tuple[float, int]:
    """GFLOP of a step, forward and backward, and what is learned, in numbers; without computing anything."""
    from i2i.measure import FlopCount, n_parameters
    from i2i.method import Batch

    with torch.device("meta"), FlopCount() as count:
        method = i2i_method(setting)
        images = torch.empty(setting.batch, 3, setting.size, setting.size)
        for update in method.play(Batch(images, images), 0):
            movers = nn.ModuleList(method.players()[str(update.players)])
            torch.stack([*update.losses.values()]).sum().backward(inputs=[*movers.parameters()])
    return count.total / 1e9, n_parameters(method)


def _step(setting: Setting, name: str) -> Step:
    return textbook_step(setting, textbook(setting)) if name == TEXTBOOK else i2i_step(setting, name)


def alone(setting: Setting, name: str, n_steps: int = 1, seconds: float = 0.0, threads: int = 0) -> dict[str, Any]:
    """What this script prints of a contender, in a process of its own.

    Args:
        n_steps: least number of timed steps, after one to warm up; up to seven while `seconds` are not over.
        threads: of torch; as many as this process has by default.
    """
    numbers = {**asdict(setting), "steps": n_steps, "seconds": seconds, "threads": threads or torch.get_num_threads()}
    options = [f"--{option}={value}" for option, value in numbers.items()]
    done = subprocess.run([sys.executable, __file__, name, *options], stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peak_mib() -> float:
    """What this process held in memory at its peak."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux counts the process that started this one
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[TEXTBOOK, *VARIANTS])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1, help="at least so many are timed")
    parser.add_argument("--seconds", type=float, default=0.0, help="up to seven steps while these are not over")
    parser.add_argument("--threads", type=int, default=0, help="of torch; as many as it takes by default")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    setting = Setting(args.size, args.blocks, args.width, args.batch)
    _step(Setting(32, 1, 2), args.name.partition("-")[0])()  # loads what only the first step needs
    process = peak_mib()
    step = _step(setting, args.name)
    times: list[float] = []
    while len(times) <= args.steps or (len(times) <= 7 and sum(times[1:]) < args.seconds):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(json.dumps({"first_seconds": times[0], "seconds": times[1:], "process_mib": process, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
