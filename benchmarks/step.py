"""The time of a training step of i2i, against a plain CycleGAN written in one file, step by step in turn.

    python benchmarks/step.py

The textbook computes in float32 and in one piece. i2i plays the same game from the same weights on the same images, in
each of `--variants`; all must agree on the losses of their first step. "times" is the textbook's median over i2i's.
GFLOP/s is what a step has to compute over its median, and its share is of the rate at which this machine multiplies
matrices in that precision, measured between the rounds. Peak memory is that of a process of its own, which plays two
steps. On a machine that others use as well, `--cpu-time` counts the seconds of one thread's processor instead of the
clock's. Writes all times to a JSON file.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from contender import TEXTBOOK, VARIANTS, Setting, Step, alone, arithmetic, i2i_step, textbook, textbook_step
from machine import machine

from i2i.measure import three_digits

Clock = Callable[[], float]

BARS = {
    (128, 6): {"fp32": 1.0, "fp32-compiled": 1.5, "bf16": 2.2, "bf16-compiled": 3.7},
    (256, 9): {"fp32": 1.0, "fp32-compiled": 1.5, "bf16": 2.2, "bf16-compiled": 3.5},
}
"""Times the textbook that a step should be on a CPU with AMX, by size and blocks, for 64 channels and one image."""

HEADS = ["who", "s per step", "times", "bar", "GFLOP/s", "share", "peak MiB", "of textbook", "first step s"]
MATRIX = 2048
TOLERANCES = {"fp32": 1e-3, "bf16": 0.1}


def matrix_rate(dtype: torch.dtype, clock: Clock, repeats: int = 3) -> float:
    """GFLOP/s of a product of two square matrices, the best of some."""
    a, b = (torch.randn(MATRIX, MATRIX, generator=torch.Generator().manual_seed(i)).to(dtype) for i in range(2))
    best = 0.0
    for _ in range(repeats):
        start = clock()
        a @ b
        best = max(best, 2 * MATRIX**3 / (clock() - start) / 1e9)
    return best


def first_steps(setting: Setting, variants: Sequence[str], clock: Clock) -> tuple[dict[str, Step], dict[str, float]]:
    """A step of each, and the seconds that the first one of i2i took, with what is compiled then.

    Raises SystemExit where they disagree on a loss.
    """
    model = textbook(setting)
    steps: dict[str, Step] = {TEXTBOOK: textbook_step(setting, model)}
    steps |= {name: i2i_step(setting, name, like=model) for name in variants}
    expected = steps[TEXTBOOK]()
    seconds = {}
    for name in variants:
        start = clock()
        losses = steps[name]()
        seconds[name] = clock() - start
        for loss, value in expected.items():
            if abs(losses[loss] - value) > TOLERANCES[name[:4]] * abs(value):
                raise SystemExit(f"{loss} is {losses[loss]} in {name} and {value} in the textbook: not the same game")
        steps[name]()  # once more, since the first one may have compiled for what is not there again
    return steps, seconds


def rounds(steps: Mapping[str, Step], n: int, clock: Clock) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of n steps of each, in turn, and the best rates of matrix products between them, by precision."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    rates = {"fp32": 0.0, "bf16": 0.0}
    for round_ in range(n):
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            rates[precision] = max(rates[precision], matrix_rate(dtype, clock))
        for name in steps if round_ % 2 else reversed([*steps]):  # nobody always runs after the same other
            start = clock()
            steps[name]()
            seconds[name].append(clock() - start)
    return seconds, rates


def row(setting: Setting, variants: Sequence[str], n: int, clock: Clock) -> dict[str, Any]:
    """One setting: what was measured of each, as the JSON has it."""
    gflop, _ = arithmetic(setting)
    steps, first = first_steps(setting, variants, clock)
    seconds, rates = rounds(steps, n, clock)
    del steps  # room for the others
    bars = BARS.get((setting.size, setting.blocks), {}) if (setting.width, setting.batch) == (64, 1) else {}
    found: dict[str, dict[str, Any]] = {}
    for name, times in seconds.items():
        median = statistics.median(times)
        found[name] = {
            "seconds": times,
            "first_seconds": first.get(name),
            "times": statistics.median(seconds[TEXTBOOK]) / median,
            "bar": bars.get(name),
            "gflops": gflop / median,
            "share": gflop / median / rates["bf16" if name.startswith("bf16") else "fp32"],
            "peak_mib": alone(setting, name)["peak_mib"],
        }
    return {**vars(setting), "gflop": gflop, "matrix_gflops": rates, "who": found}


def cells(row: Mapping[str, Any]) -> Iterator[list[str]]:
    """The lines of a setting, as the table has them."""
    for name, found in row["who"].items():
        yield [
            name,
            f"{statistics.median(found['seconds']):.4f}",
            f"{found['times']:.2f}",
            "" if found["bar"] is None else f"{found['bar']:.1f}",
            f"{found['gflops']:.0f}",
            f"{found['share']:.0%}",
            f"{found['peak_mib']:.0f}",
            f"{found['peak_mib'] / row['who'][TEXTBOOK]['peak_mib']:.2f}",
            "" if found["first_seconds"] is None else f"{found['first_seconds']:.1f}",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[128, 256], help="px; several make several rows")
    parser.add_argument("--blocks", type=int, nargs="+", default=[6, 9], help="one, or one for each size")
    parser.add_argument("--width", type=int, nargs="+", default=[64], help="one, or one for each size")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each, at least 5")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS[:4], metavar="NAME",
                        help=", ".join(VARIANTS))  # fmt: skip
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and its processor time")
    parser.add_argument("--out", type=Path, default=Path("step.json"))
    args = parser.parse_args()
    n = len(args.size)
    blocks, width = (values * n if len(values) == 1 else values for values in (args.blocks, args.width))
    if not len(blocks) == len(width) == n or args.steps < 5:
        parser.error("--blocks and --width: one number, or one for each size; --steps: at least 5")
    about = machine(args.cpu_time)
    clock = time.process_time if args.cpu_time else time.perf_counter
    found = []
    for size, n_blocks, channels in zip(args.size, blocks, width, strict=True):
        found.append(row(Setting(size, n_blocks, channels, args.batch), args.variants, args.steps, clock))
        gflop, rates = found[-1]["gflop"], found[-1]["matrix_gflops"]
        print(f"\n{size} px, {n_blocks} blocks, {channels} channels, batch {args.batch}: {three_digits(gflop)} GFLOP.")
        print(f"Matrix products: {rates['fp32']:.0f} GFLOP/s in float32, {rates['bf16']:.0f} in bf16.\n")
        for line in (HEADS, ["---", *["---:"] * (len(HEADS) - 1)], *cells(found[-1])):
            print(f"| {' | '.join(line)} |", flush=True)
    if not about["amx"]:
        print("\nThe bars are for CPUs with AMX, which this one lacks.")
    args.out.write_text(json.dumps({**about, "rows": found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
