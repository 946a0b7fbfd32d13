"""Image files: how each format is written."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from PIL import Image

from i2i.images.picture import Picture


def write(picture: Picture, to: Path | BinaryIO, format: str) -> None:
    """Writes a picture with all that `picture.stored` keeps and the format can hold.

    Raises ValueError for a picture that the format cannot hold without loss, OSError for a full disk, say.
    """
    pixels = picture.pixels
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(to, format)
