"""Schedules of timm against their closed formulas."""

import math

import pytest

from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.schedules import Observes, Schedule

ALL = ["restarts", "warmup_cosine", "tanh", "poly", "multistep"]


def build(engine: Engine, name: str, n_steps: int = 10, n_steps_decay: int = 40, **options: object) -> Schedule:
    found = engine.registry.resolve("schedule", {"name": name, **options}, "schedule")
    schedule: Schedule = found(n_steps, n_steps_decay)
    return schedule


def half_cosine(t: float, top: float = 1.0, final: float = 0.0) -> float:
    """Loshchilov and Hutter 2017, equation 5, at T_cur / T_i = t."""
    return final + 0.5 * (top - final) * (1 + math.cos(math.pi * t))


def test_restarts(engine: Engine) -> None:
    """39 steps and the end are 4 cycles of 10; the first falling step is one tenth into the first."""
    schedule = build(engine, "restarts", 7, 39, cycles=4, decay=0.5, final=0.1)
    assert [schedule(step) for step in range(7)] == [1.0] * 7
    for step in range(6, 6 + 40):
        cycle, t = divmod(step - 6, 10)
        assert schedule(step) == pytest.approx(half_cosine(t / 10, 0.5**cycle, 0.1), abs=1e-12)
    assert schedule(46) == schedule(1000) == pytest.approx(0.1)


def test_restarts_of_growing_cycles(engine: Engine) -> None:
    """Cycles of 10, 20 and 40 steps (T_mult = 2)."""
    schedule = build(engine, "restarts", 0, 69, cycles=3, growth=2)
    cycles = [(t, n) for n in (10, 20, 40) for t in range(n)]
    for step, (t, n) in enumerate(cycles[1:]):
        assert schedule(step) == pytest.approx(half_cosine(t / n), abs=1e-12)
    assert schedule(69) == 0


def test_restarts_when_cycles_do_not_fit_evenly(engine: Engine) -> None:
    """41 steps and the end in 4 cycles: of 11 steps each, the last two steps short."""
    schedule = build(engine, "restarts", 0, 41)
    tops = [step for step in range(41) if schedule(step) == 1.0]
    assert tops == [10, 21, 32]
    assert schedule(40) == pytest.approx(half_cosine(8 / 11))


def test_warmup_cosine(engine: Engine) -> None:
    """20% of 50 steps rise, by 1/11 each; the other 40 fall from 1."""
    schedule = build(engine, "warmup_cosine", 10, 40, warmup=0.2, final=0.1)
    assert [schedule(step) for step in range(10)] == pytest.approx([(step + 1) / 11 for step in range(10)])
    for step in range(10, 51):
        assert schedule(step) == pytest.approx(half_cosine((step - 10) / 40, 1.0, 0.1), abs=1e-12)
    assert [build(engine, "warmup_cosine", 20, 30, warmup=0.2, final=0.1)(step) for step in range(50)] == [
        schedule(step) for step in range(50)
    ]


def test_warmup_of_nothing(engine: Engine) -> None:
    schedule = build(engine, "warmup_cosine", 0, 10, warmup=0.0)
    assert [schedule(step) for step in range(11)] == pytest.approx([half_cosine(step / 10) for step in range(11)])


def test_tanh(engine: Engine) -> None:
    """Hsueh et al. 2019: ½ (1 - tanh(L + (U - L) t)), with t from 0 at the last constant step to 1 after the run."""
    schedule = build(engine, "tanh", 10, 39, lower=-4.0, upper=2.0, final=0.2)
    for step in range(9, 49):
        t = (step - 9) / 40
        expected = 0.2 + 0.8 * 0.5 * (1 - math.tanh(-4 + 6 * t))
        assert schedule(step) == pytest.approx(expected, abs=1e-12)
    assert schedule(0) == schedule(9) == pytest.approx(1, abs=1e-3)
    assert schedule(49) == schedule(500) == 0.2


@pytest.mark.parametrize("power", [0.5, 0.9, 2.0])
def test_poly(engine: Engine, power: float) -> None:
    schedule = build(engine, "poly", 10, 39, power=power, final=0.1)
    assert [schedule(step) for step in range(10)] == [1.0] * 10
    for step in range(10, 50):
        expected = 0.1 + 0.9 * (1 - (step - 9) / 40) ** power
        assert schedule(step) == pytest.approx(expected, abs=1e-12)
    assert schedule(50) == 0.1


def test_poly_of_power_1_is_linear(engine: Engine) -> None:
    poly, linear = build(engine, "poly", power=1.0), build(engine, "linear")
    assert [poly(step) for step in range(60)] == pytest.approx([linear(step) for step in range(60)])


def test_multistep(engine: Engine) -> None:
    schedule = build(engine, "multistep", 60, 40, milestones=[0.75, 0.01, 0.5], factor=0.5)
    assert [schedule(step) for step in (0, 1, 49, 50, 74, 75, 99)] == [1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    default = build(engine, "multistep", 64_000, 0)  # He et al. 2016, section 4.2: at 32k and 48k of 64k
    assert [default(step) for step in (31_999, 32_000, 47_999, 48_000)] == pytest.approx([1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("name", ALL)
def test_steps_may_be_asked_in_any_order(engine: Engine, name: str) -> None:
    schedule = build(engine, name)
    forward = [schedule(step) for step in range(55)]
    assert [schedule(step) for step in reversed(range(55))] == forward[::-1]
    assert [build(engine, name)(step) for step in range(55)] == forward
    assert not isinstance(schedule, Observes)


@pytest.mark.parametrize("name", ALL)
def test_a_run_without_decay_is_no_reason_to_warn(engine: Engine, name: str, caplog: pytest.LogCaptureFixture) -> None:
    schedule = build(engine, name, 5, 0)
    assert all(0 < schedule(step) <= 1 for step in range(5)) and not caplog.records


@pytest.mark.parametrize("name", ALL)
def test_no_step_is_lost(engine: Engine, name: str) -> None:
    schedule = build(engine, name, 3, 4)
    assert all(0 < schedule(step) <= 1 for step in range(7))


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("restarts", "cycles", 0),
        ("restarts", "growth", 3),
        ("restarts", "decay", 1.5),
        ("warmup_cosine", "warmup", 1.0),
        ("poly", "power", 0.0),
        ("multistep", "milestones", [0.5, 1.0]),
        ("tanh", "final", -0.1),
    ],
)
def test_bounds(engine: Engine, name: str, option: str, value: object) -> None:
    with pytest.raises(I2IError, match=rf"schedule\.{option}"):
        build(engine, name, **{option: value})


def test_tanh_must_rise(engine: Engine) -> None:
    with pytest.raises(I2IError, match=r"schedule: lower = 3\.0 must be less than upper = 3\.0"):
        build(engine, "tanh", lower=3.0)
