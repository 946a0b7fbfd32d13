"""Pair losses beyond powers of the difference, against their formulas."""

import math

import pytest
import torch
from torch import Tensor

from i2i.engine import Engine


def build(engine: Engine, name: str, **options: object):
    return engine.registry.resolve("loss", {"name": name, **options}, "cycle")()


def info_nce(query: Tensor, keys: Tensor, positive: int, temperature: float) -> Tensor:
    """Park et al. 2020, equation 2: -log exp(v v+ / τ) / (exp(v v+ / τ) + Σ exp(v v- / τ)) of one query."""
    cosine = torch.stack([(query * key).sum() / (query.norm() * key.norm()) for key in keys])
    exponentials = (cosine / temperature).exp()
    return -(exponentials[positive] / exponentials.sum()).log()


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_patch_nce_is_equation_2_at_every_place(engine: Engine, temperature: float) -> None:
    prediction, target = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64)
    expected = []
    for queries, keys in zip(prediction.flatten(2), target.flatten(2), strict=True):
        expected += [info_nce(queries[:, i], keys.T, i, temperature) for i in range(12)]
    loss = build(engine, "patch_nce", temperature=temperature)
    torch.testing.assert_close(loss(prediction, target), torch.stack(expected).mean(), atol=1e-6, rtol=1e-6)
    as_vectors = (prediction.flatten(2).mT, target.flatten(2).mT)
    torch.testing.assert_close(loss(*as_vectors), loss(prediction, target), rtol=0, atol=0)


def test_patch_nce_is_the_authors_arrangement(engine: Engine) -> None:
    """The positive as class 0, then all places with the query's own at -10: the same number at temperature 0.07."""
    query, key = torch.nn.functional.normalize(torch.randn(2, 3, 7, 16, dtype=torch.float64), dim=-1)
    positive = (query * key).sum(-1).reshape(-1, 1)
    others = (query @ key.mT).masked_fill(torch.eye(7, dtype=torch.bool), -10.0).reshape(-1, 7)
    logits = torch.cat([positive, others], 1) / 0.07
    expected = torch.nn.functional.cross_entropy(logits, torch.zeros(21, dtype=torch.long))
    torch.testing.assert_close(build(engine, "patch_nce")(query, key), expected, atol=1e-5, rtol=0)


def test_patch_nce_of_what_cannot_be_told_apart(engine: Engine) -> None:
    """P equal patches, or patches of zeros, give log P; patches that are orthogonal and in place give nearly 0."""
    loss = build(engine, "patch_nce")
    for same in (torch.ones(1, 9, 4), torch.zeros(1, 9, 4)):
        same.requires_grad_()
        value = loss(same, same)
        value.backward()
        assert value.item() == pytest.approx(math.log(9), abs=1e-5) and same.grad.isfinite().all()
    axes = torch.eye(9)[None]
    assert loss(axes, axes).item() == pytest.approx(math.log(1 + 8 * math.exp(-1 / 0.07)), abs=1e-6)
    assert loss(axes, axes.roll(1, 1)).item() == pytest.approx(1 / 0.07, rel=1e-4)


def test_patch_nce_teaches_the_prediction_alone(engine: Engine) -> None:
    prediction, target = (torch.randn(1, 4, 3, 3, requires_grad=True) for _ in range(2))
    build(engine, "patch_nce")(prediction, target).backward()
    assert prediction.grad.abs().sum() > 0 and target.grad is None
