"""How sure a number is: intervals from resampled images, and differences over several trainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit
from torch import Tensor

N_REPLICATES = 1000
LEVEL = 0.95
SEED = 20170330  # replicates of two estimates over as many images are drawn alike, so that they can be subtracted

Replicates = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value over a set of images, and how far another sample of images would move it.

    Args:
        value: over all images.
        n: images that were judged.
        replicates: (R,), deviations from the value over resampled images; none for fewer than two images.
        bounds: the least and the largest value that there can be.
    """

    value: float
    n: int
    replicates: Replicates
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, by the quantiles of the replicates, within the bounds."""
        if not len(self.replicates):
            return None
        ends = self.value + np.quantile(self.replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        low, high = np.clip(ends, *self.bounds).tolist()
        return low, high


def of_images(values: Tensor) -> Estimate:
    """The mean of one value for each image, (N,); its replicates are bootstrap means (Efron 1979)."""
    known = values.double().cpu().numpy()
    n, rng = len(known), np.random.default_rng(SEED)
    value = float(known.mean())
    if n < 2:
        return Estimate(value, n, np.empty(0))
    means = np.array([known[rng.integers(0, n, n)].mean() for _ in range(N_REPLICATES)])
    return Estimate(value, n, means - value)


def of_sets(value: float, subsets: Callable[[Tensor, Tensor], float], n: int, m: int, n_replicates: int) -> Estimate:
    """A statistic of n outputs and m real images; its replicates are of random halves of both.

    Halves are drawn without replacement: the doubles of a bootstrap would count as two images that are alike, which
    distances between sets take for a lack of diversity. Their spread is that of the whole set (delete-half jackknife;
    Shao and Wu 1989, section 2); their mean, which has the larger bias of smaller sets, is taken off.
    """
    if min(n, m) < 4:
        return Estimate(value, n, np.empty(0))
    rng = np.random.default_rng(SEED)

    def half(size: int) -> Tensor:
        return torch.from_numpy(np.sort(rng.permutation(size)[: size // 2]))

    try:
        found = np.array([subsets(half(n), half(m)) for _ in range(n_replicates)])
    except ValueError:  # the whole is enough for the statistic, its halves are not
        return Estimate(value, n, np.empty(0))
    return Estimate(value, n, found - found.mean())


@dataclass(frozen=True, slots=True)
class Difference:
    """How much higher one is than the other: the mean over trainings, and its interval of 95 %.

    Args:
        p: of a difference at least as large if there were none in truth; two-sided, below 0.05 if the interval leaves
            out zero.
        n_seeds: trainings of each; with one alone the interval says nothing of their chance.
    """

    value: float
    low: float
    high: float
    p: float
    n_seeds: int

    @property
    def real(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def mean_over_seeds(estimates: Sequence[Estimate]) -> Difference:
    """The mean of estimates of several trainings, with its interval: as a difference to zero."""
    return _interval(np.array([e.value for e in estimates]), np.mean([e.replicates for e in estimates], axis=0))


def difference(first: Sequence[Estimate], other: Sequence[Estimate]) -> Difference:
    """`other` less `first`: the same metric on the same images, the trainings paired by their seeds.

    Two things are random. Which images were held out is the same for both and for all seeds: the replicates of paired
    differences tell. How a training went is different for each seed: the spread of the differences tells. Their
    variances add up; Student's t with as many degrees of freedom as Welch (1947) and Satterthwaite (1946) give.
    """
    values = np.array([b.value - a.value for a, b in zip(first, other, strict=True)])
    return _interval(values, np.mean([b.replicates - a.replicates for a, b in zip(first, other, strict=True)], axis=0))


def _interval(values: NDArray[np.float64], replicates: Replicates) -> Difference:
    n = len(values)
    value = float(values.mean())
    of_images = float(replicates.var()) if len(replicates) else 0.0
    of_seeds = float(values.var(ddof=1)) / n if n > 1 else 0.0
    error = math.sqrt(of_images + of_seeds)
    if error == 0:
        known = len(replicates) > 0 or n > 1
        reach, p = (0.0, float(value == 0)) if known else (math.inf, 1.0)
    else:
        freedom = min(error**4 / (of_seeds**2 / (n - 1)) if of_seeds else math.inf, 1e9)
        reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
        p = 2 * float(stdtr(freedom, -abs(value) / error))
    return Difference(value, value - reach, value + reach, p, n)
