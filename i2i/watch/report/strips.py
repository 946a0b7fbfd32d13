"""The samples of a run as a page embeds them: a strip for each row of a grid, in bounded bytes."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from io import BytesIO
from pathlib import Path

from PIL import Image

from i2i.watch.report.reading import RunFiles
from i2i.watch.samples import LAYOUT

SIDE, SHEET_SIDE = 256, 1024
"""Of an image, and of a grid that does not say where its images are, in px; larger ones are reduced."""
LEVELS = ((1, 90), (1, 75), (1, 55), (2, 70), (2, 45), (2, 25), (4, 40), (4, 10))
"""How a strip is made smaller until it fits: by which factor it is reduced, and the quality of its WebP."""
FAVOUR = 6
"""Times the bytes for what is looked at most: the first, the best and the newest grid, and what never changes."""
FIXED = ("a", "b", "true_ab", "true_ba")
"""Rows that are the same at every step, and are embedded once."""
BROKEN = (OSError, ValueError, KeyError, TypeError)
"""What a file raises that is no whole grid."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A row of a grid, its images side by side without gaps.

    Args:
        n, width, height: the images, and the size of one in px before any reduction.
        digest: of the pixels and of the bytes that they were allowed.
        data: WebP.
    """

    key: str
    n: int
    width: int
    height: int
    digest: str
    data: bytes


@dataclass
class Strips:
    """Makes strips, and keeps those of the last page: of the next one only what is new is made."""

    _rows: dict[tuple[Path, int, int, int], list[Strip]] = field(default_factory=dict)
    _used: set[tuple[Path, int, int, int]] = field(default_factory=set)

    def of(self, file: Path, share: int, *, favoured: bool) -> list[Strip]:
        """The rows of a grid, of about `share` bytes each, or FAVOUR times as many. Raises BROKEN."""
        about = file.stat()
        key = file, about.st_mtime_ns, about.st_size, share * (FAVOUR if favoured else 1)
        if key not in self._rows:
            known = {strip.digest: strip.data for rows in self._rows.values() for strip in rows}
            with Image.open(file) as grid:
                rows = list(_cut(grid.convert("RGB"), grid.info.get(LAYOUT)))
            if not rows:
                raise ValueError(f"{file} has no rows")
            self._rows[key] = []
            for name, n, (width, height), strip in rows:
                n_bytes = share * (FAVOUR if favoured or name in FIXED else 1)
                digest = hashlib.sha256(f"{strip.size} {n_bytes} ".encode() + strip.tobytes()).hexdigest()
                data = known[digest] if digest in known else _encode(strip, n_bytes)
                self._rows[key].append(Strip(name, n, width, height, digest, data))
        self._used.add(key)
        return self._rows[key]

    def forget_unused(self) -> None:
        """Keeps what was asked for since the last time."""
        self._rows = {key: rows for key, rows in self._rows.items() if key in self._used}
        self._used.clear()


def chosen(run: RunFiles, strips: Strips, n: int, n_bytes: int) -> dict[int, list[Strip]]:
    """The grids of a run that are embedded, by step: at most about n of them, and n_bytes in all.

    It is every one, or every 2nd, 4th, …, and always the first, the best and the newest, which also have more bytes. A
    grid that cannot be read has no rows. The bytes are shared out among the grids that the run will have in the end:
    what was made once is right until then.
    """
    if not run.samples:
        return {}
    favoured = {run.samples[0], run.samples[-1], *(run.sample_at(step) for step in run.best_steps())}
    keys = _keys(run.sample(run.samples[-1]))
    n_fixed = len(set(keys) & set(FIXED))
    n_planned = run.environment.get("n_steps", 0) // run.recipe.get("train", {}).get("sample_every", 1 << 60)
    n_grids = min(n, max(len(run.samples), n_planned + 2))  # the first log and the last step have one as well
    share = n_bytes // ((len(keys) - n_fixed) * (n_grids + 4 * FAVOUR) + n_fixed * FAVOUR)
    stride = 1
    while True:
        steps = [step for i, step in enumerate(run.samples) if i % stride == 0 or step in favoured]
        stride *= 2
        if len(steps) > max(n, len(favoured)):
            continue
        grids = {step: _rows(strips, run.sample(step), share, step in favoured) for step in steps}
        total = sum({strip.digest: len(strip.data) for rows in grids.values() for strip in rows}.values())
        if total <= n_bytes or len(steps) <= len(favoured):
            return grids


def _keys(file: Path) -> list[str]:
    try:
        with Image.open(file) as grid:
            return [row["key"] for row in json.loads(grid.info[LAYOUT])["rows"]] or ["grid"]
    except BROKEN:
        return ["grid"]


def _rows(strips: Strips, file: Path, share: int, favoured: bool) -> list[Strip]:
    try:
        return strips.of(file, share, favoured=favoured)
    except BROKEN:  # the page says so
        return []


def _cut(grid: Image.Image, layout: str | None) -> Iterator[tuple[str, int, tuple[int, int], Image.Image]]:
    """(key, images, size of one, strip) for each row; an older grid that has no layout is one image."""
    if layout is None:
        size = grid.size
        grid.thumbnail((SHEET_SIDE, SHEET_SIDE), Image.Resampling.LANCZOS)
        yield "grid", 1, size, grid
        return
    about = json.loads(layout)
    for row in about["rows"]:
        w, h, scale = row["width"], row["height"], about["scale"]
        reduced = min(1.0, SIDE / max(w, h))
        side = max(1, round(w * reduced)), max(1, round(h * reduced))
        strip = Image.new("RGB", (side[0] * row["n"], side[1]))
        for column in range(row["n"]):
            x, y = row["x"] + column * row["pitch"], row["y"]
            cell = grid.crop((x, y, x + scale * w, y + scale * h)).resize((w, h), Image.Resampling.NEAREST)
            strip.paste(cell if reduced == 1 else cell.resize(side, Image.Resampling.LANCZOS), (column * side[0], 0))
        yield row["key"], row["n"], (w, h), strip


def _encode(strip: Image.Image, n_bytes: int) -> bytes:
    """The strip as WebP of at most so many bytes, at the best of LEVELS where it fits; else at the last of them."""
    made = cache(partial(_webp, strip))
    return made(bisect_left(range(len(LEVELS) - 1), True, key=lambda level: len(made(level)) <= n_bytes))


def _webp(strip: Image.Image, level: int) -> bytes:
    factor, quality = LEVELS[level]
    if factor > 1:
        strip = strip.resize((max(1, strip.width // factor), max(1, strip.height // factor)), Image.Resampling.BOX)
    file = BytesIO()
    strip.save(file, "WEBP", quality=quality, method=2)
    return file.getvalue()
