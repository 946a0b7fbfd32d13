"""The order of images: a pure function of the seed, so that nothing about it needs to be saved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Draw:
    """One use of one image: its index, the corner of its crop, and whether it is mirrored."""

    index: int
    top: int
    left: int
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Order:
    """An endless stream of n images: each round shows every one once, in an order of its own.

    Args:
        seed, stream: what the order depends on; two streams of one seed are independent.
        n: images.
        margin: how far a crop's corner may lie from the image's, in pixels.
        flip: mirror half of them.
    """

    seed: int
    stream: int
    n: int
    margin: int
    flip: bool

    def draw(self, position: int) -> Draw:
        """What stands at this position of the stream, from 0."""
        round_, place = divmod(position, self.n)
        index = _permutation(self.seed, self.stream, round_, self.n)[place]
        generator = _generator(self.seed, self.stream, round_, place)
        top, left = generator.integers(self.margin, size=2, endpoint=True)
        return Draw(int(index), int(top), int(left), self.flip and bool(generator.random() < 0.5))


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@lru_cache(maxsize=8)
def _permutation(seed: int, stream: int, round_: int, n: int) -> NDArray[np.int64]:
    return _generator(seed, stream, round_).permutation(n)
