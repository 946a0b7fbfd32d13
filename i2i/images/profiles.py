"""Colour profiles (ICC), by LittleCMS: what colours mean elsewhere, as colours of sRGB."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import imagecodecs
import numpy as np

from i2i.images.picture import Picture, Pixels

_SPACES = {b"RGB ": ("rgb", 3), b"GRAY": ("gray", 1), b"CMYK": ("cmyk", 4)}  # bytes 16 to 20 of a profile
_COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
_LEVEL = 257  # one of 255, in 16 bits


def to_srgb(picture: Picture) -> Picture:
    """The picture with its colours in sRGB and without a profile; as it is if it has none, or that of sRGB.

    Grey and RGB of 8 and 16 bits and floats are converted, relatively to the white and black of both spaces. Floats are
    colours from 0 to 1; those that sRGB does not have come out below 0 or above 1. Signed pixels and bands are left.
    """
    profile, pixels = picture.stored.profile, picture.pixels
    if not profile or picture.colour == "bands" or pixels.dtype.kind == "i" or _is_srgb(profile, pixels.shape[2]):
        return picture
    other = dict(picture.stored.other)
    if "chunks" in other:  # of a PNG, which without the profile would say what colours mean
        other["chunks"] = tuple(chunk for chunk in other["chunks"] if chunk[0] not in _COLOUR_CHUNKS)
    stored = replace(picture.stored, profile=b"", other=other)
    return replace(picture, pixels=_converted(pixels, profile), stored=stored)


def from_cmyk(inks: Pixels, profile: bytes) -> tuple[Pixels, bytes]:
    """(H, W, 4) of ink, all of it at the largest integer, as (H, W, 3): by the profile, if it is one of inks.

    Returns the profile too where it was of no use.
    """
    if profile and not fault(profile, 4):
        return _converted(inks, profile), b""
    most = np.iinfo(inks.dtype).max
    left = most - inks.astype(np.float64)  # of the light; the rounding is that of Pillow
    return np.rint(left[:, :, :3] * left[:, :, 3:] / most).astype(inks.dtype), profile


@lru_cache(maxsize=64)
def fault(profile: bytes, channels: int) -> str:
    """Why a profile is of no use for pictures of so many channels, as the end of a sentence; empty if it is."""
    if profile[16:20] not in _SPACES:
        return "is damaged, or of a kind that is not known"
    space, n = _SPACES[profile[16:20]]
    if n != channels and (n, channels) != (3, 1):  # a grey picture may well have a profile of RGB
        return f"is one of {space.upper()} colours, which these are not"
    try:
        _converted(np.zeros((1, 1, channels), np.uint8), profile)
    except Exception as error:  # whatever the bytes lead LittleCMS to
        return f"is damaged: {error}"
    return ""


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes, channels: int) -> bool:
    """Whether no colour moves by more than one of 255 levels on its way through the profile."""
    ramp = np.linspace(0, 65535, 9 if channels == 3 else 256).round().astype(np.uint16)
    colours = np.stack(np.meshgrid(*[ramp] * channels), -1).reshape(1, -1, channels)
    moved = _converted(colours, profile).astype(np.int64) - colours
    return bool(np.abs(moved).max() <= _LEVEL)


def _converted(pixels: Pixels, profile: bytes) -> Pixels:
    """(H, W, C) in the profile's space as (H, W, 1 or 3) in sRGB, of the same type."""
    space, n = _SPACES[profile[16:20]]
    exact = pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels  # LittleCMS is coarse with halves
    exact = np.repeat(exact, n, 2) if n > pixels.shape[2] else exact[:, :, 0] if n == 1 else exact
    flags = int(imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION)
    if pixels.dtype != np.uint8 or n == 1:  # its shortcuts, ten times as fast, are exact for 8 bits of colour alone
        flags |= imagecodecs.CMS.FLAGS.NOOPTIMIZE
    rgb = imagecodecs.cms_transform(
        np.ascontiguousarray(exact),
        profile,
        _srgb(),
        colorspace=space,
        outcolorspace="rgb",
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=flags,
    )
    return (rgb[:, :, 1:2] if pixels.shape[2] == 1 else rgb).astype(pixels.dtype, copy=False)


@lru_cache(maxsize=1)
def _srgb() -> bytes:
    return bytes(imagecodecs.cms_profile("srgb"))
