"""Pictures through a translator: what its network takes of a picture, and the picture that its output becomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from i2i.errors import I2IError, Problem
from i2i.images import Header, Picture
from i2i.images.picture import TYPES, Colour, Pixels, composed, opaque
from i2i.images.profiles import to_srgb
from i2i.images.values import Range
from i2i.translate import Translator

Unit = NDArray[np.float32]

LEVELS = 256
"""An integer type that holds fewer levels of a range than 8 bits have would coarsen what the network says."""

N_ROWS = 64


@dataclass(frozen=True)
class Plan:
    """What a translation will be, as far as the header of its input tells.

    Args:
        n_pages: that go through the network one by one.
        dtype: of the pixels.
        channels: of all pages, the alpha counted.
        keeps_alpha: it has the alpha of its input, which the network does not see.
        gives_alpha: the last channel from the network is its alpha.
    """

    n_pages: int
    dtype: np.dtype[Any]
    channels: int
    keeps_alpha: bool
    gives_alpha: bool


def plan(translator: Translator, header: Header) -> Plan:
    """How a picture with this header is translated; the network may still not take it."""
    (intake, given), n = translator.intakes, header.channels
    each, rest = divmod(n, header.pages)
    apart = not rest and n != intake.channels and (each == intake.channels or {each, intake.channels} == {1, 3})
    n_pages = header.pages if apart else 1
    # A translation into 2 or 4 channels has an alpha, unless its input is a file of bands.
    gives_alpha = given.channels in (2, 4) and header.colour != "bands" and header.pages == 1
    keeps_alpha = header.alpha and not gives_alpha and intake.channels != n + 1  # where it is one of the channels
    dtype = type_for(np.dtype(header.dtype), intake.range, given.range)
    return Plan(n_pages, dtype, n_pages * given.channels + keeps_alpha, keeps_alpha, gives_alpha)


@dataclass(frozen=True)
class Taken:
    """A picture as a network takes it.

    Args:
        picture: its colours converted, its transparency still there.
        plan: what its translation will be.
        unit: (pages, n_in, H, W) in [-1, 1].
        clipped: values that lay outside the range of the domain.
    """

    picture: Picture
    plan: Plan
    unit: Unit
    clipped: int

    @property
    def deep(self) -> bool:
        """Whether it or its translation has more than 8 bits."""
        return max(self.picture.pixels.dtype.itemsize, self.plan.dtype.itemsize) > 1


def take(translator: Translator, picture: Picture) -> Taken:
    """Raises ValueError for a picture that the domain cannot take."""
    intake = translator.intakes[0]
    picture = to_srgb(picture) if intake.srgb else picture
    planned = plan(translator, header_of(picture))
    pages = [intake.pixels(page) for page in _pages(picture, planned.n_pages)]
    try:
        limits = intake.range_of(pages[0])
    except ValueError as error:
        raise ValueError(f"{error}; only a network whose recipe declares data.range can take it") from None
    # Channels first in memory too, as in training.
    unit = np.empty((len(pages), intake.channels, *picture.pixels.shape[:2]), np.float32)
    for page, values in zip(pages, unit, strict=True):
        for rows in _strips(len(page)):
            values[:, rows] = limits.to_unit(page[rows]).transpose(2, 0, 1)
    return Taken(picture, planned, unit, sum(map(limits.outside, pages)) if intake.range else 0)


def header_of(picture: Picture) -> Header:
    """What the header of a file with this picture says."""
    pixels, stored = picture.pixels, picture.stored
    kind = (pixels.dtype.name, picture.colour, picture.alpha is not None)
    return Header(picture.size, pixels.shape[2], *kind, stored.pages, stored.format, picture.colour)


def give(translator: Translator, taken: Taken, out: Unit) -> Picture:
    """The picture that the network's output (pages, n_out, H, W) becomes: with the input's type, alpha and metadata.

    Raises I2IError for values that are not finite.
    """
    if not np.isfinite(out).all():
        raise I2IError(Problem("image", "the network gives values that are not finite; its training went astray"))
    picture, dtype = taken.picture, taken.plan.dtype
    given = translator.intakes[1]
    limits = given.range or (Range.of(dtype) if dtype.kind in "iu" else Range(0, 1))
    values = out.transpose(2, 3, 0, 1).reshape(*out.shape[2:], -1)  # (H, W, pages * n_out)
    alpha = None
    if taken.plan.keeps_alpha and picture.alpha is not None:
        alpha = _as_type(picture.alpha, dtype)
        clear = np.zeros((1, 1), dtype)
        behind = composed(np.zeros((1, 1, values.shape[2]), dtype), clear, given.background)
        values = _uncomposed(values, alpha[:, :, None] / opaque(dtype), limits.to_unit(behind))
    pixels = np.concatenate([limits.from_unit(values[rows], dtype) for rows in _strips(len(values))])
    if taken.plan.gives_alpha:
        pixels, alpha = pixels[:, :, :-1], pixels[:, :, -1]
    n, n_before = pixels.shape[2], picture.pixels.shape[2]
    same = n == n_before and (picture.colour == "bands" or len(out) == 1)
    colour = picture.colour if same else _colour(n)
    stored = replace(
        picture.stored,
        profile=picture.stored.profile if same else b"",
        pages=picture.stored.pages if n == n_before else len(out),
    )
    return Picture(pixels, colour, alpha, stored)


def run(translator: Translator, taken: Sequence[Taken], batch_size: int = 1) -> list[Unit]:
    """Each unit (pages, n_in, H, W) of one size and depth to (pages, n_out, H, W).

    Args:
        batch_size: pages, of whatever picture, that go through the network at once.
    """
    pages, deep = torch.from_numpy(np.concatenate([one.unit for one in taken])), taken[0].deep
    out = [translator(batch.to(translator.device), deep).cpu() for batch in torch.split(pages, batch_size)]
    return [part.numpy() for part in torch.split(torch.cat(out), [len(one.unit) for one in taken])]


def through(translator: Translator, pictures: Sequence[Picture]) -> list[Picture]:
    """Pictures of equal size, translated as one batch.

    A translation has the channels of the domain translated to, and else what the input has: size, type of pixels,
    alpha, metadata. See `type_for` for the one exception. A file whose pages are each a whole input gets as many pages.

    Raises ValueError for a picture that the domain cannot take, I2IError for one that the network cannot.
    """
    taken = [take(translator, picture) for picture in pictures]
    out = run(translator, taken, sum(len(one.unit) for one in taken))
    return [give(translator, one, values) for one, values in zip(taken, out, strict=True)]


def type_for(dtype: np.dtype[Any], taken: Range | None, given: Range | None) -> np.dtype[Any]:
    """The type of a translation's pixels: the input's, or the smallest that holds the range that they will have.

    Args:
        dtype: of the input.
        taken, given: declared ranges of the domains translated from and to.
    """
    if given is None or _holds(dtype, given, coarsely=given == taken):
        return dtype
    names = ("float32", "float64") if dtype.kind == "f" else (name for name in TYPES if name != "float16")
    return next(other for other in map(np.dtype, names) if _holds(other, given))  # float16: few programs read it


def _holds(dtype: np.dtype[Any], range: Range, coarsely: bool = False) -> bool:
    """Whether a type has all values of a range and, unless it may do so coarsely, levels enough between."""
    if dtype.kind == "f":
        return max(abs(range.low), abs(range.high)) <= float(np.finfo(dtype).max)
    whole = Range.of(dtype)
    return whole.low <= range.low and range.high <= whole.high and (coarsely or range.high - range.low >= LEVELS - 1)


def _strips(height: int) -> Iterator[slice]:
    """Rows that are converted at once: at eight bytes a value, those of a whole image would fill the memory."""
    return (slice(top, top + N_ROWS) for top in range(0, height, N_ROWS))


def _pages(picture: Picture, n_pages: int) -> Iterator[Picture]:
    if n_pages == 1:
        yield picture
        return
    each = picture.pixels.shape[2] // n_pages
    for first in range(0, n_pages * each, each):
        yield replace(picture, pixels=picture.pixels[:, :, first : first + each], colour=_colour(each))


def _colour(channels: int) -> Colour:
    return "grey" if channels == 1 else "rgb" if channels == 3 else "bands"


def _as_type(alpha: Pixels, dtype: np.dtype[Any]) -> Pixels:
    if alpha.dtype == dtype:
        return alpha
    share = alpha / opaque(alpha.dtype) * opaque(dtype)
    return (np.rint(share) if dtype.kind in "iu" else share).astype(dtype)


def _uncomposed(values: Pixels, share: Pixels, behind: Pixels) -> Pixels:
    """What, put on the background with this share, gives `values`; the values themselves where nothing shows.

    The network saw the image on its background. Without this step, edges would have the background in them twice.
    """
    return np.where(share > 0, (values - behind * (1 - share)) / np.where(share > 0, share, 1), values)
