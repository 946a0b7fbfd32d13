"""Intervals: bootstrap means, random halves, and differences over trainings, against formulas, scipy and simulation."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from i2i.intervals import Estimate, difference, mean_over_seeds, of_images, of_sets

NO_REPLICATES = np.empty(0)


def estimate(value, replicates=NO_REPLICATES):
    return Estimate(value, len(replicates), np.asarray(replicates, float))


def mean_of_halves(values, targets=None):
    """`of_sets` of a difference of means, whose spread is known."""
    x, y = torch.as_tensor(values), torch.as_tensor(values if targets is None else targets)
    statistic = (x.mean() - y.mean()).item()
    return of_sets(statistic, lambda some, others: (x[some].mean() - y[others].mean()).item(), len(x), len(y), 400)


# of_images


def test_the_mean_and_its_spread():
    values = torch.tensor(np.random.default_rng(0).normal(3, 2, 400))
    found = of_images(values)
    assert found.value == pytest.approx(values.mean().item(), abs=1e-12) and found.n == 400
    assert found.replicates.std() == pytest.approx(values.std().item() / math.sqrt(400), rel=0.08)
    assert found.replicates.mean() == pytest.approx(0, abs=0.02)
    low, high = found.interval
    assert (low, high) == pytest.approx(stats.norm.interval(0.95, found.value, values.std().item() / 20), abs=0.03)


def test_it_is_the_same_twice_and_draws_from_no_global_generator():
    values = torch.rand(20, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = of_images(values), of_images(values)
    assert np.array_equal(first.replicates, second.replicates)
    assert torch.equal(torch.get_rng_state(), before[0]) and np.array_equal(np.random.get_state()[1], before[1])


def test_two_estimates_on_the_same_images_are_resampled_alike():
    """So that their difference is the bootstrap of the paired differences."""
    x, y = (torch.tensor(np.random.default_rng(seed).normal(size=50)) for seed in (0, 1))
    paired = of_images(x - y).replicates
    assert of_images(x).replicates - of_images(y).replicates == pytest.approx(paired, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2])
def test_the_least_images(n):
    found = of_images(torch.ones(n))
    assert found.value == 1
    assert found.interval == (None if n == 1 else (1, 1))


def test_intervals_of_means_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        low, high = of_images(torch.tensor(rng.normal(1, 2, 60))).interval
        inside += low <= 1 <= high
    assert 0.90 <= inside / 200 <= 0.98


# of_sets


def test_halves_have_the_spread_of_the_whole():
    """The mean of half of n images without replacement has the variance s² / n: that of the mean of all."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, 100), rng.normal(0, 3, 64)
    found = mean_of_halves(x, y)
    assert found.replicates.std() == pytest.approx(math.sqrt(x.var(ddof=1) / 100 + y.var(ddof=1) / 64), rel=0.08)
    assert found.replicates.mean() == pytest.approx(0, abs=1e-12)


def test_intervals_of_sets_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(100):
        low, high = mean_of_halves(rng.normal(2, 1, 40), rng.normal(1, 1, 40)).interval
        inside += low <= 1 <= high
    assert 0.88 <= inside / 100 <= 0.99


def test_a_bias_of_smaller_sets_does_not_move_the_interval():
    x = torch.tensor(np.random.default_rng(0).normal(size=80))
    biased = of_sets(1.0, lambda some, others: x[some].mean().item() + 50 / len(some), 80, 80, 400)
    low, high = biased.interval
    assert low < 1.0 < high and high - low < 1


def test_sets_that_are_too_small_for_halves_have_no_interval():
    def needs_five(some, others):
        if len(some) < 5:
            raise ValueError("too few")
        return 0.0

    assert of_sets(0.0, needs_five, 3, 100, 50).interval is None
    assert of_sets(0.0, needs_five, 9, 100, 50).interval is None
    assert of_sets(0.0, needs_five, 10, 100, 50).interval == (0, 0)


# differences


def test_without_images_it_is_the_paired_t_test():
    a, b = np.array([0.31, 0.27, 0.33, 0.29]), np.array([0.24, 0.25, 0.27, 0.22])
    found = difference([estimate(v) for v in a], [estimate(v) for v in b])
    test = stats.ttest_rel(b, a)
    low, high = test.confidence_interval(0.95)
    assert found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.value == pytest.approx((b - a).mean()) and found.n_seeds == 4 and found.real


def test_of_one_training_it_is_the_spread_over_images():
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, 1000), rng.normal(0, 1, 1000)
    found = difference([estimate(1.0, x)], [estimate(1.5, y)])
    reach = 1.959964 * (y - x).std()
    assert (found.low, found.high) == pytest.approx((0.5 - reach, 0.5 + reach), abs=1e-4)
    assert not found.real


def test_both_spreads_add_up_with_the_freedom_of_welch_and_satterthwaite():
    rng = np.random.default_rng(0)
    replicates = [rng.normal(0, 0.1, 1000) for _ in range(6)]
    first = [estimate(v, r) for v, r in zip([1.0, 1.2, 0.9], replicates[:3], strict=True)]
    other = [estimate(v, r) for v, r in zip([2.0, 1.9, 2.4], replicates[3:], strict=True)]
    found = difference(first, other)
    differences = np.array([1.0, 0.7, 1.5])
    images = (np.mean(replicates[3:], axis=0) - np.mean(replicates[:3], axis=0)).var()
    seeds = differences.var(ddof=1) / 3
    freedom = (images + seeds) ** 2 / (seeds**2 / 2)
    reach = stats.t.ppf(0.975, freedom) * math.sqrt(images + seeds)
    assert (found.value, found.high - found.value) == pytest.approx((differences.mean(), reach), rel=1e-9)
    assert found.real


def test_what_images_have_in_common_cancels():
    shared = np.random.default_rng(0).normal(0, 1, 1000)
    found = difference([estimate(5.0, shared)], [estimate(5.1, shared + 1e-3 * shared[::-1])])
    assert found.real and found.high - found.low < 0.01


def test_the_same_bits_differ_by_nothing():
    same = [estimate(0.3, np.random.default_rng(0).normal(size=100))]
    for n_seeds in (1, 3):
        found = difference(same * n_seeds, same * n_seeds)
        assert (found.value, found.low, found.high, found.real) == (0, 0, 0, False)


def test_one_training_of_one_image_says_nothing():
    found = difference([estimate(1.0)], [estimate(2.0)])
    assert (found.low, found.high) == (-math.inf, math.inf) and not found.real


def test_mean_over_seeds():
    values = np.array([0.3, 0.5, 0.4])
    found = mean_over_seeds([estimate(v) for v in values])
    expected = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
