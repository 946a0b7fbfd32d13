"""Layers, settings and resolution of recipes."""

import json

import pytest
from tiny import document, write_images

from i2i import layers
from i2i.errors import I2IError
from i2i.recipe import resolve


def failing(engine, recipe):
    with pytest.raises(I2IError) as error:
        resolve(recipe, engine.registry, list(engine.plugins))
    return "\n".join(map(str, error.value.problems))


def test_all_mistakes_of_a_recipe_at_once(engine, tmp_path):
    recipe = document(
        tmp_path, optim={"name": "adma"}, schedule={"n_steps": -1}, discriminatr={}, eval={"evry": 1, "patience": 2}
    )
    recipe["generator"]["n_block"] = 3
    recipe["train"] |= {"precision": "fp8", "device": "gpu"}
    recipe["data"]["crop_size"] = 64
    recipe["extra_loss"] = [{"name": "l3", "between": ["a"], "player": "generators"}]
    recipe["watch"] = [{"name": "tensorbord"}]
    recipe["requires"] = ["colour"]
    text = failing(engine, recipe)
    for part in (
        "generator.n_block: unknown option; did you mean 'n_blocks'?",
        "discriminatr: is no table of this method; did you mean 'discriminator'?",
        "eval.evry: unknown option; did you mean 'every'?",
        'optim.name: there is no optimizer "adma"; did you mean',
        "schedule.n_steps: should be greater than or equal to 0, not -1",
        "train.precision: should be 'auto', 'fp32' or 'bf16', not \"fp8\"",
        "train.device: 'gpu' is no device; auto, cpu, cuda, cuda:1 or mps",
        "data.crop_size: ",
        "extra_loss.0.name: there is no loss 'l3'",
        "extra_loss.0.between",
        "watch.0.name: there is no watcher 'tensorbord'",
        "requires: plugin 'colour' is not loaded; add -p colour.py",
    ):
        assert part in text, part


def test_the_resolved_recipe_resolves_to_itself(engine, tmp_path):
    extra = {"extra_loss": [{"name": "l2", "between": ["fake_b", "b"], "player": "generators", "weight": 2.0}]}
    first = resolve(document(tmp_path, **extra), engine.registry, list(engine.plugins)).document()
    assert first["requires"] == ["pair_losses"]
    assert first["generator"]["norm"] == {"name": "instance"} and first["optim"]["betas"] == [0.5, 0.999]
    again = resolve(json.loads(json.dumps(first)), engine.registry, list(engine.plugins)).document()
    assert again == first


def test_naming_another_component_replaces_the_table_whole():
    below = {"generator": {"name": "resnet", "n_blocks": 6, "norm": {"name": "group", "groups": 4}}}
    assert layers.merge(below, {"generator": {"n_blocks": 9}})["generator"]["norm"] == {"name": "group", "groups": 4}
    assert layers.merge(below, {"generator": {"name": "unet", "depth": 3}})["generator"] == {"name": "unet", "depth": 3}
    assert layers.merge(below, {"generator": "unet"})["generator"] == "unet"
    assert layers.merge(below, {"generator": {"norm": "batch"}})["generator"]["norm"] == "batch"
    assert layers.merge({"pool": "image_pool"}, {"pool": {"size": 3}})["pool"] == {"name": "image_pool", "size": 3}
    assert layers.merge({"pool": {"size": 3}}, {"pool": "image_pool"})["pool"] == {"size": 3, "name": "image_pool"}


def test_naming_another_method_drops_the_slots_of_the_old_one():
    below = {"method": {"name": "cyclegan"}, "generator": {"name": "resnet"}, "train": {"seed": 3}}
    assert layers.merge(below, {"method": "cut"}) == {"method": "cut", "train": {"seed": 3}}


def test_a_length_outlives_its_schedule_and_is_in_one_unit():
    below = {"schedule": {"name": "cosine", "n_epochs": 2, "n_epochs_decay": 2}}
    assert layers.merge(below, {"schedule": {"n_steps": 5}})["schedule"] == {"name": "cosine", "n_steps": 5}
    longer = {"name": "step", "every": 3, "n_epochs": 2, "n_epochs_decay": 2}
    assert layers.merge(below, {"schedule": {"name": "step", "every": 3}})["schedule"] == longer
    assert layers.merge({"schedule": {"n_steps": 5}}, {"schedule": "cosine"})["schedule"] == {
        "name": "cosine",
        "n_steps": 5,
    }


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("train.seed=3", {"train": {"seed": 3}}),
        ("discriminator=pixelgan", {"discriminator": "pixelgan"}),
        ("optim.betas=[0.0, 0.9]", {"optim": {"betas": [0.0, 0.9]}}),
        ("data.source.a=my photos/x=y", {"data": {"source": {"a": "my photos/x=y"}}}),
    ],
)
def test_settings(setting, expected):
    assert layers.parse_setting(setting, {}) == expected


def test_a_setting_reaches_into_lists():
    below = {"watch": [{"name": "x", "every": 1}, "y"]}
    assert layers.parse_setting("watch.0.every=5", below) == {"watch": [{"name": "x", "every": 5}, "y"]}
    with pytest.raises(I2IError, match="no place in it"):
        layers.parse_setting("watch.7.every=5", below)


@pytest.mark.parametrize("setting", ["train.seed", "=3", "a..b=3"])
def test_a_setting_without_key_or_value(setting):
    with pytest.raises(I2IError, match="not of the form"):
        layers.parse_setting(setting, {})


def test_extends_is_relative_to_the_file_and_never_circular(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "a.toml").write_text("[train]\nseed = 1\nlog_every = 2\n")
    (tmp_path / "b.toml").write_text('extends = "base/a.toml"\n[train]\nseed = 5\n')
    assert layers.read(tmp_path / "b.toml") == {"train": {"seed": 5, "log_every": 2}}
    (tmp_path / "base" / "a.toml").write_text('extends = "../b.toml"\n')
    with pytest.raises(I2IError, match="extends itself"):
        layers.read(tmp_path / "b.toml")
    (tmp_path / "c.toml").write_text('extends = "nowhere.toml"\n')
    with pytest.raises(I2IError, match="no file beside it"):
        layers.read(tmp_path / "c.toml")


@pytest.mark.parametrize(
    ("text", "message"), [("[a\n", "not valid TOML.*line 1"), ("a = 1\na = 2\n", "not valid TOML")]
)
def test_broken_toml(tmp_path, text, message):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(I2IError, match=message):
        layers.read(tmp_path / "x.toml")


def test_toml_dates_are_told_by_their_path(engine, tmp_path):
    import datetime

    assert "train.seed: takes no date" in failing(engine, document(tmp_path, train={"seed": datetime.date(2026, 1, 1)}))


def test_an_unknown_recipe_suggests():
    with pytest.raises(I2IError, match="did you mean 'cyclegan'"):
        layers.read("cyclegann.toml")


@pytest.mark.parametrize("name", layers.shipped())
def test_shipped_recipes_resolve(name, engine):
    recipe = layers.read(name)
    if name == "cyclegan-horse2zebra":  # the data set is the user's
        recipe["data"]["source"] = "fluent-emoji"
    found = resolve(recipe, engine.registry, list(engine.plugins))
    assert resolve(found.document(), engine.registry, list(engine.plugins)).document() == found.document()


def test_the_paper_recipe_has_the_papers_values(engine):
    recipe = layers.read("cyclegan-horse2zebra", ["data.source=fluent-emoji"])
    document = resolve(recipe, engine.registry, list(engine.plugins)).document()
    assert document["generator"]["base_channels"] == 64 and document["generator"]["n_blocks"] == 9
    assert document["discriminator"]["base_channels"] == 64 and document["discriminator"]["n_layers"] == 3
    assert (document["data"]["load_size"], document["data"]["crop_size"], document["data"]["flip"]) == (286, 256, True)
    assert document["schedule"] == {"name": "linear", "n_epochs": 100, "n_epochs_decay": 100}
    assert document["method"]["lambda_cycle"] == 10 and document["method"]["lambda_identity"] == 0.5
    assert document["pool"]["size"] == 50 and document["optim"] == {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999]}


def test_length_counts_epochs_in_whole_steps(engine, tmp_path):
    recipe = document(tmp_path, schedule={"n_epochs": 1, "n_epochs_decay": 0.5})
    assert resolve(recipe, engine.registry, list(engine.plugins)).length.steps(7) == (7, 4)
    with pytest.raises(I2IError, match="0 steps long"):
        resolve({**recipe, "schedule": {"n_steps": 0}}, engine.registry, list(engine.plugins)).length.steps(7)


def test_options_of_single_players(engine, tmp_path):
    optim = {"lr": 1e-4, "discriminators": {"lr": 3e-4}, "generatrs": {"lr": 1e-3}}
    recipe = resolve(document(tmp_path, optim=optim), engine.registry, list(engine.plugins))
    from i2i.optim import build
    from i2i.trainer import players_parameters

    players = players_parameters(recipe.method(3, 3))
    with pytest.raises(I2IError, match="optim.generatrs: there is no such player; did you mean 'generators'"):
        build(recipe.optim, players)
    del optim["generatrs"]
    built = build({"name": "adam", "betas": [0.5, 0.999], **optim}, players)
    assert built["generators"].param_groups[0]["lr"] == 1e-4 and built["discriminators"].param_groups[0]["lr"] == 3e-4
    write_images(tmp_path / "unused", 1)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"n_epochs": 1e308}, "schedule.n_epochs: should be less than or equal to 1000000, not 1e+308"),
        ({"n_epochs_decay": -0.5}, "schedule.n_epochs_decay: should be greater than or equal to 0, not -0.5"),
        ({"n_steps": 10**10}, "schedule.n_steps: should be less than or equal to 1000000000, not 10000000000"),
    ],
)
def test_a_length_that_never_ends_is_told(engine, tmp_path, schedule, message):
    assert message in failing(engine, document(tmp_path, schedule=schedule))


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps", "cpu:0"])
def test_devices_of_other_machines_are_names_too(engine, tmp_path, device):
    recipe = document(tmp_path)
    recipe["train"]["device"] = device
    assert resolve(recipe, engine.registry, list(engine.plugins)).train.device == device


@pytest.mark.parametrize(
    ("optim", "message"),
    [
        ({"lr": "fast"}, "optim.lr: must be a number"),
        ({"lr": -1.0}, "optim.lr: must be a number, at least 0"),
        ({"beta1": 0.5}, "optim.beta1: adam has no such option; did you mean 'betas'"),
        ({"betas": [2.0, 0.9]}, "optim: Invalid beta"),
        ({"name": "sgd", "lr": 0.1, "betas": [0.5, 0.9]}, "optim.betas: sgd has no such option"),
    ],
)
def test_mistakes_in_optim(engine, tmp_path, optim, message):
    assert message in failing(engine, document(tmp_path, optim=optim))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ([286], "data.load_size: should be a valid integer or a list of at least 2, not [286]"),
        ([286, 286, 286], "data.load_size: should be a valid integer or a list of at most 2, not [286, 286, 286]"),
        ([286, "x"], 'data.load_size.1: should be a valid integer, not "x"'),
    ],
)
def test_a_list_of_the_wrong_length_is_told_in_plain_words(engine, size, message):
    table = {"method": "cyclegan", "data": {"source": "fluent-emoji", "load_size": size}}
    with pytest.raises(I2IError) as error:
        resolve(table, engine.registry, list(engine.plugins))
    assert [str(problem) for problem in error.value.problems] == [message]
