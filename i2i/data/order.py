"""The order of images: a pure function of the seed, so that nothing about it needs to be saved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Draw:
    """One use of one image: its index, and what everything random about this use depends on."""

    index: int
    seed: int
    key: tuple[int, ...]

    def chance(self, *of: int) -> np.random.Generator:
        """A generator for this use; `of` tells those of different things apart."""
        return _generator(self.seed, *self.key, *of)


@dataclass(frozen=True, slots=True)
class Order:
    """An endless stream of n images: each round shows every one once, in an order of its own.

    Args:
        seed, stream: what the order depends on; two streams of one seed are independent.
        n: images.
    """

    seed: int
    stream: int
    n: int

    def draw(self, position: int) -> Draw:
        """What stands at this position of the stream, from 0."""
        round_, place = divmod(position, self.n)
        index = _permutation(self.seed, self.stream, round_, self.n)[place]
        return Draw(int(index), self.seed, (self.stream, round_, place))


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@lru_cache(maxsize=8)
def _permutation(seed: int, stream: int, round_: int, n: int) -> NDArray[np.int64]:
    return _generator(seed, stream, round_).permutation(n)
