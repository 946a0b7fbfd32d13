"""Microsoft's Fluent Emoji as an embedded data set: domain a is drawn flat, domain b in 3D (MIT, see LICENSE.txt)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge
from PIL import Image

from i2i import hookimpl
from i2i.data import Split

HERE = Path(__file__).parent


class Tiles:
    """The tiles of one atlas, 64x64 RGB; exact, since the atlas is lossless."""

    in_memory = True

    def __init__(self, name: str, limit: int) -> None:
        index = json.loads((HERE / "index.json").read_text(encoding="utf-8"))
        self._path = HERE / f"{name}.webp"
        self._side, self._n_columns = index["side"], index["columns"]
        self._names: list[str] = index["tiles"][name]
        n = len(self._names)
        self._kept = range(n)[:: max(1, n // limit)][:limit] if limit else range(n)

    def __len__(self) -> int:
        return len(self._kept)

    def name(self, index: int) -> str:
        return f"{self._names[self._kept[index]]}.png"

    def read(self, index: int) -> Image.Image:
        row, column = divmod(self._kept[index], self._n_columns)
        top, left = row * self._side, column * self._side
        return self._atlas.crop((left, top, left + self._side, top + self._side))

    def digest(self) -> str:
        return hashlib.sha256(self._path.read_bytes() + repr(self._kept).encode()).hexdigest()

    @cached_property
    def _atlas(self) -> Image.Image:
        with Image.open(self._path, formats=("WEBP",)) as image:
            return image.convert("RGB")


class FluentEmoji:
    """Emoji at 64 px, flat (a) and 3D (b): different ones to train on, and true pairs held out.

    The drawings are from Microsoft's Fluent Emoji (MIT). No emoji, and no variant of one, is in two of the three sets.

    Args:
        limit: at most so many images in each set, evenly spaced; 0 for all of them.
    """

    def __init__(self, *, limit: Annotated[int, Ge(0)] = 0) -> None:
        self._limit = limit

    def train(self) -> Split:
        return Split(Tiles("train_a", self._limit), Tiles("train_b", self._limit))

    def test(self) -> Split | None:
        return Split(Tiles("test_a", self._limit), Tiles("test_b", self._limit), paired=True)


@hookimpl
def register_sources() -> dict[str, Callable[..., Any]]:
    return {"fluent-emoji": FluentEmoji}
