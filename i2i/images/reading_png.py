"""What PNG files hold that Pillow drops: 16 bits per channel, and the chunks beside the pixels."""

from __future__ import annotations

import logging
import struct
from contextvars import ContextVar
from typing import BinaryIO

import imagecodecs
import numpy as np

from i2i.images.orientation import reset_xmp
from i2i.images.picture import Picture, Pixels

_SIGNATURE = 8  # bytes
_DEPTH = 24  # where the header says how many bits a channel has
_KEPT = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"tEXt", b"zTXt", b"iTXt", b"tIME")
_RAW_EXIF = b"Raw profile type exif"  # an old way of ImageMagick, which Pillow understands

Chunks = tuple[tuple[bytes, bytes], ...]

# Of a damaged profile or of data to spare, imagecodecs warns by the log, without naming the file.
_decoding: ContextVar[bool] = ContextVar("decoding", default=False)
logging.getLogger("imagecodecs").addFilter(lambda record: not _decoding.get())


def is_deep(file: BinaryIO) -> bool:
    """Whether channels have 16 bits."""
    file.seek(_DEPTH)
    return file.read(1) == b"\x10"


def decoded(file: BinaryIO) -> Picture:
    """All 16 bits of all channels; a colour that the file calls transparent makes an alpha."""
    file.seek(0)
    token = _decoding.set(True)
    try:
        samples: Pixels = np.atleast_3d(imagecodecs.png_decode(file.read()))
    finally:
        _decoding.reset(token)
    n = samples.shape[2]
    alpha = samples[:, :, -1] if n in (2, 4) else None
    return Picture(samples[:, :, : n - 1] if n in (2, 4) else samples, "grey" if n < 3 else "rgb", alpha)


def chunks(file: BinaryIO) -> tuple[Chunks, bytes]:
    """The chunks that `Stored.other` keeps, and the EXIF block. Ends where the file breaks off: decoding will tell."""
    kept, exif = [], b""
    file.seek(_SIGNATURE)
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind == b"eXIf":
            exif = b"Exif\0\0" + file.read(length)
        elif kind in _KEPT or kind == b"pHYs":
            body = file.read(length)
            if not body.startswith(_RAW_EXIF) and (kind != b"pHYs" or body[8:] == b"\0"):  # else it is the dpi
                kept.append((kind, reset_xmp(body) if kind == b"iTXt" else body))
        else:
            file.seek(length, 1)
        file.seek(4, 1)  # the checksum, at which decoders look
    return tuple(kept), exif
