"""Canny's edges: kornia's gradients and thinning, in strips; the tracing of weak lines here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from kornia.filters import canny as kornia_canny
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
PIXELS = 1 << 17  # of a strip: kornia takes about 100 bytes for each pixel, and these fit into a cache


def canny(image: NDArray[np.float32], sigma: float, low: float, high: float) -> Bools:
    """Where edges are: (H, W) in [0, 1] to (H, W). Equals `kornia.filters.canny`, for pictures of any size.

    Raises ValueError for an image that is smaller than the blur.
    """
    height, width = image.shape
    reach = math.ceil(2 * sigma)  # as far as kornia's own 5 px reach for a sigma of 1
    if min(height, width) <= max(1, reach):
        raise ValueError(f"is {width}x{height} px, too small for the edges of a sigma of {sigma:g}")
    n_rows, margin = max(64, PIXELS // width), reach + 2  # a px for the gradient, and one for the thinning
    found = np.empty((height, width), np.float32)
    for top in range(0, height, n_rows):
        start = max(0, min(top, height - n_rows) - margin)
        strip = torch.from_numpy(image[start : top + n_rows + margin].copy())
        with torch.inference_mode():
            _, part = kornia_canny(strip[None, None], low, high, 2 * reach + 1, (sigma or 1.0,) * 2, hysteresis=False)
        found[top : top + n_rows] = part[0, 0].numpy()[top - start :][:n_rows]
    return linked(found > 0, found == 1)


def linked(weak: Bools, strong: Bools) -> Bools:
    """Strong pixels, and the weak ones that hang together with them; (H, W), 8 neighbours.

    kornia's own search passes over the whole picture once for each pixel of the longest weak line: a minute for 12
    million pixels. This one follows the lines.
    """
    open_, kept = np.pad(weak & ~strong, 1), np.pad(strong, 1)
    row = open_.shape[1]
    around = np.array([-row - 1, -row, -row + 1, -1, 1, row - 1, row, row + 1])
    open_flat, kept_flat = open_.reshape(-1), kept.reshape(-1)
    ends: NDArray[Any] = np.flatnonzero(kept_flat)
    while ends.size:
        near = (ends[:, None] + around).reshape(-1)
        ends = np.unique(near[open_flat[near]])
        open_flat[ends] = False
        kept_flat[ends] = True
    return kept[1:-1, 1:-1]
