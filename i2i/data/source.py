"""What a source of images gives: two domains, for training and held out, each read by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from PIL import Image

from i2i.images import Header, Picture
from i2i.images.picture import Pixels


@runtime_checkable
class Images(Protocol):
    """The images of one domain and split, by index from 0. `read` is called from several threads and processes.

    With an attribute `in_memory = True` they are prepared once and held, not written to the cache. With a method
    `path(index)` messages name the whole path.
    """

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Path relative to its folder, with forward slashes, or a plain name: for messages and output files."""

    def read(self, index: int) -> Picture | Image.Image | Pixels:
        """The image, decoded and upright: what `Picture.of` takes. Raises UnreadableImage."""

    def digest(self) -> str:
        """SHA-256 over names and contents, hexadecimal: the key of the cache."""


def called(images: Images, index: int) -> str:
    """What messages call an image: its path, if it has one."""
    return str(getattr(images, "path", images.name)(index))


@runtime_checkable
class Checks(Protocol):
    """Images that can be checked without decoding them."""

    def header(self, index: int) -> Header:
        """Size, channels and type, from the file's header. Raises UnreadableImage."""


@dataclass(frozen=True)
class Split:
    """Images of both domains.

    Args:
        a, b: the images.
        paired: one index is one scene in both.
        extras: what belongs to the images of a or b, by index, under a name that ends in `_a` or `_b`. Numbers, such as
            `label_a`, come in batches as (N,) int64. Images, such as `mask_b`, are resized, cropped and mirrored with
            their image and come as (N, 1, H, W) in [0, 1].
    """

    a: Images
    b: Images
    paired: bool = False
    extras: Mapping[str, Sequence[int] | Images] = field(default_factory=dict)


class Source(Protocol):
    """Where images come from; registered by `register_sources`. Mistakes in its options raise I2IError."""

    def train(self) -> Split:
        """The images to train on."""

    def test(self) -> Split | None:
        """Held-out images, if there are any."""
