"""The pages say what the code does: commands, options, hooks, components, recipe keys, links and examples."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import typer

from i2i import layers
from i2i.cli.app import app
from i2i.component import KINDS
from i2i.data.table import DataOptions
from i2i.engine import Engine
from i2i.manual import toml
from i2i.optim import DEFAULTS
from i2i.placed import AugmentOptions, ExtraLossOptions
from i2i.recipe import DEFAULT_METRICS, EvalOptions, Length, TrainOptions
from i2i.run import Run
from i2i.testing import check_component

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
every_page = pytest.mark.parametrize("page", PAGES, ids=[p.name for p in PAGES])


def blocks(page: Path) -> list[tuple[str, str]]:
    """Fenced blocks as (language, text)."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def sections(page: Path) -> dict[str, str]:
    """What stands under each heading of the second level."""
    _, *parts = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.M)
    return {heading: text for heading, _, text in (part.partition("\n") for part in parts)}


def rows(text: str) -> Iterator[dict[str, str]]:
    """The rows of all tables, by the names of their columns."""
    for table in re.findall(r"(?:^\|.*\n)+", text + "\n", re.M):
        header, _, *lines = (
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()
        )
        for line in lines:
            yield dict(zip(header, line, strict=True))


def commands(group: object = None) -> dict[str, object]:
    """Every command by what is typed after `i2i`."""
    found = {}
    for name, command in (group or typer.main.get_command(app)).commands.items():
        inner = commands(command) if hasattr(command, "commands") else {}
        found |= {f"{name} {n}": c for n, c in inner.items()} or {name: command}
    return found


def options(command: object) -> set[str]:
    opts = (o for p in command.params if p.param_type_name == "option" for o in (*p.opts, *p.secondary_opts))
    return set(opts) - {"--help"}


def command_of(words: list[str]) -> tuple[str, list[str]]:
    """The command that these words call, without `-p PLUGIN` before it, and the words after it."""
    while words[:1] == ["-p"]:
        words = words[2:]
    name = next((n for n in commands() if words[: n.count(" ") + 1] == n.split()), "")
    return name, words[name.count(" ") + 1 :]


def slug(heading: str) -> str:
    """The anchor that a heading gets on GitHub."""
    return re.sub(r"[^\w -]", "", heading.lower().replace("`", "")).strip().replace(" ", "-")


@every_page
def test_links_resolve(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"https?://", link):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M) if anchor else []
            assert not anchor or anchor in map(slug, headings), link


@every_page
def test_nothing_is_left_to_do(page):
    assert "TODO" not in page.read_text(encoding="utf-8")


@every_page
def test_shell_commands_are_real(page):
    for language, text in blocks(page):
        if language in ("", "bash", "sh", "console"):
            for line in re.split(r"&&|\n", text):
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words[:1] == ["i2i"] and words[1:] != ["--help"]:
                    name, rest = command_of(words[1:])
                    assert name, line
                    commands()[name].make_context(name, rest)  # raises for an option or argument that is not there


@every_page
def test_commands_named_in_sentences_are_real(page):
    for text in re.findall(r"`i2i ((?:-p )?[a-z][^`]*)`", prose(page)):
        name, rest = command_of(text.split())
        assert name, text
        assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= options(commands()[name]), text


def test_every_command_and_option_is_documented():
    page = {heading.removeprefix("i2i "): text for heading, text in sections(DOCS / "commands.md").items()}
    described = {"Environment"}
    for name, command in commands().items():
        heading = next((h for h in page if f"{name} ".startswith(f"{h} ")), "")  # its own, or one for several commands
        assert heading, name
        last = name.split()[-1]  # where several share a heading, a row says whose the option is
        its = [row["option"] for row in rows(page[heading]) if row.get("of", last) in ("all", last)]
        assert {word for cell in its for word in re.findall(r"`(-[\w-]+)`", cell)} == options(command), name
        described.add(heading)
    assert page.keys() == described
    before = typer.main.get_command(app)
    top = (DOCS / "commands.md").read_text(encoding="utf-8").partition("\n## ")[0]
    assert {word for row in rows(top) for word in re.findall(r"`(-[\w-]+)`", row["option"])} == options(before)


def test_every_environment_variable_is_documented():
    used = {v for p in ROOT.glob("i2i/**/*.py") for v in re.findall(r"\"(I2I_\w+)\"", p.read_text(encoding="utf-8"))}
    page = sections(DOCS / "commands.md")["Environment"]
    assert {row["variable"].strip("`") for row in rows(page)} == used


def test_every_hook_is_documented():
    text = (DOCS / "hooks.md").read_text(encoding="utf-8")
    assert {kind.hook for kind in KINDS.values()} == set(re.findall(r"register_[a-z_]+", text))


def test_every_component_is_documented(engine):
    page = sections(DOCS / "components.md")
    elsewhere = {"source": sections(DOCS / "data.md")["Sources"], "method": (DOCS / "methods.md").read_text("utf-8")}
    for kind in KINDS.values():
        components = engine.registry.components(kind.name)
        if kind.name in elsewhere:
            assert all(f"`{c.name}`" in elsewhere[kind.name] for c in components), kind.name
        elif components:
            found = {
                (row["name"].strip("`"), row["plugin"])
                for row in rows(page[kind.plural.replace("_", " ").capitalize()])
            }
            assert found == {(c.name, c.plugin) for c in components}, kind.name


def documented_keys(heading: str) -> dict[str, str]:
    """Keys in the tables of a section of the page on recipes, each with the cell that says its default."""
    found = {}
    for row in rows(sections(DOCS / "recipes.md")[heading]):
        found[row.get("key", row.get("slot", "")).strip("`")] = row["default"].strip("`")
    return found


def defaults(model: type) -> dict[str, str]:
    fields = model.model_fields.items()
    return {
        info.alias or name: "required"
        if info.is_required()
        else "not set"
        if info.default is None
        else plain(info.default)
        for name, info in fields
    }


def plain(value: object) -> str:
    return toml(list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
    ("heading", "model", "also"),
    [
        ("[data]", DataOptions, {"source": "none"}),
        ("[schedule]", Length, {}),
        ("[train]", TrainOptions, {}),
        ("[eval]", EvalOptions, {"metrics": toml(list(DEFAULT_METRICS))}),
        ("[[extra_loss]]", ExtraLossOptions, {}),
        ("[[augment]]", AugmentOptions, {}),
    ],
)
def test_every_key_of_a_recipe_is_documented(heading, model, also):
    assert documented_keys(heading) == defaults(model) | also


@pytest.mark.parametrize(
    ("heading", "kind", "name"),
    [
        ("[method]", "method", "cyclegan"),
        ("[generator]", "generator", "resnet"),
        ("[discriminator]", "discriminator", "patchgan"),
        ("[adversarial]", "adversarial_loss", "lsgan"),
        ("[pool]", "buffer", "image_pool"),
        ("initialization", "initialization", "normal"),
    ],
)
def test_every_option_of_the_reference_is_documented(engine, heading, kind, name):
    component = engine.registry.get(kind, name)
    slots = {n: engine.registry.of_factory(o.slot.kind, o.default).name for n, o in component.slots.items()}
    assert documented_keys(heading) == defaults(component.options) | slots


def test_the_tables_of_a_recipe_are_documented(engine):
    page = sections(DOCS / "recipes.md")
    text = page["The top level"]
    slots = engine.registry.get("method", "cyclegan").slots
    for table in (*slots, "method", "data", "optim", "schedule", "train", "eval"):
        assert f"`[{table}]`" in text, table
    assert "`[[extra_loss]]`" in text and "`[[watch]]`" in text
    assert documented_keys("[optim]").keys() == DEFAULTS.keys()
    assert {row["name"].strip("`") for row in rows(page["Shipped recipes"])} == layers.shipped().keys()


def test_every_room_is_in_the_design():
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    rooms = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("i2i/[a-z]*.py")}
    rooms |= {f"{p.parent.relative_to(ROOT).as_posix()}/" for p in ROOT.glob("i2i/*/__init__.py")}
    assert [room for room in sorted(rooms) if f"`{room}`" not in text] == []


@every_page
def test_examples_are_well_formed(page):
    for language, text in blocks(page):
        if language == "toml":
            tomllib.loads(text)
        elif language == "python":
            compile(text, page.name, "exec")


def example(page: Path, folder: Path, name: str) -> Engine:
    """An engine with the only Python block of a page as a plugin, saved the way its reader would."""
    ((_, text),) = [block for block in blocks(page) if block[0] == "python"]
    (folder / name).write_text(text, encoding="utf-8")
    return Engine([folder / name], entry_points=False)


def train(engine: Engine, folder: Path, **tables) -> Run:
    run = Run.create(folder / "runs", "example")
    recipe = tiny.recipe(folder, engine, schedule={"n_steps": 2}, **tables)
    assert tiny.loop(recipe, run, engine).go() == ""
    return run


def test_the_plugin_of_the_readme_trains_in_ten_lines(tmp_path):
    engine = example(ROOT / "README.md", tmp_path, "colour.py")
    lines = (tmp_path / "colour.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 10
    assert check_component(engine.registry.get("discriminator", "colour"), engine.registry) == []
    run = train(engine, tmp_path, discriminator={"name": "colour", "width": 32})
    assert run.recipe["discriminator"] == {"name": "colour", "width": 32} and run.recipe["requires"] == ["colour"]


def test_the_method_of_its_page_trains(tmp_path):
    engine = example(DOCS / "methods.md", tmp_path, "simgan.py")
    small = {"generator": {"base_channels": 2, "n_blocks": 1}, "discriminator": {"base_channels": 2}}
    assert check_component(engine.registry.get("method", "simgan"), engine.registry, small) == []
    run = train(engine, tmp_path, method={"name": "simgan", "lambda_reg": 2.0})
    assert run.weights("ab").is_file() and not run.weights("ba").exists()
