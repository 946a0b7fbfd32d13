"""TIFF files: any type, any number of channels, several pages, and the tags that say what was measured."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import tifffile

from i2i.images.picture import Picture, Pixels

LOSSLESS = ("none", "lzw", "adobe_deflate", "deflate", "packbits", "zstd", "lzma")
"""Compressions that hold every type; pictures that came with another are written with the second last known: deflate."""


def write_tiff(picture: Picture, file: BinaryIO) -> None:
    """Writes a picture with as many pages, the compression, the layout and the tags that its file had."""
    stored, other = picture.stored, picture.stored.other
    pages = _pages(picture)
    size = sum(page.nbytes for page in pages)
