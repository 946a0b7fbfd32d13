"""A run that goes on is the run that never stopped, to the last bit."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from i2i import checkpoint, training
from i2i.errors import I2IError
from i2i.files import write_tensors
from i2i.recipe import resolve
from i2i.run import Run
from i2i.training import Training
from i2i.watch import Rollback, Stop
from i2i.watch.metrics_file import MetricsFile

KILLER = Path(__file__).with_name("killer.py")


def hashes(run: Run, step: int) -> dict:
    """Checksums of all weights, optimizer states, pools and random states of a checkpoint."""
    about = json.loads((checkpoint.folder_of(run.checkpoints, step) / "state.json").read_text())
    return {name: file["sha256"] for name, file in about["files"].items()} | {"optimizers": about["optimizers"]}


class Interrupting:
    """Sends itself Ctrl-C where it is told to: in the middle of a save, and again."""

    def __init__(self, monkeypatch, n):
        write = checkpoint.write_tensors

        def interrupted(*arguments):
            for _ in range(n):
                os.kill(os.getpid(), signal.SIGINT)
            write(*arguments)

        monkeypatch.setattr(checkpoint, "write_tensors", interrupted)


class StopAt:
    """A watcher that stops, or rolls back, at a step."""

    def __init__(self, step, wish=Stop):
        self.step, self.wish, self.seen = step, wish, []

    def started(self, run):
        pass

    def logged(self, run, step, metrics, images):
        self.seen.append(step)
        return self.wish("enough") if step == self.step else None

    def finished(self, run):
        pass


VARIANTS = {
    "plain": {},
    "ema, accumulation, two discriminator steps": {
        "train": {"device": "cpu", "precision": "fp32", "log_every": 1, "ema": 0.9, "accumulate": 2},
        "method": {"name": "cyclegan", "discriminator_steps": 2},
    },
    "batch norm, plateau, bf16": {
        "train": {"device": "cpu", "precision": "bf16", "log_every": 1},
        "generator": {"base_channels": 2, "n_blocks": 1, "norm": "batch"},
        "schedule": {"name": "plateau", "n_steps": 4, "patience": 0, "threshold": 0.9},
    },
    "adversarial losses with a state": {
        "adversarial": {"name": "ada", "every": 1, "images": 8, "loss": {"name": "r1", "every": 3}},
    },
    "sgd with momentum, one player with another optimizer": {
        "optim": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "discriminators": {"name": "adamw"}},
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_four_steps_are_two_and_two(variant, engine, tmp_path):
    found = tiny.recipe(tmp_path, engine, **VARIANTS[variant])
    whole, halves = Run.create(tmp_path, "whole"), Run.create(tmp_path, "halves")
    tiny.loop(found, whole, engine, [MetricsFile()]).go()
    assert tiny.loop(found, halves, engine, [MetricsFile(), StopAt(2)]).go() == "enough"
    torch.manual_seed(12345)  # whatever another process would start with
    second = tiny.loop(found, halves, engine, [MetricsFile()])
    second.resume()
    assert second.go() == ""
    assert hashes(whole, 4) == hashes(halves, 4)
    lines = [[json.loads(line) for line in run.metrics.read_text().splitlines()] for run in (whole, halves)]
    assert [x["loss"] for x in lines[0]] == [x["loss"] for x in lines[1]]
    assert [x["step"] for x in lines[1]] == [1, 2, 3, 4]


def test_a_run_goes_on_with_the_range_that_it_measured(engine, tmp_path):
    """From its recipe.json, in which numbers stand where `auto` stood, and with random changes of deep images."""
    data = tiny.document(tmp_path)["data"] | {"channels": 2, "range": "auto", "preprocess": "crop"}
    for folder in (data["source"]["a"], data["source"]["b"]):
        for i, path in enumerate(sorted(Path(folder).iterdir())):
            path.unlink()
            np.save(path.with_suffix(".npy"), np.random.default_rng(i).normal(3, 2, (18 + i, 19, 2)).astype(np.float32))
    tables = {"data": data, "augment": [{"name": "affine", "probability": 0.7}]}
    found = resolve(tiny.document(tmp_path / "other") | tables, engine.registry, list(engine.plugins))
    whole, halves = Run.create(tmp_path, "whole"), Run.create(tmp_path, "halves")
    tiny.loop(found, whole, engine).go()
    assert tiny.loop(found, halves, engine, [StopAt(2)]).go() == "enough"
    recorded = resolve(halves.recipe, engine.registry, list(engine.plugins))
    assert recorded.data.range != "auto" and recorded.augment == found.augment
    second = tiny.loop(recorded, halves, engine)
    second.resume()
    assert second.go() == ""
    assert hashes(whole, 4) == hashes(halves, 4)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(engine, tmp_path):
    runs = []
    for seed in (0, 0, 1):
        train = {"device": "cpu", "precision": "fp32", "seed": seed}
        run = Run.create(tmp_path, "run")
        tiny.loop(tiny.recipe(tmp_path, engine, train=train), run, engine).go()
        runs.append(hashes(run, 4))
    assert runs[0] == runs[1] != runs[2]


def test_samples_and_logs_change_nothing(engine, tmp_path):
    runs = []
    for every in (1, 100):
        train = {"device": "cpu", "precision": "fp32", "log_every": every, "sample_every": every, "save_every": every}
        run = Run.create(tmp_path, "run")
        tiny.loop(tiny.recipe(tmp_path, engine, train=train), run, engine).go()
        runs.append(hashes(run, 4))
    assert runs[0] == runs[1]


def saved(engine, tmp_path, **train):
    options = {"device": "cpu", "precision": "fp32", "save_every": 1, **train}
    found = tiny.recipe(tmp_path, engine, train=options)
    run = Run.create(tmp_path, "run")
    tiny.loop(found, run, engine).go()
    return found, run


def test_the_newest_checkpoints_are_kept(engine, tmp_path):
    _, run = saved(engine, tmp_path, keep_checkpoints=3)
    assert checkpoint.steps(run.checkpoints) == [2, 3, 4]
    assert not list(run.checkpoints.glob(".*"))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no state.json", "half a state.json", "file missing"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(damage, engine, tmp_path):
    found, run = saved(engine, tmp_path)
    expected = hashes(run, 4)
    newest = checkpoint.folder_of(run.checkpoints, 4)
    model = newest / "model.safetensors"
    if damage == "truncated":
        model.write_bytes(model.read_bytes()[:-10])
    elif damage == "flipped":
        content = bytearray(model.read_bytes())
        content[-1] ^= 1
        model.write_bytes(content)
    elif damage == "no state.json":
        (newest / "state.json").unlink()
    elif damage == "half a state.json":
        (newest / "state.json").write_text((newest / "state.json").read_text()[:100])
    else:
        model.unlink()
    again = tiny.loop(found, run, engine)
    with pytest.warns(UserWarning, match="damaged.*going on from step 3"):
        again.resume()
    again.go()
    assert hashes(run, 4) == expected
    assert (run.checkpoints / "damaged-step-00000004").is_dir()


def test_all_checkpoints_damaged(engine, tmp_path):
    found, run = saved(engine, tmp_path)
    for file in run.checkpoints.glob("*/state.json"):
        file.unlink()
    with pytest.raises(I2IError, match="damaged"):
        tiny.loop(found, run, engine).resume()


def test_another_method_is_refused(engine, tmp_path):
    _, run = saved(engine, tmp_path)
    other = tiny.recipe(tmp_path, engine, generator={"base_channels": 3, "n_blocks": 1})
    with pytest.raises(I2IError, match="has shape"):
        tiny.loop(other, run, engine).resume()


def test_a_rollback_leaves_the_last_checkpoint(engine, tmp_path):
    train = {"device": "cpu", "precision": "fp32", "save_every": 2, "log_every": 1}
    run = Run.create(tmp_path, "run")
    tiny.loop(tiny.recipe(tmp_path, engine, train=train), run, engine, [StopAt(3, Rollback)]).go()
    assert checkpoint.steps(run.checkpoints) == [2]


def test_a_full_disk_is_told_and_training_goes_on(engine, tmp_path, monkeypatch):
    told = []
    train = {"device": "cpu", "precision": "fp32", "save_every": 1}
    run = Run.create(tmp_path, "run")
    loop = tiny.loop(tiny.recipe(tmp_path, engine, train=train), run, engine, tell=told.append)
    save_file, calls = checkpoint.write_tensors, []

    def full(path, tensors, metadata=None):
        calls.append(path)
        if len(calls) == 2:  # in the middle of the first save
            raise OSError(28, "No space left on device", str(path))
        save_file(path, tensors, metadata)

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    assert loop.go() == ""
    (failure,) = [text for text in told if not text.startswith("memory")]
    assert "step 1 could not be saved" in failure and "No space left" in failure
    assert checkpoint.steps(run.checkpoints) == [3, 4]


def test_the_systems_error_is_told_as_it_is(tmp_path):
    with pytest.raises(OSError, match="directory"):
        write_tensors(tmp_path / "missing" / "x.safetensors", {"x": torch.zeros(1)})


def test_a_full_disk_at_the_end_names_what_is_kept(engine, tmp_path, monkeypatch):
    found, run = saved(engine, tmp_path)
    monkeypatch.setattr(
        checkpoint, "save", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    run = Run.create(tmp_path, "run")
    with pytest.raises(I2IError, match="step 4 could not be saved.*No space left.*no checkpoint"):
        tiny.loop(found, run, engine, tell=lambda text: None).go()


def test_a_failing_watcher_is_told_and_stops_nothing(engine, tmp_path):
    class Broken(StopAt):
        def logged(self, *_):
            raise RuntimeError("no network")

    told = []
    run = Run.create(tmp_path, "run")
    assert tiny.loop(tiny.recipe(tmp_path, engine), run, engine, [Broken(1)], told.append).go() == ""
    assert "Broken failed and is switched off: RuntimeError: no network; training goes on" in told


def test_a_signal_saves_and_says_so(engine, tmp_path):
    class Interrupt(StopAt):
        def logged(self, run, step, *_):
            if step == self.step:
                os.kill(os.getpid(), signal.SIGINT)

    run = Run.create(tmp_path, "run")
    before = signal.getsignal(signal.SIGINT)
    assert tiny.loop(tiny.recipe(tmp_path, engine), run, engine, [Interrupt(2)]).go() == "stopped by SIGINT"
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoint.steps(run.checkpoints) in ([2], [3])


def test_ctrl_c_does_not_break_a_save(engine, tmp_path, monkeypatch):
    run, told = Run.create(tmp_path, "run"), []
    loop = tiny.loop(tiny.recipe(tmp_path, engine), run, engine, tell=told.append)
    Interrupting(monkeypatch, 2)
    loop.go()
    assert checkpoint.steps(run.checkpoints) == [4] and "saving; it ends by itself" in told
    checkpoint.load(checkpoint.folder_of(run.checkpoints, 4))


def test_translators_missing_after_a_kill_are_written_again(engine, tmp_path):
    found, run = saved(engine, tmp_path)
    expected = run.weights("ab").read_bytes()
    run.weights("ab").unlink()
    again = tiny.loop(found, run, engine)
    again.resume()
    assert run.weights("ab").read_bytes() == expected


def test_changed_images_are_told(engine, tmp_path):
    found, run = saved(engine, tmp_path)
    told = []
    tiny.loop(found, run, engine, tell=told.append).resume()
    assert not [text for text in told if "changed" in text]
    tiny.write_images(tmp_path / "a", 6)
    again = tiny.loop(found, run, engine, tell=told.append)
    again.resume()
    assert [text for text in told if "images of a changed" in text] and "images of b" not in "".join(told)


def test_a_run_is_trained_by_one_process(engine, tmp_path):
    found, run = saved(engine, tmp_path)
    with run.locked(), pytest.raises(I2IError, match="is being trained by another process"):
        tiny.loop(found, run, engine).resume()
    tiny.loop(found, run, engine).resume()


def test_the_memory_of_a_step_is_told(engine, tmp_path):
    told = []
    tiny.loop(tiny.recipe(tmp_path, engine), Run.create(tmp_path, "run"), engine, tell=told.append).go()
    assert any(re.fullmatch(r"memory    [\d.,]+ [MG]B at the peak, up to the second step", text) for text in told)


def test_mistakes_of_device_source_and_method_are_told_together(engine, tmp_path):
    recipe = tiny.document(tmp_path, optim={"nobody": {"lr": 1.0}})
    recipe["train"]["device"], recipe["data"]["source"]["a"] = "cuda:99", str(tmp_path / "nowhere")
    with pytest.raises(I2IError) as error:
        Training.build(resolve(recipe, engine.registry, list(engine.plugins)))
    where = [p.where for p in error.value.problems]
    assert where == ["train.device", "data.source.a", "optim.nobody"]


def command(folder, *arguments, kill="never:0"):
    environment = {**os.environ, "KILL": kill, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "-m", "i2i", "-p", str(KILLER), "train", *map(str, arguments)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("n_workers", [pytest.param(0, id="0 workers"), pytest.param(2, id="2 workers")])
@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(n_workers, tmp_path):
    recipe = tiny.document(tmp_path, watch=[{"name": "killer"}], schedule={"n_steps": 6})
    recipe["data"]["n_workers"] = n_workers
    recipe["train"] |= {"save_every": 2}
    (tmp_path / "r.json").write_text(json.dumps(recipe))
    whole = command(tmp_path, "r.json", "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    expected = hashes(Run(tmp_path / "whole" / "r"), 6)
    for kill, last in (("step:3", 2), ("save:4", 2)):
        out = kill.partition(":")[0]
        killed = command(tmp_path, "r.json", "--out", out, kill=kill)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        run = Run(tmp_path / out / "r")
        assert checkpoint.steps(run.checkpoints) == [last]
        resumed = command(tmp_path, "--resume", run.folder)
        assert resumed.returncode == 0, resumed.stderr
        assert hashes(run, 6) == expected
        assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [1, 2, 3, 4, 5, 6]
        assert (run.folder / "ab.safetensors").read_bytes() == (tmp_path / "whole/r/ab.safetensors").read_bytes()


def test_the_memory_order_of_weights_changes_no_more_than_rounding_and_is_resumed(engine, tmp_path, monkeypatch):
    """On CUDA weights are channels last; here they are made to be."""
    found = tiny.recipe(tmp_path, engine)
    rows = Training.build(found).trainer
    monkeypatch.setattr(training, "memory_format", lambda device: torch.channels_last)
    last, halves = Training.build(found), Training.build(found)
    weight = last.method.generator_ab.model[4].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    for step in range(4):
        batches = last.data.batches(step)
        torch.manual_seed(step)  # pools draw
        expected = rows.train_step(batches)
        torch.manual_seed(step)
        for name, value in last.trainer.train_step(batches).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-2, atol=1e-3)
        if step == 1:  # through a state whose tensors are rows first, as files are
            state = last.trainer.state_dict()
            optimizers = {
                player: {
                    "state": {
                        name: {k: v.contiguous().clone() for k, v in values.items()}
                        for name, values in saved["state"].items()
                    },
                    "groups": saved["groups"],
                }
                for player, saved in state["optimizers"].items()
            }
            parameters = {name: p.contiguous().clone() for name, p in state["parameters"].items()}
            buffers = {name: b.clone() for name, b in state["buffers"].items()}
            halves.trainer.load_state_dict(
                state | {"optimizers": optimizers, "parameters": parameters, "buffers": buffers}
            )
    for step in (2, 3):
        torch.manual_seed(step)
        halves.trainer.train_step(halves.data.batches(step))
    for one, other in zip(last.method.parameters(), halves.method.parameters(), strict=True):
        assert torch.equal(one, other) and one.stride() == other.stride()
