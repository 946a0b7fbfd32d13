"""The file formats that are read and written, as a table: messages, documentation and both readers go by it.

What `Stored.other` holds beside the pixels, where the file has it:

| name | format | value |
| --- | --- | --- |
| `chunks` | PNG | ((kind, body), …), bytes, as they stand: gAMA, cHRM, sRGB, cICP, tEXt, zTXt, iTXt, tIME |
| `comment` | JPEG, GIF | bytes |
| `xmp` | JPEG, WebP, TIFF | bytes; in PNG it is one of the chunks |
| `lossless` | WebP | whether the file itself was |
| `compression` | TIFF | as in tifffile.COMPRESSION, in lower case: `none`, `lzw`, `adobe_deflate`, `zstd`, `jpeg`, … |
| `predictor` | TIFF | whether there is one |
| `photometric` | TIFF | as in tifffile.PHOTOMETRIC: `minisblack`, `miniswhite`, `rgb`, `palette`, `separated`, … |
| `planar` | TIFF | `contig` or `separate` |
| `tile` | TIFF | (height, width); not there for strips |
| `bigtiff` | TIFF | whether it is one |
| `byteorder` | TIFF | `<` or `>` |
| `associated` | TIFF | whether colours were multiplied by the alpha (they are not in a `Picture`) |
| `resolution` | TIFF | (across, down, unit), across and down as (numerator, denominator), unit as in the tag: 1, 2, 3 |
| `tags` | TIFF | for each page a tuple of (code, type, count, value, False), what tifffile takes as `extratags` |
| `ndim` | NPY, NPZ | 2 if the array is (H, W), 3 if it is (H, W, C) |
| `name`, `compressed` | NPZ | the name of the array, without `.npy`; whether it is deflated |

Tags are those of `KEPT_TAGS`; texts are bytes. The orientation is in none of these: pixels are upright.
"""

from __future__ import annotations

from dataclasses import dataclass

from i2i.images.picture import TYPES


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Args:
        name: as in `Stored.format`.
        title: as people write it.
        suffixes: in lower case, with the dot; the first is given to new files.
        types: of pixels that it holds.
        channels: how many it holds, an alpha not counted; none: any number.
        alpha: whether there may be one.
        lossless: what was written is read again to the last bit.
        writes: whether `write` can.
        becomes: the name of the format that translations of such files are written in.
        about: what is noteworthy about reading it.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    types: tuple[str, ...] = ("uint8",)
    channels: tuple[int, ...] = (1, 3)
    alpha: bool = False
    lossless: bool = True
    writes: bool = True
    becomes: str = ""
    about: str = ""


_TIFF = "strips or tiles, pages, palettes, CMYK, 1 to 64 bits, every usual compression, BigTIFF"
_ARRAYS = "(H, W) or (H, W, C); a second or fourth channel of 8 bits is an alpha"
_ALL = (
    Format("jpeg", "JPEG", (".jpg", ".jpeg", ".jfif"), lossless=False, becomes="png", about="CMYK by its profile"),
    Format("png", "PNG", (".png",), ("uint8", "uint16"), alpha=True, becomes="png", about="palettes, 1 to 16 bits"),
    Format("webp", "WebP", (".webp",), channels=(3,), alpha=True, becomes="webp", about="with and without loss"),
    Format("bmp", "BMP", (".bmp",), becomes="bmp", about="palettes, 1 to 8 bits"),
    Format("gif", "GIF", (".gif",), alpha=True, writes=False, becomes="png", about="one picture"),
    Format("tiff", "TIFF", (".tif", ".tiff"), TYPES, (), True, becomes="tiff", about=_TIFF),
    Format("npy", "NPY", (".npy",), TYPES, (), True, becomes="npy", about=_ARRAYS),
    Format("npz", "NPZ", (".npz",), TYPES, (), True, becomes="npz", about="the only array in it"),
)

FORMATS = {format.name: format for format in _ALL}
"""By name."""

SUFFIXES = tuple(sorted(suffix for format in _ALL for suffix in format.suffixes))
"""Of the files that are taken for images."""

KEPT_TAGS = (
    *(269, 270, 271, 272, 285, 286, 287, 297, 305, 306, 315, 316),  # names, description, make, place, software, date
    *(33432, 33550, 33723, 33922, 34264, 34735, 34736, 34737),  # copyright, IPTC, GeoTIFF
    *(42112, 42113, 50838, 50839),  # those of GDAL and ImageJ
)
"""TIFF tags that a file of translated pixels keeps: what says where, when and with what the picture was made."""


def rows() -> list[dict[str, str]]:
    """The table of formats in docs/data.md: for each, a cell under each heading."""
    return [
        {
            "format": format.title,
            "files": ", ".join(f"`{suffix}`" for suffix in format.suffixes),
            "types": ", ".join(f"`{name}`" for name in format.types),
            "channels": " or ".join(map(str, format.channels or ("any",))) + (", alpha" if format.alpha else ""),
            "read": format.about,
            "translations": FORMATS[format.becomes].title,
        }
        for format in _ALL
    ]
