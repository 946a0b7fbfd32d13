"""TIFF files: any type, any number of channels, several pages, and the tags that say what was measured."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import SEEK_END
from typing import Any, BinaryIO, Literal

import tifffile
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from i2i.images.formats import KEPT_TAGS
from i2i.images.picture import Picture, Pixels, Read, Stored

_DEFLATE = "adobe_deflate"
_LOSSLESS = ("none", "lzw", _DEFLATE, "deflate", "packbits", "zstd", "lzma")  # those that take pixels of any type
_LEVELED = (_DEFLATE, "deflate", "zstd")  # at level 1 they take half the time of the usual, for one per cent more
_COLOURS = ("rgb", "palette", "separated", "ycbcr")  # all of them are read as RGB
_CLASSIC = 2**32 - 2**25  # bytes: what offsets of 32 bits reach, with room for tags
_TILE = 1024  # pixels: every tile is padded to its size, and a file may ask for one of gigabytes
_TILED = 512  # pixels a side of tiles that are not given
_BYTE, _ASCII, _LONG = 1, 2, 4
_DESCRIPTION, _XMP = 270, 700
_FOLDERS = {0x8769: "ExifTag", 0x8825: "GPSTag"}  # tags that lead to others; tifffile lets them pass by name only
_INTEROPERABILITY = 0xA005  # a folder within that of EXIF, which says no more than the version of its own rules
_OME_TYPES = {"float32": "float", "float64": "double"}

Tag = tuple[int | str, int, int, Any, bool]
"""What tifffile takes as one of `extratags`: a code or a name, a type, a count, a value, and not only once."""


def write_tiff(picture: Picture, file: BinaryIO, read: Read | None = None) -> None:
    """Writes a picture with the pages, the compression, the layout and the tags that its file had.

    What came from another format, or was compressed with loss, is deflated. Colours are not multiplied by the alpha.

    Args:
        file: empty, and open for reading and writing.
        read: what gives the samples if memory does not hold them; those of the picture are not looked at, and tiles are
            written whatever its file had.
    """
    if read and "tile" not in picture.stored.other:
        tiled = {**picture.stored.other, "tile": (_TILED, _TILED)}
        picture = replace(picture, stored=replace(picture.stored, other=tiled))
    stored, other, pages = picture.stored, picture.stored.other, _pages(picture)
    n_bytes = math.prod(picture.size) * pages[-1].stop * picture.pixels.dtype.itemsize
    big = other.get("bigtiff", False) or n_bytes > _CLASSIC
    order: Literal["<", ">"] = "<" if big else other.get("byteorder", "<")
    with tifffile.TiffWriter(file, bigtiff=big, byteorder=order, shaped=False) as tiff:
        exif = _exif_tags(stored.exif, file, big, order)
        for number, page in enumerate(pages):
            tags = _tags(picture, number, len(pages))
            layout = _layout(picture, page.stop - page.start, len(pages))
            data = _tiles(picture, page, layout, read) if read else {"data": _arranged(picture, page, layout)}
            tiff.write(
                **data,
                **layout,
                **_compression(other),
                **_resolution(stored),
                iccprofile=stored.profile or None,
                extratags=list((tags if number else exif | tags).values()),
                metadata=None,
                software=False,
                maxworkers=1,  # several files are written at once
            )


def _pages(picture: Picture) -> list[slice]:
    """The samples of each: as many pages as the file had, if the channels still make so many."""
    n, n_samples = picture.stored.pages, picture.pixels.shape[2] + (picture.alpha is not None)
    each = n_samples // n if picture.alpha is None and n_samples % n == 0 else n_samples
    return [slice(first, first + each) for first in range(0, n_samples, each)]


def _layout(picture: Picture, n: int, n_pages: int) -> dict[str, Any]:
    """How tifffile is to write a page of n samples: what these are, and how they lie."""
    (width, height), other = picture.size, picture.stored.other
    planar = n > 1 and other.get("planar") == "separate"
    colours = n > 2 and (picture.colour == "rgb" or other.get("photometric") in _COLOURS)
    colours |= n == 3 and n_pages > 1  # pages of grey that became RGB are bands, taken together
    layout: dict[str, Any] = {"photometric": "rgb" if colours else "minisblack"}
    if n > 1:
        n_extra = n - 3 if colours else n - 1
        layout["planarconfig"] = "separate" if planar else "contig"
        layout["extrasamples"] = ["unassalpha"] if picture.alpha is not None else ["unspecified"] * n_extra
    if tile := other.get("tile"):
        largest = [max(_TILE, -(-n // 16) * 16) for n in (height, width)]
        layout["tile"] = tuple(map(min, tile, largest))
    return layout


def _arranged(picture: Picture, page: slice, layout: Mapping[str, Any]) -> Pixels:
    """A page as tifffile takes it."""
    samples = picture.samples[:, :, page]
    if samples.shape[2] == 1:
        return samples[:, :, 0]
    return samples.transpose(2, 0, 1) if layout["planarconfig"] == "separate" else samples


def _tiles(picture: Picture, page: slice, layout: Mapping[str, Any], read: Read) -> dict[str, Any]:
    """The same, tile by tile."""
    (width, height), (rows, columns), n = picture.size, layout["tile"], page.stop - page.start
    planar = layout.get("planarconfig") == "separate"
    planes = [slice(i, i + 1) for i in range(page.start, page.stop)] if planar else [page]
    shape = (height, width) if n == 1 else (n, height, width) if planar else (height, width, n)

    def tiles() -> Iterator[Pixels]:
        for plane in planes:
            for top in range(0, height, rows):
                # A band at once: reading tile by tile would go through the band's rows again for each.
                band = read(slice(top, min(top + rows, height)), slice(0, width))[:, :, plane]
                for left in range(0, width, columns):
                    yield band[:, left : left + columns]

    return {"data": tiles(), "shape": shape, "dtype": picture.pixels.dtype}


def _compression(other: Mapping[str, Any]) -> dict[str, Any]:
    name, predictor = other.get("compression"), other.get("predictor", True)
    if name == "none":
        return {}
    if name not in _LOSSLESS:
        name, predictor = _DEFLATE, True
    return {
        "compression": name,
        "compressionargs": {"level": 1} if name in _LEVELED else None,
        "predictor": predictor or None,
    }


def _resolution(stored: Stored) -> dict[str, Any]:
    if exact := stored.other.get("resolution"):
        return {"resolution": exact[:2], "resolutionunit": exact[2]}
    return {"resolution": stored.dpi, "resolutionunit": "inch"} if stored.dpi else {}


def _tags(picture: Picture, number: int, n_pages: int) -> dict[int | str, Tag]:
    """Those that the page had, by their codes, without what they say of pixels that are others now."""
    had = picture.stored.other.get("tags", ())
    tags = {tag[0]: tag for tag in (had[number] if number < len(had) else ())}
    if _DESCRIPTION in tags and not _is_true(tags[_DESCRIPTION][3], picture, n_pages):
        del tags[_DESCRIPTION]
    if number == 0 and (xmp := picture.stored.other.get("xmp")):
        tags[_XMP] = (_XMP, _BYTE, len(xmp), xmp, False)
    return tags


def _is_true(description: Any, picture: Picture, n_pages: int) -> bool:
    """Whether what ImageJ or OME say of the pixels in a description is so; what others say is not about these."""
    (width, height), n = picture.size, picture.pixels.shape[2] + (picture.alpha is not None)
    if not isinstance(description, bytes):  # no text at all
        return False
    if description.startswith(b"ImageJ="):
        images = re.search(rb"^images=(\d{1,9})\s", description, re.MULTILINE)
        return int(images[1] if images else 1) == n_pages
    if found := re.search(rb"<(?:\w+:)?Pixels\s[^>]*>", description):
        says = dict(re.findall(rb'\s(Type|Size\w)="(\w{1,9})"', found[0]))
        dtype = picture.pixels.dtype.name
        true = {b"SizeX": str(width), b"SizeY": str(height), b"Type": _OME_TYPES.get(dtype, dtype)}
        n_planes = math.prod(int(size) for key, size in says.items() if key[-1:] in b"CZT" and size.isdigit())
        return n_planes == n and all(says.get(key) == value.encode() for key, value in true.items())
    return True


def _exif_tags(exif: bytes, file: BinaryIO, big: bool, order: str) -> dict[int | str, Tag]:
    """An EXIF block as tags; the folders in it are written at the end of the file. A damaged block is left out."""
    block, tags = Image.Exif(), dict[int | str, Tag]()
    head = b"II+\0" + bytes(12) if big else (b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    try:
        block.load(exif)
        for code, name in _FOLDERS.items():
            folder = ImageFileDirectory_v2(head, group=code)
            for key, value in block.get_ifd(code).items():
                if key != _INTEROPERABILITY:
                    folder[key] = value
            if folder:
                at = file.seek(0, SEEK_END)
                file.write(folder.tobytes(at))
                tags[name] = (name, _LONG, 1, at, False)
        for code, value in block.items():
            if code in KEPT_TAGS and isinstance(value, str):
                tags[code] = (code, _ASCII, 0, value.encode(), False)
    except Exception:  # Pillow raises whatever broken bytes lead it to
        return tags
    return tags
