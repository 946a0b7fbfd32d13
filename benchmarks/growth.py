"""How the cost of a training step grows with the size of images, the batch and the width of the networks.

    python benchmarks/growth.py --plot growth.png

Each point is a process of its own: seconds of a step and peak memory. Beside them stands what the arithmetic says, from
the one point that all three series share. Time grows as the operations do. Of memory, one part is there before the
networks are; one is for weights, gradients and the optimizer's two moments, 16 bytes for each parameter; the rest is
for activations, and grows with pixels, images and channels. Writes all to a JSON file, and draws it with `--plot`,
which needs matplotlib (`pip install "i2i[benchmarks]"`).
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contender import TEXTBOOK, VARIANTS, Setting, alone, arithmetic
from machine import machine

from i2i.measure import three_digits

MIB_PER_PARAMETER = 16 / 2**20
"""In float32: the weight, its gradient and Adam's two moments."""

HEADS = ["who", "px", "batch", "width", "GFLOP", "s per step", "expected", "peak MiB", "expected"]
AXES = {"size": "px", "batch": "images in a batch", "width": "channels"}


def measured(setting: Setting, name: str, seconds: float) -> dict[str, Any]:
    """A point: what a contender takes for a step of this setting."""
    gflop, n_parameters = arithmetic(setting)
    return {**vars(setting), "who": name, "gflop": gflop, "parameters": n_parameters,
            **alone(setting, name, n_steps=2, seconds=seconds)}  # fmt: skip


def expected(point: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, float]:
    """Seconds and MiB of a point, by arithmetic alone from the base point."""
    weights, base_weights = (p["parameters"] * MIB_PER_PARAMETER for p in (point, base))
    process = base["process_mib"]
    activations = base["peak_mib"] - process - base_weights
    n, n_base = (p["size"] ** 2 * p["batch"] * p["width"] for p in (point, base))
    return {
        "expected_seconds": statistics.median(base["seconds"]) * point["gflop"] / base["gflop"],
        "expected_mib": process + weights + activations * n / n_base,
    }


def cells(point: Mapping[str, Any]) -> list[str]:
    return [
        point["who"],
        *(str(point[axis]) for axis in AXES),
        three_digits(point["gflop"]),
        f"{statistics.median(point['seconds']):.3f}",
        f"{point['expected_seconds']:.3f}",
        f"{point['peak_mib']:.0f}",
        f"{point['expected_mib']:.0f}",
    ]


def series(points: Sequence[Mapping[str, Any]], axis: str, base: Mapping[str, int]) -> Iterator[Mapping[str, Any]]:
    """The points that differ from the base in this one number alone, by it."""
    others = [key for key in AXES if key != axis]
    return iter(sorted((p for p in points if all(p[k] == base[k] for k in others)), key=lambda p: p[axis]))


def draw(file: Path, points: Sequence[Mapping[str, Any]], base: Mapping[str, int]) -> None:
    """Seconds above, memory below, a column for each of size, batch and width; lines are the arithmetic."""
    from matplotlib import pyplot

    names = list(dict.fromkeys(p["who"] for p in points))
    figure, panels = pyplot.subplots(2, 3, figsize=(9, 5), sharey="row", sharex="col", layout="constrained")
    for column, (axis, label) in enumerate(AXES.items()):
        for colour, name in enumerate(names):
            own = list(series([p for p in points if p["who"] == name], axis, base))
            at = [p[axis] for p in own]
            values = ([statistics.median(p["seconds"]) for p in own], [p["peak_mib"] / 1024 for p in own])
            lines = ([p["expected_seconds"] for p in own], [p["expected_mib"] / 1024 for p in own])
            for panel, value, line in zip(panels[:, column], values, lines, strict=True):
                panel.plot(at, line, color=f"C{colour}", linewidth=1, alpha=0.6)
                panel.plot(at, value, "o", color=f"C{colour}", markersize=5, label=name)
                panel.set_xscale("log", base=2)
                panel.set_yscale("log")
                panel.set_xticks(at, map(str, at))
                panel.yaxis.set_major_formatter("{x:g}")
                panel.grid(alpha=0.3)
        panels[1, column].set_xlabel(label)
    panels[0, 0].set_ylabel("seconds per step")
    panels[1, 0].set_ylabel("peak memory in GiB")
    panels[0, 0].legend(title="line: arithmetic")
    figure.savefig(file, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[64, 128, 256, 512], help="px")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2, 4, 8], help="images")
    parser.add_argument("--width", type=int, nargs="+", default=[16, 32, 64, 128], help="channels")
    parser.add_argument("--base", type=int, nargs=3, default=[128, 1, 64], metavar=("PX", "IMAGES", "CHANNELS"),
                        help="where the series meet")  # fmt: skip
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--variants", nargs="+", choices=[TEXTBOOK, *VARIANTS], default=["fp32", "bf16"],
                        metavar="NAME", help=", ".join([TEXTBOOK, *VARIANTS]))  # fmt: skip
    parser.add_argument("--seconds", type=float, default=5.0, help="of each point; two to seven steps are timed")
    parser.add_argument("--plot", type=Path, help="a picture, .png or .svg")
    parser.add_argument("--out", type=Path, default=Path("growth.json"))
    args = parser.parse_args()
    about = machine(cpu_time=False)
    base = dict(zip(AXES, args.base, strict=True))
    middle = Setting(blocks=args.blocks, **base)
    settings = dict.fromkeys([middle, *(replace(middle, **{axis: n}) for axis in AXES for n in getattr(args, axis))])
    points: list[dict[str, Any]] = []
    for line in (HEADS, ["---", *["---:"] * (len(HEADS) - 1)]):
        print(f"| {' | '.join(line)} |")
    for name in args.variants:
        first = measured(middle, name, args.seconds)
        for setting in settings:
            point = first if setting == middle else measured(setting, name, args.seconds)
            points.append(point | expected(point, first))
            print(f"| {' | '.join(cells(points[-1]))} |", flush=True)
    args.out.write_text(json.dumps({**about, "base": base, "points": points}, indent=2) + "\n", encoding="utf-8")
    if args.plot:
        draw(args.plot, points, base)


if __name__ == "__main__":
    main()
