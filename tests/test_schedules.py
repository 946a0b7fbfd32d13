"""Schedules against their formulas, the authors' rule and torch's own plateau."""

import json
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.schedules import Observes, Schedule


def build(engine: Engine, name: str, n_steps: int = 100, n_steps_decay: int = 100, **options: object) -> Schedule:
    schedule: Schedule = engine.registry.resolve("schedule", {"name": name, **options}, "schedule")(
        n_steps, n_steps_decay
    )
    assert isinstance(schedule, Schedule)
    return schedule


def test_linear_is_the_authors_rule(engine: Engine) -> None:
    """Their `lambda_rule`, with steps for epochs: 1 - max(0, epoch + 1 - n_epochs) / (n_epochs_decay + 1)."""
    schedule = build(engine, "linear", 7, 5)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    theirs = LambdaLR(optimizer, lambda epoch: 1.0 - max(0, epoch + 1 - 7) / float(5 + 1))
    for step in range(13):
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-15)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_constant_then_down_to_zero(engine: Engine, name: str) -> None:
    schedule = build(engine, name, 100, 50)
    factors = [schedule(step) for step in range(152)]
    assert factors[:100] == [1.0] * 100
    assert all(x > y for x, y in pairwise(factors[99:151]))
    assert factors[149] > 0
    assert factors[150:] == [0.0, 0.0]


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_without_decay_it_is_constant(engine: Engine, name: str) -> None:
    schedule = build(engine, name, 10, 0)
    assert [schedule(step) for step in range(10)] == [1.0] * 10


def test_linear_has_equal_stairs(engine: Engine) -> None:
    schedule = build(engine, "linear", 0, 9)
    assert [schedule(step) for step in range(10)] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])


def test_cosine(engine: Engine) -> None:
    """Loshchilov and Hutter 2017, equation 5, with T_cur / T_i from 0 at the last constant step to 1 after the run."""
    schedule = build(engine, "cosine", 10, 9, final=0.2)
    for step in range(10, 20):
        expected = 0.2 + 0.5 * (1 - 0.2) * (1 + math.cos(math.pi * (step - 9) / 10))
        assert schedule(step) == pytest.approx(expected, abs=1e-15)
    assert schedule(14) == pytest.approx(0.6)
    assert schedule(1000) == pytest.approx(0.2)


def test_step(engine: Engine) -> None:
    schedule = build(engine, "step", every=30, factor=0.5)
    assert [schedule(step) for step in (0, 29, 30, 59, 60, 90)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.125]


@pytest.mark.parametrize("name", ["linear", "step", "cosine"])
def test_pure_schedules_do_not_observe(engine: Engine, name: str) -> None:
    assert not isinstance(build(engine, name), Observes)


def falling_then_flat(n: int = 60) -> list[float]:
    """A loss that falls, stays, and falls again, with noise."""
    noise = torch.rand(n, dtype=torch.float64).mul(0.02).tolist()
    return [max(3.0 - 0.2 * i, 1.0) - (0.3 if i > 40 else 0.0) + noise[i] for i in range(n)]


@pytest.mark.parametrize(("factor", "patience", "threshold"), [(0.2, 5, 0.01), (0.5, 0, 0.05), (0.1, 2, 0.0)])
def test_plateau_is_that_of_torch(engine: Engine, factor: float, patience: int, threshold: float) -> None:
    schedule = build(engine, "plateau", loss="cycle_b", factor=factor, patience=patience, threshold=threshold)
    assert isinstance(schedule, Observes)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    theirs = ReduceLROnPlateau(optimizer, factor=factor, patience=patience, threshold=threshold, eps=0.0)
    for step, value in enumerate(falling_then_flat()):
        assert schedule(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        schedule.observe({"cycle_a": -1.0, "cycle_b": value})
        theirs.step(value)
    assert schedule(60) < 1


def test_plateau_of_a_negative_loss(engine: Engine) -> None:
    """An improvement lies below the lowest loss, whatever its sign."""
    schedule = build(engine, "plateau", loss="adversarial_ab", patience=0)
    schedule.observe({"adversarial_ab": -1.0})
    schedule.observe({"adversarial_ab": -1.5})
    assert schedule(0) == 1.0
    schedule.observe({"adversarial_ab": -1.5})
    assert schedule(0) == 0.2


def test_plateau_state_survives_json_exactly(engine: Engine) -> None:
    losses = falling_then_flat()
    for cut in (0, 1, 17, 45):
        whole, first, second = (build(engine, "plateau", patience=1, factor=0.3) for _ in range(3))
        for value in losses:
            whole.observe({"cycle_a": value})
        for value in losses[:cut]:
            first.observe({"cycle_a": value})
        text = json.dumps(first.state_dict(), allow_nan=False)
        second.load_state_dict(json.loads(text))
        assert second.state_dict() == first.state_dict()
        for value in losses[cut:]:
            second.observe({"cycle_a": value})
        assert second.state_dict() == whole.state_dict()
        assert second(60) == whole(60) < 1


def test_plateau_over_a_loss_that_is_not_logged(engine: Engine) -> None:
    schedule = build(engine, "plateau", loss="cycle_c")
    with pytest.raises(I2IError) as caught:
        schedule.observe({"cycle_a": 1.0, "D_a": 0.5})
    message = str(caught.value)
    assert message.startswith("schedule.loss: no loss 'cycle_c' is logged; did you mean 'cycle_a'?")
    assert "D_a" in message


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [("step", "every", 0), ("step", "factor", 1.0), ("cosine", "final", 1.0), ("plateau", "patience", -1)],
)
def test_bounds(engine: Engine, name: str, option: str, value: float) -> None:
    with pytest.raises(I2IError, match=rf"schedule\.{option}: "):
        build(engine, name, **{option: value})
