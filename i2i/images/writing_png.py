"""PNG files: 8 and 16 bits, one to four channels, and what the file says beside them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from i2i.images.picture import Picture, Read, Stored

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # how the header calls what so many samples are
_PAETH = 4  # how a line calls its filter
_HEADER = 33  # bytes: the signature and the chunk IHDR, after which chunks may come
_INCH = 0.0254  # metres
XMP_KEYWORD = b"XML:com.adobe.xmp\0\0\0\0\0"
"""How an international text begins that is an XMP packet, not compressed."""


_BAND = 64  # rows that are compressed at once


def write_png(picture: Picture, file: BinaryIO) -> None:
    """Writes uint8 or uint16 with one to four channels: grey, grey and alpha, RGB, RGB and alpha.

    Rows are filtered by Paeth's predictor and compressed by run lengths and Huffman codes. Of a photo that makes a
    file as small as the usual search for repetitions does, in a tenth of the time.
    """
    png = imagecodecs.PNG
    # A copy, since numpy leaves the stride of an axis of one as it was, which imagecodecs minds.
    samples = np.array(picture.samples, order="C")
    encoded = imagecodecs.png_encode(samples, level=1, strategy=png.STRATEGY.RLE, filter=png.FILTER.PAETH)
    file.write(encoded[:_HEADER])
    for kind, body in _chunks(picture.stored):
        _write_chunk(file, kind, body)
    file.write(memoryview(encoded)[_HEADER:])


def write_png_rows(outline: Picture, file: BinaryIO, read: Read) -> None:
    """Writes such a picture that memory does not hold, filtered and compressed in the same way.

    Args:
        outline: of its size, type and colours, with all that its file said; its pixels are not looked at.
        read: gives its samples.
    """
    (width, height), dtype = outline.size, outline.pixels.dtype
    n = outline.pixels.shape[2] + (outline.alpha is not None)
    file.write(_SIGNATURE)
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * dtype.itemsize, _COLOURS[n], 0, 0, 0))
    for kind, body in _chunks(outline.stored):
        _write_chunk(file, kind, body)
    compressor = zlib.compressobj(1, strategy=zlib.Z_RLE)
    above = np.zeros((1, (width + 1) * n * dtype.itemsize), np.uint8)
    for top in range(0, height, _BAND):
        samples = read(slice(top, min(top + _BAND, height)), slice(0, width))
        lines = samples.astype(dtype.newbyteorder(">")).reshape(len(samples), -1).view(np.uint8)
        lines = np.concatenate([above, np.pad(lines, ((0, 0), (n * dtype.itemsize, 0)))])  # 0 before each line
        above = lines[-1:]
        _write_chunk(file, b"IDAT", compressor.compress(_filtered(lines, n * dtype.itemsize)))
    _write_chunk(file, b"IDAT", compressor.flush())
    _write_chunk(file, b"IEND", b"")


def _filtered(lines: NDArray[np.uint8], n: int) -> bytes:
    """Lines by Paeth's predictor, all but the first, which stands above them (PNG, third edition, chapter 9.4).

    Args:
        lines: bytes, with n of 0 before each.
        n: of a pixel.
    """
    wide = lines.astype(np.int16)
    left, above, corner = wide[1:, :-n], wide[:-1, n:], wide[:-1, :-n]
    by_left, by_above, by_corner = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
    nearer = np.where(by_above <= by_corner, above, corner)
    guess = np.where((by_left <= by_above) & (by_left <= by_corner), left, nearer)
    return np.pad((wide[1:, n:] - guess).astype(np.uint8), ((0, 0), (1, 0)), constant_values=_PAETH).tobytes()


def _write_chunk(file: BinaryIO, kind: bytes, body: bytes) -> None:
    if body or kind == b"IEND":
        file.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))


def _chunks(stored: Stored) -> Iterator[tuple[bytes, bytes]]:
    """What stands beside the pixels, before them (PNG, third edition, chapters 5.6 and 11.3)."""
    if stored.profile:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(stored.profile)
    if stored.dpi:
        yield b"pHYs", struct.pack(">IIB", *(round(dots / _INCH) for dots in stored.dpi), 1)
    if stored.exif:
        yield b"eXIf", stored.exif.removeprefix(b"Exif\0\0")
    if xmp := stored.other.get("xmp"):
        yield b"iTXt", XMP_KEYWORD + xmp
    if comment := stored.other.get("comment"):
        yield b"tEXt", b"Comment\0" + comment.replace(b"\0", b"")
    yield from stored.other.get("chunks", ())
