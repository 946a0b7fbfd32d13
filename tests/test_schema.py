"""The JSON Schema of recipes accepts what i2i accepts, and names what it does not."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from i2i.cli import app
from i2i.component import KINDS
from i2i.recipe import resolve
from i2i.schema import recipe_schema

jsonschema = pytest.importorskip("jsonschema")

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))


@pytest.fixture(scope="module")
def validator(engine):
    schema = recipe_schema(engine.registry)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_shipped_recipes_are_valid(validator, path):
    validator.validate(tomllib.loads(path.read_text(encoding="utf-8")))


def test_resolved_recipes_are_valid(validator, engine):
    document = {
        "method": "cyclegan",
        "data": {"source": "folders"},
        "generator": {"norm": {"name": "group", "groups": 4}},
        "discriminator": "pixelgan",
        "schedule": {"name": "step", "n_steps": 10},
        "extra_loss": [{"name": "lp", "p": 2.0, "between": ["fake_b", "b"], "player": "generators"}],
    }
    validator.validate(document)
    recipe = resolve(document, engine.registry, list(engine.plugins)).document()
    validator.validate({key: value for key, value in recipe.items() if key != "watch" or value})


@pytest.mark.parametrize(
    "text",
    [
        "[generator]\nname = 'resnet'\nn_block = 9",
        "[generator]\nname = 'rasnet'",
        "generator = 'rasnet'",
        "[generator]\nbase_channels = 'many'",
        "[generator]\nbase_channels = 0",
        "[generator]\nupsample = 'cubic'",
        "[generator]\nnorm = { name = 'group', groups = 1.5 }",
        "[generator]\nnorm = 'l1'",
        "[discriminator]\nn_blocks = 9",
        "[data]\nbatch_size = '4'",
        "[data]\nsource = { name = 'folders', c = 'x' }",
        "[schedule]\nname = 'linear'\nepochs = 3",
        "[train]\nprecision = 'fp8'",
        "[[extra_loss]]\nname = 'l1'\nplayer = 'generators'",
        "[[watch]]\nname = 'nobody'",
        "[generater]\nname = 'resnet'",
        "[augment]\nflip = true",
    ],
)
def test_mistakes_are_found(validator, text):
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "extends = 'cyclegan.toml'\n[generator]\nn_blocks = 9",
        "[optim]\nlr = 1e-4\n[optim.discriminators]\nlr = 4e-4",
        "[schedule]\nn_epochs = 3",
        "[data]\nchannels = [1, 3]",
        "[method]\nlambda_cycle = [10, 5.0]",
    ],
)
def test_parts_of_recipes_are_valid(validator, text):
    validator.validate(tomllib.loads(text))


def test_every_component_is_described(engine):
    schema = recipe_schema(engine.registry)
    for kind in KINDS:
        if kind in ("network", "watcher") and kind not in schema["$defs"]:
            continue  # nothing has a slot for it
        for component in engine.registry.components(kind):
            table = schema["$defs"][f"{kind}.{engine.registry.name_of(component)}"]
            assert table["description"] == component.summary
            expected = {info.alias or name for name, info in component.options.model_fields.items()}
            assert expected <= table["properties"].keys()
    described = schema["$defs"]["generator.resnet"]["properties"]["n_blocks"]
    assert described["default"] == 9 and described["minimum"] == 0 and "residual blocks" in described["description"]


def test_the_keys_of_data_are_described(engine):
    keys = recipe_schema(engine.registry)["properties"]["data"]["properties"]
    assert [key for key in keys if key != "source" and not keys[key].get("description")] == []


@pytest.mark.parametrize(
    ("data", "valid"),
    [
        ({"load_size": [286, 300], "range": ["auto", [0, 4095]], "channels": [1, 7]}, True),
        ({"load_size": 286, "range": [0, 1], "range_percentiles": [1, 99]}, True),
        ({"load_size": [286]}, False),
        ({"range": "automatic"}, False),
        ({"preprocess": "resize"}, False),
    ],
)
def test_sizes_and_ranges_of_every_form(validator, data, valid):
    assert validator.is_valid({"data": data}) is valid


def test_command_writes_it(tmp_path):
    out = tmp_path / "i2i.schema.json"
    result = CliRunner().invoke(app, ["schema", "--out", str(out)])
    assert result.exit_code == 0 and "#:schema" in result.output
    assert "generator.resnet" in json.loads(out.read_text(encoding="utf-8"))["$defs"]
