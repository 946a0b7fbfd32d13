"""Several processes equal one: with torchrun, on the CPU, as a user would start them."""

import json
import os
import subprocess
import sys

import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import nn

from i2i import checkpoint
from i2i.distributed import World
from i2i.run import Run


def torchrun(folder, n, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}", "-m", "i2i"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [*command, "train", *map(str, arguments)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def recipe(folder, batch_size, name):
    """One step of plain SGD, since Adam and further steps amplify rounding; no pool, since each process has its own."""
    optim, schedule = {"name": "momentum", "momentum": 0.0, "lr": 0.1}, {"n_steps": 1}
    document = tiny.document(folder, optim=optim, pool="none", schedule=schedule)
    document["data"] |= {"batch_size": batch_size}
    (folder / name).write_text(json.dumps(document))
    return name


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
def test_processes_with_small_batches_are_one_with_a_large_one(n, tmp_path):
    many = torchrun(tmp_path, n, recipe(tmp_path, 1, "many.json"))
    assert many.returncode == 0, many.stderr
    one = torchrun(tmp_path, 1, recipe(tmp_path, n, "one.json"))
    assert one.returncode == 0, one.stderr
    runs = [Run(tmp_path / "runs" / name) for name in ("many", "one")]
    weights = [load_file(checkpoint.folder_of(r.checkpoints, 1) / "model.safetensors") for r in runs]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-5, rtol=1e-4)
    lines = [[json.loads(line)["loss"] for line in r.metrics.read_text().splitlines()] for r in runs]
    for first, second in zip(*lines, strict=True):
        assert first == pytest.approx(second, rel=1e-4)
    assert len(list((runs[0].checkpoints / "step-00000001").glob("rank-*.safetensors"))) == n


@pytest.mark.slow
def test_resume_is_exact_and_only_with_as_many_processes(tmp_path):
    document = tiny.document(tmp_path)
    (tmp_path / "r.json").write_text(json.dumps(document))
    assert torchrun(tmp_path, 2, "r.json").returncode == 0
    for steps, arguments in ((2, ["r.json", "--set", "schedule.n_steps_decay=0"]), (4, ["--resume", "runs/r-2"])):
        settings = ["--set", "schedule.n_steps=2", "--set", "schedule.n_steps_decay=2"] if steps == 4 else []
        done = torchrun(tmp_path, 2, *arguments, *settings)
        assert done.returncode == 0, done.stderr
    whole, halves = ((tmp_path / "runs" / name / "checkpoints/step-00000004") for name in ("r", "r-2"))
    for file in whole.glob("*.safetensors"):
        assert (halves / file.name).read_bytes() == file.read_bytes(), file.name
    alone = torchrun(tmp_path, 1, "--resume", "runs/r", "--set", "schedule.n_steps=9")
    assert alone.returncode != 0 and "is of 2 process(es), not 1" in alone.stderr


def test_alone_nothing_is_sent():
    world = World()
    layer = nn.Linear(1, 1)
    world.average(list(layer.parameters()))
    assert layer.weight.grad is None
    assert world.agree("x") == "x" and world.agree("") == "" and world.means({"x": 0.1}) == {"x": 0.1}
    with pytest.raises(OSError, match="full"), world.together():
        raise OSError("full")
