"""Statistics of an image whose pieces come one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Number, mean and sum of squared distances from it, of each channel: (1, C, 1, 1), float64."""

    n: float
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, piece: Tensor, axes: tuple[int, int]) -> Moments:
        """Of the pixels of a piece."""
        shape, last = [*piece.shape], piece.movedim(axes, (-2, -1))
        shape[axes[0]] = shape[axes[1]] = 1
        n = last.shape[-2] * last.shape[-1]
        channels = last.reshape(1, -1, n)
        # Three times as fast as var_mean; a type that is given here is that of what it returns.
        running = channels.new_zeros(channels.shape[1], dtype=torch.promote_types(piece.dtype, torch.float32))
        mean, variance = torch.batch_norm_update_stats(channels, running, running.clone(), 0.0)
        return cls(n, mean.double().reshape(shape), variance.double().reshape(shape) * n)

    def joined(self, other: Any) -> Moments:
        """Of the pixels of both (Chan et al. 1979, equation 2.1)."""
        n, apart = self.n + other.n, other.mean - self.mean
        squares = self.squares + other.squares + apart.square() * (self.n * other.n / n)
        return Moments(n, self.mean + apart * (other.n / n), squares)

    def across(self, dims: Sequence[int]) -> Moments:
        """Of all channels of these dimensions together."""
        if not dims:
            return self
        mean = self.mean.mean([*dims], keepdim=True)
        squares = self.squares + self.n * (self.mean - mean).square()
        together = self.mean.numel() // mean.numel()
        return Moments(self.n * together, mean, squares.sum([*dims], keepdim=True))

    def as_if(self, n: int) -> Moments:
        """The same mean and variance, of n pixels."""
        return Moments(n, self.mean, self.squares * (n / self.n))

    def variance(self, correction: float = 0) -> Tensor:
        """Divided by the number of pixels less `correction`."""
        return self.squares / max(self.n - correction, 0)


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest value of each channel: (1, C, 1, 1)."""

    least: Tensor
    most: Tensor

    @classmethod
    def of(cls, piece: Tensor, axes: tuple[int, int]) -> Extremes:
        return cls(piece.amin(axes, True), piece.amax(axes, True))

    def joined(self, other: Any) -> Extremes:
        """Of the pixels of both."""
        return Extremes(self.least.minimum(other.least), self.most.maximum(other.most))

    def across(self, dims: Sequence[int]) -> Extremes:
        """Of all channels of these dimensions together."""
        return Extremes(self.least.amin([*dims], True), self.most.amax([*dims], True)) if dims else self

    def as_if(self, n: int) -> Extremes:
        """The same, of n pixels."""
        return self


Gathered = Moments | Extremes
Finish = Callable[[Any], Any]
"""From what was gathered of all pixels to what the operator gives."""
