"""Recipes proposed for two folders: what is seen in them, what is written, and that it ends within the hours."""

import tomllib

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from i2i import propose
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.propose import SCALES, Scale, Seen, look
from i2i.recipe import Recipe, resolve
from i2i.training import Training


@pytest.fixture
def timed(monkeypatch):
    """Makes every scale take so many seconds a step; returns the scales that were timed."""

    def install(seconds: dict[Scale, float] | float) -> list[Scale]:
        asked: list[Scale] = []

        def answer(scale, channels, registry, deep):
            asked.append(scale)
            return seconds if isinstance(seconds, float) else seconds[scale]

        monkeypatch.setattr(propose, "seconds_per_step", answer)
        return asked

    return install


def proposed(a: Seen, b: Seen, hours: float, engine: Engine) -> tuple[str, Recipe]:
    text = propose.propose(a, b, hours, engine.registry, lambda line: None)
    return text, resolve(tomllib.loads(text), engine.registry, list(engine.plugins))


def n_steps(recipe: Recipe, a: Seen, b: Seen) -> int:
    return sum(recipe.length.steps(max(a.n_images, b.n_images)))


def scale_of(recipe: Recipe) -> Scale:
    document = recipe.document()
    return Scale(recipe.data.crop_size, document["generator"]["base_channels"], document["generator"]["n_blocks"])


def seen(folder, name, n_images=500, short_side=300, channels=3) -> Seen:
    return Seen(folder / name, n_images, short_side, channels)


# look


def test_look_counts_images_and_takes_the_median_of_their_short_sides(tmp_path):
    tiny.write_images(tmp_path / "x", 1, size=(40, 90))
    tiny.write_images(tmp_path / "x" / "deeper", 1, size=(100, 20))
    tiny.write_images(tmp_path / "x" / "other", 1, size=(50, 50))
    found = look(tmp_path / "x", "--a")
    assert (found.n_images, found.short_side, found.channels, found.name) == (3, 40, 3, "x")


def test_look_sees_grey_only_if_all_images_are(tmp_path):
    Image.new("L", (20, 20)).save(tmp_path / "0.png")
    Image.new("1", (20, 20)).save(tmp_path / "1.png")
    assert look(tmp_path, "--a").channels == 1
    Image.new("RGB", (20, 20)).save(tmp_path / "2.png")
    assert look(tmp_path, "--a").channels == 3


def test_look_opens_a_part_of_many_images(tmp_path, monkeypatch):
    tiny.write_images(tmp_path, 120, size=(8, 8))
    opened = []
    read = propose.header
    monkeypatch.setattr(propose, "header", lambda path: opened.append(path) or read(path))
    assert look(tmp_path, "--a").n_images == 120
    assert len(opened) <= propose.N_LOOKED_AT


def test_look_passes_over_images_that_cannot_be_read_but_not_over_none(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(I2IError, match="--b.*can be read"):
        look(tmp_path, "--b")
    tiny.write_images(tmp_path, 2)
    assert look(tmp_path, "--b").short_side == 16
    with pytest.raises(I2IError, match="--b: there is no folder"):
        look(tmp_path / "nowhere", "--b")


# propose


def test_with_time_enough_the_papers_sizes_and_200_epochs_are_proposed(tmp_path, engine, timed):
    asked = timed(0.01)
    a, b = seen(tmp_path, "photos"), seen(tmp_path, "paintings")
    text, recipe = proposed(a, b, 8, engine)
    assert asked == [SCALES[0]]
    assert scale_of(recipe) == Scale(256, 64, 9)
    assert recipe.length.document() == {"n_epochs": 100, "n_epochs_decay": 100}
    assert (recipe.data.load_size, recipe.data.crop_size, recipe.data.names) == (286, 256, ("photos", "paintings"))
    assert recipe.document()["discriminator"]["base_channels"] == 64
    assert "200 epochs" not in text


@pytest.mark.parametrize("hours", [0.01, 0.5, 8.0, 100.0])
@pytest.mark.parametrize("seconds", [0.02, 0.3, 4.0])
@pytest.mark.parametrize("n_images", [3, 97, 1200])
def test_the_run_ends_within_the_hours(tmp_path, engine, timed, hours, seconds, n_images):
    timed(seconds)
    a, b = seen(tmp_path, "a", n_images), seen(tmp_path, "b", 3)
    _, recipe = proposed(a, b, hours, engine)
    steps = n_steps(recipe, a, b)
    assert 1 <= steps <= 200 * n_images
    assert steps * seconds <= max(hours * 3600, 0.01 * n_images * seconds + seconds)
    enough = hours * 3600 / seconds
    if enough >= 100:  # the time there is, is used
        assert steps >= 0.97 * min(enough, 200 * n_images)


def test_smaller_sizes_are_taken_where_the_time_is_short(tmp_path, engine, timed):
    asked = timed(dict(zip(SCALES, (4.0, 1.0, 0.3, 0.1), strict=True)))
    a, b = seen(tmp_path, "a"), seen(tmp_path, "b")
    assert scale_of(proposed(a, b, 4, engine)[1]) == SCALES[1]  # 14,400 steps at 1 s
    assert scale_of(proposed(a, b, 1, engine)[1]) == SCALES[2]  # 12,000 steps at 0.3 s
    asked.clear()
    assert scale_of(proposed(a, b, 0.1, engine)[1]) == SCALES[3]
    assert asked == list(SCALES)


@pytest.mark.parametrize(("side", "crop"), [(300, 256), (255, 128), (128, 128), (127, 64), (20, 64)])
def test_images_are_not_enlarged_unless_they_are_tiny(tmp_path, engine, timed, side, crop):
    timed(0.01)
    text, recipe = proposed(seen(tmp_path, "a"), seen(tmp_path, "b", short_side=side), 8, engine)
    assert recipe.data.crop_size == crop
    assert ('"b": most images are under' in text) == (side < crop)
    assert recipe.data.load_size == round(crop * 286 / 256)


def test_notes_say_what_to_expect_of_few_and_of_unbalanced_images(tmp_path, engine, timed):
    timed(0.01)
    plain, _ = proposed(seen(tmp_path, "a"), seen(tmp_path, "b"), 8, engine)
    few, _ = proposed(seen(tmp_path, "a", 99), seen(tmp_path, "b", 100), 8, engine)
    unbalanced, _ = proposed(seen(tmp_path, "a", 301), seen(tmp_path, "b", 100), 8, engine)
    assert "learnt by heart" not in plain
    assert "times as many" not in plain
    assert '# "a": only 99 images' in few
    assert '# "b": only' not in few
    assert "over three times as many" in unbalanced


def test_channels_follow_the_images(tmp_path, engine, timed):
    timed(0.01)
    grey, colour = seen(tmp_path, "grey", channels=1), seen(tmp_path, "colour")
    for a, b, channels, weight in [(grey, grey, (1, 1), 0.5), (colour, colour, (3, 3), 0.5), (grey, colour, (1, 3), 0)]:
        _, recipe = proposed(a, b, 8, engine)
        assert recipe.data.both_channels == channels
        assert recipe.document()["method"]["lambda_identity"] == weight
        recipe.method(*channels)  # refused if the identity loss could not work


@pytest.mark.parametrize("name", ['quo"ted', "back\\slash", "Gemälde 画", "tab\tbed", "new\nline", "esc\x1bape"])
def test_any_folder_name_survives_in_the_text(tmp_path, engine, timed, name):
    timed(0.01)
    _, recipe = proposed(seen(tmp_path, name, n_images=9), seen(tmp_path, "b"), 8, engine)
    assert recipe.data.names[0] == name
    assert recipe.document()["data"]["source"]["a"] == str((tmp_path / name).resolve())


def test_folders_of_one_name_are_called_a_and_b(tmp_path, engine, timed):
    timed(0.01)
    _, recipe = proposed(seen(tmp_path / "x", "train"), seen(tmp_path / "y", "train"), 8, engine)
    assert recipe.data.names == ("a", "b")


def test_a_step_is_timed_without_touching_the_random_state(engine):
    before = torch.random.get_rng_state()
    assert 0 < propose.seconds_per_step(Scale(32, 2, 1), (1, 3), engine.registry) < 60
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_the_patches_are_smaller_than_the_image(scale, engine):
    from i2i.receptive_field import receptive_field

    spec = {"name": "patchgan", "base_channels": 2, "n_layers": scale.n_layers}
    field = receptive_field(engine.registry.resolve("discriminator", spec, "")(3), 3)
    assert field.pixels is not None and field.pixels < scale.crop_size


@pytest.mark.parametrize(
    ("a", "b", "range_"),
    [
        (((70, 90, 1), "uint16"), ((70, 90, 1), "uint16"), "auto"),
        (((70, 90, 3), "uint8"), ((90, 70, 1), "float32"), ("type", "auto")),
        (((66, 66, 7), "int16"), ((66, 200, 3), "uint8"), ("auto", "type")),
    ],
)
def test_what_is_proposed_for_deep_images_of_any_shape_can_be_trained(tmp_path, engine, timed, a, b, range_):
    timed(1.0)
    rng = np.random.default_rng(0)
    for name, (shape, dtype) in (("a", a), ("b", b)):
        (tmp_path / name).mkdir()
        for i in range(3):
            np.save(tmp_path / name / f"{i}.npy", (rng.random(shape) * 200).astype(dtype))
    _, recipe = proposed(look(tmp_path / "a", "--a"), look(tmp_path / "b", "--b"), 0.1, engine)
    assert recipe.data.range == range_
    training = Training.build(recipe)
    assert training.data.deep and training.precision == "fp32"
    (batch,) = training.data.batches(0)
    assert batch.a.shape[1:] == (a[0][2], 64, 64) and batch.b.shape[1:] == (b[0][2], 64, 64)
    assert all(torch.isfinite(value) for value in training.trainer.train_step([batch]).values())


def test_a_network_judges_what_it_can_see(tmp_path, engine, timed):
    timed(0.01)
    colour, bands = seen(tmp_path, "colour"), seen(tmp_path, "bands", channels=5)
    for a, b, by in [(colour, colour, "kid"), (colour, bands, "kid"), (bands, bands, None)]:
        _, recipe = proposed(a, b, 8, engine)
        assert recipe.eval.best_by == by
