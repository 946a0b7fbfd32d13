"""Pictures through a translator: what its network takes of a picture, and the picture that its output becomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from i2i.errors import I2IError, Problem
from i2i.images import Picture
from i2i.images.picture import TYPES, Colour, Pixels, composed, opaque
from i2i.images.profiles import to_srgb
from i2i.images.values import Range
from i2i.translate import Translator

Unit = NDArray[np.float32]

LEVELS = 256
"""An integer type that holds fewer levels of a range than 8 bits have would coarsen what the network says."""


@dataclass(frozen=True)
class Taken:
    """A picture as a network takes it.

    Args:
        picture: its colours converted, its transparency still there.
        unit: (pages, n_in, H, W) in [-1, 1]; several pages where each is a whole input.
        clipped: values that lay outside the range of the domain.
        dtype: of the pixels that the translation will have.
        channels: the same; of all pages, the alpha counted.
        keeps_alpha: the translation has the alpha of the picture, which the network does not see.
    """

    picture: Picture
    unit: Unit
    clipped: int
    dtype: np.dtype[Any]
    channels: int
    keeps_alpha: bool


def take(translator: Translator, picture: Picture) -> Taken:
    """Raises ValueError for a picture that the domain cannot take."""
    intake, given = translator.intakes
    picture = to_srgb(picture) if intake.srgb else picture
    pages = [intake.pixels(page) for page in _pages(picture, intake.channels)]
    try:
        limits = intake.range_of(pages[0])
    except ValueError as error:
        raise ValueError(f"{error}; only a network whose recipe declares data.range can take it") from None
    seen = intake.channels == picture.pixels.shape[2] + 1  # as a channel
    keeps_alpha = picture.alpha is not None and not seen and not _gives_alpha(picture, given.channels)
    return Taken(
        picture,
        np.stack([np.ascontiguousarray(limits.to_unit(page).transpose(2, 0, 1)) for page in pages]),
        sum(map(limits.outside, pages)) if intake.range else 0,
        type_for(picture.pixels.dtype, intake.range, given.range),
        len(pages) * given.channels + keeps_alpha,
        keeps_alpha,
    )


def give(translator: Translator, taken: Taken, out: Unit) -> Picture:
    """The picture that the network's output (pages, n_out, H, W) becomes: with the input's type, alpha and metadata.

    Raises I2IError for values that are not finite.
    """
    if not np.isfinite(out).all():
        raise I2IError(Problem("image", "the network gives values that are not finite; its training went astray"))
    picture, dtype = taken.picture, taken.dtype
    given = translator.intakes[1]
    limits = given.range or (Range.of(dtype) if dtype.kind in "iu" else Range(0, 1))
    values = out.transpose(2, 3, 0, 1).reshape(*out.shape[2:], -1)  # (H, W, pages * n_out)
    alpha = None
    if taken.keeps_alpha and picture.alpha is not None:
        alpha = _as_type(picture.alpha, dtype)
        clear = np.zeros((1, 1), dtype)
        behind = composed(np.zeros((1, 1, values.shape[2]), dtype), clear, given.background)
        values = _uncomposed(values, alpha[:, :, None] / opaque(dtype), limits.to_unit(behind))
    pixels = limits.from_unit(values, dtype)
    if _gives_alpha(picture, given.channels):
        pixels, alpha = pixels[:, :, :-1], pixels[:, :, -1]
    n, n_before = pixels.shape[2], picture.pixels.shape[2]
    same = n == n_before and (picture.colour == "bands" or len(out) == 1)
    colour: Colour = picture.colour if same else {1: "grey", 3: "rgb"}.get(n, "bands")  # type: ignore[assignment]
    stored = replace(
        picture.stored,
        profile=picture.stored.profile if same else b"",
        pages=picture.stored.pages if n == n_before else len(out),
    )
    return Picture(pixels, colour, alpha, stored)


def run(translator: Translator, units: Sequence[Unit], batch_size: int = 1) -> list[Unit]:
    """Each (pages, n_in, H, W) of one size to (pages, n_out, H, W), `batch_size` pages of whatever picture at once."""
    pages = torch.from_numpy(np.concatenate(units))
    out = [translator(batch.to(translator.device)).cpu() for batch in torch.split(pages, batch_size)]
    return [part.numpy() for part in torch.split(torch.cat(out), [len(unit) for unit in units])]


def through(translator: Translator, pictures: Sequence[Picture]) -> list[Picture]:
    """Pictures of equal size, translated as one batch.

    A translation has the channels of the domain translated to, and else what the input has: size, type of pixels,
    alpha, metadata. See `type_for` for the one exception. A file whose pages are each a whole input gets as many pages.

    Raises ValueError for a picture that the domain cannot take, I2IError for one that the network cannot.
    """
    taken = [take(translator, picture) for picture in pictures]
    out = run(translator, [one.unit for one in taken], sum(len(one.unit) for one in taken))
    return [give(translator, one, values) for one, values in zip(taken, out, strict=True)]


def type_for(dtype: np.dtype[Any], taken: Range | None, given: Range | None) -> np.dtype[Any]:
    """The type of a translation's pixels: the input's, or the smallest that holds the range that they will have.

    Args:
        dtype: of the input.
        taken, given: declared ranges of the domains translated from and to.
    """
    if given is None or given == taken or _holds(dtype, given):
        return dtype
    names = ("float32", "float64") if dtype.kind == "f" else (name for name in TYPES if name != "float16")
    return next(other for other in map(np.dtype, names) if _holds(other, given))  # float16: few programs read it


def _holds(dtype: np.dtype[Any], range: Range) -> bool:
    if dtype.kind == "f":
        return max(abs(range.low), abs(range.high)) <= float(np.finfo(dtype).max)
    whole = Range.of(dtype)
    return whole.low <= range.low and range.high <= whole.high and range.high - range.low >= LEVELS - 1


def _pages(picture: Picture, n_in: int) -> Iterator[Picture]:
    """The picture, or its pages where each makes n_in channels while all of them together are more."""
    n_pages, n_channels = picture.stored.pages, picture.pixels.shape[2]
    each, rest = divmod(n_channels, n_pages)
    if n_pages == 1 or rest or n_channels == n_in or not (each == n_in or {each, n_in} == {1, 3}):
        yield picture
        return
    colour: Colour = {1: "grey", 3: "rgb"}.get(each, "bands")  # type: ignore[assignment]
    for first in range(0, n_channels, each):
        yield replace(picture, pixels=picture.pixels[:, :, first : first + each], colour=colour)


def _gives_alpha(picture: Picture, n_out: int) -> bool:
    """Whether the last channel of a translation is its alpha: of 2 or 4 where the picture is no file of bands."""
    return n_out in (2, 4) and picture.colour != "bands" and picture.stored.pages == 1


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
