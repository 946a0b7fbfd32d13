"""Image files: what is written in which format, and how. Whatever a format cannot hold is refused, never converted."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
from PIL import Image

from i2i.errors import suggest
from i2i.images.formats import FORMATS, Format
from i2i.images.picture import Picture, Pixels, Read, Stored
from i2i.images.writing_png import XMP_KEYWORD, write_png, write_png_rows
from i2i.images.writing_tiff import write_tiff

_SIDES = {"png": 1_000_000, "jpeg": 65_500, "webp": 16_383}  # pixels: the longest that libraries take
_DPI = {"png": (0.02, 5e7), "bmp": (0.02, 5e7), "jpeg": (1, 65_535)}  # those that whole numbers can say
_JPEG_PIECES = (("exif", "EXIF", 65_533), ("xmp", "XMP", 65_504), ("comment", "comment", 65_533))  # at most, in bytes


def write(picture: Picture, to: Path | BinaryIO, format: str) -> None:
    """Writes a picture with all that `picture.stored` keeps and the format can hold.

    Two or four bands are written as grey or RGB with an alpha where the format knows no bands. A colour profile that
    is not for the picture's colours is left out.

    Args:
        picture: of any type and number of channels.
        to: a file, replaced if it is there, or a stream, which need not be seekable. A failure leaves half a file.
        format: a name in `i2i.images.formats.FORMATS`.

    Raises ValueError for a picture that the format cannot hold without loss, OSError for a full disk, say.
    """
    picture = fitting(picture, format)
    if isinstance(to, Path):
        with to.open("w+b") as file:
            _WRITERS[format](picture, file)
    else:
        buffer = BytesIO()  # TIFF and arrays are written back and forth
        _WRITERS[format](picture, buffer)
        to.write(buffer.getbuffer())


def write_regions(outline: Picture, read: Read, to: Path | BinaryIO, format: str) -> None:
    """Writes a picture that memory does not hold: TIFF, PNG and NPY in bands. Others are put together in memory.

    Args:
        outline: of its size, type and colours, with all that its file said; its pixels are not looked at.
        read: gives its samples.
        to: a file, replaced if it is there, or a stream that is read and written back and forth.
        format: as above.

    Raises as above.
    """
    outline, (width, height) = fitting(outline, format), outline.size
    with to.open("w+b") if isinstance(to, Path) else nullcontext(to) as file:
        if format in _BY_BANDS:
            _BY_BANDS[format](outline, file, read)
        else:
            samples = read(slice(0, height), slice(0, width))
            alpha = None if outline.alpha is None else samples[:, :, -1]
            pixels = samples if alpha is None else samples[:, :, :-1]
            _WRITERS[format](replace(outline, pixels=pixels, alpha=alpha), file)


def fitting(picture: Picture, format: str) -> Picture:
    """The picture as `write` writes it in a format; its pixels are not looked at. Raises ValueError as `write` does."""
    if format not in _WRITERS:
        raise ValueError(f"cannot be written as {format!r}{suggest(format, _WRITERS)}")
    picture = _said(picture, format)
    if fault := _fault(picture, format):
        instead = next(FORMATS[name].title for name in ("png", "tiff") if not _fault(picture, name))
        raise ValueError(f"{fault}; {instead} can")
    return picture


def target_format(stored: Stored, dtype: np.dtype[Any], channels: int) -> Format:
    """The format for the translation of a file when the user asks for none.

    It is that of the file where this is lossless. JPEG and GIF become PNG, since each further JPEG would lose more and
    a GIF has 256 colours. WebP stays WebP but is written without loss. What such a format cannot hold goes to PNG, and
    what PNG cannot hold, to TIFF.

    Args:
        stored: how the file held its picture; that of `Picture.of` an array or an image gives PNG or TIFF.
        dtype: of the translation's pixels.
        channels: of the translation, its alpha counted.
    """
    own = FORMATS[stored.format].becomes if stored.format else "png"
    return next(FORMATS[name] for name in (own, "png", "tiff") if _holds(FORMATS[name], dtype, channels))


def _holds(format: Format, dtype: np.dtype[Any], channels: int) -> bool:
    counts = format.channels + tuple(n + 1 for n in format.channels if format.alpha)
    return format.writes and dtype.name in format.types and (not counts or channels in counts)


def _fault(picture: Picture, name: str) -> str:
    """Why a format cannot hold a picture, as the end of a sentence that begins with its name; empty if it can."""
    format, (width, height) = FORMATS[name], picture.size
    n, dtype, has_alpha = picture.pixels.shape[2], picture.pixels.dtype, picture.alpha is not None
    if not _holds(format, dtype, n + has_alpha):
        channels = "1 channel" if n == 1 else f"{n} channels"
        alpha = " and an alpha" if has_alpha else ""
        return f"has {channels} of {dtype.name}{alpha}, which {format.title} cannot hold"
    if name in _SIDES and max(width, height) > _SIDES[name]:
        return f"is {width}x{height}, more than the {_SIDES[name]} pixels a side that {format.title} can hold"
    beside = _beside(picture.stored) if name == "jpeg" else {}
    for key, what, most in _JPEG_PIECES:
        if len(beside.get(key, b"")) > most:
            return f"has {len(beside[key])} bytes of {what}, more than the {most} that JPEG can hold"
    return ""


def _said(picture: Picture, format: str) -> Picture:
    """With what its file said beside the pixels as this format says it, and without what is not for these colours."""
    stored = picture.stored
    space = stored.profile[16:20]  # of the colours that a profile is for: ICC.1:2022, 7.2.6
    n = picture.pixels.shape[2] // stored.pages
    profile = stored.profile if n in {b"GRAY": (1, 2), b"RGB ": (3, 4)}.get(space, ()) else b""
    texts = [body for _, body in stored.other.get("chunks", ()) if body.startswith(XMP_KEYWORD)]
    moved = {"xmp": texts[0].removeprefix(XMP_KEYWORD)} if texts and format != "png" else {}
    low, high = _DPI.get(format, (0, math.inf))
    dpi = stored.dpi if stored.dpi and all(low <= dots <= high for dots in stored.dpi) else None
    return replace(picture, stored=replace(stored, profile=profile, dpi=dpi, other={**stored.other, **moved}))


def _write_jpeg(picture: Picture, file: BinaryIO) -> None:
    _image(picture).save(file, "JPEG", quality=95, subsampling=0, **_beside(picture.stored))


def _write_webp(picture: Picture, file: BinaryIO) -> None:
    # With the least effort, a photo is a sixth smaller than as PNG and as fast; Pillow's default takes ten times as
    # long for another 7 %. `exact`: what is transparent keeps its colours.
    _image(picture).save(file, "WEBP", lossless=True, exact=True, method=0, quality=20, **_beside(picture.stored))


def _write_bmp(picture: Picture, file: BinaryIO) -> None:
    _image(picture).save(file, "BMP", dpi=picture.stored.dpi or (0, 0))  # which says nothing; Pillow would say 96


def _write_npy(picture: Picture, file: BinaryIO) -> None:
    np.save(file, _array(picture), allow_pickle=False)


def _write_npy_rows(outline: Picture, file: BinaryIO, read: Read) -> None:
    (width, height), n = outline.size, outline.pixels.shape[2] + (outline.alpha is not None)
    flat = n == 1 and outline.stored.other.get("ndim", 2) == 2
    about = {"shape": (height, width) if flat else (height, width, n), "fortran_order": False}
    np.lib.format.write_array_header_1_0(file, {**about, "descr": outline.pixels.dtype.str})
    for top in range(0, height, 256):
        file.write(read(slice(top, min(top + 256, height)), slice(0, width)).tobytes())


def _write_npz(picture: Picture, file: BinaryIO) -> None:
    name = picture.stored.other.get("name", "image")
    compression = ZIP_DEFLATED if picture.stored.other.get("compressed") else ZIP_STORED
    with ZipFile(file, "w", compression) as archive, archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, _array(picture), allow_pickle=False)


def _array(picture: Picture) -> Pixels:
    """(H, W) for one channel, unless the file had (H, W, 1); else (H, W, C). Rows come first."""
    samples = np.ascontiguousarray(picture.samples)
    return samples[:, :, 0] if samples.shape[2] == 1 and picture.stored.other.get("ndim", 2) == 2 else samples


def _image(picture: Picture) -> Image.Image:
    samples = picture.samples
    return Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)


def _beside(stored: Stored) -> dict[str, Any]:
    """What Pillow writes beside the pixels of JPEG and WebP."""
    kept = {"icc_profile": stored.profile, "exif": stored.exif, "dpi": stored.dpi}
    kept |= {name: stored.other.get(name) for name in ("xmp", "comment")}
    return {name: value for name, value in kept.items() if value}


_WRITERS: dict[str, Callable[[Picture, BinaryIO], None]] = {
    "jpeg": _write_jpeg,
    "png": write_png,
    "webp": _write_webp,
    "bmp": _write_bmp,
    "tiff": write_tiff,
    "npy": _write_npy,
    "npz": _write_npz,
}

_BY_BANDS: dict[str, Callable[[Picture, BinaryIO, Read], None]] = {
    "png": write_png_rows,
    "tiff": write_tiff,
    "npy": _write_npy_rows,
}
BY_BANDS = tuple(_BY_BANDS)
"""Formats of which no more than some rows are in memory while they are written."""
