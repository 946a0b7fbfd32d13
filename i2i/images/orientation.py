"""Which way up a picture is: cameras store pixels as they lay, and a number from 1 to 8 that says how to turn them."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import numpy as np

from i2i.images.picture import Picture, Pixels

_TAG = 0x0112
_TYPES = {3: "H", 4: "I"}  # SHORT and LONG
_IN_XMP = re.compile(rb"""(tiff:Orientation(?:=["']|>))[2-8]""")


def turned(orientation: int) -> bool:
    """Whether width and height are exchanged."""
    return orientation in (5, 6, 7, 8)


def upright(picture: Picture, orientation: int) -> Picture:
    """The picture as it is to be seen; numbers that mean nothing turn nothing."""
    alpha = None if picture.alpha is None else _upright(picture.alpha, orientation)
    return replace(picture, pixels=_upright(picture.pixels, orientation), alpha=alpha)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """(H, W, …)."""
    if turned(orientation):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def corner(at: tuple[int, int], piece: tuple[int, int], whole: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Left and top of a piece in the upright picture.

    Args:
        at: left and top of the piece as pixels lie in the file.
        piece, whole: width and height of both, in the same way.
    """
    (left, top), (width, height) = at, (whole[0] - piece[0], whole[1] - piece[1])  # beyond the piece and before it
    if turned(orientation):
        left, top, width, height = top, left, height, width
    if orientation in (2, 3, 6, 7):
        left = width - left
    if orientation in (3, 4, 7, 8):
        top = height - top
    return left, top


def reset_exif(exif: bytes) -> tuple[bytes, int]:
    """An EXIF block that says upright and has no preview, since that shows other pixels; and what it said.

    All else stays where it was, since notes of makers point into it.
    """
    block, orientation = bytearray(exif), 1
    start = 6 if exif.startswith(b"Exif\0\0") else 0
    order = ">" if exif[start : start + 2] == b"MM" else "<"
    try:
        (first,) = struct.unpack_from(f"{order}I", block, start + 4)
        (n_entries,) = struct.unpack_from(f"{order}H", block, start + first)
        end = start + first + 2 + 12 * n_entries
        for at in range(start + first + 2, end, 12):
            tag, kind = struct.unpack_from(f"{order}HH", block, at)
            if tag == _TAG and kind in _TYPES:
                value = struct.Struct(order + _TYPES[kind])
                (orientation,) = value.unpack_from(block, at + 8)
                value.pack_into(block, at + 8, 1)
        struct.pack_into("4x", block, end)  # where the folder of the preview begins
    except struct.error:  # a damaged block turns nothing
        pass
    return bytes(block), orientation


def reset_xmp(xmp: bytes) -> bytes:
    """An XMP packet that says upright."""
    return _IN_XMP.sub(rb"\g<1>1", xmp)
