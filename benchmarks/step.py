"""The time of a training step of i2i, against a plain CycleGAN written in one file, step by step in turn.

    python benchmarks/step.py --size 64 128 --blocks 6 --width 32 64

Both start from the same weights, see the same images, and must agree on the losses of their first step. The ratio is
i2i's median over the textbook's; in float32 it must not pass 1.02. The textbook stays in float32 and in one piece: with
`--precision bf16` the ratio says what i2i gains. `--only i2i` and `--only textbook` time one alone and tell the peak
memory of the process. On a machine that others use as well, `--cpu-time` counts the seconds of one thread's processor
instead of the clock's. Writes all times to a JSON file.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from machine import machine
from textbook_cyclegan import Textbook

from i2i.method import Batch
from i2i.optim import DEFAULTS, build
from i2i.reference.cyclegan import CycleGAN
from i2i.reference.patchgan import PatchGAN
from i2i.reference.resnet import ResnetGenerator
from i2i.trainer import Trainer, players_parameters

Clock = Callable[[], float]
Step = Callable[[], dict[str, float]]


def players(size: int, blocks: int, width: int, batch_size: int, precision: str) -> dict[str, Step]:
    """A step of each, on the same images and from the same weights."""
    torch.manual_seed(0)
    a, b = (torch.rand(batch_size, 3, size, size) * 2 - 1 for _ in range(2))
    textbook = Textbook(width, blocks)
    method = CycleGAN(
        3,
        3,
        generator=partial(ResnetGenerator, base_channels=width, n_blocks=blocks),
        discriminator=partial(PatchGAN, base_channels=width),
    )
    method.generator_ab.load_state_dict(textbook.g_ab.state_dict())
    method.generator_ba.load_state_dict(textbook.g_ba.state_dict())
    method.discriminator_a.load_state_dict(textbook.d_a.state_dict())
    method.discriminator_b.load_state_dict(textbook.d_b.state_dict())
    trainer = Trainer(method, build(DEFAULTS, players_parameters(method)), autocast=precision == "bf16")

    def step() -> dict[str, float]:
        metrics = trainer.train_step([Batch(a, b)])
        return {name.removeprefix("loss."): float(v) for name, v in metrics.items() if name.startswith("loss.")}

    return {"textbook": lambda: textbook.step(a, b), "i2i": step}


def measure(steps: dict[str, Step], n: int, tolerance: float, clock: Clock) -> dict[str, list[float]]:
    """Seconds of n steps of each, in turn; the first step of each warms up and shows that both play the same game."""
    losses = {name: step() for name, step in steps.items()}
    for name, value in losses.get("textbook", {}).items():
        if "i2i" in losses and abs(losses["i2i"][name] - value) > tolerance * abs(value):
            raise SystemExit(f"{name} is {losses['i2i'][name]} in i2i and {value} in the textbook: not the same game")
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(n):
        for name in steps if round_ % 2 else reversed(steps):  # neither always runs after the other
            start = clock()
            steps[name]()
            seconds[name].append(clock() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[64, 128], help="px; several make several rows")
    parser.add_argument("--blocks", type=int, nargs="+", default=[6], help="one, or one for each size")
    parser.add_argument("--width", type=int, nargs="+", default=[32], help="one, or one for each size")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=21, help="timed steps of each, at least 5")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of i2i")
    parser.add_argument("--only", choices=["i2i", "textbook"], help="time one alone, with its peak memory")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and its processor time")
    parser.add_argument("--out", type=Path, default=Path("step.json"))
    args = parser.parse_args()
    n = len(args.size)
    blocks, width = (values * n if len(values) == 1 else values for values in (args.blocks, args.width))
    if not len(blocks) == len(width) == n or args.steps < 5:
        parser.error("--blocks and --width: one number, or one for each size; --steps: at least 5")
    about = machine(args.cpu_time)
    print("| px | blocks | width | precision | textbook s | i2i s | ratio | ratio of the fastest |")
    print("| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    rows = []
    for size, n_blocks, channels in zip(args.size, blocks, width, strict=True):
        steps = players(size, n_blocks, channels, args.batch, args.precision)
        if args.only:
            steps = {args.only: steps[args.only]}
        tolerance = 1e-3 if args.precision == "fp32" else 0.1
        seconds = measure(steps, args.steps, tolerance, time.process_time if args.cpu_time else time.perf_counter)
        row = {"size": size, "blocks": n_blocks, "width": channels, "batch": args.batch, "precision": args.precision}
        cells = [*map(str, (size, n_blocks, channels, args.precision))]
        cells += [f"{statistics.median(seconds[name]):.4f}" if name in seconds else "" for name in ("textbook", "i2i")]
        if args.only:
            cells += ["", ""]
        else:
            for what, of in (("ratio", statistics.median), ("ratio_of_fastest", min)):
                row[what] = of(seconds["i2i"]) / of(seconds["textbook"])
                cells.append(f"{row[what]:.3f}")
        rows.append({**row, "seconds": seconds})
        print(f"| {' | '.join(cells)} |", flush=True)
    if args.only:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        about["peak_mib"] = round(peak)
        print(f"peak memory of the process: {peak:.0f} MiB")
    args.out.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
