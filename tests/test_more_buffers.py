"""The queue and age-weighted replay: their rules, their statistics and their state."""

import math

import pytest
import torch
from torch import Tensor, nn

from i2i.engine import Engine
from i2i.errors import I2IError


def build(engine: Engine, name: str, **options: object) -> nn.Module:
    buffer: nn.Module = engine.registry.resolve("buffer", {"name": name, **options}, "pool")()
    return buffer


def numbered(first: int, n: int = 1) -> Tensor:
    """Images that can be told apart: all pixels of the i-th are i."""
    return torch.arange(first, first + n, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()


def numbers(images: Tensor) -> list[int]:
    return images[:, 0, 0, 0].int().tolist()


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_queue_is_first_in_first_out(engine: Engine, batch: int) -> None:
    """Whatever the batch size, image i comes back at once while the queue fills and then gives image i - size."""
    queue = build(engine, "feature_queue", size=5)
    shown = [i for start in range(0, 42, batch) for i in numbers(queue(numbered(start, batch)))]
    assert shown == [i if i < 5 else i - 5 for i in range(42)]
    assert numbers(queue.images) == [37, 38, 39, 40, 41]


def test_queue_of_features(engine: Engine) -> None:
    queue = build(engine, "feature_queue", size=2)
    vectors = torch.randn(6, 128)
    torch.testing.assert_close(queue(vectors), vectors[[0, 1, 0, 1, 2, 3]], rtol=0, atol=0)


def test_replay_halves_the_chance_with_each_half_life(engine: Engine) -> None:
    """2^(-age / 2) over ages 0 to 7, normalized; counted over 6,000 draws, within 5 standard deviations."""
    replay, n = build(engine, "replay", size=8, half_life=2.0), 6000
    replay(numbered(0, 8))
    ages = [i - numbers(replay(numbered(i)))[0] for i in range(8, 8 + n)]
    weights = [2 ** (-age / 2) for age in range(8)]
    for age, weight in enumerate(weights):
        p = weight / sum(weights)
        assert abs(ages.count(age) - n * p) < 5 * math.sqrt(n * p * (1 - p))
    assert max(ages) == 7


def test_replay_keeps_the_last_in_order(engine: Engine) -> None:
    replay = build(engine, "replay", size=4)
    for i in range(3):
        replay(numbered(i))
    assert numbers(replay.images) == [0, 1, 2]
    replay(numbered(3, 6))
    assert numbers(replay.images) == [5, 6, 7, 8]


@pytest.mark.parametrize("name", ["feature_queue", "replay"])
def test_batch_is_a_sequence_of_images(engine: Engine, name: str) -> None:
    one, many = build(engine, name, size=3), build(engine, name, size=3)
    torch.manual_seed(5)
    expected = torch.cat([one(numbered(i)) for i in range(20)])
    torch.manual_seed(5)
    torch.testing.assert_close(many(numbered(0, 20)), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["feature_queue", "replay"])
def test_what_is_kept_is_a_copy_without_gradient(engine: Engine, name: str) -> None:
    buffer, weights = build(engine, name, size=4), torch.ones(1, requires_grad=True)
    buffer(numbered(-3, 4))
    images = numbered(1, 2) * weights
    assert not buffer(images).requires_grad and not buffer.images.requires_grad
    with torch.no_grad():
        images.zero_()
    assert numbers(buffer.images) == [-1, 0, 1, 2]
    assert buffer.images.untyped_storage().nbytes() == buffer.images.nbytes


@pytest.mark.parametrize("name", ["feature_queue", "replay"])
def test_the_type_of_the_newest_images(engine: Engine, name: str) -> None:
    buffer = build(engine, name, size=2)
    for dtype in (torch.float32, torch.bfloat16, torch.float32):
        assert buffer(numbered(0, 3).to(dtype)).dtype == dtype


@pytest.mark.parametrize(("name", "option"), [("feature_queue", "size"), ("replay", "size"), ("replay", "half_life")])
def test_bounds(engine: Engine, name: str, option: str) -> None:
    with pytest.raises(I2IError, match=rf"pool\.{option}: "):
        build(engine, name, **{option: 0})
