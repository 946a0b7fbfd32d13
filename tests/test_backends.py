"""Backends: each computes what torch computes; `auto` takes what is done first; what cannot be is told at once."""

import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiny
import torch
from torch import nn

from i2i import cli, compiling
from i2i.backends import Computing, choose, choosing, compiled
from i2i.backends.costs import Cost, Costs
from i2i.backends.eager import prepare
from i2i.errors import I2IError
from i2i.inference import load
from i2i.reference.resnet import ResnetGenerator
from i2i.run import Run
from i2i.translate import Translator


def extra(package):
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def generator():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResnetGenerator(3, 3, base_channels=4, n_blocks=2).eval().requires_grad_(False)


def noise(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    [pytest.param("onnx", marks=extra("onnxruntime")), pytest.param("openvino", marks=extra("openvino"))],
)
def test_an_exported_network_computes_what_torch_does_for_any_number_and_size(generator, backend):
    translator = choose(Translator(generator), backend, "fp32")
    for shape in ((1, 3, 64, 64), (2, 3, 64, 96), (1, 3, 81, 70), (1, 3, 12, 16)):
        images = noise(*shape)
        assert torch.allclose(translator(images), Translator(generator)(images), atol=1e-4)
    assert str(translator.compute) == f"{backend} in fp32"
    with pytest.raises(I2IError, match="3x2 px is too small"):
        translator(noise(1, 3, 2, 3))


@pytest.mark.slow
def test_a_compiled_network_computes_what_torch_does():
    if why := compiling.fault(torch.device("cpu")):
        pytest.skip(f"nothing can be compiled on this machine: {why}")
    module = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Tanh()).eval().requires_grad_(False)
    translator = choose(Translator(module), "compiled", "fp32")
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    shapes = [(1, 3, 64, 64), (1, 3, 80, 64), (1, 3, 80, 96), (2, 3, 40, 44), (5, 3, 9, 8)]
    for shape in shapes:
        images = noise(*shape)
        assert torch.allclose(translator(images), Translator(module)(images), atol=1e-5)
    assert 1 <= graphs["unique_graphs"] - before < compiled.N_SIZES  # neither as written, nor for each size


def test_bf16_is_torch_autocast_with_weights_that_are_rounded_once(generator):
    images = noise(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected = generator(images).float()
    found = choose(Translator(generator), "torch", "bf16")(images)
    assert torch.equal(found, expected) and found.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in generator.parameters())


class Demodulated(nn.Conv2d):
    """Computes with its weights."""

    def forward(self, x):
        return super().forward(x) / self.weight.square().sum((1, 2, 3))[:, None, None].sqrt()


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated", "ignore:.*spectral_norm.* is deprecated")
@pytest.mark.parametrize(
    "layer",
    [
        lambda: Demodulated(3, 3, 3),
        lambda: nn.utils.weight_norm(nn.Conv2d(3, 3, 3)),
        lambda: nn.utils.spectral_norm(nn.Conv2d(3, 3, 3)),
    ],
    ids=["demodulated", "weight norm", "spectral norm"],
)
def test_weights_that_are_computed_with_are_not_rounded(layer):
    module, images = nn.Sequential(layer()).eval().requires_grad_(False), noise(1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected = module(images).float()
    assert torch.equal(choose(Translator(module), "torch", "bf16")(images), expected)


def test_weights_that_are_computed_are_left_as_they_are():
    module = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 3, 3, padding=1)), nn.Conv2d(3, 3, 1))
    light = prepare(module.eval(), noise(1, 3, 8, 8), "bf16").__closure__
    copy = next(cell.cell_contents for cell in light if isinstance(cell.cell_contents, nn.Module))
    assert copy[0].parametrizations.weight.original.dtype == torch.float32
    assert copy[1].weight.dtype == torch.bfloat16


def test_images_above_8_bits_are_computed_in_float32_unless_bf16_is_asked_for(generator, monkeypatch):
    monkeypatch.setattr("i2i.device.multiplies_bf16", lambda device: True)
    images, exact = noise(1, 3, 16, 16), Translator(generator)(noise(1, 3, 16, 16))
    translator = choose(Translator(generator), "torch")
    assert torch.equal(translator(images, deep=True), exact) and str(translator.compute) == "torch in fp32"
    assert not torch.equal(translator(images), exact)
    assert str(translator.compute) == "torch in fp32 and torch in bf16"
    assert not torch.equal(choose(Translator(generator), "torch", "bf16")(images, deep=True), exact)


def test_a_batch_gives_what_its_images_give_alone(generator):
    images = noise(3, 3, 32, 32)
    translator = choose(Translator(generator), "torch", "fp32")
    assert torch.allclose(translator(images), torch.cat([translator(one[None]) for one in images]), atol=1e-5)


class Slow:
    """In the place of `Computing._prepared` and of the clock: what each backend costs is given."""

    def __init__(self, monkeypatch, seconds, fails=()):
        self.prepared = []

        def prepared(computing, name, example, precision):
            if name in fails:
                raise RuntimeError("no such operator\nand much more")
            self.prepared.append(name)
            return lambda images, name=name: images * seconds[name]

        monkeypatch.setattr(Computing, "_prepared", prepared)
        monkeypatch.setattr(choosing, "_seconds", lambda compute, example: compute(torch.ones(())).item())
        monkeypatch.setattr(choosing.Backend, "installed", property(lambda backend: True))


def auto(generator, n_images, told=None, precision="fp32"):
    computing = Computing(generator, "auto", precision, n_images, (told if told is not None else []).append)
    computing(torch.ones(1, 3, 64, 64))
    return str(computing)


def test_few_images_are_torchs_at_once(generator, monkeypatch, tmp_path):
    slow = Slow(monkeypatch, {"torch": 1.0})
    assert auto(generator, 3) == "torch in fp32"
    assert slow.prepared == ["torch"] and not (tmp_path / "cache").exists()


def test_many_images_are_worth_trying_and_the_choice_is_remembered(generator, monkeypatch):
    slow = Slow(monkeypatch, {"torch": 1.0, "onnx": 0.5, "openvino": 0.8, "compiled": 0.9})
    told = []
    assert auto(generator, 100, told) == "onnx in fp32"  # a quarter of 100 s repays 15 s, not the 120 s of compiling
    assert slow.prepared == ["torch", "onnx", "openvino"]
    assert told[0] == "trying whether onnx is faster than torch …"
    assert told[-1] == "an image takes torch 1.00 s, onnx 0.500 s, openvino 0.800 s; remembered for the next time"
    slow.prepared.clear()
    assert auto(generator, 100, told := []) == "onnx in fp32"
    assert slow.prepared == ["torch", "onnx"] and told == []
    slow.prepared.clear()
    assert auto(generator, 1000) == "onnx in fp32"
    assert slow.prepared == ["torch", "compiled", "onnx"]


def test_what_a_start_takes_is_weighed(generator, monkeypatch):
    Slow(monkeypatch, {"torch": 1.0, "onnx": 0.5, "openvino": 0.1})
    costs = Costs(generator, torch.ones(1, 3, 64, 64), "fp32")
    for name, cost in {"torch": Cost(0, 1), "onnx": Cost(5, 0.5), "openvino": Cost(50, 0.1)}.items():
        costs.note(name, cost)
    assert auto(generator, 9) == "torch in fp32"  # 9 s, 9.5 s, 50.9 s
    assert auto(generator, 40) == "onnx in fp32"  # 40 s, 25 s, 54 s
    assert auto(generator, 200) == "openvino in fp32"  # 200 s, 105 s, 70 s


def test_what_cannot_be_computed_is_told_once_and_left_out(generator, monkeypatch):
    slow = Slow(monkeypatch, {"torch": 1.0, "openvino": 0.8}, fails=["onnx"])
    told = []
    assert auto(generator, 100, told) == "openvino in fp32"
    assert "onnx cannot compute this network: RuntimeError: no such operator" in told
    slow.prepared.clear()
    assert auto(generator, 100, told := []) == "openvino in fp32" and told == []


@pytest.mark.parametrize("error", [MemoryError, ImportError, OSError])
def test_what_may_pass_is_not_remembered(generator, monkeypatch, error):
    slow = Slow(monkeypatch, {"torch": 1.0, "onnx": 0.5, "openvino": 0.9})
    works = Computing._prepared

    def fails(computing, name, example, precision):
        if name == "onnx":
            raise error("not now")
        return works(computing, name, example, precision)

    monkeypatch.setattr(Computing, "_prepared", fails)
    assert auto(generator, 100, told := []) == "openvino in fp32"
    assert f"onnx cannot compute this network: {error.__name__}: not now" in told
    monkeypatch.setattr(Computing, "_prepared", works)
    assert auto(generator, 100) == "onnx in fp32" and slow.prepared[-1] == "onnx"


def test_small_images_are_torchs_in_the_precision_that_is_told(generator, monkeypatch):
    """What exports is given 64 px or more."""
    slow = Slow(monkeypatch, {"torch": 1.0, "onnx": 0.5, "openvino": 0.1})
    computing = Computing(generator, "auto", "bf16", 100, print)
    computing(torch.ones(1, 3, 63, 64))
    assert slow.prepared == ["torch"]
    monkeypatch.undo()
    monkeypatch.setattr(choosing.Backend, "installed", property(lambda backend: True))
    before = choosing.Backend.prepare
    sides = []

    def wrong_below(backend, module, example, precision):
        if backend.module.endswith("eager"):
            return before(backend, module, example, precision)
        sides.append(example.shape[-1])
        return module

    monkeypatch.setattr(choosing.Backend, "prepare", wrong_below)
    for first in (noise(1, 3, 12, 12), noise(1, 3, 80, 96)):  # deep, after bf16 was prepared on noise
        translator = choose(Translator(generator), "openvino")
        translator(first, deep=True)
    assert set(sides) == {64}
    small = noise(1, 3, 32, 32)
    found, expected = (choose(Translator(generator), name, "bf16")(small) for name in ("openvino", "torch"))
    assert torch.equal(found, expected)


def test_a_full_disk_remembers_nothing_and_keeps_nothing(generator, monkeypatch):
    def full(path, *whatever, **more):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    costs = Costs(generator, torch.ones(1, 3, 64, 64), "fp32")
    costs.note("torch", Cost(0, 1))
    assert costs.known == {"torch": Cost(0, 1)} and not list(costs.path.parent.iterdir())


class Noisy(nn.Module):
    """Less than rounding to bf16 may differ on average."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.weight * x + 0.02 * nn.functional.dropout(torch.ones_like(x), training=True)


@pytest.mark.parametrize(
    "backend",
    [pytest.param("onnx", marks=extra("onnxruntime")), pytest.param("openvino", marks=extra("openvino")), "compiled"],
)
def test_a_network_that_draws_numbers_is_torchs(backend):
    with pytest.raises(
        I2IError, match="it draws random numbers, which torch alone draws as in training; auto or torch"
    ):
        choose(Translator(Noisy().requires_grad_(False)), backend)


def test_threads_prepare_one_after_the_other(generator, monkeypatch):
    """Exporters are not made for several, and what silences them would stay."""
    busy, most = [], []

    def prepare(backend, module, example, precision):
        busy.append(1)
        most.append(len(busy))
        threading.Event().wait(0.01)
        busy.pop()
        return module

    monkeypatch.setattr(choosing.Backend, "installed", property(lambda backend: True))
    monkeypatch.setattr(choosing.Backend, "prepare", prepare)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: choose(Translator(generator), "onnx"), range(4)))
    assert set(most) == {1} and logging.root.manager.disable == 0


@pytest.mark.slow
@extra("openvino")
def test_openvino_reports_nothing(tmp_path):
    """Its telemetry keeps its own count in the home folder, unless it runs in CI."""
    code = """
from torch import nn
from i2i.backends import choose
from i2i.translate import Translator
choose(Translator(nn.Conv2d(3, 3, 3, padding=1).requires_grad_(False)), "openvino", "fp32")
"""
    quiet = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD", "JENKINS_URL")}
    homes = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=quiet | homes)
    assert not list(tmp_path.rglob("*openvino*")) and not (tmp_path / "intel").exists()


@pytest.mark.parametrize(
    "content",
    [
        "", "[1]", '{"torch": 3}', '{"torch": {"start": 1}}', '{"torch": {"start": "a", "image": 1}}',
        '{"torch": {"start": 0, "image": null}}', '{"torch": "x"}',
    ],
)  # fmt: skip
def test_a_damaged_memory_is_none(generator, content):
    example = torch.ones(1, 3, 64, 64)
    costs = Costs(generator, example, "fp32")
    costs.note("torch", Cost(0, 1))
    costs.path.write_text(content)
    assert Costs(generator, example, "fp32").known == {}
    costs.note("onnx", None)
    assert json.loads(costs.path.read_text()) == {"torch": {"start": 0, "image": 1}, "onnx": None}
    costs.note("another", Cost(0, 0.1))  # of a version that has more backends
    assert auto(generator, 9) == "torch in fp32"
    assert Costs(generator, example, "bf16").known == {}
    assert Costs(generator, torch.ones(1, 3, 64, 68), "fp32").known == {}


def test_a_result_that_is_not_torchs_is_refused(generator, monkeypatch):
    monkeypatch.setattr(choosing.Backend, "installed", property(lambda backend: True))
    monkeypatch.setattr(choosing.Backend, "prepare", lambda self, module, example, precision: lambda x: x * 0 + 0.9)
    with pytest.raises(
        I2IError, match=r"--backend: 'onnx' cannot compute this network: .* differs from torch's by 0\.9"
    ):
        choose(Translator(generator), "onnx")


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [
        ("onx", "auto", r"--backend: there is no backend 'onx'; did you mean 'onnx'\?"),
        ("torch", "fp16", r"--precision: there is no precision 'fp16'; did you mean .*auto, bf16, fp32"),
        ("onnx", "bf16", "--precision: 'onnx' does not compute in bf16; there is: auto, fp32"),
    ],
)
def test_what_is_not_there_is_told(generator, monkeypatch, backend, precision, message):
    monkeypatch.setattr(choosing.Backend, "installed", property(lambda backend: True))
    with pytest.raises(I2IError, match=message):
        choose(Translator(generator), backend, precision)


def test_a_missing_package_is_told_with_what_installs_it(generator, monkeypatch):
    monkeypatch.setattr("i2i.backends.contract.find_spec", lambda name: None)
    with pytest.raises(I2IError, match=r"'openvino' misses openvino: pip install 'i2i\[openvino\]'"):
        choose(Translator(generator), "openvino")
    monkeypatch.setattr("i2i.backends.contract.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(I2IError, match=r"'onnx' misses onnxscript: pip install 'i2i\[onnx\]'"):
        choose(Translator(generator), "onnx")


def test_from_python_as_from_the_command_line(engine, tmp_path, monkeypatch):
    run = Run.create(tmp_path, "run")
    tiny.loop(tiny.recipe(tmp_path, engine), run, engine).go()
    pixels = (noise(3, 16, 16) + 1) * 127.5
    image = pixels.to(torch.uint8)
    exact = load(run.folder, precision="fp32").translate(image)
    rounded = load(run.folder, precision="bf16").translate(image)
    assert exact.dtype == torch.uint8 and 0 < (exact.int() - rounded.int()).abs().max() < 24
    with monkeypatch.context() as patch:
        patch.setattr("i2i.translating.tiling.Tiling.cuts", lambda *whatever: True)
        tiled = {precision: load(run.folder, precision=precision).translate(image) for precision in ("fp32", "bf16")}
    assert (tiled["fp32"].int() - exact.int()).abs().max() <= 1 and not torch.equal(tiled["bf16"], tiled["fp32"])
    with pytest.raises(I2IError, match="^backend: there is no backend 'cuda'"):
        load(run.folder, backend="cuda")


def test_the_command_says_what_computed(engine, tmp_path, monkeypatch, capsys):
    run = Run.create(tmp_path, "run")
    tiny.loop(tiny.recipe(tmp_path, engine), run, engine).go()
    given = ["translate", str(run.folder), str(tmp_path / "a"), "-o", str(tmp_path / "out"), "--precision", "bf16"]
    monkeypatch.setattr(sys, "argv", ["i2i", *given])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code and "by torch in bf16" in capsys.readouterr().out


def test_the_benchmark_ends_in_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    import translating

    sizes = ["--size", "16", "--blocks", "1", "--width", "2", "--images", "2", "--ways", "torch-fp32", "torch-bf16"]
    monkeypatch.setattr(sys, "argv", ["translating.py", *sizes, "--out", str(tmp_path / "out.json")])
    translating.main()
    assert "| torch-bf16 |" in capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())["who"]
    assert found["textbook"]["times"] == 1 and found["torch-fp32"]["most"] <= 1  # halves may be rounded either way
    assert all(len(row["seconds"]) == 5 for row in found.values())
