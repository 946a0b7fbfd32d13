"""One look at every image of a set: each is decoded once, and what is to be known of it is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

from i2i.data.geometry import Sides, resize
from i2i.data.pixels import Preparation
from i2i.data.source import Checks, Images
from i2i.datasets.check.findings import printable
from i2i.datasets.check.fingerprints import SIDE, checksum, fingerprint
from i2i.images import Header, Picture
from i2i.images.picture import Pixels

N_VALUES = 2**22
"""Of all images together, so many values at most tell the percentiles of deep images."""
N_LETTERS = 60
"""Of a profile's name; a foreign file may hold any."""
GREY = 8
"""Channels that differ by no more, in levels of 256, are those of a grey image: JPEG leaves such differences."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of an image.

    Args:
        picture: it, without its pixels.
        checksum: of the pixels.
        fingerprint: of a thumbnail of it.
        colourful: its channels differ; None if they are no colours.
        constant: all its pixels are the same where they are seen.
        low, high: its least and largest value.
        values: evenly spaced ones, of images above 8 bits.
        profile: the name of its colour profile; empty if it has none.
        becomes: height and width that it is resized to for training; None if that is not known.
        misfit: why training refuses it; empty if it does not.
        seconds: of one processor, to decode and to resize it.
    """

    picture: Header
    checksum: bytes
    fingerprint: NDArray[np.float32]
    colourful: bool | None
    constant: bool
    low: float
    high: float
    values: NDArray[np.float64] | None
    profile: str
    becomes: Sides | None
    misfit: str
    seconds: float

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.picture.dtype)

    @property
    def n_bytes(self) -> int:
        """Of its pixels in memory."""
        width, height = self.picture.size
        return width * height * self.picture.channels * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class MaskLook:
    """What is known of a mask.

    Args:
        size: width and height.
        becomes: height and width that it is resized to for training; None if that is not known.
        empty: it marks nothing.
    """

    size: tuple[int, int]
    becomes: Sides | None
    empty: bool


def look(images: Images, index: int, how: Preparation | None, n_values: int) -> Look:
    """Decodes an image and says what it is.

    Args:
        how: what training does with it, to know what it becomes and whether it fits.
        n_values: how many values are kept of a deep image.

    Raises UnreadableImage, or ValueError for what is no image.
    """
    started = time.thread_time()
    picture = Picture.of(images.read(index))
    if picture.pixels.dtype.kind == "f" and not np.isfinite(picture.pixels).all():
        raise ValueError("holds values that are no numbers, or infinite")
    becomes, misfit = None, ""
    if how is not None:
        try:
            becomes = how(picture).pixels.shape[1:]
        except ValueError as error:
            misfit = str(error)
    seconds = time.thread_time() - started
    pixels, some = picture.pixels, on_white(sampled(picture))
    small = thumbnail(some, (SIDE, SIDE))
    return Look(
        picture=images.header(index) if isinstance(images, Checks) else _header_of(picture),
        checksum=checksum(picture),
        fingerprint=fingerprint(small),
        colourful=_is_colourful(some),
        constant=_is_constant(small) and _is_constant(on_white(picture).pixels),  # the first is quick
        low=float(pixels.min()),
        high=float(pixels.max()),
        values=None if pixels.dtype == np.uint8 else _spread(pixels, n_values),
        profile=_profile_of(picture),
        becomes=becomes,
        misfit=misfit,
        seconds=seconds,
    )


def look_at_mask(masks: Images, index: int, how: Preparation | None) -> MaskLook:
    """Decodes a mask; how: what training does with its image. Raises UnreadableImage, or ValueError for no mask."""
    mask = Picture.of(masks.read(index))
    becomes = None
    if how is not None:
        how = Preparation(replace(how.intake, channels=1), how.geometry, as_mask=True)
        becomes = how(mask).pixels.shape[1:]
    return MaskLook(mask.size, becomes, empty=not mask.pixels.any())


def sampled(picture: Picture) -> Picture:
    """Every so many pixels of a large picture, at least 256 of its shorter side: enough to tell what it looks like."""
    step = max(1, min(picture.size) // 256)
    alpha = None if picture.alpha is None else picture.alpha[::step, ::step]
    return replace(picture, pixels=picture.pixels[::step, ::step], alpha=alpha)


def on_white(picture: Picture) -> Picture:
    """The picture as it is seen, without alpha."""
    return picture if picture.alpha is None else picture.with_channels(picture.pixels.shape[2])


def thumbnail(picture: Picture, sides: Sides) -> NDArray[np.uint8]:
    """(height, width, 3) to look at: on white; of bands the first, middle and last; deep ones from dark to bright."""
    pixels = on_white(picture).pixels
    n = pixels.shape[2]
    bands = [0, n // 2, n - 1] if n > 2 else [0, 0, 0]
    small: Pixels = resize(pixels if n == 3 else pixels[:, :, bands], sides, "bilinear")
    if small.dtype == np.uint8:
        return np.asarray(small, np.uint8)
    wide = small.astype(np.float64)
    low, high = wide.min(), wide.max()
    return np.asarray(np.rint((wide - low) * (255 / (high - low) if high > low else 0)), np.uint8)


def _is_constant(pixels: Pixels) -> bool:
    return bool((pixels == pixels[:1, :1]).all())


def _is_colourful(picture: Picture) -> bool | None:
    if picture.colour != "rgb":
        return False if picture.colour == "grey" else None
    red, green, blue = (picture.pixels[:, :, band].astype(np.float32) for band in range(3))
    spread = max(float(abs(one - other).max()) for one, other in ((red, green), (green, blue), (blue, red)))
    whole = 255.0 if picture.pixels.dtype == np.uint8 else float(picture.pixels.max()) - float(picture.pixels.min())
    return spread > GREY / 255 * whole


def _spread(pixels: Pixels, n: int) -> NDArray[np.float64]:
    """At most n values, evenly spaced; not by whole steps, which may fall on one band or column all the time."""
    flat = pixels.reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(n, flat.size)).astype(np.int64)].astype(np.float64)


def _profile_of(picture: Picture) -> str:
    if not picture.stored.profile:
        return ""
    try:
        name = ImageCms.getProfileDescription(BytesIO(picture.stored.profile))
        return printable(name.strip()[:N_LETTERS]) or "without a name"
    except (ImageCms.PyCMSError, OSError):
        return "damaged"


def _header_of(picture: Picture) -> Header:
    """Of a picture that comes from no file."""
    stored = picture.stored
    return Header(
        picture.size, picture.pixels.shape[2], picture.pixels.dtype.name, picture.colour, picture.alpha is not None,
        stored.pages, stored.format, "",
    )  # fmt: skip
