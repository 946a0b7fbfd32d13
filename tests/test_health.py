"""The health monitor: each failure is provoked by a short training and named, and healthy trainings raise no alarm."""

import json
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import nn

from i2i import hookimpl
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.recipe import resolve
from i2i.run import Run
from i2i.watch import Rollback, Running
from i2i.watch.health import Health
from i2i.watch.health.measures import brightness_gap, correlation, diversity, measured
from i2i.watch.metrics_file import MetricsFile, cut_back


class Blind(nn.Module):
    """A picture that it learns, whatever it is shown."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.randn(1, out_channels, 16, 16) * 0.1)

    def forward(self, x):
        return self.picture.tanh().expand(len(x), -1, -1, -1)


class Pointwise(nn.Conv2d):
    """The mean over the channels times a factor, or times 1 / factor into more channels; then whatever it learns."""

    def __init__(self, in_channels: int, out_channels: int, *, factor: float = 1.0) -> None:
        super().__init__(in_channels, out_channels, 1)
        alike = in_channels == out_channels
        each = torch.eye(in_channels) if alike else torch.full((out_channels, in_channels), 1 / in_channels)
        with torch.no_grad():
            self.weight.copy_(((1 / factor if in_channels < out_channels else factor) * each)[..., None, None])
            self.bias.zero_()

    def forward(self, x):
        return super().forward(x).clamp(-1, 1)


@hookimpl
def register_generators():
    return {"blind": Blind, "pointwise": Pointwise}


@pytest.fixture(scope="module")
def engine() -> Engine:
    mine = types.ModuleType("provoking")
    mine.register_generators = register_generators
    names = (
        "schedules",
        "pairs",
        "pix2pix",
        "adversarial_losses",
        "penalties",
        "unet",
        "pair_losses",
        "normalizations",
    )
    return Engine([mine, *(f"i2i_plugins.{name}" for name in names)], entry_points=False)


def images(folder: Path, n: int, seed: int, low=0.0, high=1.0, grey=False) -> str:
    """n RGB images of 16 px of random blots, in colours or grey, between two levels of [0, 1]."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(n):
        blots = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).convert("L" if grey else "RGB")
        levels = low + (high - low) * np.asarray(blots.resize((16, 16)).convert("RGB")) / 255
        Image.fromarray((255 * levels).round().astype(np.uint8)).save(folder / f"{i}.png")
    return str(folder)


def two_domains(folder: Path, a: dict | None = None, b: dict | None = None) -> dict:
    """[data] of unpaired images; a and b are blots of the same kind unless said otherwise."""
    found = {"a": images(folder / "a", 12, 1, **a or {}), "b": images(folder / "b", 12, 2, **b or {})}
    return {"source": {"name": "folders", **found}, "load_size": 16, "crop_size": 16, "flip": False}


def train(folder: Path, engine: Engine, n_steps: int, watcher: Health | None = None, **tables) -> tuple[list, str]:
    """Trains with the monitor; gives what it told, and how the run ended."""
    tables = {"data": two_domains(folder / "data"), "eval": {"metrics": []}, **tables}
    length = {"n_steps": n_steps, "n_steps_decay": 0} | tables.pop("schedule", {})
    trained = {"log_every": 1, "sample_every": 10, "save_every": 1000, "seed": 0} | tables.pop("train", {})
    document = tiny.document(folder / "tiny", schedule=length, **tables)
    document["train"] |= trained
    document = {key: value for key, value in document.items() if value is not None}
    recipe = resolve(document, engine.registry, list(engine.plugins))
    run = Run(folder / "run")
    run.folder.mkdir(exist_ok=True)
    loop = tiny.loop(recipe, run, engine, [MetricsFile(), watcher or Health()], lambda text: None)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        try:
            ended = loop.go()
        except I2IError as error:
            ended = str(error)
    events = lines(run.folder / "health.jsonl")
    texts = [str(w.message) for w in shown]
    assert [f"{e['sign']}: {e['text']}" for e in events] == texts or watcher
    return events, ended


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def signs(events: list[dict]) -> set[tuple[str, str]]:
    return {(event["sign"], event["where"]) for event in events}


def test_a_healthy_training_raises_no_alarm(tmp_path, engine):
    game = {"generator": {"base_channels": 4, "n_blocks": 1}, "discriminator": {"base_channels": 4, "n_layers": 1}}
    assert train(tmp_path, engine, 80, **game) == ([], "")


def test_a_discriminator_that_learns_a_hundred_times_faster(tmp_path, engine):
    data = two_domains(tmp_path / "d", {"low": 0.6}, {"high": 0.4})
    rates = {"generators": {"lr": 2e-5}, "discriminators": {"lr": 2e-3}}
    judge = {"base_channels": 8, "n_layers": 1, "norm": "none"}
    events, _ = train(tmp_path, engine, 80, data=data, optim=rates, discriminator=judge)
    assert ("discriminator winning", "b") in signs(events)
    event = next(e for e in events if e["sign"] == "discriminator winning" and e["where"] == "b")
    assert event["evidence"]["loss"] < 0.05 and event["evidence"]["real"] > event["evidence"]["fake"] + 0.5
    assert "tells real from fake images" in event["text"]


def test_a_critic_without_bounds(tmp_path, engine):
    data = two_domains(tmp_path / "d", {"low": 0.6}, {"high": 0.4})
    judge = {"base_channels": 8, "n_layers": 1, "norm": "none"}
    optim = {"generators": {"lr": 2e-5}, "discriminators": {"lr": 5e-3}}
    events, _ = train(
        tmp_path, engine, 80, data=data, optim=optim, discriminator=judge, adversarial={"name": "wasserstein"}
    )
    assert {sign for sign, _ in signs(events)} == {"discriminator winning"}
    assert all("run away" in e["text"] or e.get("gone") for e in events)


def test_a_generator_that_makes_one_picture(tmp_path, engine):
    events, _ = train(tmp_path, engine, 60, generator={"name": "blind"}, pool={"size": 0})
    assert {("generator collapse", "ab"), ("generator collapse", "ba")} <= signs(events)
    assert all(e["evidence"]["diversity"] < 1e-6 < e["evidence"]["diversity_inputs"] for e in events[:2])


def test_colours_that_are_inverted(tmp_path, engine):
    tables = {
        "generator": {"name": "pointwise", "factor": -1.0},
        "method": {"name": "cyclegan", "lambda_identity": 0.0},
    }
    events, _ = train(tmp_path, engine, 60, **tables)
    assert {("colour inversion", "ab"), ("colour inversion", "ba")} <= signs(events)
    assert all(e["evidence"]["correlation"] < -0.9 for e in events if e["sign"] == "colour inversion")


def test_negatives_of_films_are_meant_to_be_inverted(tmp_path, engine):
    tables = {
        "generator": {"name": "pointwise", "factor": -1.0},
        "method": {"name": "cyclegan", "lambda_identity": 0.0},
    }
    data = two_domains(tmp_path / "d", {"low": 0.5}, {"high": 0.5})
    assert "colour inversion" not in {s for s, _ in signs(train(tmp_path, engine, 60, data=data, **tables)[0])}


def test_translators_that_change_nothing(tmp_path, engine):
    data = two_domains(tmp_path / "d", {}, {"low": 0.2})
    tables = {"generator": {"name": "pointwise"}, "method": {"name": "cyclegan", "lambda_identity": 100.0}}
    events, _ = train(tmp_path, engine, 80, data=data, **tables)
    assert {("identity mapping only", "ab"), ("identity mapping only", "ba")} <= signs(events)


def test_input_that_is_hidden_in_the_translation(tmp_path, engine):
    """Colours on one side, nearly flat grey on the other, from which the way back reads them."""
    data = two_domains(tmp_path / "d", {"grey": True}, {"low": 0.5, "high": 0.5}) | {"channels": [3, 1]}
    tables = {
        "generator": {"name": "pointwise", "factor": 0.02},
        "method": {"name": "cyclegan", "lambda_identity": 0.0},
    }
    events, _ = train(tmp_path, engine, 60, data=data, **tables)
    event = next(e for e in events if (e["sign"], e["where"]) == ("hidden information", "ab"))
    assert event["evidence"]["reconstruction"] < 0.1 < 2 * event["evidence"]["reconstruction_noised"]


def test_losses_that_are_not_finite_end_the_run(tmp_path, engine):
    events, ended = train(tmp_path, engine, 40, optim={"lr": 1e30})
    assert [e["sign"] for e in events] == ["non-finite losses"] and "is nan at step" in events[0]["text"]
    assert ended.startswith(f"step {events[-1]['step']}: ")


def test_losses_that_are_not_finite_roll_back(tmp_path, engine):
    watcher = Health(on_divergence="slower", max_rollbacks=3)
    events, ended = train(tmp_path, engine, 40, watcher, optim={"lr": 1e30}, train={"save_every": 1})
    assert [e["sign"] for e in events] == ["non-finite losses"] * 4 and "is nan" in ended


def test_a_learning_rate_that_is_zero_too_early(tmp_path, engine):
    schedule = {"name": "step", "every": 10, "factor": 1e-7}
    events, _ = train(tmp_path, engine, 40, schedule=schedule, train={"sample_every": 40})
    assert signs(events) == {("learning rate at zero", "generators"), ("learning rate at zero", "discriminators")}
    assert [e["step"] for e in events] == [12, 12] and "28 steps are still to come" in events[0]["text"]


def test_a_small_set_that_is_learnt_by_heart(tmp_path, engine):
    """Pairs without a common rule: whatever is learnt of them makes others worse."""
    names = ("a", "b", "test_a", "test_b")
    folders = {name: images(tmp_path / name, 4, seed) for seed, name in enumerate(names)}
    data = {"source": {"name": "pairs", **folders}, "load_size": 16, "crop_size": 16, "flip": False}
    tables = {
        "method": {"name": "pix2pix"},
        "generator": {"name": "unet", "depth": 4, "base_channels": 8},
        "discriminator": {"base_channels": 2, "n_layers": 1},
        "optim": {"lr": 2e-3},
        "pool": None,
        "eval": {"metrics": ["l1"], "every": 5},
    }
    events, _ = train(tmp_path, engine, 100, data=data, **tables)
    assert signs(events) == {("overfitting", "ab")}
    assert "4 images are few" in events[0]["text"]


# What is told of logs written down here, and when.


def running(folder: Path, n_steps=1000, start=0, **environment) -> Running:
    folder.mkdir(exist_ok=True)
    about = {"metrics": {"l1": {"better": "lower"}, "psnr": {"better": "higher"}, "change": {"better": ""}}}
    return Running(
        folder, {"train": {"log_every": 10}}, about | environment, start, n_steps, 10.0, 1, ("day", "night"), {}
    )


def feed(run: Running, logs: list, watcher: Health | None = None) -> list[dict]:
    """Tells a monitor of (step, metrics) or (step, metrics, images); gives what it told."""
    watchers = [MetricsFile(), watcher or Health()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in watchers:
            each.started(run)
        for step, metrics, *images in logs:
            for each in watchers:
                each.logged(run, step, metrics, images[0] if images else {})
    return lines(run.folder / "health.jsonl")


def judged(n: int, loss, real, fake, seed=0) -> list:
    """n logs of a discriminator whose loss and scores are drawn from N(mean, deviation)."""
    rng = np.random.default_rng(seed)
    names = ("loss.D_b", "score.D_b_real", "score.D_b_fake")
    return [
        (10 * i, {name: rng.normal(*at) for name, at in zip(names, (loss, real, fake), strict=True)})
        for i in range(1, n + 1)
    ]


def test_diversity_is_the_distance_of_pairs():
    images = torch.rand(5, 3, 4, 4, dtype=torch.float64)
    pairs = [(images[i] - images[j]).square().mean() for i in range(5) for j in range(i)]
    assert diversity(images) == pytest.approx((torch.stack(pairs).mean() / 2).sqrt().item(), rel=1e-12)
    assert diversity(images[:1]) == 0 and diversity(images[:1].expand(4, -1, -1, -1)) == 0


def test_correlation_is_that_of_the_luma():
    x, y = torch.rand(2, 3, 6, 6, dtype=torch.float64), torch.rand(2, 1, 6, 6, dtype=torch.float64)
    luma = np.tensordot(np.array([0.299, 0.587, 0.114]), x.numpy(), (0, 1))
    expected = np.mean([np.corrcoef(luma[i].ravel(), y[i].numpy().ravel())[0, 1] for i in range(2)])
    assert correlation(x, y) == pytest.approx(expected, rel=1e-9)
    assert correlation(x, 1 - x) == pytest.approx(-1) and np.isnan(correlation(x, torch.full_like(x, 0.5)))


def test_the_gap_of_brightness_is_how_far_it_must_move():
    dark, bright = torch.full((2, 3, 4, 4), 0.2), torch.full((3, 1, 5, 5), 0.7)
    assert brightness_gap(dark, bright) == pytest.approx(0.5, abs=1 / 64)
    assert brightness_gap(dark, 1 - dark) == pytest.approx(0.6, abs=1 / 64) and brightness_gap(dark, dark) == 0


def test_what_cannot_be_said_of_samples_is_left_out():
    a, b = torch.rand(2, 3, 8, 8) * 2 - 1, torch.rand(2, 1, 8, 8) * 2 - 1
    found = measured({"a": a, "ab": b, "new_b": b})
    assert found.keys() == {"ab", "new_b"} and "change" not in found["ab"] and "gap" not in found["ab"]
    assert "change" in measured({"b": b, "ba": b})["ba"]
    assert "correlation" not in measured({"a": a, "ab": torch.zeros_like(a)})["ab"]


@pytest.mark.parametrize(
    ("loss", "real", "fake", "told"),
    [
        ((0.02, 0.005), (0.95, 0.05), (0.05, 0.05), True),  # lsgan, won
        ((0.12, 0.08), (0.7, 0.2), (0.3, 0.15), False),  # lsgan, as it usually is
        ((0.02, 0.005), (4.5, 0.5), (-4.5, 0.5), True),  # vanilla or hinge, won
        ((0.5, 0.15), (1.0, 0.8), (-0.5, 0.8), False),
        ((-2.0, 0.5), (3.0, 1.0), (1.0, 1.0), False),  # a critic estimates a distance, which may be large
        ((-9.0, 0.5), (30.0, 1.0), (1.0, 1.0), False),
        ((0.02, 0.005), (0.5, 0.3), (0.5, 0.3), False),  # a small loss alone is none
    ],
)
def test_a_discriminator_wins_on_any_scale(tmp_path, loss, real, fake, told):
    events = feed(running(tmp_path), judged(60, loss, real, fake))
    assert [(e["sign"], e["where"]) for e in events] == [("discriminator winning", "b")] * told


def test_scores_that_run_away(tmp_path):
    logs = [(10 * i, {"loss.D": -(1.2**i), "score.D_real": 1.2**i, "score.D_fake": 0.0}) for i in range(1, 60)]
    events = feed(running(tmp_path), logs)
    assert "run away" in events[0]["text"] and events[0]["evidence"]["margin"] > 20
    assert events[0]["step"] == 230  # the third log with 1.2^((i + i - 9) / 2) > 20


def test_a_sign_is_told_once_and_again_only_if_it_lasts_longer(tmp_path):
    """Rates of zero for so many logs in a row, then usual ones, and so on."""
    rates = [r for n, r in ((5, 1.0), (9, 0.0), (9, 1.0), (3, 0.0), (3, 1.0), (9, 0.0)) for r in [r] * n]
    events = feed(running(tmp_path), [(10 * i, {"lr.G": rate}) for i, rate in enumerate(rates, 1)])
    assert [(e["step"], e.get("gone", False)) for e in events] == [(70, False), (180, True), (330, False)]
    assert events[1]["text"].startswith("no longer: the learning rate of the G is 0") and events[0]["evidence"]


def test_a_schedule_that_ends_at_zero_is_no_fault(tmp_path):
    cosine = [(10 * i, {"lr.G": 2e-4 * (1 + np.cos(np.pi * i / 101)) / 2}) for i in range(1, 101)]
    assert feed(running(tmp_path), cosine) == []


def evaluated(l1, psnr, loss) -> list:
    """An evaluation each 50 steps, a loss each 10."""
    logs = [(10 * i, {"loss.cycle_a": float(np.interp(i, (1, 100), loss)), "loss.D_b": 0.3}) for i in range(1, 101)]
    for n, (one, other) in enumerate(zip(l1, psnr, strict=True), 1):
        logs[5 * n - 1][1].update({"test.l1_ab": one, "test.psnr_ab": other, "test.change_ab": float(n)})
    return logs


FALLEN_RISEN = [*np.linspace(0.2, 0.1, 8), *np.linspace(0.105, 0.16, 12)]


def test_overfitting_is_told_with_its_best_step(tmp_path):
    logs = evaluated(FALLEN_RISEN, [1 / x for x in FALLEN_RISEN], (2.0, 1.0))
    (event,) = feed(running(tmp_path, data={"a": {"images": 500}, "b": {"images": 60}}), logs)
    assert (event["sign"], event["where"], event["evidence"]["best_step"]) == ("overfitting", "ab", 400)
    assert "day → night was best at step 400" in event["text"] and "60 images are few" in event["text"]
    assert event["step"] == 750  # the second one whose last three are above 0.1 + 3 x 0.005


@pytest.mark.parametrize(
    "logs",
    [
        evaluated(FALLEN_RISEN, [1 / x for x in FALLEN_RISEN], (1.0, 2.0)),  # the losses rise too
        evaluated(FALLEN_RISEN, np.linspace(10, 20, 20), (2.0, 1.0)),  # another metric is still getting better
        evaluated(*[[0.1 + 0.004 * (-1) ** n for n in range(20)]] * 2, (2.0, 1.0)),  # up and down
        evaluated(np.linspace(0.1, 0.104, 20), np.linspace(20, 19.8, 20), (2.0, 1.0)),  # hardly
    ],
)
def test_what_is_no_overfitting(tmp_path, logs):
    assert feed(running(tmp_path), logs) == []


def made(n: int) -> list:
    """Logs in which a discriminator wins, translations collapse and then invert, and rates vanish."""
    torch.manual_seed(0)
    a, b = (torch.rand(3, 3, 8, 8) * 2 - 1 for _ in range(2))
    logs = []
    for step, metrics in judged(n, (0.02, 0.005), (0.95, 0.05), (0.05, 0.05)):
        ab = torch.zeros_like(a) if step < 500 else -a
        images = {"a": a, "ab": ab, "b": b} if step % 50 == 0 else {}
        logs.append((step, metrics | {"lr.G": 1e-4 if step < 700 else 0.0}, images))
    return logs


def test_a_resumed_run_tells_the_same(tmp_path):
    """Stopped and resumed wherever it may be, after logs that the resume undoes."""
    told = feed(running(tmp_path / "whole"), made(100))
    assert [(e["sign"], e["step"]) for e in told] == [
        ("generator collapse", 200),  # from 100 on, a tenth of the run, in the third sample
        ("discriminator winning", 220),  # in the third log for which the window of twenty is full
        ("colour inversion", 600),
        ("learning rate at zero", 710),
        ("generator collapse", 750),  # gone for twice as long
    ]
    for stop in (150, 230, 480, 590, 710, 720):
        folder = tmp_path / f"{stop}"
        feed(running(folder), [log for log in made(100) if log[0] <= stop + 60])
        cut_back(folder / "metrics.jsonl", stop)
        assert feed(running(folder, start=stop), [log for log in made(100) if log[0] > stop]) == told, stop


def test_signs_may_be_ignored(tmp_path):
    events = feed(running(tmp_path), made(100), Health(ignore=("generator collapse", "learning rate at zero")))
    assert [e["sign"] for e in events] == ["discriminator winning", "colour inversion"]


def test_a_sign_that_is_not_there_cannot_be_ignored(tmp_path, engine):
    document = tiny.document(tmp_path, watch=[{"name": "health", "ignore": ["colour"]}])
    with pytest.raises(I2IError, match=r"watch\.0\.ignore.*should be.*'colour inversion'"):
        resolve(document, engine.registry, list(engine.plugins))


def test_divergence_is_a_wish_to_go_back(tmp_path):
    watcher, run = Health(on_divergence="slower", max_rollbacks=1), running(tmp_path)
    watcher.started(run)
    with pytest.warns(UserWarning, match=r"non-finite losses: G is nan at step 10, .*; a lower"):
        wish = watcher.logged(run, 10, {"loss.G": float("nan"), "loss.D": float("inf")}, {})
    assert wish == Rollback("G is nan at step 10, one of 2 losses and scores that are not finite", slower=0.5)
    watcher.started(run)
    assert [e["step"] for e in lines(tmp_path / "health.jsonl")] == [10]  # why it went back stays there
    with pytest.warns(UserWarning, match="non-finite losses"):
        assert watcher.logged(run, 10, {"loss.G": float("inf")}, {}) is None
