"""Every shipped recipe trains for two steps on embedded images and ends with what it promises."""

from pathlib import Path

import pytest
import tiny
import torch

from i2i import layers
from i2i.recipe import resolve
from i2i.run import Run
from i2i.translate import find_translator

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))
STEPS = ["schedule.n_steps=1", "schedule.n_steps_decay=1", "train.sample_every=1000", "train.save_every=1"]
FROM_NOISE = {"gan", "cogan"}
"""Methods that end with a sheet of samples instead of translators."""


def settings(recipe: Path) -> list[str]:
    """What makes a recipe short: two steps, few images, and none that have to be fetched first."""
    if recipe.stem == "cyclegan-horse2zebra":
        small = ['data.source={name="fluent-emoji", limit=8}', "data.load_size=72", "data.crop_size=64"]
        return [*STEPS, *small, "generator.base_channels=16"]
    return [*STEPS, "data.source.limit=8"]


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=[p.stem for p in RECIPES])
def test_a_recipe_trains_and_translates(path, engine, tmp_path):
    recipe = resolve(layers.read(path, settings(path)), engine.registry, list(engine.plugins))
    run = Run.create(tmp_path, path.stem)
    assert tiny.loop(recipe, run, engine).go() == ""

    channels = recipe.data.both_channels
    if recipe.method.qualified in FROM_NOISE:
        assert not list(run.folder.glob("*.safetensors"))
        return
    for direction in ("ab", "ba") if run.weights("ba").is_file() else ("ab",):
        translator = find_translator(run.folder, engine.registry, engine.plugins, to=direction[1])
        images = torch.rand(1, channels["ab".index(direction[0])], 50, 70) * 2 - 1
        output = translator(images)
        assert output.shape == (1, channels["ab".index(direction[1])], 50, 70)
        assert output.isfinite().all() and output.std() > 0
