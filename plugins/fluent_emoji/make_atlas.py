"""Makes the atlases and index.json beside this file: `python make_atlas.py fluent_flat_3d_64.npz`.

The npz holds `flat` and `threed` (N, 64, 64, 3) uint8, aligned, and `code`, `name`, `category` (Unicode's group) and
`split` (trainA, trainB or test) of each drawing: the SVGs of lobehub's fluent-emoji-flat 1.1.0 and the WebPs of its
fluent-emoji-3d 1.1.0, drawn on white.

All of it takes 4.6 MB, and a package should not. A family is what has the same first code point (a runner, a woman
running, a man running); one drawing of each is kept, so that no family lies in two splits, and of those as many as fit
into 3 MB, chosen by the hash of their code.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

N_KEPT = {"trainA": 543, "trainB": 460, "test": 170}
N_COLUMNS = 20
SIDE = 64


def choose(code: list[str], split: list[str]) -> dict[str, list[int]]:
    """Indices to keep in each split, in the order of their codes."""
    families: dict[str, int] = {}
    for index, name in enumerate(code):
        families.setdefault(name.split("-")[0], index)
    kept: dict[str, list[int]] = {}
    for part, n in N_KEPT.items():
        inside = [index for index in families.values() if split[index] == part]
        inside.sort(key=lambda index: hashlib.sha256(code[index].encode()).digest())
        kept[part] = sorted(inside[:n], key=lambda index: code[index])
    return kept


def atlas(tiles: Any) -> Image.Image:
    """(N, 64, 64, 3) as one image, row by row; what is left of the last row is white."""
    n_rows = -(-len(tiles) // N_COLUMNS)
    whole = np.full((n_rows * N_COLUMNS, SIDE, SIDE, 3), 255, np.uint8)
    whole[: len(tiles)] = tiles
    rows = whole.reshape(n_rows, N_COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2)
    return Image.fromarray(rows.reshape(n_rows * SIDE, N_COLUMNS * SIDE, 3))


def main(npz: str) -> None:
    data = np.load(npz, allow_pickle=False)
    here = Path(__file__).parent
    kept = choose(data["code"].tolist(), data["split"].tolist())
    pictures = {"train_a": ("flat", "trainA"), "train_b": ("threed", "trainB")}
    pictures |= {"test_a": ("flat", "test"), "test_b": ("threed", "test")}
    categories, category = np.unique(data["category"], return_inverse=True)
    index: dict[str, list[str]] = {}
    labels: dict[str, list[int]] = {}
    for name, (rendering, part) in pictures.items():
        atlas(data[rendering][kept[part]]).save(here / f"{name}.webp", lossless=True, quality=100, method=6)
        index[name] = data["name"][kept[part]].tolist()
        labels[name] = category[kept[part]].tolist()
    whole = {"side": SIDE, "columns": N_COLUMNS, "categories": categories.tolist(), "tiles": index, "labels": labels}
    text = json.dumps(whole, indent=0, ensure_ascii=False)
    (here / "index.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
