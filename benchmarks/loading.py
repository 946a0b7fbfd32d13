"""The speed of the input pipeline, against a plain loader as most people write it; and how long a step waits for it.

    python benchmarks/loading.py

Makes JPEG files of smooth random colours in a temporary folder: the larger and the smaller of two usual sizes. Of each,
it takes pairs of images with i2i from the disk (decoded at each use), with i2i from its memory-mapped cache, and with
the textbook, in turn, and tells the median of images per second. All load 286 px, crop 256, mirror, and give floats in
[-1, 1]. Files are in the system's memory, as they are from the second epoch on. Then it trains CycleGAN for some steps
and tells which share of the time went by until the batch was there. On a machine that others use as well, `--cpu-time`
counts the seconds of one thread's processor instead of the clock's, and leaves worker processes out. Writes all times
to a JSON file.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from machine import machine
from PIL import Image
from textbook_loader import textbook_loader

from i2i.data import Data, DataOptions, open_data
from i2i.data.folders import Folders
from i2i.optim import DEFAULTS, build
from i2i.reference.cyclegan import CycleGAN
from i2i.reference.patchgan import PatchGAN
from i2i.reference.resnet import ResnetGenerator
from i2i.trainer import Trainer, players_parameters

SIZES = ((1024, 768), (256, 256))
LOAD, CROP = 286, 256
Clock = Callable[[], float]
IN_FLIGHT = 8  # steps before the clock starts: what workers may have prepared by then is not counted


def write_photos(folder: Path, size: tuple[int, int], n: int, seed: int) -> Path:
    """n JPEG files of smooth random colours with a little noise, about as large as photos of that size are."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (size[1] // 32, size[0] // 32, 3), np.uint8))
        smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.float32)
        grain = rng.normal(0, 4, (size[1], size[0], 1))
        Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(folder / f"{number:03}.jpg", quality=90)
    return folder


def i2i_data(a: Path, b: Path, cache: bool, n_workers: int | None) -> Data:
    """The data of a run that reads these folders."""
    options = DataOptions(load_size=LOAD, crop_size=CROP, cache=cache, n_workers=n_workers)
    return open_data(options, Folders(a=str(a), b=str(b)), paired=False, seed=0)


def contenders(a: Path, b: Path, n_workers: Sequence[int]) -> dict[str, Callable[[], Iterator[object]]]:
    """For each loader, what starts it; a step has one image of each domain."""
    cached = i2i_data(a, b, True, None)
    assert cached.n_workers == 0
    found: dict[str, Callable[[], Iterator[object]]] = {"i2i, cache": lambda: cached.loader(0, 10**9)}
    for n in n_workers:
        data = i2i_data(a, b, False, n)
        textbook = textbook_loader(a, b, LOAD, CROP, n)
        found[f"i2i, disk, {n} workers"] = partial(data.loader, 0, 10**9)
        found[f"textbook, {n} workers"] = partial(iter, textbook)
    return found


def images_per_second(loader: Iterator[object], n_steps: int, clock: Clock) -> float:
    for _ in islice(loader, IN_FLIGHT):
        pass
    start = clock()
    for _ in islice(loader, n_steps):
        pass
    return 2 * n_steps / (clock() - start)


def speeds(
    a: Path, b: Path, n_workers: Sequence[int], n_rounds: int, n_steps: int, clock: Clock
) -> dict[str, list[float]]:
    """Images per second of each loader, in turn."""
    loaders = contenders(a, b, n_workers)
    found: dict[str, list[float]] = {name: [] for name in loaders}
    for round_ in range(n_rounds):
        for name in loaders if round_ % 2 else reversed(loaders):  # none always runs after the same other
            found[name].append(images_per_second(loaders[name](), n_steps, clock))
    return found


def waiting(data: Data, n_steps: int, blocks: int, width: int, clock: Clock) -> tuple[list[float], list[float]]:
    """Seconds until the batch of each step was there, and seconds of the whole step."""
    torch.manual_seed(0)
    method = CycleGAN(3, 3, generator=partial(ResnetGenerator, base_channels=width, n_blocks=blocks),
                      discriminator=partial(PatchGAN, base_channels=width))  # fmt: skip
    trainer = Trainer(method, build(DEFAULTS, players_parameters(method)), autocast=True)
    loader = data.loader(0, n_steps + 1)
    trainer.train_step(next(loader))  # warms up
    waited, took = [], []
    for _ in range(n_steps):
        start = clock()
        batches = next(loader)
        there = clock()
        trainer.train_step(batches)
        waited.append(there - start)
        took.append(clock() - start)
    return waited, took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of which the median is told")
    parser.add_argument("--steps", type=int, default=100, help="of each round and loader, within one epoch")
    parser.add_argument("--train-steps", type=int, default=3, help="timed steps of a training; 0 for none")
    parser.add_argument("--blocks", type=int, default=9, help="of the generators that are trained")
    parser.add_argument("--width", type=int, default=64, help="their channels")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, its processor time, and no workers")
    parser.add_argument("--out", type=Path, default=Path("loading.json"))
    args = parser.parse_args()
    n_workers, clock = ((0,), time.process_time) if args.cpu_time else ((0, 2), time.perf_counter)
    about = machine(args.cpu_time)
    rows, training = [], []
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["I2I_CACHE"] = str(Path(temporary, "cache"))
        folders = {
            size: [write_photos(Path(temporary, f"{size[0]}{domain}"), size, args.steps + IN_FLIGHT, seed)
                   for seed, domain in enumerate("ab")]
            for size in SIZES
        }  # fmt: skip
        print("| files | loader | images/s | times the textbook with as many workers |")
        print("| --- | --- | ---: | ---: |")
        for size, (a, b) in folders.items():
            found = speeds(a, b, n_workers, args.rounds, args.steps, clock)
            for name, values in found.items():
                rival = found["textbook, 2 workers" if "2 workers" in name else "textbook, 0 workers"]
                ratio = statistics.median(values) / statistics.median(rival)
                rows.append({"size": size, "loader": name, "images_per_second": values, "ratio": ratio})
                cells = [f"{size[0]}x{size[1]}", name, f"{statistics.median(values):.0f}", f"{ratio:.2f}"]
                print(f"| {' | '.join(cells)} |", flush=True)
        if args.train_steps:
            print("| files | source | s until the batch is there | s of a step | share |")
            print("| --- | --- | ---: | ---: | ---: |")
        for (size, (a, b)), cache in ((f, c) for f in folders.items() for c in (True, False) if args.train_steps):
            data = i2i_data(a, b, cache, 0 if args.cpu_time else None)
            waited, took = waiting(data, args.train_steps, args.blocks, args.width, clock)
            share = sum(waited) / sum(took)
            training.append({"size": size, "cache": cache, "waited": waited, "took": took, "share": share})
            cells = [f"{size[0]}x{size[1]}", "cache" if cache else "disk", f"{statistics.median(waited):.5f}"]
            cells += [f"{statistics.median(took):.3f}", f"{share:.3%}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    args.out.write_text(json.dumps({**about, "rows": rows, "training": training}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
