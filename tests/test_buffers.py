"""Buffers: the rule of the image pool, its statistics, and its state."""

import math

import pytest
import torch
from torch import Tensor, nn

from i2i.engine import Engine
from i2i.errors import I2IError

TRIALS = 2000


def build(engine: Engine, name: str = "image_pool", **options: object) -> nn.Module:
    buffer: nn.Module = engine.registry.resolve("buffer", {"name": name, **options}, "pool")()
    return buffer


def numbered(first: int, n: int = 1) -> Tensor:
    """Images that can be told apart: all pixels of the i-th are i."""
    return torch.arange(first, first + n, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()


def within_binomial(count: int, n: int, p: float) -> bool:
    """Whether a count is within 5 standard deviations of its mean."""
    return abs(count - n * p) < 5 * math.sqrt(n * p * (1 - p))


def test_fills_first(engine: Engine) -> None:
    pool = build(engine, size=50)
    for i in range(50):
        torch.testing.assert_close(pool(numbered(i)), numbered(i), rtol=0, atol=0)
    torch.testing.assert_close(pool.images, numbered(0, 50), rtol=0, atol=0)


def test_then_swaps_half_of_them(engine: Engine) -> None:
    """A copy of the rule keeps book: what comes back is the new image, or an older one whose slot the new one takes."""
    pool = build(engine, size=5)
    pool(numbered(0, 5))
    book = [0, 1, 2, 3, 4]
    swaps, slots = 0, [0] * 5
    for i in range(5, 5 + TRIALS):
        returned = int(pool(numbered(i))[0, 0, 0, 0])
        if returned != i:
            slot = book.index(returned)
            book[slot] = i
            swaps, slots[slot] = swaps + 1, slots[slot] + 1
        assert pool.images[:, 0, 0, 0].tolist() == book
    assert within_binomial(swaps, TRIALS, 0.5)
    assert all(within_binomial(count, swaps, 1 / 5) for count in slots)


def test_batch_is_a_sequence_of_images(engine: Engine) -> None:
    """With more images than places, the first fill the pool and the others may already be swapped with them."""
    one, many = build(engine, size=3), build(engine, size=3)
    torch.manual_seed(5)
    expected = torch.cat([one(numbered(i)) for i in range(20)])
    torch.manual_seed(5)
    torch.testing.assert_close(many(numbered(0, 20)), expected, rtol=0, atol=0)
    torch.testing.assert_close(many.images, one.images, rtol=0, atol=0)


def test_state_round_trip(engine: Engine) -> None:
    pool, restored = build(engine, size=4), build(engine, size=4)
    pool(numbered(0, 10))
    images, generator = pool.images.clone(), torch.get_rng_state()
    expected = pool(numbered(10, 20))

    restored.images = images
    torch.set_rng_state(generator)
    torch.testing.assert_close(restored(numbered(10, 20)), expected, rtol=0, atol=0)
    assert set(restored.state_dict()) == {"images"}


def test_size_0_returns_the_images(engine: Engine) -> None:
    pool = build(engine, size=0)
    state = torch.get_rng_state()
    torch.testing.assert_close(pool(numbered(0, 4)), numbered(0, 4), rtol=0, atol=0)
    assert pool.images.numel() == 0
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("name", "options"), [("image_pool", {"size": 2}), ("image_pool", {"size": 0}), ("none", {})])
def test_never_a_gradient(engine: Engine, name: str, options: dict[str, int]) -> None:
    buffer = build(engine, name, **options)
    images = (numbered(0, 6) * nn.Parameter(torch.ones(()))).clone()
    assert images.requires_grad
    returned = buffer(images)
    assert not returned.requires_grad and returned.shape == images.shape
    assert not any(p.requires_grad for p in buffer.buffers())


def test_pool_keeps_what_it_took(engine: Engine) -> None:
    pool = build(engine, size=2)
    images = numbered(0, 2)
    pool(images)
    images.zero_()
    torch.testing.assert_close(pool.images, numbered(0, 2), rtol=0, atol=0)


def test_none_has_no_state(engine: Engine) -> None:
    buffer = build(engine, "none")
    for i in range(3):
        torch.testing.assert_close(buffer(numbered(i)), numbered(i), rtol=0, atol=0)
    assert not buffer.state_dict()


def test_size_is_not_negative(engine: Engine) -> None:
    with pytest.raises(I2IError, match=r"pool\.size: .*greater than or equal to 0, not -1"):
        build(engine, size=-1)
