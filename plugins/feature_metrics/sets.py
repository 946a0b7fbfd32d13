"""Numbers for how the features of outputs lie to those of real images of their domain."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

from i2i.metric import SetMetric, Subsets
from i2i_plugins.feature_metrics.network import DEFAULT, Weights, shared_network

Neighbours = Annotated[int, Ge(1)]


class Seen(SetMetric):
    """A metric of what a pretrained network gives its classifier, (N, D)."""

    def __init__(self, *, network: str = DEFAULT, weights: Weights = "auto") -> None:
        self.see = shared_network(network, weights)
        self.network = self.see.name

    def features(self, images: Tensor) -> Tensor:
        return self.see(images).pooled


class FID(Seen):
    """Fréchet distance of outputs and real images; compare it over equal numbers of images alone.

    Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", arXiv
    1706.08500, appendix A1: |μ - μ'|² + tr(Σ + Σ' - 2 (Σ Σ')^½) of the means and covariances of the features. The
    paper's is that of `network = "inception"` and 50,000 images. The fewer images, the larger it is (Bińkowski et al.
    2018, section 4): then take `kid`.

    Args:
        network: whose features: `efficientnet_lite0` (comes with i2i), `inception` (the published one, downloads),
            `dinov2` or any of timm (download).
        weights: `auto`, its own, or a .safetensors file with timm's names.
    """

    title = "FID"
    bounds = (0, torch.inf)
    n_replicates: ClassVar[int] = 100  # each is a decomposition

    def statistic(self, outputs: Tensor, targets: Tensor) -> float:
        _at_least(2, outputs, targets)
        mean_gap = (outputs.mean(0) - targets.mean(0)).square().sum()
        x, y = _covariance_root(outputs), _covariance_root(targets)
        # Σ = XᵀX and Σ' = YᵀY; ΣΣ' has the eigenvalues of XYᵀ (XYᵀ)ᵀ: the squares of the singular values of XYᵀ
        shared = torch.linalg.svdvals(x @ y.T).sum()
        return (mean_gap + x.square().sum() + y.square().sum() - 2 * shared).item()


def _covariance_root(features: Tensor) -> Tensor:
    """X with XᵀX the covariance of (n, D): (min(n, D), D)."""
    n, width = features.shape
    centred = (features - features.mean(0)) / (n - 1) ** 0.5
    return centred if n <= width else torch.linalg.qr(centred, mode="r").R


class Pairs(NamedTuple):
    """A number for each two images.

    Args:
        outputs: (n, n), of two outputs.
        across: (n, m), of an output and a real image.
        targets: (m, m), of two real images.
    """

    outputs: Tensor
    across: Tensor
    targets: Tensor


class OfPairs(Seen):
    """A metric that sees images two by two, so that its subsets need no more than parts of three matrices."""

    @abstractmethod
    def compare(self, some: Tensor, others: Tensor) -> Tensor:
        """(n, D) and (m, D) to (n, m)."""

    @abstractmethod
    def of_pairs(self, pairs: Pairs) -> float:
        """The statistic. Raises ValueError for too few images."""

    def statistic(self, outputs: Tensor, targets: Tensor) -> float:
        return self.of_pairs(self._pairs(outputs, targets))

    def of_subsets(self, outputs: Tensor, targets: Tensor) -> Subsets:
        whole = self._pairs(outputs, targets)

        def subset(some: Tensor, others: Tensor) -> float:
            within, across, real = whole.outputs[some], whole.across[some], whole.targets[others]
            return self.of_pairs(Pairs(within[:, some], across[:, others], real[:, others]))

        return subset

    def _pairs(self, outputs: Tensor, targets: Tensor) -> Pairs:
        compared = ((outputs, outputs), (outputs, targets), (targets, targets))
        return Pairs(*(self.compare(some, others) for some, others in compared))


class KID(OfPairs):
    """Kernel distance of outputs and real images: 0 on average where both are of one kind.

    Bińkowski et al. 2018, "Demystifying MMD GANs", arXiv 1801.01401, section 4: the unbiased squared maximum mean
    discrepancy with the kernel (xᵀy / D + 1)³, over all images at once, where the authors average over random subsets.
    Few images make it uncertain, not larger; it may fall below 0. The paper's is that of `network = "inception"`;
    tables often print it times 100 or 1,000.

    Args:
        network: whose features: `efficientnet_lite0` (comes with i2i), `inception` (the published one, downloads),
            `dinov2` or any of timm (download).
        weights: `auto`, its own, or a .safetensors file with timm's names.
    """

    title = "KID"

    def compare(self, some: Tensor, others: Tensor) -> Tensor:
        return (some @ others.T / some.shape[1] + 1) ** 3

    def of_pairs(self, pairs: Pairs) -> float:
        _at_least(2, pairs.outputs, pairs.targets)
        return (_mean_of_two(pairs.outputs) + _mean_of_two(pairs.targets) - 2 * pairs.across.mean()).item()


class Distances(OfPairs):
    """A metric of Euclidean distances."""

    better = "higher"
    bounds = (0, torch.inf)

    def compare(self, some: Tensor, others: Tensor) -> Tensor:
        return torch.cdist(some, others)


class Diversity(Distances):
    """Mean distance of two outputs, over that of two real images: 1 as diverse, 0 all the same.

    Args:
        network: whose features: `efficientnet_lite0` (comes with i2i), `inception` (of published FIDs, downloads),
            `dinov2` or any of timm (download).
        weights: `auto`, its own, or a .safetensors file with timm's names.
    """

    title = "diversity"

    def of_pairs(self, pairs: Pairs) -> float:
        _at_least(2, pairs.outputs, pairs.targets)
        apart = _mean_of_two(pairs.targets)
        if apart == 0:
            raise ValueError("the real images are all the same")
        return (_mean_of_two(pairs.outputs) / apart).item()


class Neighbourhoods(Distances):
    """A metric of balls around images, each out to its k-th nearest neighbour among those of its own set."""

    bounds = (0, 1)

    def __init__(self, *, neighbours: Neighbours = 5, network: str = DEFAULT, weights: Weights = "auto") -> None:
        super().__init__(network=network, weights=weights)
        self.neighbours = neighbours

    def radii(self, within: Tensor) -> Tensor:
        """(n, n) to (n,)."""
        _at_least(self.neighbours + 1, within)
        return within.kthvalue(self.neighbours + 1).values  # the nearest to an image is itself


class Precision(Neighbourhoods):
    """Part of the outputs that lie among the real images: how many look real.

    Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", arXiv 1904.06991,
    equations 1 and 2: within the ball around some real image, out to its k-th nearest. One odd real image has a large
    ball; `density` counts how many balls an output is in.

    Args:
        neighbours: k; 3 in the paper.
        network: whose features: `efficientnet_lite0` (comes with i2i), `inception` (of published FIDs, downloads),
            `dinov2` or any of timm (download).
        weights: `auto`, its own, or a .safetensors file with timm's names.
    """

    title = "precision"

    def of_pairs(self, pairs: Pairs) -> float:
        return (pairs.across <= self.radii(pairs.targets)).any(1).double().mean().item()


class Recall(Neighbourhoods):
    """Part of the real images that lie among the outputs: how much of their variety is there.

    Kynkäänniemi et al. 2019, arXiv 1904.06991, equations 1 and 2: `precision` with the sets exchanged. Its balls are
    those around outputs, large ones around odd outputs; those of `coverage` are around real images.

    Args:
        neighbours: k; 3 in the paper.
        network: whose features: `efficientnet_lite0` (comes with i2i), `inception` (of published FIDs, downloads),
            `dinov2` or any of timm (download).
        weights: `auto`, its own, or a .safetensors file with timm's names.
    """

    title = "recall"

    def of_pairs(self, pairs: Pairs) -> float:
        inside = pairs.across <= self.radii(pairs.outputs)[:, None]
        return inside.any(0).double().mean().item()


class Density(Neighbourhoods):
    """How many neighbourhoods of real images an output is in, over k: near 1 for real images.

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", arXiv 2002.09797, section
    3.2. May exceed 1.

    Args:
        neighbours: k; 5 in the paper.
        network: whose features: `efficientnet_lite0` (comes with i2i), `inception` (of published FIDs, downloads),
            `dinov2` or any of timm (download).
        weights: `auto`, its own, or a .safetensors file with timm's names.
    """

    title = "density"
    bounds = (0, torch.inf)

    def of_pairs(self, pairs: Pairs) -> float:
        return (pairs.across <= self.radii(pairs.targets)).sum(1).double().mean().item() / self.neighbours


class Coverage(Neighbourhoods):
    """Part of the real images with an output among their neighbours: how much variety is there.

    Naeem et al. 2020, arXiv 2002.09797, section 3.2.

    Args:
        neighbours: k; 5 in the paper.
        network: whose features: `efficientnet_lite0` (comes with i2i), `inception` (of published FIDs, downloads),
            `dinov2` or any of timm (download).
        weights: `auto`, its own, or a .safetensors file with timm's names.
    """

    title = "coverage"

    def of_pairs(self, pairs: Pairs) -> float:
        return (pairs.across <= self.radii(pairs.targets)).any(0).double().mean().item()


def _mean_of_two(within: Tensor) -> Tensor:
    """The mean over pairs of different images, of a matrix (n, n)."""
    n = len(within)
    return (within.sum() - within.trace()) / (n * (n - 1))


def _at_least(n: int, *sets: Tensor) -> None:
    """Raises ValueError for sets of fewer images."""
    if (least := min(map(len, sets))) < n:
        raise ValueError(f"it needs at least {n} images of a domain, not {least}")
