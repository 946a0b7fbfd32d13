"""Images per second of `i2i translate`, from JPEG files to PNG files, against a textbook, round by round in turn.

    python benchmarks/translating.py

The textbook reads a file with Pillow, computes it alone with the generator of `textbook_cyclegan.py` in float32, and
writes it with Pillow. i2i translates the same files with the same weights, by each of `--ways`. "times" is the
textbook's median over i2i's; "waits" is the share of the time in which no network computes. "mean" and "most" are how
far pixels are from the textbook's, in grey levels of 8 bits.

    python benchmarks/translating.py --weights ab.safetensors --folder IMAGES

says how far pixels are from those in float32 for a trained translator and images of yours, and times nothing.

Writes all numbers to a JSON file.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from PIL import Image
from textbook_cyclegan import Generator
from torch import Tensor

from i2i.backends import choose
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.reference.resnet import ResnetGenerator
from i2i.translate import Translator, find_translator
from i2i.translating import Summary, find_inputs, translate_files
from i2i.translating.tiling import Tiling

TEXTBOOK = "textbook"
EXACT = "torch-fp32"
WAYS = (EXACT, "torch-bf16", "compiled-fp32", "compiled-bf16", "onnx-fp32", "openvino-fp32", "openvino-bf16")


class Timed:
    """What computes, and the seconds that it does."""

    def __init__(self, compute: Callable[[Tensor, bool], Tensor], clock: Callable[[], float]) -> None:
        self.compute, self.clock, self.seconds = compute, clock, 0.0

    def __call__(self, images: Tensor, deep: bool) -> Tensor:
        began = self.clock()
        out = self.compute(images, deep)
        self.seconds += self.clock() - began
        return out


def photos(folder: Path, n: int, size: int) -> Path:
    """n JPEG files of soft blobs with a little noise, which compress as photos do."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(n):
        blobs = generator.normal(128, 60, (max(2, size // 16), max(2, size // 16), 3)).clip(0, 255).astype(np.uint8)
        soft = np.asarray(Image.fromarray(blobs).resize((size, size), Image.Resampling.BICUBIC), np.float32)
        noisy = (soft + generator.normal(0, 6, soft.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:03}.jpg", quality=92)
    return folder


@torch.no_grad()
def by_the_book(generator: Generator, folder: Path, out: Path) -> None:
    out.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir()):
        pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
        result = generator(pixels.permute(2, 0, 1)[None] / 127.5 - 1)
        values = ((result[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        Image.fromarray(values.permute(1, 2, 0).numpy()).save(out / f"{path.stem}.png")


def by_i2i(translator: Translator, folder: Path, out: Path) -> None:
    places, _ = find_inputs([str(folder)], out)
    summary = Summary(len(places))
    translate_files(translator, places, out, summary, overwrite=True, tiling=Tiling("never"))
    if summary.problems:
        raise SystemExit("\n".join(map(str, summary.problems)))


def prepared(translator: Translator, ways: list[str], clock: Callable[[], float]) -> dict[str, Translator]:
    """The translator by each way that this machine has; says why for the others."""
    found = {}
    for way in ways:
        backend, precision = way.split("-")
        try:
            chosen = choose(translator, backend, precision)
        except I2IError as error:
            print(f"{way} is left out: {error}")
            continue
        assert chosen.compute is not None
        found[way] = replace(chosen, compute=Timed(chosen.compute, clock))
    return found


def differences(found: Path, expected: Path) -> dict[str, float]:
    """Of all pixels of the files in two folders, in grey levels: the mean, and the most."""
    levels = [
        np.abs(np.asarray(Image.open(path), int) - np.asarray(Image.open(expected / path.name), int))
        for path in sorted(found.rglob("*.png"))
    ]
    return {"mean": float(np.mean([one.mean() for one in levels])), "most": int(max(one.max() for one in levels))}


def speed(args: argparse.Namespace, folder: Path, clock: Callable[[], float]) -> dict[str, dict[str, Any]]:
    """Seconds for all images, by who translates them."""
    torch.manual_seed(0)
    generator = Generator(args.width, args.blocks).eval().requires_grad_(False)
    module = ResnetGenerator(3, 3, base_channels=args.width, n_blocks=args.blocks).eval().requires_grad_(False)
    generator.load_state_dict(module.state_dict())
    images = photos(folder / "in", args.images, args.size)
    translators = prepared(Translator(module), args.ways, clock)
    seconds: dict[str, list[float]] = {who: [] for who in (TEXTBOOK, *translators)}
    waits: dict[str, list[float]] = {who: [] for who in translators}
    for round_ in range(args.rounds + 1):
        for who in seconds:
            began = clock()
            if who == TEXTBOOK:
                by_the_book(generator, images, folder / who)
            else:
                translators[who].compute.seconds = 0.0
                by_i2i(translators[who], images, folder / who)
            if round_ == 0:  # what compiles, does it in here
                continue
            seconds[who].append(clock() - began)
            if who != TEXTBOOK:
                waits[who].append(1 - translators[who].compute.seconds / seconds[who][-1])
    book = statistics.median(seconds[TEXTBOOK])
    return {
        who: {
            "seconds": times,
            "images_per_second": args.images / statistics.median(times),
            "times": book / statistics.median(times),
            "waits": statistics.median(waits[who]) if who in waits else None,
            **differences(folder / who, folder / TEXTBOOK),
        }
        for who, times in seconds.items()
    }


def accuracy(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """Differences from torch in float32, by way."""
    engine = Engine()
    translator = find_translator(args.weights, engine.registry, engine.plugins)
    for way, chosen in (translators := prepared(translator, [EXACT, *args.ways], time.perf_counter)).items():
        by_i2i(chosen, args.folder, folder / way)
    return {way: differences(folder / way, folder / EXACT) for way in translators if way != EXACT}


def table(found: Mapping[str, Mapping[str, Any]]) -> None:
    columns = {
        "images/s": ("images_per_second", ".2f"),
        "times": ("times", ".2f"),
        "waits": ("waits", ".1%"),
        "mean": ("mean", ".3f"),
        "most": ("most", "d"),
    }
    shown = {head: how for head, how in columns.items() if any(how[0] in row for row in found.values())}
    print(f"\n| who | {' | '.join(shown)} |\n| --- |{' ---: |' * len(shown)}")
    for who, row in found.items():
        cells = ("" if row.get(key) is None else format(row[key], form) for key, form in shown.values())
        print(f"| {who} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="px")
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5, help="timed ones, at least 5")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--weights", type=Path, help="a weights file or run, for the differences alone")
    parser.add_argument("--folder", type=Path, help="images for --weights")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and its processor time")
    parser.add_argument("--out", type=Path, default=Path("translating.json"))
    args = parser.parse_args()
    if args.rounds < 5 or (args.weights is None) != (args.folder is None):
        parser.error("--rounds: at least 5; --weights and --folder go together")
    about = machine(args.cpu_time)
    clock = time.process_time if args.cpu_time else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        found = accuracy(args, Path(folder)) if args.weights else speed(args, Path(folder), clock)
    table(found)
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()}
    args.out.write_text(json.dumps({"machine": about, "settings": settings, "who": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
