"""What the fixed samples show: how far they were changed, how different they are, what is hidden in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

DIRECTIONS = ("ab", "ba")
N_BINS = 64
FLAT = 0.02
"""Brightness that varies less than this, in [0, 1], has no pattern to compare."""


def measured(images: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """Numbers by direction, and by `new_a` and `new_b`, of the samples that `Watcher.logged` describes.

    Images count in [0, 1]. What cannot be said of these images is left out.
    """
    unit = {name: (tensor.detach().float().cpu() + 1) / 2 for name, tensor in images.items()}
    numbers = {direction: dict(_of_translation(unit, direction)) for direction in DIRECTIONS if direction in unit}
    numbers |= {name: dict(_of_new(unit[name])) for name in ("new_a", "new_b") if name in unit}
    return {key: {name: n for name, n in found.items() if math.isfinite(n)} for key, found in numbers.items()}


def _of_translation(images: Mapping[str, Tensor], direction: str) -> Iterator[tuple[str, float]]:
    source, output, real = images[direction[0]], images[direction], images.get(direction[1])
    yield "diversity", diversity(output)
    yield "diversity_inputs", diversity(source)
    if real is not None:
        yield "diversity_real", diversity(real)
    if source.shape == output.shape:
        yield "change", (output - source).abs().mean().item()
    if source.shape[-2:] == output.shape[-2:]:
        yield "correlation", correlation(source, output)
        if (partner := images.get(f"true_{direction}")) is not None:
            yield "correlation_pairs", correlation(source, partner)
            if source.shape == partner.shape:
                yield "change_pairs", (partner - source).abs().mean().item()
    if real is not None:
        yield "gap", brightness_gap(source, real)
        yield "gap_of_negatives", brightness_gap(1 - source, real)
    back = f"{direction}{direction[0]}"
    if back in images and f"{back}_noised" in images:
        yield "reconstruction", (images[back] - source).abs().mean().item()
        yield "reconstruction_noised", (images[f"{back}_noised"] - source).abs().mean().item()


def _of_new(images: Tensor) -> Iterator[tuple[str, float]]:
    yield "diversity", diversity(images)
    yield "contrast", images.flatten(1).std(1).mean().item()


def diversity(images: Tensor) -> float:
    """How much images (N, C, H, W) differ: the root of the variance over the images, averaged over all values.

    1/√2 of the root mean square distance between two of them. 0 for a single image.
    """
    if len(images) < 2:
        return 0.0
    variance = (images - images.mean(0)).square().mean() * len(images) / (len(images) - 1)  # var(0) is much slower
    return variance.sqrt().item()


def brightness(images: Tensor) -> Tensor:
    """(N, 1, H, W): the luma of RGB (ITU-R BT.601), the mean of any other channels."""
    if images.shape[1] == 3:
        return (images * images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    return images.mean(1, keepdim=True)


def correlation(first: Tensor, second: Tensor) -> float:
    """Mean over the images of Pearson's correlation between the brightness of both; nan if half of them are flat."""
    x, y = (brightness(images).flatten(1) for images in (first, second))
    patterned = (x.std(1) > FLAT) & (y.std(1) > FLAT)
    if patterned.sum() * 2 < len(x) or not len(x):
        return math.nan
    x, y = (values[patterned] - values[patterned].mean(1, keepdim=True) for values in (x, y))
    return torch.cosine_similarity(x, y, dim=1).mean().item()


def brightness_gap(images: Tensor, others: Tensor) -> float:
    """Wasserstein-1 distance between the distributions of brightness of two sets, in [0, 1]."""
    first, second = (
        torch.histc(brightness(i), N_BINS, 0, 1).cumsum(0) / brightness(i).numel() for i in (images, others)
    )
    return (first - second).abs().sum().item() / N_BINS
