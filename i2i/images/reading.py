"""Image files: which are read, and how. Whatever cannot be read without loss is refused, never clipped."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import BinaryIO, Protocol

import numpy as np

from i2i.errors import Problem
from i2i.images import reading_arrays, reading_pillow, reading_tiff
from i2i.images.formats import FORMATS
from i2i.images.headers import Header, Refused
from i2i.images.picture import Picture, Piece, UnreadableImage, pieces
from i2i.images.profiles import fault


class _Decoder(Protocol):
    """One of the modules above. Both functions seek where they need, and raise whatever broken bytes lead them to."""

    def header(self, file: BinaryIO, max_pixels: int | None = None) -> Header:
        """Checked."""

    def read(self, file: BinaryIO, max_pixels: int | None = None) -> Picture:
        """Upright."""


_DECODERS: dict[bytes, _Decoder] = {
    b"\xff\xd8\xff": reading_pillow,
    b"\x89PNG\r\n\x1a\n": reading_pillow,
    b"RIFF": reading_pillow,
    b"BM": reading_pillow,
    b"GIF8": reading_pillow,
    b"II*\0": reading_tiff,
    b"MM\0*": reading_tiff,
    b"II+\0": reading_tiff,
    b"MM\0+": reading_tiff,
    b"\x93NUMPY": reading_arrays,
    b"PK\3\4": reading_arrays,
}
"""By the first bytes of a file. Its suffix says nothing that counts."""


def read(file: Path | bytes, name: str = "", max_pixels: int | None = None) -> Picture:
    """The picture of a file, decoded and turned upright by its orientation.

    A colour profile that is of no use is left out with a warning. That of an image in CMYK has been applied.

    Args:
        file: its path, or what is in it.
        name: what messages call it; its path if not given.
        max_pixels: of the largest picture that is read, in place of `i2i.images.headers.MAX_PIXELS`.

    Raises UnreadableImage: for a file that cannot be decoded whole, and for floats that are not finite.
    """
    with _opened(file, name) as (stream, decoder, where):
        return _sound(decoder.read(stream, max_pixels), where)


def read_pages(file: Path | bytes, name: str = "") -> Iterator[Picture]:
    """Each page of a TIFF file as a picture of its own, whether they are alike or not; of any other file, its picture.

    Arguments and errors as in `read`.
    """
    with _opened(file, name) as (stream, decoder, where):
        pages = reading_tiff.read_pages(stream) if decoder is reading_tiff else iter([decoder.read(stream)])
        for picture in pages:
            yield _sound(picture, where)


def read_pieces(file: Path | bytes, name: str = "", max_pixels: int | None = None) -> Iterator[Piece]:
    """The picture of a file in pieces, upright, each pixel once: no more of TIFF, NPY and NPZ is in memory at a time.

    Other formats are decoded as a whole. Arguments and errors as in `read`.
    """
    with _opened(file, name) as (stream, decoder, where):
        if decoder is reading_pillow:
            found = pieces(decoder.read(stream, max_pixels))
        else:
            found = (reading_tiff if decoder is reading_tiff else reading_arrays).read_pieces(stream, max_pixels)
        stored = None
        for left, top, page, picture in found:
            if stored is None:
                stored = _sound(picture, where, (top, left)).stored
            else:
                _check_finite(picture, (top, left))
            yield Piece(left, top, page, replace(picture, stored=stored))


def header(file: Path | bytes, name: str = "", max_pixels: int | None = None) -> Header:
    """What the file says of its picture, without decoding it; arguments as in `read`. Raises UnreadableImage."""
    with _opened(file, name) as (stream, decoder, _):
        return decoder.header(stream, max_pixels)


@contextmanager
def _opened(file: Path | bytes, name: str) -> Iterator[tuple[BinaryIO, _Decoder, str]]:
    """The file, what decodes it, and what messages call it."""
    where = name or ("" if isinstance(file, bytes) else str(file))
    try:
        if isinstance(file, Path) and stat.S_IFMT(file.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            raise Refused("is a pipe or a device, not a file")  # which might be waited for for ever
        with BytesIO(file) if isinstance(file, bytes) else file.open("rb") as stream:
            start = stream.read(8)
            if not start:
                raise Refused("is empty")
            decoder = next((decoder for magic, decoder in _DECODERS.items() if start.startswith(magic)), None)
            if decoder is None:
                titles = ", ".join(format.title for format in FORMATS.values())
                raise Refused(f"is no image of a known format ({titles}), or is damaged")
            yield stream, decoder, where
    except Exception as error:  # decoders raise whatever broken bytes lead them to
        raise UnreadableImage(Problem(where, _why(error))) from error


def _why(error: Exception) -> str:
    """One line, however much of the file a library puts into its message."""
    if isinstance(error, Refused):
        return shorten(str(error), 200, placeholder=" …")
    if isinstance(error, MemoryError):
        return "is too large for the memory of this machine; make it smaller"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    if isinstance(error, (TypeError, LookupError, AttributeError)):  # a decoder did not expect what it found
        return "is damaged"
    return shorten(f"is damaged or truncated ({error}", 200, placeholder=" …") + ")"


def _sound(picture: Picture, where: str, corner: tuple[int, int] = (0, 0)) -> Picture:
    """Finite, and without a profile that is of no use."""
    _check_finite(picture, corner)
    profile = picture.stored.profile
    if profile and picture.colour != "bands" and (reason := fault(profile, picture.pixels.shape[2])):
        warnings.warn(f"{where}: its colour profile {reason}; it is left out", stacklevel=3)
        picture = replace(picture, stored=replace(picture.stored, profile=b""))
    return picture


def _check_finite(picture: Picture, corner: tuple[int, int]) -> None:
    """Of a piece from a row and a column on."""
    for values in (picture.pixels, picture.alpha):
        if values is not None and values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
            row, column = np.argwhere(~finite)[0][:2] + corner
            n = finite.size - np.count_nonzero(finite)
            many = f"{n} values that are" if n > 1 else "a value that is"
            raise Refused(f"holds {many} not finite (NaN or infinite), the first at row {row}, column {column}")
