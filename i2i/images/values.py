"""The range of an image's values, from dark to bright, and its way to [-1, 1] and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i.images.picture import Pixels

MOST = 3e38
"""The largest value, and its negative the least: what float32 holds, in which networks compute."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values from `low`, which becomes -1, to `high`, which becomes 1."""

    low: float
    high: float

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> Range:
        """All that an integer type holds. Raises ValueError for floats, which say nothing of their range."""
        if dtype.kind not in "iu":
            raise ValueError(f"holds {dtype.name}, which says nothing of its range")
        info = np.iinfo(dtype)
        return cls(float(info.min), float(info.max))

    def to_unit(self, values: Pixels) -> NDArray[np.float32]:
        """Values to [-1, 1], float32; what lies outside is clipped."""
        wide = values.astype(np.float64)
        wide -= self.low
        wide *= 2 / (self.high - self.low)
        wide -= 1
        return np.clip(wide, -1, 1, out=wide).astype(np.float32)

    def from_unit(self, values: Pixels, dtype: np.dtype[Any]) -> Pixels:
        """[-1, 1] to values of that type: integers rounded, and clipped to what the type holds."""
        wide = values.astype(np.float64)
        np.clip(wide, -1, 1, out=wide)
        wide += 1
        wide *= (self.high - self.low) / 2
        wide += self.low
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            np.rint(wide, out=wide)
            np.clip(wide, info.min, info.max, out=wide)
        return wide.astype(dtype)

    def outside(self, values: Pixels) -> int:
        """How many values lie outside."""
        return int(((values < self.low) | (values > self.high)).sum())
