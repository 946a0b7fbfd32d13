"""What the tags of a TIFF file say beside the pixels."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, BinaryIO

from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, PLANARCONFIG, TiffFile, TiffPage

from i2i.images.formats import KEPT_TAGS
from i2i.images.orientation import reset_xmp, turned
from i2i.images.picture import Stored
from i2i.images.reading_pillow import dots

_ORIENTATION, _XMP, _EXIF, _GPS, _UNIT = 274, 700, 34665, 34853, 296
_UNITS = (1, 2, 3)  # of resolution: none, an inch, a centimetre
_RATIONAL = 5
_INCHES = {2: 1.0, 3: 2.54}  # how many of a unit an inch is
_BYTES = (1, 2, 7)  # types whose values are kept as they stand: BYTE, ASCII, UNDEFINED
_FLOATS = (11, 12)  # FLOAT, DOUBLE
_ABOUT = (271, 272, 305, 306, 315, 33432)  # what an EXIF block repeats: camera, software, date, artist, copyright


def stored_tags(tiff: TiffFile, pages: list[TiffPage], file: BinaryIO) -> Stored:
    """What a file of the same kind should hold as well."""
    page = pages[0]
    x, y, unit = _ratio(page, 282), _ratio(page, 283), page.tags.valueof(_UNIT, 2)
    other: dict[str, Any] = {
        "compression": named(COMPRESSION, page.compression),
        "predictor": page.predictor != 1,
        "photometric": named(PHOTOMETRIC, page.photometric),
        "planar": named(PLANARCONFIG, page.planarconfig),
        "bigtiff": tiff.is_bigtiff,
        "byteorder": tiff.byteorder,
        "associated": EXTRASAMPLE.ASSOCALPHA in page.extrasamples,
        "tags": tuple(_kept(p, file) for p in pages),
    }
    if page.is_tiled:
        other["tile"] = page.tilelength, page.tilewidth
    if (xmp := page.tags.get(_XMP)) is not None:
        other["xmp"] = reset_xmp(_bytes(xmp, file))
    dpi = None
    if x and y and unit in _UNITS:
        x, y = (y, x) if turned(orientation_of(page)) else (x, y)
        other["resolution"] = x, y, int(unit)
        dpi = dots(*(n / d * _INCHES[unit] for n, d in (x, y))) if unit in _INCHES else None
    return Stored("tiff", page.iccprofile or b"", _exif(page, file), dpi, len(pages), other)


def _ratio(page: TiffPage, code: int) -> tuple[int, int] | None:
    """A tag's numerator and denominator, if it is one number above 0."""
    tag = page.tags.get(code)
    return tag.value if tag is not None and tag.dtype == _RATIONAL and tag.count == 1 and all(tag.value) else None


def orientation_of(page: TiffPage) -> int:
    return int(page.tags.valueof(_ORIENTATION, 1))


def named(names: type[IntEnum], value: int) -> str:
    """The name of a tag's value in lower case, or the number if it is none that is known."""
    return names(value).name.lower() if value in names._value2member_map_ else str(value)


def _kept(page: TiffPage, file: BinaryIO) -> tuple[tuple[int, int, int, Any, bool], ...]:
    kept = []
    for tag in page.tags:
        if tag.code not in KEPT_TAGS or (tag.code == 270 and page.is_shaped):  # tifffile's own note on the layout
            continue
        numbers = tag.value if isinstance(tag.value, tuple) else (tag.value,)
        if tag.dtype in _BYTES:
            value = _bytes(tag, file)
            kept.append((int(tag.code), int(tag.dtype), len(value), value, False))
        elif all(isinstance(n, float if tag.dtype in _FLOATS else int) for n in numbers):  # else it makes no sense
            kept.append((int(tag.code), int(tag.dtype), tag.count, tag.value, False))
    return tuple(kept)


def _bytes(tag: Any, file: BinaryIO) -> bytes:
    """The value as it stands in the file: tifffile may have taken it apart. A text without the zero at its end."""
    file.seek(tag.valueoffset)
    value = file.read(tag.valuebytecount)
    return value.rstrip(b"\0") if tag.dtype == 2 else value


def _exif(page: TiffPage, file: BinaryIO) -> bytes:
    """An EXIF block of the file's own EXIF and GPS tags, if it has any."""
    if page.tags.get(_EXIF) is None and page.tags.get(_GPS) is None:
        return b""
    whole, block = Image.Exif(), Image.Exif()
    file.seek(0)
    whole.load_from_fp(file)
    for code in _ABOUT:
        if code in whole:
            block[code] = whole[code]
    for code in (_EXIF, _GPS):
        block.get_ifd(code).update(whole.get_ifd(code))
    return block.tobytes()
