"""Compiled networks: which, when, and that a run goes on to the same bits."""

import json
import sys

import pytest
import tiny
import torch
from torch import nn

from i2i import checkpoint, training
from i2i.compiling import compile_networks, fault, networks_to_compile, pays
from i2i.device import as_written
from i2i.errors import I2IError
from i2i.recipe import resolve
from i2i.rehearsal import Shown
from i2i.run import Run
from i2i.training import Training


def built(engine, name, **options):
    return engine.registry.resolve("method", {"name": name, **options}, "method")(3, 3)


def small(engine, **tables):
    return built(engine, "cyclegan", generator={"base_channels": 4, "n_blocks": 1}, **tables)


def test_networks_that_translate_are_compiled_and_discriminators_are_not(engine):
    assert set(networks_to_compile(small(engine))) == {"generator_ab", "generator_ba"}
    unit = {"encoder": {"base_channels": 4}, "decoder": {"base_channels": 4}}
    assert set(networks_to_compile(built(engine, "unit", **unit))) == {
        "encoder_a", "encoder_b", "decoder_a", "decoder_b"
    }  # fmt: skip
    assert not networks_to_compile(built(engine, "gan"))


def test_what_cannot_be_traced_stays_as_it_is(engine):
    method = small(engine)
    method.generator_ab.model[1].compiles = False
    assert set(networks_to_compile(method)) == {"generator_ba"}


def test_auto_weighs_the_planned_steps(engine):
    method, shown = small(engine), Shown((3, 3))
    paid = [pays(method, shown, (32, 32), n, "bf16") for n in (10, 10**4, 10**6, 10**8)]
    assert not paid[0] and paid[-1] and paid == sorted(paid)
    enough = next(n for n in range(10**5, 10**9, 10**5) if pays(method, shown, (32, 32), n, "fp32"))
    assert not pays(method, shown, (32, 32), enough, "bf16"), "steps in bf16 are shorter"
    assert pays(method, Shown((3, 3), batch_size=2), (32, 32), enough, "bf16"), "twice the work"


def test_the_recipe_says_whether_and_a_resumed_run_keeps_what_it_had(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "fault", lambda device: "")

    def build(wanted, before=None):
        document = tiny.document(tmp_path, train={"device": "cpu", "compile": wanted})
        return Training.build(resolve(document, engine.registry, list(engine.plugins)), compile=before)

    for wanted, before, expected in (
        ("auto", None, False),
        (True, None, True),
        (False, None, False),
        ("auto", True, True),
        (True, False, False),
    ):
        found = build(wanted, before)
        assert bool(found.compiled) is expected
        assert found.environment(engine)["compile"] is expected
        assert found.conditions()["compile"] == str(expected)


def test_a_machine_that_cannot_compile_is_told_of(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "fault", lambda device: "InvalidCxxCompiler: none is here")
    document = tiny.document(tmp_path, train={"device": "cpu", "compile": True})
    with pytest.raises(I2IError, match=r"train.compile: .*InvalidCxxCompiler: none is here; .*train.compile = false"):
        Training.build(resolve(document, engine.registry, list(engine.plugins)))
    document["train"]["compile"] = "auto"
    found = Training.build(resolve(document, engine.registry, list(engine.plugins)), compile=True)
    assert not found.compiled and "none is here" in found.compiled.remark


def test_images_of_several_sizes_are_trained_on_as_written(engine, tmp_path, monkeypatch):
    """Code for all sizes depends on which it met first, and of a ResNet torch's compiler makes none."""
    monkeypatch.setattr(training, "fault", lambda device: "")
    document = tiny.document(tmp_path, train={"device": "cpu", "compile": True})
    tiny.write_images(tmp_path / "a", 2, size=(20, 16))
    document["data"] = {"source": document["data"]["source"], "preprocess": "none"}
    found = Training.build(resolve(document, engine.registry, list(engine.plugins)))
    assert len(found.data.sizes) == 2
    assert not found.compiled and "one size" in found.compiled.remark


def test_compiling_leaves_names_and_weights_alone():
    network, calls = nn.Sequential(nn.Linear(2, 2)), []
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    compile_networks({"network": network})
    assert network.state_dict().keys() == before.keys()

    torch._dynamo.reset()
    network.compile(backend=lambda graph, inputs: calls.append(graph) or graph.forward, dynamic=False)
    with as_written():
        network(torch.ones(1, 2))
    assert not calls, "eager as long as it lasts"
    network(torch.ones(1, 2))
    assert calls
    torch._dynamo.reset()


def test_as_written_imports_nothing_where_nothing_is_compiled(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    with as_written():
        assert "torch._dynamo" not in sys.modules


@pytest.mark.slow
def test_four_steps_are_two_and_two_with_bf16_and_compiled_networks(engine, tmp_path):
    if reason := fault(torch.device("cpu")):
        pytest.skip(f"this machine cannot compile: {reason}")
    train = {"device": "cpu", "precision": "bf16", "compile": True, "log_every": 1, "save_every": 2, "sample_every": 2}
    found = tiny.recipe(tmp_path, engine, train=train)
    whole = Run.create(tmp_path, "whole")
    tiny.loop(found, whole, engine).go()
    halves, lines = Run.create(tmp_path, "halves"), []
    stopping = tiny.loop(found, halves, engine, tell=lines.append)
    steps = stopping.training.trainer.train_step

    def stop_after_two(batches):
        metrics = steps(batches)
        stopping._stop = "enough" if stopping.training.trainer.step == 2 else ""
        return metrics

    stopping.training.trainer.train_step = stop_after_two
    assert stopping.go() == "enough"
    assert lines[0].startswith("compiling generator_ab, generator_ba") and any("compiled" in line for line in lines[1:])
    again = tiny.loop(found, halves, engine)
    again.resume()
    assert again.go() == ""
    states = [checkpoint.folder_of(run.checkpoints, 4) / "state.json" for run in (whole, halves)]
    one, other = (json.loads(state.read_text())["files"] for state in states)
    assert {n: f["sha256"] for n, f in one.items()} == {n: f["sha256"] for n, f in other.items()}
