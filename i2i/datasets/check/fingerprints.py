"""Pictures that are the same, or nearly: by a checksum of their pixels, and by fingerprints that survive small changes.

A fingerprint is what perceptual hashes are made from, the lowest frequencies of a small thumbnail, but compared as
numbers instead of sign bits. A sign says little where a frequency hardly occurs, as in drawings on white.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from i2i.images import Picture

SIDE, KEPT = 16, 8
"""The thumbnail's side in px, and how many of its frequencies are kept in each direction."""
ALIKE = 0.98
"""From this likeness on two pictures count as nearly the same.

Of the embedded set, pictures saved as JPEG of quality 75 or 40, or resized from 64 to 96, 50, 37, 32 or 23 px, are
always found again, and 96 % of those brightened by a tenth, which clips their lights. Of 901,000 pairs of different
pictures 12 are as alike, `male-farmer` and `farmer` for one. Signs of the same frequencies, 64 bits of which at most 10
differ, find 91 % of the JPEGs, and 416 such pairs.
"""
_FLAT = 1.0  # in grey levels: the norm of a fingerprint below which it is but noise
_CELLS = 2**24  # likenesses that are held at a time: 64 MB

Fingerprints = NDArray[np.float32]
Key = TypeVar("Key", bound=Hashable)


def checksum(picture: Picture) -> bytes:
    """SHA-256 of the decoded pixels and the alpha: the same for equal pictures in whatever files."""
    total = hashlib.sha256(f"{picture.pixels.shape} {picture.pixels.dtype} {picture.alpha is not None}".encode())
    for part in (picture.pixels, picture.alpha):
        if part is not None:
            total.update(np.ascontiguousarray(part).data)
    return total.digest()


def _frequencies(n: int) -> NDArray[np.float64]:
    """(n, n): the orthonormal discrete cosine transform (DCT-II), a frequency in each row."""
    rows, columns = np.arange(n)[:, None], np.arange(n)[None]
    matrix: NDArray[np.float64] = np.cos(np.pi * (2 * columns + 1) * rows / (2 * n)) * np.sqrt(2 / n)
    matrix[0] /= np.sqrt(2)
    return matrix


_DCT = _frequencies(SIDE)[:KEPT]
_SLOPE = np.hypot(*np.mgrid[:KEPT, :KEPT])
"""Frequencies count as they do in a picture's slopes: layout as much as light, and brightness not at all."""


def fingerprint(thumbnail: NDArray[Any]) -> Fingerprints:
    """(SIDE, SIDE, 3), in grey levels, to (KEPT * KEPT * 3,) of length 1; all zero for a picture of nothing.

    The product of two is their likeness, at most 1.
    """
    slopes = _DCT @ thumbnail.transpose(2, 0, 1) @ _DCT.T * _SLOPE
    length = float(np.linalg.norm(slopes))
    return np.asarray(slopes / length if length > _FLAT else 0 * slopes, np.float32).reshape(-1)


def groups(keys: Iterable[Key]) -> dict[Key, list[int]]:
    """The indices of those with the same key, for keys that occur more than once."""
    found: dict[Key, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        found[key].append(index)
    return {key: indices for key, indices in found.items() if len(indices) > 1}


def nearest(
    these: Fingerprints,
    others: Fingerprints,
    kinds: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """For each of `these` the likeness of the most similar of `others`, and its index.

    Args:
        these, others: (n, d) and (m, d) fingerprints.
        kinds: (n,) and (m,) numbers; two of the same number, such as a picture and itself, are not compared.

    Returns (n,) and (n,); -1 where there is nothing to compare with.
    """
    likeness, index = np.full(len(these), -1, np.float32), np.full(len(these), -1, np.int64)
    if not len(others):
        return likeness, index
    n = max(1, _CELLS // len(others))
    for start in range(0, len(these), n):
        block = slice(start, start + n)
        products = these[block] @ others.T
        products[kinds[0][block, None] == kinds[1][None]] = -1
        index[block] = products.argmax(1)
        likeness[block] = np.take_along_axis(products, index[block, None], 1)[:, 0]
    return likeness, index
