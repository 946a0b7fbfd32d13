"""The benchmarks on the embedded emoji: what they train, what they call shown, and that they end in a table."""

import importlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from i2i import layers
from i2i.comparing.plan import flat
from i2i.comparing.trained import Trained
from i2i.comparing.variants import of_recipes
from i2i.intervals import Estimate
from i2i.measure import FlopCount, n_parameters
from i2i.recipe import resolve
from i2i.training import Training

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def methods(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import methods

    return methods


@pytest.fixture
def ablations(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import ablations

    return ablations


def training(seed: int, **values: float) -> Trained:
    """Of which these estimates are known, each give or take 0.01 over images."""
    deviations = np.random.default_rng(0).normal(0, 0.01, 200)
    return Trained(Path("run"), seed, estimates={name: Estimate(v, 50, deviations) for name, v in values.items()})


def test_every_method_has_a_row_or_a_reason(methods, engine):
    assert {*methods.METHODS, *methods.LEFT_OUT} == {*engine.registry.names("method")}
    assert {*methods.NOTES} <= {*methods.METHODS}


def test_methods_differ_in_neither_width_nor_steps_nor_rate(methods, engine):
    recipes = of_recipes(methods.recipes([*methods.METHODS], n_steps=11, width=4), engine)
    for name, recipe in recipes.items():
        assert recipe["method"]["name"] == name
        length = {key: recipe["schedule"][key] for key in ("name", "n_steps", "n_steps_decay")}
        assert length == {"name": "linear", "n_steps": 6, "n_steps_decay": 5}
        widths = {v for k, v in flat(recipe).items() if k.endswith(".base_channels")}
        assert widths == {"4"}, name
        assert recipe["data"]["batch_size"] == 1


def test_an_ablation_changes_one_thing(ablations, engine):
    recipes = of_recipes({name: ablations.recipe(name, 10, 4, 2) for name in ablations.VARIANTS}, engine)
    base = flat(recipes[ablations.BASELINE])
    assert base["method.lambda_identity"] == "0.0" and base["generator.n_blocks"] == "2"
    changed = {
        name: {key.partition(".")[0] for key in {**base, **flat(r)} if base.get(key) != flat(r).get(key)} - {"requires"}
        for name, r in recipes.items()
    }
    assert changed.pop(ablations.BASELINE) == set()
    assert all(len(tables) == 1 for tables in changed.values()), changed
    assert {claim.variant for claim in ablations.CLAIMS} == {*changed}


def test_without_a_cycle_no_distance_is_learned_from(ablations, engine):
    """A weight of 0 leaves the term out: another distance in its place moves the generators to the same bits."""
    weights = []
    for cycle in ("l1", "l2"):
        document = layers.apply(ablations.recipe("no-cycle", 2, 2, 1), [f"cycle={cycle}"])
        built = Training.build(resolve(document, engine.registry, list(engine.plugins)))
        built.trainer.train_step(next(iter(built.data.loader(0, 1))))
        weights.append([p.detach() for p in built.method.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize(
    "before, after, verdict",
    [
        ((0.30, 0.31, 0.29), (0.50, 0.52, 0.49), "shown"),
        ((0.50, 0.52, 0.49), (0.30, 0.31, 0.29), "opposite"),
        ((0.30, 0.50, 0.40), (0.45, 0.31, 0.52), "not shown"),
    ],
)
def test_a_claim_is_shown_where_the_interval_is_on_its_side_of_zero(ablations, monkeypatch, before, after, verdict):
    monkeypatch.setattr(ablations, "CLAIMS", [ablations.Claim("it is worse", "changed", "higher", ("l1_ab",))])
    trainings = {
        "baseline": [training(seed, l1_ab=value) for seed, value in enumerate(before)],
        "changed": [training(seed, l1_ab=value) for seed, value in enumerate(after)],
    }
    ((*_, difference, expected, found),) = ablations.rows(trainings)
    assert (expected, found) == ("higher", verdict)
    assert difference.startswith(f"{np.mean(after) - np.mean(before):+.3f} [")


def test_trainings_are_paired_by_their_seeds(ablations, monkeypatch):
    """All differ by 0.1, whatever the seeds do; a seed that one of them lacks is left out."""
    monkeypatch.setattr(ablations, "CLAIMS", [ablations.Claim("it is worse", "changed", "higher", ("l1_ab",))])
    trainings = {
        "baseline": [training(seed, l1_ab=0.3 * seed) for seed in (0, 1, 2)],
        "changed": [training(seed, l1_ab=0.3 * seed + 0.1) for seed in (0, 2)],
    }
    ((*_, difference, _, found),) = ablations.rows(trainings)
    assert difference == "+0.100 [+0.100, +0.100]" and found == "shown"


def test_oscillation_leaves_out_trend_and_scale(ablations):
    """Alternating d about a falling line: a running mean of 25 holds d/25 of it, so 24/25 d are left."""
    n, d = 225, 0.1
    losses = [2 - 0.004 * i + d * (-1) ** i for i in range(n)]
    expected = d * 24 / 25 / (sum(losses) / n)
    assert ablations.oscillation(losses) == pytest.approx(expected, rel=1e-3)
    assert ablations.oscillation([7 * loss for loss in losses]) == pytest.approx(expected, rel=1e-3)
    assert ablations.oscillation([2 - 0.004 * i for i in range(n)]) == pytest.approx(0, abs=1e-12)


def test_both_end_in_a_table_and_go_on_without_training_again(methods, ablations, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(methods, "METRICS", {"l1": "l1"})
    monkeypatch.setattr(ablations, "METRICS", ["l1"])
    monkeypatch.setattr(ablations, "CLAIMS", [c for c in ablations.CLAIMS if c.estimates == ("l1_ab",)])
    cases = [
        (methods, ["pix2pix", "colorization"], 2 + 2 + 2),  # heads, methods, untouched and real images
        (ablations, ["baseline", "backward-cycle"], 2 + 1),
    ]
    for script, names, n_rows in cases:
        out = tmp_path / script.__name__
        options = ["--steps", "2", "--width", "2", "--seeds", "1", "--only", *names, "--out", str(out)]
        monkeypatch.setattr(sys, "argv", [script.__name__, *options])
        script.main()
        first = capsys.readouterr().out
        assert sum(line.startswith("|") for line in first.splitlines()) == n_rows
        found = json.loads((out / "results.json").read_bytes())
        assert [*found["trainings"]] == names
        assert all(math.isfinite(t["estimates"]["l1_ab"]["value"]) for (t,) in found["trainings"].values())
        assert (out / names[0] / "seed-0" / "report.html").is_file()
        with monkeypatch.context() as patched:
            patched.setattr(Training, "build", None)
            script.main()
        again = capsys.readouterr().out
        assert again[again.index("|") :] == first[first.index("|") :]


@pytest.fixture
def script(monkeypatch):
    """Imports one of the scripts, and runs it with options as a user would."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def run(name: str, *options: object):
        monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
        importlib.import_module(name).main()

    return run


SMALLEST = ["--blocks", 1, "--width", 2, "--size", 32]


def test_the_arithmetic_of_a_step_is_the_textbooks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from contender import Setting, arithmetic, textbook, textbook_step

    setting = Setting(size=32, blocks=1, width=2, batch=2)
    model = textbook(setting)
    count = FlopCount()
    with count:
        textbook_step(setting, model)()
    networks = (model.g_ab, model.g_ba, model.d_a, model.d_b)
    assert arithmetic(setting) == (count.total / 1e9, sum(n_parameters(network) for network in networks))


def test_a_step_is_compared_with_the_textbooks(script, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import step

    monkeypatch.setattr(step, "MATRIX", 64)
    peaks = {"textbook": 100.0, "fp32": 90.0, "bf16": 50.0}
    monkeypatch.setattr(step, "alone", lambda setting, name: {"peak_mib": peaks[name]})
    script("step", *SMALLEST, "--steps", 5, "--variants", "fp32", "bf16", "--out", tmp_path / "step.json")
    found = json.loads((tmp_path / "step.json").read_bytes())
    (row,) = found["rows"]
    assert {"date", "processor", "amx", "n_threads", "torch"} <= found.keys()
    assert (row["size"], row["blocks"], row["width"], row["batch"]) == (32, 1, 2, 1)
    assert [*row["who"]] == ["textbook", "fp32", "bf16"]
    textbook, _, bf16 = row["who"].values()
    medians = [np.median(who["seconds"]) for who in (textbook, bf16)]
    assert len(bf16["seconds"]) == 5 and bf16["bar"] is None
    assert bf16["times"] == pytest.approx(medians[0] / medians[1])
    assert bf16["gflops"] == pytest.approx(row["gflop"] / medians[1])
    assert bf16["share"] == pytest.approx(bf16["gflops"] / row["matrix_gflops"]["bf16"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3 and len({line.count("|") for line in lines}) == 1
    assert "| 0.50 |" in lines[-1]  # of the textbook's memory


def test_costs_that_follow_the_arithmetic_are_as_expected(script, monkeypatch, tmp_path):
    """Of processes that hold 200 MiB, compute 10 GFLOP/s and keep 2000 bytes for each pixel, image and channel."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import growth

    def alone(setting, name, n_steps, seconds):
        gflop, n = growth.arithmetic(setting)
        activations = 2000 * setting.size**2 * setting.batch * setting.width
        mib = (16 * n + activations) / 2**20
        return {"seconds": [gflop / 10] * n_steps, "process_mib": 200, "peak_mib": 200 + mib}

    monkeypatch.setattr(growth, "alone", alone)
    series = ["--size", 32, 64, "--batch", 1, 3, "--width", 4, 8, "--base", 32, 1, 4, "--blocks", 1]
    script("growth", *series, "--variants", "bf16", "--out", tmp_path / "growth.json")
    points = json.loads((tmp_path / "growth.json").read_bytes())["points"]
    assert [(p["size"], p["batch"], p["width"]) for p in points] == [(32, 1, 4), (64, 1, 4), (32, 3, 4), (32, 1, 8)]
    for p in points:
        assert p["seconds"][0] == pytest.approx(p["expected_seconds"])
        assert p["peak_mib"] == pytest.approx(p["expected_mib"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["textbook", "bf16"])
def test_a_contender_alone_tells_its_peak(monkeypatch, name):
    """On top of what it held before: a weight, its gradient and two moments of each, 16 bytes, and activations."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from contender import Setting, alone, arithmetic

    setting = Setting(size=32, blocks=1, width=16)
    found = alone(setting, name, n_steps=2)
    assert len(found["seconds"]) == 2
    assert found["peak_mib"] - found["process_mib"] > 16 * arithmetic(setting)[1] / 2**20


def test_precisions_are_compared_by_metrics_and_losses(script, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import precision

    monkeypatch.setattr(precision, "METRICS", ["l1"])
    options = ["--steps", 4, "--width", 2, "--blocks", 1, "--seeds", 1, "--out", tmp_path]
    script("precision", *options)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    found = json.loads((tmp_path / "results.json").read_bytes())
    assert [*found["trainings"]] == ["fp32", "bf16"]
    means = {}
    for name, (training,) in found["trainings"].items():
        logs = map(json.loads, (tmp_path / name / "seed-0" / "metrics.jsonl").read_text().splitlines())
        means[name] = training["estimates"]["loss.cycle_a"]["value"]
        assert means[name] == pytest.approx(np.mean([log["loss"]["cycle_a"] for log in logs]))
        assert json.loads((tmp_path / name / "seed-0" / "environment.json").read_bytes())["precision"] == name
    assert len(lines) == 2 + 2 + 8  # L1 of both directions, and eight losses
    (line,) = (line for line in lines if "cycle a" in line)
    assert f"| {means['fp32']:.4f} | {means['bf16']:.4f} |" in line


@pytest.mark.slow
def test_an_image_of_any_size_ends_in_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import any_size

    out = tmp_path / "any_size.json"
    settings = ["--size", "64", "--blocks", "0", "--width", "4", "--ways", "never-fp32", "never-bf16"]
    monkeypatch.setattr(sys, "argv", ["any_size.py", *settings, "--out", str(out)])
    any_size.main()
    rows = json.loads(out.read_text())["rows"]
    assert [row["precision"] for row in rows] == ["fp32", "bf16"] and rows[0]["most"] == 0
    assert all(row["seconds"] > 0 and row["peak_mib"] > 100 for row in rows)
    assert capsys.readouterr().out.count("\n| never |") == 2
