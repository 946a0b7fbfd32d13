"""What `i2i data prepare` makes of a picture: its partner in a pair, a mask, or pieces of it.

What is transparent is put on white first. Values are taken from end to end of the picture's type unless a range is
given; floats say nothing of theirs, and are taken from 0 to 1. All raise ValueError for a picture that they cannot use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from i2i.data.geometry import Interpolation, resize
from i2i.images import Picture, Stored
from i2i.images.picture import Pixels
from i2i.images.profiles import to_srgb
from i2i.images.values import Range

Floats = NDArray[np.float32]


def grey(picture: Picture) -> Picture:
    """The luma of ITU-R 601, of the picture's type."""
    return to_srgb(picture).with_channels(1)


def low_resolution(picture: Picture, *, factor: float = 4.0, interpolation: Interpolation = "bicubic") -> Picture:
    """The picture reduced to a fraction of its size and enlarged again, with the same filter of Pillow's."""
    picture = on_white(picture)
    height, width = picture.pixels.shape[:2]
    small = resize(picture.pixels, (max(1, round(height / factor)), max(1, round(width / factor))), interpolation)
    return replace(picture, pixels=resize(small, (height, width), interpolation))


def edges(
    picture: Picture, *, sigma: float = 1.0, low: float = 0.1, high: float = 0.2, values: Range | None = None
) -> Picture:
    """The lines of Canny's detector, black on white, 8 bits.

    Args:
        sigma: standard deviation of the blur before it, in px; 0 for none.
        low, high: a line is kept where the gradient passes `low`, if it passes `high` anywhere. From black to white, a
            sharp step has a gradient of 4 without a blur, and of 2.6 with a sigma of 1.
        values: from black to white.
    """
    from i2i.datasets.prepare.canny import canny

    image = unit(grey(picture), values)[:, :, 0]
    return Picture.of(np.where(canny(image, sigma, low, high), 0, 255).astype(np.uint8))


def lab(picture: Picture) -> tuple[Picture, Picture]:
    """The lightness of CIE Lab (D65), and its a and b as two bands, in 16 bits.

    The numbers are those of ICC profiles: 65,535 is a lightness of 100, and a or b is n / 257 - 128.
    """
    import torch
    from kornia.color import rgb_to_lab

    rgb = unit(to_srgb(picture).with_channels(3), None).transpose(2, 0, 1)
    with torch.inference_mode():
        found = rgb_to_lab(torch.from_numpy(np.ascontiguousarray(rgb)))
        found[0] *= 65535 / 100
        found[1:] = (found[1:] + 128) * 257
        codes = found.round_().clamp_(0, 65535).permute(1, 2, 0).numpy().astype(np.uint16)
    return Picture.of(codes[:, :, :1]), Picture(codes[:, :, 1:], "bands", stored=Stored("tiff"))


def tiles(picture: Picture, *, size: int = 512, overlap: int = 0) -> Iterator[tuple[str, Picture]]:
    """Squares that cover the picture, each with its top and left in px; a side that is smaller stays whole.

    The last of a row or column ends where the picture ends, and so overlaps the one before it by more.
    """
    height, width = picture.pixels.shape[:2]
    for top in _starts(height, size, overlap):
        for left in _starts(width, size, overlap):
            rows, columns = slice(top, top + size), slice(left, left + size)
            alpha = picture.alpha[rows, columns] if picture.alpha is not None else None
            yield f"_y{top:05}_x{left:05}", replace(picture, pixels=picture.pixels[rows, columns], alpha=alpha)


def _starts(side: int, size: int, overlap: int) -> list[int]:
    last = max(0, side - size)
    return [*range(0, last, size - overlap), last]


def side_by_side(left: Picture, right: Picture) -> Picture:
    """Both in one, with the larger number of channels."""
    if left.stored.profile != right.stored.profile:
        left, right = to_srgb(left), to_srgb(right)
    left, right = on_white(left), on_white(right)
    n = max(left.pixels.shape[2], right.pixels.shape[2])
    left, right = left.with_channels(n), right.with_channels(n)
    if left.size != right.size or left.pixels.dtype != right.pixels.dtype:
        a, b = (f"{p.size[0]}x{p.size[1]} px of {p.pixels.dtype.name}" for p in (left, right))
        raise ValueError(f"has {a}, and its partner {b}; both halves of a file are alike")
    return replace(left, pixels=np.concatenate([left.pixels, right.pixels], 1))


def on_white(picture: Picture) -> Picture:
    """Without its alpha."""
    return picture.with_channels(picture.pixels.shape[2]) if picture.alpha is not None else picture


def unit(picture: Picture, values: Range | None) -> Floats:
    """(H, W, C) in [0, 1]."""
    return np.float32(0.5) * (range_of(picture.pixels, values).to_unit(picture.pixels) + np.float32(1))


def range_of(pixels: Pixels, values: Range | None) -> Range:
    """The values from dark to bright."""
    if values is not None or pixels.dtype.kind != "f":
        return values or Range.of(pixels.dtype)
    least, largest = pixels.min(), pixels.max()
    if least < 0 or largest > 1:
        raise ValueError(f"holds floats from {least:g} to {largest:g}; without a range they are taken from 0 to 1")
    return Range(0, 1)
