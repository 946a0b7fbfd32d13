"""Holes to be filled again (inpainting): rectangles, or strokes as of a brush."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from i2i.datasets.prepare.partners import on_white, range_of
from i2i.images import Picture
from i2i.images.values import Range

Shape = Literal["strokes", "rectangles"]
Pieces = Iterator[Callable[[ImageDraw.ImageDraw], None]]


def holes(
    picture: Picture,
    rng: np.random.Generator,
    *,
    share: float = 0.25,
    shape: Shape = "strokes",
    values: Range | None = None,
) -> tuple[Picture, Picture]:
    """The picture with holes of the brightness in the middle, and the mask: 8 bits, 255 in the holes.

    Args:
        rng: where the holes are depends on it alone.
        share: of the picture that they take, within 0.03 of it from 64 px on.
        shape: `strokes` are the free-form masks of Yu et al. 2019, arXiv 1806.03589, section 3.3.
        values: from dark to bright.
    """
    picture = on_white(picture)
    mask = hole_mask(rng, picture.size, share, shape)
    range_ = range_of(picture.pixels, values)
    middle = (range_.low + range_.high) / 2
    fill = picture.pixels.dtype.type(round(middle) if picture.pixels.dtype.kind in "iu" else middle)
    torn = np.where(mask[:, :, None], fill, picture.pixels)
    return replace(picture, pixels=torn), Picture.of(mask.astype(np.uint8) * 255)


def hole_mask(rng: np.random.Generator, size: tuple[int, int], share: float, shape: Shape) -> NDArray[np.bool_]:
    """(H, W): pieces are drawn until they cover the share as nearly as they can."""
    image = Image.new("1", size)
    draw = ImageDraw.Draw(image)
    wanted = share * size[0] * size[1]
    mask = np.asarray(image)
    covered = 0
    for piece in _SHAPES[shape](rng, size):
        piece(draw)
        before, mask_before = covered, mask
        mask = np.array(image)
        covered = int(np.count_nonzero(mask))
        if covered >= wanted:
            return mask if covered - wanted < wanted - before else mask_before
    raise AssertionError("pieces never end")


def _rectangles(rng: np.random.Generator, size: tuple[int, int]) -> Pieces:
    """With sides from a sixteenth to a quarter of the picture's."""
    width, height = size
    while True:
        w, h = (max(1, round(side * rng.uniform(1 / 16, 1 / 4))) for side in size)
        x, y = int(rng.integers(1 - w, width)), int(rng.integers(1 - h, height))
        yield partial(ImageDraw.ImageDraw.rectangle, xy=(x, y, x + w - 1, y + h - 1), fill=1)


def _strokes(rng: np.random.Generator, size: tuple[int, int]) -> Pieces:
    """Zigzags with round joints. The numbers are those of common code for such masks, whose brushes are 12 to 40 px
    wide in images of 256."""
    width, height = size
    reach = math.hypot(width, height) / 8
    while True:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        brush = max(1, round(min(size) * rng.uniform(12, 40) / 256))
        for turn in range(rng.integers(4, 13)):
            angle = 2 * math.pi / 5 + rng.uniform(-2 * math.pi / 15, 2 * math.pi / 15)
            angle = 2 * math.pi - angle if turn % 2 else angle
            length = min(max(rng.normal(reach, reach / 2), 0), 2 * reach)
            start = (x, y)
            x = min(max(x + length * math.sin(angle), 0), width)
            y = min(max(y + length * math.cos(angle), 0), height)
            yield partial(_stroke, line=(start, (x, y)), width=brush)


def _stroke(draw: ImageDraw.ImageDraw, line: tuple[tuple[float, float], ...], width: int) -> None:
    draw.line(line, fill=1, width=width)
    for joint in line:
        draw.circle(joint, width / 2, fill=1)


_SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Pieces]] = {
    "strokes": _strokes,
    "rectangles": _rectangles,
}
