"""The command line as a user meets it: what each command leaves behind, and what every mistake is answered with."""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file

from i2i import cli

COLOUR = '''\
"""A discriminator that judges colour, pixel by pixel."""
from i2i import hookimpl
from torch import nn
class Colour(nn.Sequential):
    """1x1 discriminator; no spatial context."""
    def __init__(self, in_channels: int, *, width: int = 4) -> None:
        super().__init__(nn.Conv2d(in_channels, width, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 1))
@hookimpl
def register_discriminators(): return {"colour": Colour}
'''
SUBCOMMANDS = "train", "new", "check", "translate", "list", "show", "compare", "plugins", "plugin", "import", "schema"


def i2i(*arguments: object) -> SimpleNamespace:
    """Runs a command in this process: its exit code, and what it printed with the line breaks of its boxes undone."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "argv", ["i2i", *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = 0
            try:
                cli.main()
            except SystemExit as end:
                code = end.code or 0
    return SimpleNamespace(code=code, out=out.getvalue(), err=re.sub(r"[\s│]+", " ", err.getvalue()))


def mistake(*arguments: object) -> str:
    """Runs a command that must fail as mistakes of a user do, and returns the message."""
    told = i2i(*arguments)
    assert told.code == 2, told.out + told.err
    assert "Traceback" not in told.err + told.out
    assert re.search("error", told.err, re.IGNORECASE)
    return told.err


def write_recipe(folder: Path, **tables) -> Path:
    path = folder / "tiny.json"
    path.write_text(json.dumps(tiny.document(folder, **tables)), encoding="utf-8")
    return path


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> Path:
    """A tiny recipe in an empty directory, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return write_recipe(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of four steps, made by `i2i train`; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("trained")
    names = tiny.document(folder)["data"] | {"names": ["horse", "zebra"]}
    told = i2i("train", write_recipe(folder, data=names), "--out", folder / "runs")
    assert told.code == 0, told.err
    assert "i2i translate" in told.out
    return folder / "runs" / "tiny"


def n_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


# train


def test_a_run_holds_everything(run):
    assert {p.name for p in run.iterdir()} == {
        "recipe.json", "environment.json", "metrics.jsonl", "samples", "report.html", "checkpoints",
        "ab.safetensors", "ba.safetensors", "health-samples.jsonl",
    }  # fmt: skip
    assert n_lines(run / "metrics.jsonl") == 4
    assert sorted(p.name for p in (run / "samples").iterdir()) == ["00000001.png", "00000004.png"]
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-00000004"]
    assert json.loads((run / "environment.json").read_text())["torch"] == torch.__version__


def test_a_run_is_never_overwritten(recipe):
    weights = []
    for name in ("tiny", "tiny-2", "tiny-3"):
        assert i2i("train", recipe, "--set", f"train.seed={len(weights)}").code == 0
        weights.append(Path("runs", name, "ab.safetensors"))
    assert not same_weights(weights[0], weights[1])


def test_the_recipe_of_a_run_trains_again_as_it_is(run, tmp_path):
    assert i2i("train", run / "recipe.json", "--out", tmp_path).code == 0
    again = tmp_path / "recipe"
    assert (again / "recipe.json").read_bytes() == (run / "recipe.json").read_bytes()
    assert same_weights(again / "ab.safetensors", run / "ab.safetensors")


def test_a_finished_run_says_how_to_lengthen_it_and_lengthens(recipe):
    assert i2i("train", recipe).code == 0
    told = mistake("train", "--resume", "runs/tiny")
    setting = re.search(r"--set (schedule\.\S+=\d+)", told)
    assert "is at its end, step 4" in told
    assert i2i("train", "--resume", "runs/tiny", "--set", setting[1]).code == 0
    steps = [json.loads(line)["step"] for line in Path("runs/tiny/metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(1, len(steps) + 1)]
    assert len(steps) > 4
    assert [p.name for p in Path("runs").iterdir()] == ["tiny"]


@pytest.mark.parametrize(("n_epochs", "hint"), [(0.5, "n_epochs=1.0"), (0, "n_epochs=1")])
def test_the_hint_to_lengthen_keeps_the_unit_and_the_decay(recipe, n_epochs, hint):
    schedule = {"n_epochs": n_epochs, "n_epochs_decay": 1}
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"schedule": schedule}))
    assert i2i("train", recipe).code == 0
    assert f"--set schedule.{hint}" in mistake("train", "--resume", "runs/tiny")
    assert i2i("train", "--resume", "runs/tiny", "--set", f"schedule.{hint}").code == 0
    schedule = json.loads(Path("runs/tiny/recipe.json").read_text())["schedule"]
    assert schedule["n_epochs"] == 1 and schedule["n_epochs_decay"] == 1


def test_the_device_is_chosen_for_one_run(recipe):
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"train": {"device": "tpu", "log_every": 1}}))
    assert "'tpu' is no device" in mistake("check", recipe)
    assert i2i("check", recipe, "--device", "cpu").code == 0
    assert i2i("train", recipe, "--device", "cpu").code == 0
    train = json.loads(Path("runs/tiny/recipe.json").read_text())["train"]
    assert (train["device"], train["log_every"]) == ("cpu", 1)
    assert "--device: a resumed run keeps its device" in mistake("train", "--resume", "runs/tiny", "--device", "cpu")


@pytest.mark.parametrize("data", ["x", 3])
def test_folders_for_a_recipe_without_a_table_of_data(recipe, data):
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"data": data}))
    assert "data" in mistake("train", recipe, "--a", "a", "--b", "b")


def test_a_name_that_is_not_unicode_is_refused(recipe):
    told = mistake("train", recipe, "--a", "odd\udcff", "--b", "b")
    assert "data.source.a: 'odd\\udcff' is not valid UTF-8" in told


@pytest.mark.parametrize("setting", ["optim.lr=1e-3", "generator.n_blocks=2", "train.seed=1", "schedule=cosine"])
def test_a_resumed_run_keeps_what_its_checkpoint_depends_on(run, setting):
    assert f"--set {setting}" in mistake("train", "--resume", run, "--set", setting)
    assert n_lines(run / "metrics.jsonl") == 4


def test_a_metric_that_is_none_leaves_no_folder(recipe):
    before = {*Path("runs").glob("*")}
    told = mistake("train", recipe, "--set", "eval.best_by=nonsense")
    assert "eval.best_by: 'nonsense' is none of the metrics" in told and '--set eval.best_by=""' in told
    assert {*Path("runs").glob("*")} == before


def test_folders_replace_the_recipes_source(recipe, tmp_path):
    tiny.write_images(tmp_path / "photos", 2)
    tiny.write_images(tmp_path / "paintings", 3)
    assert i2i("train", recipe, "--a", "photos", "--b", "paintings").code == 0
    source = json.loads(Path("runs/tiny/recipe.json").read_text())["data"]["source"]
    assert (source["a"], source["b"]) == (str(tmp_path / "photos"), str(tmp_path / "paintings"))
    assert "--a/--b" in mistake("train", recipe, "--a", "photos")
    assert "--a/--b" in mistake("train", "--resume", "runs/tiny", "--a", "photos", "--b", "paintings")


def test_two_folders_are_pairs_for_a_method_that_learns_from_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, n in (("edges", 2), ("shoes", 2), ("bags", 3)):
        tiny.write_images(tmp_path / folder, n)
    small = {"base_channels": 2}
    data = {"source": "fluent-emoji", "load_size": 16, "crop_size": 16}
    document = tiny.document(tmp_path, method={"name": "pix2pix"}, generator=small | {"depth": 4}, data=data)
    del document["pool"]
    Path("pairs.json").write_text(json.dumps(document))
    assert i2i("check", "pairs.json", "--a", "edges", "--b", "shoes").code == 0
    assert i2i("train", "pairs.json", "--a", "edges", "--b", "shoes").code == 0
    data = json.loads(Path("runs/pairs/recipe.json").read_text())["data"]
    assert (data["source"]["name"], data["names"]) == ("pairs", ["edges", "shoes"])
    assert "1 of 3 files have no partner in" in mistake("train", "pairs.json", "--a", "edges", "--b", "bags")
    other = ("method=cyclegan", "generator.base_channels=2", "generator.n_blocks=1", "discriminator.n_layers=1")
    settings = [word for setting in other for word in ("--set", setting)]
    assert i2i("check", "pairs.json", "--a", "edges", "--b", "bags", *settings).code == 0


def test_grey_images_and_one_image_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tiny.document(tmp_path)["data"]
    Path("grey").mkdir()
    Image.new("L", (20, 30), 90).save("grey/one.png")
    source = {"name": "folders", "a": "grey", "b": "b"}
    recipe = write_recipe(tmp_path, data={**data, "source": source, "channels": 1})
    assert i2i("train", recipe).code == 0
    assert i2i("translate", "runs/tiny", "grey", "-o", "out").code == 0
    with Image.open("out/one.png") as image:
        assert (image.mode, image.size) == ("L", (20, 30))


def test_a_full_disk_ends_a_run_with_one_message(recipe, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("i2i.checkpoint.save", full)
    told = mistake("train", recipe)
    assert "No space left on device" in told
    assert "step 4" in told


# translate


def test_a_folder_is_translated_with_its_names_and_sizes(run, tmp_path):
    inputs = tiny.write_images(tmp_path / "in", 2, size=(30, 21))
    tiny.write_images(inputs / "deeper" / "still", 1, size=(16, 40))
    (inputs / "notes.txt").write_text("no image")
    told = i2i("translate", run, inputs, "-o", tmp_path / "out")
    assert told.code == 0, told.err
    assert "3 of 3 images translated, horse to zebra" in told.out
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"0.png", "1.png", "deeper/still/0.png"}
    with Image.open(tmp_path / "out" / "1.png") as image:
        assert (image.mode, image.size) == ("RGB", (30, 21))


def test_to_names_the_domain_and_a_weights_file_is_enough(run, tmp_path):
    image = tiny.write_images(tmp_path, 1) / "0.png"
    sources = {
        "default": [run], "zebra": [run, "--to", "zebra"], "b": [run, "--to", "b"],
        "file": [run / "ab.safetensors"], "checkpoint": [run, "--checkpoint", "4"],
        "horse": [run, "--to", "horse"], "a": [run, "--to", "a"], "other": [run / "ba.safetensors"],
    }  # fmt: skip
    pixels = {}
    for name, (source, *options) in sources.items():
        told = i2i("translate", source, image, "-o", tmp_path / name, *options)
        assert told.code == 0, told.err
        pixels[name] = np.array(Image.open(tmp_path / name / "0.png"))
    for name in ("zebra", "b", "file", "checkpoint"):
        assert np.array_equal(pixels[name], pixels["default"]), name
    for name in ("a", "other"):
        assert np.array_equal(pixels[name], pixels["horse"]), name
    assert not np.array_equal(pixels["horse"], pixels["default"])


def test_nothing_is_overwritten_unless_asked(run, tmp_path):
    inputs, out = tiny.write_images(tmp_path / "in", 2), tmp_path / "out"
    out.mkdir()
    (out / "0.png").write_text("mine")
    told = i2i("translate", run, inputs, "-o", out)
    assert told.code == 0 and "1 left as they are: they were there already; --overwrite" in told.out
    assert (out / "0.png").read_text() == "mine"
    assert (out / "1.png").exists()
    assert i2i("translate", run, inputs, "-o", out, "--overwrite").code == 0
    assert Image.open(out / "0.png").size == (16, 16)
    assert "is the folder of the images" in mistake("translate", run, inputs, "-o", inputs, "--overwrite")


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_translated(run, tmp_path):
    inputs = tiny.write_images(tmp_path / "in", 2)
    (inputs / "broken.png").write_bytes((inputs / "0.png").read_bytes()[:100])
    (inputs / "text.jpg").write_text("no image")
    told = i2i("translate", run, inputs, "-o", tmp_path / "out")
    assert told.code == 1 and "2 of 4 images translated" in told.out and "Traceback" not in told.err
    assert "broken.png: " in told.err
    assert "text.jpg: " in told.err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"0.png", "1.png"}


def test_an_image_smaller_than_the_network_needs_is_named(run, tmp_path):
    inputs = tiny.write_images(tmp_path / "in", 1, size=(3, 2))
    told = i2i("translate", run, inputs, "-o", tmp_path / "out")
    assert told.code == 1 and "0.png: 3x2 px is too small" in told.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"to": "dog"}, "there is: horse, zebra (or a, b)"),
        ({"checkpoint": "3"}, "there is: latest, best, 4"),
        ({"device": "tpu"}, "--device: 'tpu' is no device"),
        ({"images": "nowhere"}, "IMAGES: there is no file or folder 'nowhere'"),
        ({"source": "nowhere"}, "nowhere: there is no such folder"),
        ({"source": "."}, "has no recipe.json"),
        ({"source": "text.safetensors"}, "is no safetensors file"),
        ({"out": "text.safetensors"}, "--out: 'text.safetensors' is a file"),
        ({"format": "jpge"}, "--format: there is no format 'jpge' to write; did you mean 'jpeg'?"),
        ({"format": "gif"}, "--format: there is no format 'gif' to write"),
    ],
)
def test_mistakes_in_translate(run, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    Path("text.safetensors").write_text("no weights")
    tiny.write_images(Path("in"), 1)
    call = {"source": run, "images": "in", "out": "out", **change}
    named = [name for name in ("to", "checkpoint", "device", "format") if name in call]
    options = [part for name in named for part in (f"--{name}", call[name])]
    assert message in mistake("translate", call["source"], call["images"], "-o", call["out"], *options)


@pytest.mark.parametrize(
    ("gone", "command", "message"),
    [
        ("checkpoints", "train --resume tiny", "checkpoint"),
        ("ab.safetensors", "translate tiny in -o out", "the run stopped before its first save"),
        ("environment.json", "train --resume tiny", "environment.json: cannot be read"),
    ],
)
def test_a_run_that_is_not_whole_says_what_it_lacks(run, tmp_path, monkeypatch, gone, command, message):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "tiny", ignore=shutil.ignore_patterns(gone))
    tiny.write_images(Path("in"), 1)
    assert message in mistake(*command.split())


@pytest.mark.parametrize("odd", ["out [final]", "x[/y]"])
def test_brackets_in_paths_and_names_are_no_markup(recipe, odd):
    data = json.loads(recipe.read_text())["data"] | {"names": [f"{odd} a", "[/b]"]}
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"data": data}))
    told = i2i("train", recipe, "--out", odd)
    assert told.code == 0, told.err
    folder = shlex.quote(str(Path(odd, "tiny")))
    assert f"i2i translate {folder} IMAGES" in told.out
    told = i2i("translate", Path(odd, "tiny"), "a", "-o", f"{odd}/images")
    assert f"{odd} a to [/b], in {odd}/images" in told.out
    told = i2i("check", recipe)
    assert told.code == 0, told.err
    Path("[x].py").write_text(COLOUR)
    assert "[x]" in i2i("-p", "./[x].py", "list", "discriminators").out
    told = i2i("plugin", "new", "dark", "--kind", "loss", "--out", odd)
    assert f"{Path(odd, 'i2i-dark')} is ready" in told.out, told.err


@pytest.mark.parametrize(("rank", "size", "speaks"), [("3", None, True), ("3", "4", False), ("0", "4", True)])
def test_of_several_processes_the_first_one_tells_a_mistake(monkeypatch, rank, size, speaks):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size) if size else monkeypatch.delenv("WORLD_SIZE", raising=False)
    told = i2i("train", "nowhere.toml")
    assert told.code == 2 and ("no such recipe" in told.err) == speaks


# check and new


def test_check_ends_with_an_estimate_and_leaves_nothing(recipe):
    before = sorted(p.name for p in Path().iterdir())
    told = i2i("check", recipe)
    assert told.code == 0, told.err
    assert "the recipe is sound" in told.out
    assert sorted(p.name for p in Path().iterdir()) == before


def test_memory_that_is_not_there_is_told_before_the_first_step(recipe, monkeypatch):
    monkeypatch.setattr("i2i.memory.free_memory", lambda device: 1000)
    told = i2i("check", recipe)
    assert told.code == 0
    assert re.search(r"training takes about [\d.]+ MB of memory, and 1 kB are free; less need", told.err)


def test_new_writes_a_recipe_that_passes_the_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("i2i.propose.seconds_per_step", lambda scale, channels, registry, deep: 1.0)
    tiny.write_images(Path("photos"), 3, size=(70, 64))
    tiny.write_images(Path("paintings"), 4, size=(64, 80))
    told = i2i("new", "my.toml", "--a", "photos", "--b", "paintings", "--hours", "0.01")
    assert told.code == 0, told.err
    assert "i2i train my.toml" in told.out
    assert tomllib.loads(Path("my.toml").read_text(encoding="utf-8"))["data"]["names"] == ["photos", "paintings"]
    told = i2i("check", "my.toml")
    assert told.code == 0, told.err
    assert "my.toml: is there already" in mistake("new", "my.toml", "--a", "photos", "--b", "paintings")
    assert "--a: there is no folder 'fotos'" in mistake("new", "b.toml", "--a", "fotos", "--b", "paintings")
    assert "--hours" in mistake("new", "b.toml", "--a", "photos", "--b", "paintings", "--hours", "-1")
    assert not Path("b.toml").exists()


# mistakes in recipes: `check` and `train` answer alike, before anything is written


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        (["train.device=tpu"], ["train.device: 'tpu' is no device"]),
        (["train.sed=1"], ["train.sed", "did you mean 'seed'"]),
        (["generator=resent"], ["generator", "did you mean 'resnet'"]),
        (["generators.n_blocks=2"], ["generators: is no table", "did you mean 'generator'"]),
        (["generator.n_blocks=four"], ["generator.n_blocks", "four"]),
        (["data.channels=0"], ["data.channels"]),
        (["data.channels=2"], ["0.png: has 3 channels and cannot be brought to 2"]),
        (["data.channels=[1, 3]"], ["lambda_identity"]),
        (["data.crop_size=32"], ["data.crop_size", "load_size"]),
        (["data.crop_size=18"], ["data.crop_size", "a multiple of 4, not 18: 16 or 20"]),
        (["data.crop_size=4"], ["data.crop_size", "too small"]),
        (["discriminator.n_layers=3"], ["data.crop_size"]),
        (["data.source.a=nowhere"], ["data.source.a: there is no folder", "nowhere"]),
        (["data.source.a=empty"], ["data.source.a: the folder", "empty' holds no image"]),
        (["data.source.a=broken"], ["broken.png"]),
        (["data.source.a=floats"], ["data.range: the a images hold floats", '"auto"']),
        (["optim.name=adamm"], ["optim.name", "adamm"]),
        (["optim.lr=-1"], ["optim.lr"]),
        (["schedule.n_steps=0", "schedule.n_steps_decay=0"], ["schedule: is 0 steps long"]),
        (
            ['extra_loss=[{name="masked", between=["rec_a", "a", "mask_a"], player="generators"}]'],
            ["data.source: gives no mask_a, which the recipe needs", "`manifest`"],
        ),
        (["requires=['absent']"], ["plugin 'absent' is not loaded; add -p absent.py"]),
        (["train.sed=1", "optim.lr=-1", "cycle=l3"], ["train.sed", "optim.lr", "cycle"]),
        (["n_steps"], ["--set n_steps"]),
    ],
    ids=lambda value: " ".join(value),
)
@pytest.mark.parametrize("command", ["check", "train"])
def test_mistakes_in_recipes(recipe, command, settings, messages):
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/broken.png").write_bytes(Path("a/0.png").read_bytes()[:100])
    Path("floats").mkdir()
    np.save("floats/floats.npy", np.zeros((20, 20), np.float32))
    told = mistake(command, recipe, *(part for s in settings for part in ("--set", s)))
    for message in messages:
        assert message in told
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "i2i train cyclegan"),
        (["train", "cyclegam"], "did you mean 'cyclegan'"),
        (["train", "nowhere/my.toml"], "there is no such recipe"),
        (["train", "a"], "is a folder, not a recipe"),
        (["train", "half.toml"], "is not valid TOML"),
        (["train", "--resume", "nowhere"], "there is no such folder"),
        (["train", "--resume", "a"], "has no recipe.json"),
        (["train", "tiny.json", "--out", "tiny.json"], "tiny.json"),
        (["train", "tiny.json", "--resume", "a"], "--resume"),
        (["train", "tiny.json", "--sed", "1"], "--sed"),
        (["trian", "tiny.json"], "trian"),
        (["-p", "nowhere.py", "list"], "-p nowhere.py: there is no such file"),
        (["-p", "nowhere", "list"], "-p nowhere: there is no such file or module"),
        (["list", "generatorz"], "generator"),
        (["show", "discriminator", "patchgam"], "did you mean 'patchgan'"),
        (["compare", "discriminator", "patchgan", "--set", "patchgan.n_layer=2"], "n_layer"),
        (["plugin", "check", "nowhere.py"], "nowhere.py"),
        (["import", "nowhere.pth", "-o", "x.safetensors"], "nowhere.pth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "told",
)
def test_mistakes_on_the_command_line(recipe, arguments, message):
    Path("half.toml").write_text("[method\n")
    assert message in mistake(*arguments)


# plugins


def test_a_plugin_file_trains_through_the_unchanged_loop(tmp_path, monkeypatch):
    assert n_lines_of(COLOUR) <= 10
    monkeypatch.chdir(tmp_path)
    patchgan = {"name": "patchgan", "base_channels": 2, "n_layers": 1}
    recipe = write_recipe(tmp_path, discriminator=patchgan)
    Path("colour.py").write_text(COLOUR)
    chosen = ["train", recipe, "--set", "discriminator=colour"]
    assert "colour" in mistake(*chosen)
    assert i2i("-p", "colour.py", *chosen).code == 0
    assert i2i(*chosen, "-p", "colour.py").code == 0
    assert same_weights(Path("runs/tiny/ab.safetensors"), Path("runs/tiny-2/ab.safetensors"))
    assert json.loads(Path("runs/tiny/recipe.json").read_text())["requires"] == ["colour"]


def n_lines_of(text: str) -> int:
    return len(text.splitlines())


PLAIN = '''"""A normalization that does nothing."""
from torch import nn

from i2i import hookimpl


class Plain(nn.Identity):
    """Leaves maps as they are."""

    def __init__(self, channels: int) -> None:
        super().__init__()


@hookimpl
def register_normalizations():
    return {"plain": Plain}
'''


def with_plain(recipe, name):
    """The recipe with a generator whose normalization is called so, of a plugin called so."""
    Path(f"{name}.py").write_text(PLAIN.replace("plain", name))
    document = json.loads(recipe.read_text())
    document["generator"]["norm"] = name
    recipe.write_text(json.dumps(document))


@pytest.mark.parametrize("command", ["translate runs/tiny a -o out", "train --resume runs/tiny"])
def test_a_run_that_needs_an_absent_plugin_says_what_to_type(recipe, command):
    with_plain(recipe, "tint")
    assert i2i("-p", "tint.py", "train", recipe).code == 0
    told = mistake(*command.split())
    assert "needs the plugin 'tint'" in told
    typed = told.split("type: i2i ")[1].replace("…", "a -o out")
    told = i2i(*shlex.split(typed))
    assert told.code == 0 or "is at its end" in told.err, told.err


def test_what_to_type_works_from_any_directory(recipe, tmp_path, monkeypatch):
    with_plain(recipe, "shade")
    assert i2i("-p", "shade.py", "train", recipe).code == 0
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    typed = mistake("translate", "../runs/tiny", "../a", "-o", "out").split("type: i2i ")[1]
    told = i2i(*shlex.split(typed.replace("…", "../a -o out")))
    assert told.code == 0, told.err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("raises", "import nothing_of_that_name", "ModuleNotFoundError"),
        ("unfinished", "def register(:", "SyntaxError"),
        ("misspelt", COLOUR.replace("register_discriminators", "register_discriminator"), "register_discriminators"),
        ("undescribed", COLOUR.replace('    """1x1 discriminator; no spatial context."""\n', ""), "docstring"),
        ("untyped", COLOUR.replace("width: int = 4", "width=4"), "width"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named(tmp_path, monkeypatch, name, text, message):
    monkeypatch.chdir(tmp_path)
    Path(f"{name}.py").write_text(text)
    told = mistake("-p", f"{name}.py", "list")
    assert name in told
    assert message in told


# looking


def test_help_names_every_command_and_nothing_fails_on_it():
    told = i2i("--help")
    assert told.code == 0
    for name in SUBCOMMANDS:
        assert re.search(rf"^\W*{name}\b", told.out, re.MULTILINE), name
        assert i2i(name, "--help").code == 0
    assert re.fullmatch(r"i2i \d\S*\n", i2i("--version").out)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"], ["list", "losses"], ["show", "discriminator", "patchgan"], ["plugins"],
        ["compare", "discriminator", "patchgan", "pixelgan", "--size", "64"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_json_says_what_the_terminal_says(arguments):
    plain, data = i2i(*arguments), i2i(*arguments, "--json")
    assert plain.code == data.code == 0, plain.err + data.err
    for entry in found if isinstance(found := json.loads(data.out), list) else [found]:
        assert entry["name"] in plain.out


def test_the_schema_knows_the_components_of_a_plugin_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tinge.py").write_text(COLOUR.replace("colour", "tinge"))
    assert i2i("schema", "-o", "schema.json", "-p", "tinge.py").code == 0
    text = Path("schema.json").read_text(encoding="utf-8")
    assert json.loads(text)["$schema"].startswith("https://json-schema.org/")
    assert '"tinge"' in text
    assert '"tinge"' not in i2i("schema").out


def test_a_process_ends_with_the_same_message_and_code(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "i2i", "train", "cyclegam"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: cyclegam: there is no such recipe; did you mean 'cyclegan'?")
    assert n_lines_of(done.stderr) == 1
