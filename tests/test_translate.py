"""Weights that describe themselves; images of any size out as they came in."""

import json
from dataclasses import replace

import pytest
import tiny
import torch
from safetensors.torch import save_file
from torch import nn

from i2i.errors import I2IError
from i2i.files import write_tensors
from i2i.images.intake import Intake
from i2i.images.values import Range
from i2i.recipe import resolve
from i2i.run import Run
from i2i.translate import Translator, find_translator
from i2i.weights import save_translator


@pytest.fixture(scope="module")
def trained(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe = tiny.recipe(folder, engine, train={"device": "cpu", "precision": "fp32", "save_every": 2, "ema": 0.5})
    run = Run.create(folder, "run")
    loop = tiny.loop(recipe, run, engine)
    loop.go()
    return loop, run


class Identity(nn.Module):
    """Gives back what it gets, and records the size it got."""

    size_multiple = 8

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.sizes = []

    def forward(self, images):
        self.sizes.append(tuple(images.shape[-2:]))
        return images + self.unused


@pytest.mark.parametrize("size", [(8, 16), (9, 17), (31, 20), (15, 8)])
def test_any_size_is_padded_by_reflection_and_cropped_back(size):
    images = torch.rand(2, 3, *size) * 2 - 1
    module = Identity()
    assert torch.equal(Translator(module)(images), images)
    assert all(n % 8 == 0 for n in module.sizes[0])


def test_translation_leaves_mode_and_random_state_alone():
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.5)).train()
    before = torch.get_rng_state()
    first, second = (Translator(module)(torch.ones(1, 3, 8, 8)) for _ in range(2))
    assert torch.equal(first, second) and module.training and module[1].training
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_that_is_too_small_is_told(engine):
    module = engine.registry.resolve("generator", {"name": "resnet", "base_channels": 2, "n_blocks": 1}, "")(3, 3)
    with pytest.raises(I2IError, match="3x2 px is too small"):
        Translator(module)(torch.zeros(1, 3, 2, 3))


@pytest.mark.parametrize("to", ["b", "a"])
def test_weights_alone_are_enough(trained, engine, to):
    loop, run = trained
    translator = find_translator(run.folder, engine.registry, engine.plugins, to=to)
    direction = "ab" if to == "b" else "ba"
    alone = find_translator(run.weights(direction), engine.registry, engine.plugins)
    images = torch.rand(1, 3, 16, 16)
    expected = Translator(loop.training.trainer.translators()[direction])(images)
    assert torch.equal(translator(images), expected) and torch.equal(alone(images), expected)
    assert translator.names == (("a", "b") if to == "b" else ("b", "a"))


@pytest.mark.parametrize(("direction", "right", "wrong"), [("ab", "b zebra", "a horse"), ("ba", "a horse", "b zebra")])
def test_a_weights_file_knows_its_direction(trained, engine, tmp_path, direction, right, wrong):
    loop, _run = trained
    path = tmp_path / "x.safetensors"
    module = loop.training.trainer.translators()[direction]
    recipe = loop.training.recipe
    recipe = replace(recipe, data=recipe.data.model_copy(update={"names": ("horse", "zebra")}))
    save_translator(path, module, recipe=recipe, direction=direction, step=0)
    for to in right.split():
        find_translator(path, engine.registry, engine.plugins, to=to)
    for to in wrong.split():
        with pytest.raises(I2IError, match=f"translates to {right.split()[1]!r}, not to {to!r}"):
            find_translator(path, engine.registry, engine.plugins, to=to)
    with pytest.raises(I2IError, match="no domain 'dog'; there is: horse, zebra"):
        find_translator(path, engine.registry, engine.plugins, to="dog")


def test_a_checkpoint_of_a_run(trained, engine):
    loop, run = trained
    latest = find_translator(run.folder, engine.registry, engine.plugins, at="4")
    earlier = find_translator(run.folder, engine.registry, engine.plugins, at="2")
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(latest(images), Translator(loop.training.trainer.translators()["ab"])(images))
    assert not torch.equal(latest(images), earlier(images))
    with pytest.raises(I2IError, match="--checkpoint: '3' is not there; there is: latest, best, 2, 4"):
        find_translator(run.folder, engine.registry, engine.plugins, at="3")


def test_mistakes_are_told(trained, engine, tmp_path):
    loop, run = trained

    def failing(source, **options):
        with pytest.raises(I2IError) as error:
            find_translator(source, engine.registry, engine.plugins, **options)
        return str(error.value)

    assert failing(run.folder, to="zebra") == "--to: there is no domain 'zebra'; there is: a, b"
    assert "there is no such folder" in failing(tmp_path / "nowhere")
    assert "is no run" in failing(tmp_path)
    (tmp_path / "x.safetensors").write_text("hello")
    assert "is no safetensors file" in failing(tmp_path / "x.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "y.safetensors")
    assert "says nothing of its recipe" in failing(tmp_path / "y.safetensors")
    assert "translates to 'b', not to 'a'" in failing(run.weights("ab"), to="a")
    recipe = loop.training.recipe
    save_translator(tmp_path / "z.safetensors", nn.Linear(1, 1), recipe=recipe, direction="ab", step=0)
    assert "the weights do not fit the recipe" in failing(tmp_path / "z.safetensors")
    for missing in ({"plugins": ["colour"]}, {"recipe": {**run.recipe, "requires": ["colour"]}}):  # new files and old
        about = {"recipe": run.recipe, "direction": "ab", "names": ["a", "b"], **missing}
        write_tensors(tmp_path / "m.safetensors", {}, {"i2i": json.dumps(about)})
        assert "plugin 'colour' is not loaded; add -p colour.py" in failing(tmp_path / "m.safetensors")


def test_a_direction_that_the_method_does_not_learn_is_told(engine, tmp_path):
    document = tiny.document(tmp_path, method={"name": "cut", "taps": [0, 3]})
    del document["pool"]
    run = Run.create(tmp_path, "run")
    run.write_about(resolve(document, engine.registry, list(engine.plugins)).document(), {})
    with pytest.raises(I2IError, match="its method, cut, does not translate b to a"):
        find_translator(run.folder, engine.registry, engine.plugins, to="a")
    with pytest.raises(I2IError, match="stopped before its first save"):
        find_translator(run.folder, engine.registry, engine.plugins, to="b")


def test_weights_know_the_channels_and_values_of_their_domains(engine, tmp_path):
    document = tiny.document(tmp_path, method={"name": "cyclegan", "lambda_identity": 0.0})
    document["data"] |= {"channels": [7, 1], "range": [[0.0, 4095.0], [-1.0, 1.0]], "background": "black"}
    found = resolve(document, engine.registry, list(engine.plugins))
    taken, given = Intake(7, Range(0.0, 4095.0), (0, 0, 0)), Intake(1, Range(-1.0, 1.0), (0, 0, 0))
    translators = found.method(7, 1).translators()
    for direction, expected in (("ab", (taken, given)), ("ba", (given, taken))):
        path = tmp_path / f"{direction}.safetensors"
        save_translator(path, translators[direction], recipe=found, direction=direction, step=0)
        assert find_translator(path, engine.registry, engine.plugins).intakes == expected


def test_weights_of_older_versions_say_nothing_of_values(trained, engine, tmp_path):
    loop, run = trained
    recipe = run.recipe
    recipe["data"] = {"channels": 3, "names": ["a", "b"], "load_size": 18, "crop_size": 16, "source": {"name": "gone"}}
    path = tmp_path / "x.safetensors"
    module = loop.training.trainer.translators()["ab"]
    about = {"recipe": recipe, "direction": "ab", "step": 0, "names": ["a", "b"]}
    write_tensors(path, module.state_dict(), {"i2i": json.dumps(about)})
    assert find_translator(path, engine.registry, engine.plugins).intakes == (Intake(), Intake())
