"""Methods that make images from nothing, as a user meets them: what a run leaves behind, and what it says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from test_cli import i2i, mistake

from i2i.method import Imagines
from i2i.run import Run
from i2i.sampling import imagined
from i2i.watch.samples import grid

SMALL = {"size": 16, "base_channels": 2}
GAN = {"method": {"name": "gan", "n_noise": 4}, "generator": SMALL, "discriminator": SMALL}
TWICE = {"method": GAN["method"] | {"discriminator_steps": 2}}
COGAN = GAN | {"method": {"name": "cogan", "n_noise": 4, "n_shared_generator": 2, "n_shared_discriminator": 2}}


def document(folder: Path, **tables) -> dict:
    found = tiny.document(folder, **GAN | tables)
    found["train"] |= {"sample_every": 2}
    del found["pool"]
    return found


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Writes a recipe of a GAN into an empty directory, which is the current one."""
    monkeypatch.chdir(tmp_path)

    def write(**tables) -> Path:
        path = tmp_path / "noise.json"
        path.write_text(json.dumps(document(tmp_path, **tables)), encoding="utf-8")
        return path

    return write


def test_a_run_ends_with_a_sheet_and_no_translator(recipe):
    told = i2i("train", recipe())
    assert told.code == 0, told.err
    run = Run(Path("runs/noise"))
    assert re.search(r"done: \S*report.html shows it$", told.out.strip())
    assert "generator: " in told.out and "adversarial" in told.out
    assert not list(run.folder.glob("*.safetensors"))
    assert "samples/00000004.png" in (run.folder / "report.html").read_text(encoding="utf-8")
    with Image.open(run.folder / "samples/00000004.png") as sheet:
        pixels = np.array(sheet)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100  # eight images of noise, not one grey
    assert i2i("check", recipe()).code == 0


def test_there_is_nothing_to_translate_with(recipe):
    assert i2i("train", recipe()).code == 0
    for more in ([], ["--to", "a"], ["--checkpoint", "4"]):
        assert "its method, gan, translates nothing" in mistake("translate", "runs/noise", "a", "-o", "out", *more)
    assert not Path("out").exists()


def test_an_average_of_no_translators_is_refused(recipe):
    assert "train.ema: averages translators, and this method has none" in mistake(
        "train", recipe(), "--set", "train.ema=0.9"
    )


def test_sizes_that_differ_are_told_before_the_run(recipe):
    for command in ("check", "train"):
        message = mistake(command, recipe(generator=SMALL | {"size": 32}))
        assert "generator.size: makes images of 32 x 32 px, and those of the data have 16 x 16" in message
    assert not Path("runs").exists()


@pytest.mark.parametrize("tables", [TWICE, COGAN], ids=["gan with two discriminator steps", "cogan"])
def test_a_run_that_goes_on_shows_what_one_that_never_stopped_shows(recipe, tables):
    path, constant = recipe(**tables), ("--set", "schedule.n_steps_decay=0")
    assert i2i("train", path, "--out", "whole", *constant, "--set", "schedule.n_steps=4").code == 0
    assert i2i("train", path, "--out", "parted", *constant).code == 0
    told = i2i("train", "--resume", "parted/noise", "--set", "schedule.n_steps=4")
    assert told.code == 0, told.err
    whole, parted = (Path(out, "noise/samples") for out in ("whole", "parted"))
    assert (whole / "00000004.png").read_bytes() == (parted / "00000004.png").read_bytes()
    assert (whole / "00000004.png").read_bytes() != (whole / "00000002.png").read_bytes()


def test_samples_are_made_in_evaluation_mode_and_change_nothing(engine):
    spec = {"name": "cogan", "n_noise": 4, "n_shared_generator": 2, "n_shared_discriminator": 2}
    method = engine.registry.resolve("method", spec | {"generator": SMALL, "discriminator": SMALL}, "method")(3, 1)
    method.train()
    before, state = torch.get_rng_state(), {k: v.clone() for k, v in method.state_dict().items()}
    first, again = imagined(method, 8), imagined(method, 8)
    assert {name: images.shape for name, images in first.items()} == {"new_a": (8, 3, 16, 16), "new_b": (8, 1, 16, 16)}
    assert all(torch.equal(images, again[name]) for name, images in first.items())
    assert all(torch.equal(value, state[name]) for name, value in method.state_dict().items())
    assert method.training and torch.equal(torch.get_rng_state(), before)


def test_the_sheet_has_a_row_for_each_domain():
    new = torch.zeros(3, 3, 16, 16)
    one, two = (grid(images, ("flat", "3d")) for images in ({"new_b": new}, {"new_a": new, "new_b": new}))
    assert one.height < two.height
    beside = grid({"a": new, "ab": new, "new_b": new}, ("flat", "3d"))
    assert beside.height > two.height  # beside translations


def test_a_method_that_translates_imagines_nothing(engine):
    small = {"generator": {"base_channels": 2, "n_blocks": 1}, "discriminator": {"base_channels": 2}}
    method = engine.registry.resolve("method", {"name": "cyclegan", **small}, "method")(3, 3)
    assert not isinstance(method, Imagines) and imagined(method, 8) == {}
