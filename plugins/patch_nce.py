"""PatchNCE: what stands at one place of two feature maps belongs together, what stands elsewhere does not."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor
from torch.nn import functional as F

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.reference.losses import at_least_float32, without_autocast


class PatchNCE:
    """How hard it is to find each patch's partner among the other patches of the same image.

    Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", arXiv 2007.15651, equations 2 and
    3, for one layer. Each vector of the prediction is a query. Its positive is the target's vector at the same place,
    its negatives are the target's vectors at all other places of that image. All are brought to length 1, and the loss
    is the mean over queries of the cross entropy of their products divided by the temperature. The target carries no
    gradient.

    Args:
        temperature: τ; 0.07 in the paper.

    Shape: two tensors of one shape to a scalar, in float32 or wider: (N, C, H, W), where every position is a patch, or
    (N, P, C), P vectors of each image. Memory grows with the square of the number of patches.
    """

    least_at_equality = False

    def __init__(self, *, temperature: Annotated[float, Gt(0)] = 0.07) -> None:
        self.temperature = temperature

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        query, key = (unit(vectors(t)) for t in at_least_float32(prediction, target.detach()))
        with without_autocast(query):
            similarity = query @ key.mT / self.temperature  # (N, P, P); the positives are the diagonal
        # The authors move the positive to class 0 and leave -10 / τ in its place, which adds exp(-10 / τ) to a sum of
        # at least exp(-1 / τ): nothing at 0.07, and nothing of the paper's.
        places = torch.arange(query.shape[1], device=query.device)
        return F.cross_entropy(similarity.flatten(0, 1), places.repeat(len(query)))


def vectors(features: Tensor) -> Tensor:
    """(N, C, H, W) as (N, H W, C); (N, P, C) as it is."""
    return features.flatten(2).mT if features.dim() == 4 else features


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1 along the last dimension; a vector of zeros stays one (epsilon as in the authors' code)."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / (lengths + 1e-7)


@hookimpl
def register_losses() -> Factories:
    return {"patch_nce": PatchNCE}
