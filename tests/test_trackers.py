"""Watchers for TensorBoard and Weights & Biases: what they are given, resumes, and packages that are missing."""

import json
import math
import sys
import types
from pathlib import Path

import pytest
import tiny
import torch
from test_cli import i2i, mistake

from i2i.errors import I2IError
from i2i.run import Run
from i2i.watch import Running
from i2i_plugins.tensorboard import TensorBoard
from i2i_plugins.wandb import WandB

METRICS = {"epoch": 0.5, "loss.cycle_a": 1.5, "score.D_a_real": 0.25, "lr.generators": 2e-4, "test.l1_ab": 0.0625}
IMAGES = {name: torch.zeros(2, 3, 16, 16) for name in ("a", "ab", "b", "ba")}


def running(folder: Path, start: int = 0) -> Running:
    return Running(folder, {"method": {"name": "cyclegan"}}, {}, start, 100, 10.0, 1, ("horse", "zebra"), {})


class FakeWandB(types.ModuleType):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.begun: list[dict] = []
        self.logs: list[dict] = []
        self.n_finished = 0

    def init(self, **options):
        self.begun.append(options)
        return self

    def define_metric(self, name, step_metric=None):
        pass

    def log(self, values):
        self.logs.append(values)

    def finish(self):
        self.n_finished += 1

    def Settings(self, **options):  # noqa: N802
        return options

    def Image(self, image):  # noqa: N802
        return image.size


@pytest.fixture
def wandb(monkeypatch) -> FakeWandB:
    fake = FakeWandB()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def written(folder: Path):
    """What TensorBoard reads."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard"), {"scalars": 0, "images": 0, "tensors": 0})
    return events.Reload()


def test_tensorboard_reads_what_was_logged(tmp_path):
    pytest.importorskip("tensorboard")
    watcher, run = TensorBoard(), running(tmp_path)
    watcher.started(run)
    watcher.logged(run, 50, METRICS, {})
    watcher.logged(run, 100, METRICS | {"loss.cycle_a": 1.25}, IMAGES)
    watcher.finished(run)
    events = written(tmp_path)
    assert [(e.step, e.value) for e in events.Scalars("loss/cycle_a")] == [(50, 1.5), (100, 1.25)]
    scalars = {"epoch", "loss/cycle_a", "score/D_a_real", "lr/generators", "test/l1_ab"}
    assert set(events.Tags()["scalars"]) == scalars
    (sheet,) = events.Images("samples")
    assert sheet.step == 100 and sheet.width > 100
    assert b"cyclegan" in events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]


def test_tensorboard_purges_what_a_resume_undoes(tmp_path):
    pytest.importorskip("tensorboard")
    for start, steps, loss in ((0, (50, 100, 150), 1.0), (100, (150, 200), 2.0)):
        watcher, run = TensorBoard(), running(tmp_path, start)
        watcher.started(run)
        for step in steps:
            watcher.logged(run, step, {"loss.cycle_a": loss}, {})
        watcher.finished(run)
    values = [(e.step, e.value) for e in written(tmp_path).Scalars("loss/cycle_a")]
    assert values == [(50, 1.0), (100, 1.0), (150, 2.0), (200, 2.0)]


def test_wandb_gets_what_was_logged(tmp_path, wandb):
    watcher, run = WandB(project="zebras"), running(tmp_path / "first")
    run.folder.mkdir()
    watcher.started(run)
    watcher.logged(run, 50, METRICS | {"loss.cycle_a": math.nan}, {})
    watcher.logged(run, 100, METRICS, IMAGES)
    watcher.finished(run)
    (begun,) = wandb.begun
    assert (begun["project"], begun["name"], begun["mode"], begun["resume"]) == ("zebras", "first", "offline", "allow")
    assert begun["config"] == run.recipe and begun["dir"] == str(run.folder)
    assert math.isnan(wandb.logs[0]["loss/cycle_a"]) and "samples" not in wandb.logs[0]
    assert wandb.logs[1]["step"] == 100 and wandb.logs[1]["test/l1_ab"] == 0.0625 and wandb.logs[1]["samples"][0] > 100
    assert wandb.n_finished == 1


def test_wandb_goes_on_as_the_same_run(tmp_path, wandb):
    for folder, start in (("one", 0), ("one", 100), ("two", 0)):
        run = running(tmp_path / folder, start)
        run.folder.mkdir(exist_ok=True)
        WandB().started(run)
    first, again, other = (begun["id"] for begun in wandb.begun)
    assert first == again != other


@pytest.mark.parametrize(("watcher", "package"), [(TensorBoard, "torch.utils.tensorboard"), (WandB, "wandb")])
def test_a_missing_package_is_named_with_its_extra(watcher, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(I2IError, match=r"watch: \w+: needs a package that is missing .*: pip install 'i2i\[\w+\]'"):
        watcher()


def test_training_does_not_begin_without_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", None)
    recipe = tmp_path / "tiny.json"
    recipe.write_text(json.dumps(tiny.document(tmp_path, watch=["wandb"])), encoding="utf-8")
    assert "pip install 'i2i[wandb]'" in mistake("train", recipe)
    assert not Path("runs").exists()


def test_a_tracker_that_fails_stops_nothing(tmp_path, monkeypatch, wandb):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wandb, "log", None)
    recipe = tmp_path / "tiny.json"
    recipe.write_text(json.dumps(tiny.document(tmp_path, watch=["wandb"])), encoding="utf-8")
    told = i2i("train", recipe)
    assert told.code == 0 and "WandB failed and is switched off" in told.out
    assert Run(Path("runs/tiny")).weights("ab").is_file()
