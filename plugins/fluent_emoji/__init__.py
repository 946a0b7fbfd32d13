"""Microsoft's Fluent Emoji as an embedded data set: domain a is drawn flat, domain b in 3D (MIT, see LICENSE.txt)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property, reduce
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from PIL import Image, ImageChops

from i2i import hookimpl
from i2i.data import Split

HERE = Path(__file__).parent
PAPER = 250
"""From this grey level on, in every channel, a pixel counts as bare paper."""


class Tiles:
    """The tiles of one atlas, 64x64 RGB; exact, since the atlas is lossless."""

    in_memory = True

    def __init__(self, name: str, limit: int, keep: Callable[[int], bool] = lambda place: True) -> None:
        index = json.loads((HERE / "index.json").read_text(encoding="utf-8"))
        self._path = HERE / f"{name}.webp"
        self._side, self._n_columns = index["side"], index["columns"]
        self._names: list[str] = index["tiles"][name]
        self._labels: list[int] = index["labels"][name]
        kept = [place for place in range(len(self._names)) if keep(place)]
        n = min(limit, len(kept)) if limit else len(kept)
        self._kept = [kept[i * len(kept) // n] for i in range(n)]

    def __len__(self) -> int:
        return len(self._kept)

    def name(self, index: int) -> str:
        return f"{self._names[self._kept[index]]}.png"

    def read(self, index: int) -> Image.Image:
        row, column = divmod(self._kept[index], self._n_columns)
        top, left = row * self._side, column * self._side
        return self._atlas.crop((left, top, left + self._side, top + self._side))

    def labels(self) -> list[int]:
        """The category of each, counted from 0 in the order of the alphabet."""
        return [self._labels[place] for place in self._kept]

    def digest(self) -> str:
        return hashlib.sha256(self._path.read_bytes() + repr(self._kept).encode()).hexdigest()

    @cached_property
    def _atlas(self) -> Image.Image:
        with Image.open(self._path, formats=("WEBP",)) as image:
            return image.convert("RGB")


class Drawn:
    """Masks of tiles: white where something is drawn, black where the paper shows, which is white in the tile."""

    in_memory = True

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles

    def __len__(self) -> int:
        return len(self._tiles)

    def name(self, index: int) -> str:
        return self._tiles.name(index)

    def read(self, index: int) -> Image.Image:
        darkest = reduce(ImageChops.darker, self._tiles.read(index).split())
        return darkest.point(lambda value: 255 if value < PAPER else 0)

    def digest(self) -> str:
        return hashlib.sha256(f"drawn {PAPER} {self._tiles.digest()}".encode()).hexdigest()


class FluentEmoji:
    """Emoji at 64 px, flat (a) and 3D (b): different ones to train on, and true pairs held out.

    The drawings are from Microsoft's Fluent Emoji (MIT). No emoji, and no variant of one, is in two of the three sets.

    Args:
        limit: at most so many images in each set, evenly spaced; 0 for all of them.
        paired: train on pairs. They are those of the test set, without every fifth of them, which is held out.
        labels: give the category of each as `label_a` and `label_b`: 0 activities, 1 animals, 2 food, 3 objects,
            4 people, 5 smileys, 6 symbols, 7 travel.
        masks: give as `mask_a` and `mask_b` where something is drawn: whatever is not nearly white.
    """

    def __init__(
        self, *, limit: Annotated[int, Ge(0)] = 0, paired: bool = False, labels: bool = False, masks: bool = False
    ) -> None:
        self._limit, self._paired, self._labels, self._masks = limit, paired, labels, masks

    def train(self) -> Split:
        if self._paired:
            return self._split("test", lambda place: place % 5 != 4)
        return self._split("train")

    def test(self) -> Split | None:
        if self._paired:
            return self._split("test", lambda place: place % 5 == 4)
        return self._split("test")

    def _split(self, part: str, keep: Callable[[int], bool] = lambda place: True) -> Split:
        a, b = (Tiles(f"{part}_{domain}", self._limit, keep) for domain in "ab")
        labels = {"label_a": a.labels(), "label_b": b.labels()} if self._labels else {}
        masks = {"mask_a": Drawn(a), "mask_b": Drawn(b)} if self._masks else {}
        return Split(a, b, part == "test", {**labels, **masks})


@hookimpl
def register_sources() -> dict[str, Callable[..., Any]]:
    return {"fluent-emoji": FluentEmoji}
