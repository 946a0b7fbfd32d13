"""List, show and compare: what they say is what the components are."""

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
import torch
from annotated_types import Ge, Gt, Lt
from typer.testing import CliRunner

from i2i.cli import app
from i2i.compare import Measured, builders, measure, notes, rows
from i2i.component import KINDS, Component
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.manual import find, in_words, kinds_called, page, toml
from i2i.measure import Timing, in_bytes
from i2i.receptive_field import ReceptiveField
from i2i.recipe import resolve

CPU = torch.device("cpu")
PLUGINS = Path(__file__).parent.parent / "plugins"

ODD = '''"""A discriminator whose description is long."""
from typing import Annotated, Literal
from annotated_types import Ge
from torch import nn
from i2i import hookimpl
from i2i.reference.normalization import InstanceNorm
from i2i.slots import Normalization


class Odd(nn.Sequential):
    """Judges [bold]nothing[/] in a sentence that is long enough to need a second line on a terminal of 80 columns.

    A second paragraph,
    over two lines.

    Args:
        in_channels: of the images.
        width, depth: of its layers;
            a pair of numbers.
        norm: nowhere.
    """

    def __init__(
        self, in_channels: int, *, width: Annotated[int, Ge(1)] = 2, depth: Literal["low", "high"] = "low",
        norm: Normalization = InstanceNorm,
    ) -> None:
        super().__init__(nn.Conv2d(in_channels, width, 1))


@hookimpl
def register_discriminators():
    return {"odd": Odd}
'''


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "odd_discriminator.py"
    path.write_text(ODD)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: str, plugins: tuple[Path, ...] = (), width: int = 80) -> str:
    """What a command prints, with the reference and these plugins alone. A mistake raises I2IError."""
    monkeypatch.setenv("I2I_DISABLE_PLUGINS", "*")
    monkeypatch.setenv("COLUMNS", str(width))
    options = [word for path in plugins for word in ("-p", str(path))]
    result = CliRunner().invoke(app, [*options, *words], catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_kinds_in_singular_and_plural() -> None:
    assert kinds_called("discriminator") == kinds_called("Discriminators") == (KINDS["discriminator"],)
    assert kinds_called("losses") == kinds_called("loss") == (KINDS["loss"], KINDS["adversarial_loss"])
    assert kinds_called("adversarial-losses") == (KINDS["adversarial_loss"],)
    with pytest.raises(I2IError, match="no kind 'discrimnator'; did you mean 'discriminators'"):
        kinds_called("discrimnator")


def test_list_names_everything_once(monkeypatch: pytest.MonkeyPatch, odd: Path) -> None:
    printed = run(monkeypatch, "list", plugins=(odd,))
    assert all(len(line) <= 80 for line in printed.splitlines())
    joined = " ".join(printed.split())
    assert "Judges [bold]nothing[/]" in joined and "…" not in printed.replace("generators, losses, …", "")
    entries = json.loads(run(monkeypatch, "list", "--json", plugins=(odd,)))
    engine = Engine([odd], entry_points=False)
    assert len(entries) == len(list(engine.components()))
    assert {"kind": "loss", "name": "l1", "plugin": "reference"}.items() <= entries[
        [e["name"] for e in entries].index("l1")
    ].items()
    for entry in entries:
        assert entry["name"] in printed and entry["plugin"] in printed
    monkeypatch.setattr("i2i.cli.components.console._force_terminal", True)
    glance = [line for line in run(monkeypatch, "list", plugins=(odd,)).splitlines() if "reference" in line]
    assert len(glance) == len(entries) - 1, "a line each on a terminal"
    losses = json.loads(run(monkeypatch, "list", "losses", "--json"))
    assert {e["kind"] for e in losses} == {"loss", "adversarial_loss"}


def test_types_in_words() -> None:
    weight = Annotated[float, Ge(0)]
    assert in_words(int, [Ge(1)]) == "int >= 1"
    assert in_words(Annotated[float, Gt(0), Lt(1)]) == "float > 0 and < 1"
    assert in_words(weight | tuple[weight, weight]) == "float >= 0 or [float >= 0, float >= 0]"
    assert in_words(Literal["a", "b"]) == "one of a, b"
    assert in_words(tuple[int, ...]) == "list of int"
    assert in_words(str | None) == "str or not set"


def test_toml_values() -> None:
    assert toml({"name": "x", "on": True, "p": 0.5, "to": [1, "a\nb"], "no": None}) == (
        '{ name = "x", on = true, p = 0.5, to = [1, "a\\nb"] }'
    )


def test_page_of_a_component(odd: Path) -> None:
    engine = Engine([odd, PLUGINS / "normalizations.py"], entry_points=False)
    found = page(engine.registry.get("discriminator", "odd"), engine.registry)
    assert found.file == str(odd) and ODD.splitlines()[found.line - 1].startswith("class Odd")
    assert found.paragraphs[1:] == ("A second paragraph, over two lines.",)
    width, depth = found.options
    assert (width.type, width.default, width.about) == ("int >= 1", "2", "of its layers; a pair of numbers.")
    assert (depth.type, depth.default, depth.about) == ("one of low, high", '"low"', width.about)
    (norm,) = found.slots
    assert norm.default == ("instance",)
    assert norm.choices == tuple(engine.registry.names("normalization")) and {"batch", "none"} <= {*norm.choices}
    assert found.example == '[discriminator]\nname = "odd"\nwidth = 2\ndepth = "low"\nnorm = "instance"'


def test_a_slot_that_needs_something_offers_what_has_it(engine: Engine) -> None:
    slots = {slot.name: slot for slot in page(engine.registry.get("method", "cut"), engine.registry).slots}
    assert {"resnet", "resnet_antialiased"} <= {*slots["generator"].choices}
    assert "unet" not in slots["generator"].choices and "vit" not in slots["generator"].choices
    assert {*slots["discriminator"].choices} == {*engine.registry.names("discriminator")}


def test_every_example_is_a_recipe(engine: Engine) -> None:
    """Put into a recipe with a source, every example resolves to the component that it shows."""
    import tomllib

    for component in engine.components():
        example = tomllib.loads(page(component, engine.registry).example)
        assert example, component.name
        document = {"method": {"name": "cyclegan"}, **example}
        document["data"] = {"source": {"name": "root", "path": "images"}, **example.get("data", {})}
        recipe = resolve(document, engine.registry)
        augment = [placed.component for placed in recipe.augment]
        roots = (recipe.method, recipe.source, recipe.schedule, *augment, *recipe.metrics, *recipe.watch)
        used = [b.component for root in roots for b in root.walk()]
        assert component in used


def test_show(monkeypatch: pytest.MonkeyPatch, odd: Path) -> None:
    printed = run(monkeypatch, "show", "discriminators", "odd", plugins=(odd, PLUGINS / "normalizations.py"))
    assert "Judges [bold]nothing[/]" in printed and f"{odd}:" in printed
    for text in ("int >= 1", "default instance", "group", 'depth = "low"'):
        assert text in printed
    shown = json.loads(run(monkeypatch, "show", "loss", "lsgan", "--json"))
    assert shown["kind"] == "adversarial_loss" and shown["options"][0]["name"] == "real"
    with pytest.raises(I2IError, match="no loss 'lsgam'; did you mean 'lsgan'"):
        run(monkeypatch, "show", "loss", "lsgam")


def test_settings_of_what_is_compared(engine: Engine) -> None:
    registry, kinds = engine.registry, kinds_called("discriminator")
    settings = ["patchgan.n_layers=5", "patchgan.norm=group", "patchgan.norm.groups=8"]
    first, second = builders(registry, kinds, ["patchgan", "pixelgan"], settings)
    assert first.spec()["n_layers"] == 5 and first.spec()["norm"] == {"name": "group", "groups": 8}
    assert second.spec()["norm"] == {"name": "instance"}
    (same,) = builders(registry, kinds, ["reference:patchgan"], ["reference:patchgan.n_layers=2"])
    assert same.spec()["n_layers"] == 2
    with pytest.raises(I2IError, match="'pixelgan' is not compared here"):
        builders(registry, kinds, ["patchgan"], ["pixelgan.norm=none"])
    with pytest.raises(I2IError) as caught:
        builders(registry, kinds, ["patchgan", "pixelgan"], ["patchgan.n_layers=0", "pixelgan.norm=no"])
    assert [p.where for p in caught.value.problems] == ["patchgan.n_layers", "pixelgan.norm"]
    with pytest.raises(I2IError, match="different kinds"):
        builders(registry, kinds_called("losses"), ["l1", "lsgan"], [])


def test_discriminators_are_measured(engine: Engine) -> None:
    kinds = kinds_called("discriminator")
    found = [
        measure(b, engine.registry, size=32, channels=1, device=CPU)
        for b in builders(
            engine.registry, kinds, ["patchgan", "pixelgan"], ["patchgan.n_layers=1", "pixelgan.norm=none"]
        )
    ]
    patchgan, pixelgan = found
    assert patchgan.output == ((1, 1, 14, 14),) and pixelgan.output == ((1, 1, 32, 32),)
    assert patchgan.field == ReceptiveField(16, "InstanceNorm") and pixelgan.field == ReceptiveField(1)
    assert pixelgan.parameters == (64 + 64) + (64 * 128 + 128) + (128 + 1)
    assert pixelgan.gmacs == 32 * 32 * (64 + 64 * 128 + 128) / 1e9
    assert pixelgan.memory is not None and pixelgan.memory > 4 * (2 * pixelgan.parameters + 2 * 128 * 32 * 32)
    table = {row.label: row for row in rows(found)}
    assert table["receptive field"].cells == ("16 px +", "1 px") and not table["receptive field"].best
    assert table["parameters"].best == {1}
    assert table["n_layers"].cells == ("1", "") and table["norm"].cells == ("instance", "none")
    assert "initialization.std" in table
    assert any("InstanceNorm" in note for note in notes(found, CPU))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_components_of_every_kind_are_compared(engine: Engine, kind: str) -> None:
    less = {"base_channels": 2, "n_blocks": 1, "depth": 5}

    def small(component: Component) -> list[str]:
        named = {i.alias for i in component.options.model_fields.values()}
        return [f"{engine.registry.name_of(component)}.{name}={less[name]}" for name in less if name in named]

    components = engine.registry.components(kind)
    settings = [setting for c in components for setting in small(c)]
    if kind == "method":
        slots = [(c.name, slot) for c in components for slot in ("generator", "discriminator") if slot in c.slots]
        settings = [f"{method}.{slot}.base_channels=2" for method, slot in slots]
    found = [
        measure(b, engine.registry, size=64, channels=3, device=CPU)
        for b in builders(engine.registry, [KINDS[kind]], engine.registry.names(kind), settings)
    ]
    assert len(found) == len(components)
    assert all(len(row.cells) == len(components) for row in rows(found))
    if kind in ("generator", "discriminator", "normalization", "loss", "adversarial_loss"):
        assert all(m.timing is not None and m.memory for m in found)
    if kind == "schedule":
        assert all(m.factors is not None and 0 <= min(m.factors) <= max(m.factors) <= 1 for m in found)


def test_best_of_a_row() -> None:
    found = [Measured(n, "p", {}, parameters=v, timing=Timing(1.0, None)) for n, v in (("a", 5), ("b", 3), ("c", 3))]
    table = {row.label: row for row in rows(found)}
    assert table["parameters"].best == {1, 2} and table["parameters"].cells == ("5", "3", "3")
    assert table["forward"].best == frozenset() and "backward" not in table
    assert rows(found[:1])[0].best == frozenset()


def test_bytes_in_words() -> None:
    assert [in_bytes(n) for n in (12, 2_345, 27_299_852, 1.5e9)] == ["12 B", "2.35 kB", "27.3 MB", "1.5 GB"]


def test_compare(monkeypatch: pytest.MonkeyPatch, odd: Path) -> None:
    words = ["compare", "discriminator", "patchgan", "odd", "--size", "32"]
    words += ["--set", "patchgan.n_layers=1", "--set", "patchgan.base_channels=4"]
    printed = run(monkeypatch, *words, plugins=(odd,))
    assert all(len(line) <= 80 for line in printed.splitlines())
    for text in ("16 px +", "1 x 2 x 32 x 32", "8 *", "* lowest of its row", "+ statistics of InstanceNorm"):
        assert text in printed
    first, second = json.loads(run(monkeypatch, *words, "--json", plugins=(odd,)))
    assert first["receptive_field"] == {"pixels": 16, "coupled_by": "InstanceNorm"} and second["parameters"] == 8
    assert first["options"]["n_layers"] == 1 and second["forward_ms"] > 0 and second["memory_bytes"] > 0


def test_sizes_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(I2IError, match="patchgan: does not take 1 x 3 x 8 x 8; choose another --size"):
        run(monkeypatch, "compare", "discriminator", "patchgan", "--size", "8")


def test_find_takes_the_plugin_s_name(engine: Engine) -> None:
    assert find(engine.registry, kinds_called("loss"), "reference:lsgan").kind.name == "adversarial_loss"
