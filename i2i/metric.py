"""What a metric is: a number for how good translations are, image by image or over a whole set of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

Better = Literal["lower", "higher", ""]
Need = Literal["partner", "back"]
Subsets = Callable[[Tensor, Tensor], float]
"""A statistic of some of the outputs and some of the targets, by their indices: (n,) and (m,), int64."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A batch of held-out images and their translations in one direction; all in [-1, 1], float32, on one device.

    Args:
        source: (N, C, H, W), of the domain that is translated.
        output: (N, C', H, W), what the translator made of them.
        partner: the same scenes in the other domain, (N, C', H, W), where the held-out images are pairs.
        back: the translator of the other direction, (N, C', H, W) to (N, C, H, W), where there is one.
    """

    source: Tensor
    output: Tensor
    partner: Tensor | None = None
    back: Callable[[Tensor], Tensor] | None = None


class Metric:
    """What all metrics have. A metric is an `ImageMetric` or a `SetMetric`.

    It computes where its images are, without gradients, and draws from no global random generator. For images that it
    cannot judge (of too few pixels, or with channels that its network does not take) it raises ValueError with the
    reason.
    """

    title: str = ""
    """How tables and curves are headed: `KID`; the registered name if empty."""
    better: Better = "lower"
    """Which way is better; empty if neither is."""
    unit: str = ""
    network: str = ""
    """The network whose features it compares. It becomes part of the metric's name: `kid_efficientnet_lite0`."""
    needs: ClassVar[frozenset[Need]] = frozenset()
    """What a translation must have; without it the metric is left out."""


class ImageMetric(Metric, ABC):
    """A number for each image; its mean stands for the set."""

    @abstractmethod
    def values(self, translation: Translation) -> Tensor:
        """(N,), one for each image of the batch."""


class SetMetric(Metric, ABC):
    """A number for the outputs together: a distance of their features to those of real images, say."""

    n_replicates: ClassVar[int] = 400
    """How many halves of the images its interval is made of."""
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """The least and the largest value that there can be; its interval keeps within them."""

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, D): what the statistic sees of each image, whatever the others are."""

    @abstractmethod
    def statistic(self, outputs: Tensor, targets: Tensor) -> float:
        """Of the features of outputs (n, D) and of real images of their domain (m, D), float64, on the CPU.

        Raises ValueError for too few.
        """

    def of_subsets(self, outputs: Tensor, targets: Tensor) -> Subsets:
        """The statistic of subsets, for its interval; override it where they can share what costs time."""
        return lambda some, others: self.statistic(outputs[some], targets[others])


class Remembered:
    """A function of images that is computed once for each tensor, for metrics that share a network.

    Holds the `n` tensors that were asked for last. Their contents must not change.
    """

    def __init__(self, f: Callable[[Tensor], Tensor], n: int = 2) -> None:
        self.f, self.n = f, n
        self._known: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        found = next((known for known in self._known if known[0] is images), None) or (images, self.f(images))
        self._known = [*(known for known in self._known if known is not found), found][-self.n :]
        return found[1]
