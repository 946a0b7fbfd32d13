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
from i2i.watch.health import Health
from i2i.watch.metrics_file import MetricsFile


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
