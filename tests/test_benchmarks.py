"""The benchmarks on the embedded emoji: what they train, what they call shown, and that they end in a table."""

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
