"""What an image larger than memory takes, through `i2i translate`: time, and the peak memory of its process.

    python benchmarks/any_size.py

Makes a JPEG file of `--size` px and a translator with random weights (9 blocks, 64 channels), and translates it by
each of `--ways`: a value of `--tiles`, and a precision. Each is a process of its own, from the file to a PNG file.
"mean" and "most" are how far its pixels are from those of the first way, in grey levels of 8 bits. Writes all numbers
to a JSON file. Linux and macOS only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import machine
from PIL import Image
from translating import photos

from i2i import layers
from i2i.engine import Engine
from i2i.recipe import resolve
from i2i.weights import save_translator

Image.MAX_IMAGE_PIXELS = None  # the files are its own


def weights(path: Path, blocks: int, width: int) -> Path:
    """A translator from a to b with random weights."""
    engine = Engine()
    settings = [f"generator.n_blocks={blocks}", f"generator.base_channels={width}", "generator.upsample=transposed"]
    recipe = resolve(layers.apply(layers.read("cyclegan"), settings), engine.registry, list(engine.plugins))
    torch.manual_seed(0)
    save_translator(path, recipe.method(3, 3).translators()["ab"], recipe=recipe, direction="ab", step=0)
    return path


def translated(translator: Path, image: Path, out: Path, tiles: str, precision: str) -> tuple[float, float]:
    """Seconds, and MiB that the process held at its peak."""
    command = [sys.executable, "-m", "i2i", "translate", str(translator), str(image), "-o", str(out)]
    began = time.perf_counter()
    command += ["--tiles", tiles, "--precision", precision, "--max-pixels", str(10**9)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{tiles}, {precision}: i2i ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096, help="px of both sides")
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--width", type=int, default=64, help="channels of the first layer")
    parser.add_argument("--ways", nargs="+", default=["exact-fp32", "exact-bf16", "thumbnail-bf16"])
    parser.add_argument("--out", type=Path, default=Path("any_size.json"))
    args = parser.parse_args()
    about, rows = machine(False), []
    print("| `--tiles` | precision | s | peak MiB | mean | most |\n| --- | --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (image,) = photos(folder / "in", 1, args.size).iterdir()
        translator, first = weights(folder / "ab.safetensors", args.blocks, args.width), None
        for way in args.ways:
            tiles, precision = way.split("-")
            seconds, peak = translated(translator, image, folder / way, tiles, precision)
            pixels = np.asarray(Image.open(folder / way / f"{image.stem}.png"))
            first = pixels if first is None else first
            apart = np.abs(pixels.astype(np.int16) - first)
            row = {"tiles": tiles, "precision": precision, "seconds": seconds, "peak_mib": peak}
            rows.append(row | {"mean": float(apart.mean()), "most": int(apart.max())})
            cells = (tiles, precision, f"{seconds:.0f}", f"{peak:.0f}", f"{apart.mean():.2f}", str(apart.max()))
            print(f"| {' | '.join(cells)} |", flush=True)
    settings = {"size": args.size, "blocks": args.blocks, "width": args.width}
    args.out.write_text(json.dumps({**about, **settings, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
