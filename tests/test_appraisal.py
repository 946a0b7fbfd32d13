"""`i2i eval`: what it says of a run, beside what, of which images, and what it answers to mistakes."""

import json
import shutil
import types
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from rich.console import Console
from test_cli import i2i, mistake

from i2i import hookimpl
from i2i.appraisal import appraise
from i2i.cli.evaluating import _table
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.intervals import Estimate
from i2i.metric import ImageMetric
from i2i.run import Run

METRICS = ["l1", "high_frequency", "cycle", "change"]


class Absent(ImageMetric):
    """A metric whose network cannot be had."""

    def values(self, translation):
        raise I2IError("its weights cannot be downloaded")


@pytest.fixture(scope="module")
def own(engine):
    """The metrics of images and one that never works: no network is loaded here."""
    plugin = types.ModuleType("appraisal_metrics")
    plugin.register_metrics = hookimpl(lambda: {"absent": Absent})
    return Engine(["i2i_plugins.image_metrics", "i2i_plugins.pairs", plugin], entry_points=False)


@pytest.fixture(scope="module")
def run(own, tmp_path_factory) -> Run:
    """A run with held-out pairs and its best translator of one direction."""
    folder = tmp_path_factory.mktemp("appraised")
    test = {f"test_{key}": str(tiny.write_images(folder / f"test_{key}", 6, seed=i + 3)) for i, key in enumerate("ab")}
    document = tiny.document(folder, eval={"every": 2, "metrics": [{"name": "hidden_information", "sigma": 4.0}, "l1"]})
    document["data"] |= {"names": ["day", "night"]}
    document["data"]["source"] |= {"name": "pairs", "b": document["data"]["source"]["a"], **test}
    document["eval"] |= {"best_by": "l1_ab"}
    document["train"] |= {"save_every": 2}
    found = Run.create(folder, "run")
    tiny.loop(tiny.resolve(document, own.registry, list(own.plugins)), found, own).go()
    return found


def test_every_registered_metric_in_both_directions_beside_its_baselines(own, run):
    found = appraise(run, own)
    labels = {about["component"]["name"]: label for label, about in found.about.items()}
    assert labels.keys() == {*own.registry.names("metric")}
    assert list(found.about)[:2] == ["hidden_information", "l1"]
    assert found.about["hidden_information"]["component"]["sigma"] == 4.0  # as the recipe has it
    assert {name[:-3] for name in found.estimates} == found.about.keys() - {"absent", "ms_ssim"}
    assert found.left_out["absent_ab"] == "its weights cannot be downloaded"
    assert "176 px" in found.left_out["ms_ssim_ba"]
    assert found.untouched.keys() == {n for n in found.estimates if not n.startswith(("cycle", "hidden"))}
    assert found.floor.keys() == {"high_frequency_ab", "high_frequency_ba"}
    assert found.steps == {"ab": 4, "ba": 4} and found.names == ("day", "night")
    assert found.estimates["l1_ab"].n == 6


def test_the_document_is_json_and_says_what_was_judged(own, run):
    document = appraise(run, own, metrics=METRICS, n_images=4).document()
    assert json.loads(json.dumps(document, allow_nan=False)).keys() == document.keys()
    assert document["metrics"]["l1"] == {
        "title": "L1", "better": "lower", "unit": "", "network": "", "component": {"name": "l1"},
    }  # fmt: skip
    estimate = document["estimates"]["l1_ba"]
    low, high = estimate["interval"]
    assert low < estimate["value"] < high and estimate["n"] == 4
    protocol = document["protocol"]
    assert (protocol["images"], protocol["pairs"], list(protocol["size"])) == ("held out", True, [16, 16])
    night = protocol["domains"]["b"]
    assert (night["name"], night["n"], night["of"], len(night["sha256"])) == ("night", 4, 6, 64)
    assert appraise(run, own, metrics=METRICS).protocol["domains"]["b"]["sha256"] == night["sha256"]


def test_values_are_those_of_the_training(own, run):
    """The last evaluation of the run judged the same translators on the same images."""
    last = json.loads((run.folder / "best.json").read_text())
    found = appraise(run, own, metrics=["l1"], checkpoint="best")
    assert found.steps == {"ab": last["ab"]["step"]}
    assert found.estimates["l1_ab"].value == pytest.approx(last["ab"]["value"], abs=1e-7)


def test_the_best_of_one_direction_has_no_other(own, run):
    found = appraise(run, own, metrics=["l1", "cycle"], checkpoint="best")
    assert found.estimates.keys() == {"l1_ab"}
    assert found.left_out == {
        "cycle_ab": "there is no translator back",
        "l1_ba": "its best was not kept",
        "cycle_ba": "its best was not kept",
    }


def test_a_step_of_the_run(own, run):
    first, last = (appraise(run, own, metrics=["l1"], checkpoint=step) for step in ("2", "4"))
    assert first.steps == {"ab": 2, "ba": 2}
    assert first.estimates["l1_ab"].value != last.estimates["l1_ab"].value
    assert last.estimates["l1_ab"].value == appraise(run, own, metrics=["l1"]).estimates["l1_ab"].value
    with pytest.raises(I2IError, match="--checkpoint: '3' is not there; there is: latest, best, 2, 4"):
        appraise(run, own, checkpoint="3")


def test_other_images(own, run, tmp_path):
    folders = tuple(tiny.write_images(tmp_path / key, 3, seed=9) for key in "ab")  # each its own partner
    found = appraise(run, own, metrics=["l1", "high_frequency"], folders=folders)
    assert (found.protocol["images"], found.protocol["pairs"]) == ("given", True)
    assert found.untouched["l1_ab"].value == 0
    assert found.floor.keys() == {"high_frequency_ab", "high_frequency_ba"}  # of the run's own to train on


def test_images_that_are_gone(own, run, tmp_path):
    moved = Run(shutil.copytree(run.folder, tmp_path / "moved"))
    recipe = moved.recipe
    for key in ("a", "b", "test_a", "test_b"):
        recipe["data"]["source"][key] = str(tmp_path / "gone")
    (moved.folder / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(I2IError, match=r"moved: data.source.a: .*gone"):
        appraise(moved, own)
    folders = tuple(tiny.write_images(tmp_path / key, 3, seed=i) for i, key in enumerate("ab"))
    found = appraise(moved, own, metrics=["change", "high_frequency"], folders=folders)
    assert found.estimates.keys() == {"change_ab", "high_frequency_ab", "change_ba", "high_frequency_ba"}
    assert found.floor == {}


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["l2", "cyle"], "there is no metric 'l2'.*\n.*did you mean 'cycle'"),
        ([{"name": "hidden_information", "sigma": -1}], "sigma"),
        (["absent"], "none of the metrics can be computed .absent_ab: its weights cannot be downloaded"),
        (["l1", "l1"], "'l1' is there twice"),
    ],
)
def test_metrics_that_cannot_be(own, run, metrics, message):
    with pytest.raises(I2IError, match=f"(?s){message}"):
        appraise(run, own, metrics=metrics)


def test_runs_that_cannot_be_judged(own, run, tmp_path):
    fresh = Run(shutil.copytree(run.folder, tmp_path / "fresh", ignore=shutil.ignore_patterns("*.safetensors")))
    with pytest.raises(I2IError, match="ab.safetensors: is not there; the run stopped before its first save"):
        appraise(fresh, own)
    with pytest.raises(I2IError, match="run: requires: plugin 'image_metrics' is not loaded"):
        appraise(run, Engine(["i2i_plugins.pairs"], entry_points=False))


# the command


def evaluated(*arguments):
    return i2i("eval", *arguments, "--metric", "l1", "--metric", "change", "--n-images", 4)


def test_the_command_prints_a_table_and_writes_json(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    told = evaluated(run.folder)
    assert told.code == 0, told.err
    for text in (
        "day → night, step 4",
        "night → day, step 4",
        "untouched",
        "l1",
        "↓",
        "held out, in pairs; 4 of 6 of day",
    ):
        assert text in told.out, text
    assert max(map(len, told.out.splitlines())) <= 80
    written = json.loads((run.folder / "eval.json").read_text())
    assert written["estimates"].keys() == {"l1_ab", "l1_ba", "change_ab", "change_ba"}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_number_from_a_network_is_named_after_it_at_any_width(width):
    label = "perceptual_efficientnet_lite0"
    estimates = {f"{label}_ab": Estimate(0.031, 9, np.linspace(-0.01, 0.01, 50))}
    about = {label: {"better": "lower", "unit": "", "component": {"name": "perceptual"}}}
    table = _table(SimpleNamespace(about=about, estimates=estimates, untouched=estimates, floor=estimates), "ab")
    with (console := Console(width=width)).capture() as shown:
        console.print(table)
    rows = shown.get().splitlines()[2:]
    assert "".join(row.split(" ")[0] for row in rows) == label and "0.0215 to 0.0405" in rows[0]


def test_json_of_several_runs_and_one_that_is_none(run, tmp_path):
    told = evaluated(run.folder, tmp_path / "nowhere", "--json")
    assert told.code == 2 and "nowhere: there is no such folder" in told.err
    (document,) = json.loads(told.out)
    assert document["run"] == str(run.folder)
    assert {k: v for k, v in document.items() if k != "run"} == json.loads((run.folder / "eval.json").read_text())


def test_a_metric_with_options(run):
    told = i2i("eval", run.folder, "--metric", '{name = "hidden_information", sigma = 2.0}', "--json")
    assert json.loads(told.out)[0]["metrics"]["hidden_information"]["component"]["sigma"] == 2.0
    assert "is no table of TOML" in mistake("eval", run.folder, "--metric", '{name = "fid"')
    assert "give both" in mistake("eval", run.folder, "--a", run.folder)
