"""`i2i plugins`, `i2i plugin new` and `i2i plugin check`: what they write works, and what is broken is named."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from i2i.cli import app
from i2i.component import KINDS
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.scaffold import USES, write_plugin
from i2i.testing.plugins import check_plugin

DOCS = Path(__file__).parent.parent / "docs"

COLOUR = '''"""A discriminator that judges colour, pixel by pixel."""
from i2i import hookimpl
from torch import nn

class Colour(nn.Sequential):
    """1x1 discriminator (after Isola et al. 2017, appendix 6.1.2); no spatial context."""
    def __init__(self, in_channels: int, *, width: int = 64) -> None:
        super().__init__(nn.Conv2d(in_channels, width, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 1))

@hookimpl
def register_discriminators():
    return {"colour": Colour}
'''


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """No installed plugin takes part."""
    monkeypatch.setenv("I2I_DISABLE_PLUGINS", "*")
    monkeypatch.setattr("i2i.testing.plugins.entry_points", lambda group: [])


def i2i(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("kind", USES)
def test_new_plugins_pass_the_check(tmp_path, kind):
    folder = write_plugin("my-own", kind, tmp_path)
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == {
        "README.md", "pyproject.toml", "i2i_my_own.py", "tests/test_i2i_my_own.py",
    }  # fmt: skip
    ((component, failures),) = check_plugin(str(folder), [])
    assert (component.kind.name, component.name, failures) == (kind, "my-own", [])


def test_every_template_is_tidy(tmp_path):
    for kind in USES:
        write_plugin(f"my-{kind.replace('_', '-')}", kind, tmp_path)
    for command in (["check", "--select", "E,F,B,UP,SIM", "--line-length", "120"], ["format", "--check"]):
        options = ["--line-length", "120"] if command[0] == "format" else []
        try:
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, *options, "--isolated", str(tmp_path)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        except OSError:
            pytest.skip("needs ruff")
        if "No module named ruff" in done.stderr:
            pytest.skip("needs ruff")
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", USES)
def test_the_recipe_of_the_readme_is_one(tmp_path, kind):
    import tomllib

    from i2i.layers import merge
    from i2i.recipe import resolve

    folder = write_plugin("mine", kind, tmp_path)
    text = (folder / "README.md").read_text(encoding="utf-8")
    table = tomllib.loads(text.split("```toml\n")[1].split("```")[0])
    others = ["i2i_plugins.classifiers", "i2i_plugins.cycada"] if kind == "network" else []
    engine = Engine([*others, folder / "i2i_mine.py"])
    document = merge({"method": "cycada" if others else "cyclegan", "data": {"source": "folders"}}, table)
    recipe = resolve(document, engine.registry, list(engine.plugins))
    assert "i2i_mine" in {*recipe.plugins(), *(w.component.plugin for w in recipe.watch)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", USES)
def test_the_first_commands_of_the_readme_work(tmp_path, monkeypatch, kind):
    monkeypatch.delenv("I2I_DISABLE_PLUGINS")
    folder = write_plugin(f"my-{kind.replace('_', '-')}", kind, tmp_path)
    monkeypatch.chdir(folder)
    block = (folder / "README.md").read_text(encoding="utf-8").split("```\n")[1]
    show, train = ([*shlex.split(line)][1:] for line in block.splitlines())
    assert (shown := i2i(*show)).exit_code == 0, shown.output
    settings = ["schedule.n_steps=1", "schedule.n_steps_decay=0", "data.batch_size=1"]
    settings += [] if kind == "generator" else ["generator.base_channels=4", "generator.n_blocks=1"]
    trained = i2i(*train, *(word for setting in settings for word in ("--set", setting)), "--out", str(tmp_path))
    assert trained.exit_code == 0, trained.output
    assert len([*tmp_path.glob("*/ab.safetensors")]) == 1


@pytest.mark.slow
def test_a_new_plugin_installs_and_passes_its_own_test(tmp_path):
    pytest.importorskip("setuptools", "77")
    pytest.importorskip("pip")
    folder = write_plugin("edges", "discriminator", tmp_path)
    prefix = tmp_path / "prefix"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    done = subprocess.run(
        [*command, "--prefix", str(prefix), "-e", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    site = str(next(prefix.rglob("site-packages")))
    root = str(Path(__file__).parent.parent)
    code = f"""
import site, sys
sys.path.insert(0, {root!r})
site.addsitedir({site!r})
from i2i.engine import Engine
engine = Engine()
assert engine.plugins["edges"].origin == "i2i-edges" and engine.plugins["edges"].version == "0.1.0"
from i2i.testing.plugins import check_plugin
for given in ("edges", "i2i_edges", "."):
    ((component, failures),) = check_plugin(given, [])
    assert component.name == "edges" and not failures
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "."]))
"""
    environment = {**os.environ, "I2I_DISABLE_PLUGINS": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("Colour", "loss", "lower-case"),
        ("colour", "losss", "did you mean 'loss'"),
        ("class", "loss", "lower-case"),
    ],
)
def test_what_cannot_be_begun_is_refused(tmp_path, name, kind, message):
    with pytest.raises(I2IError, match=message):
        write_plugin(name, kind, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    write_plugin("colour", "loss", tmp_path)
    with pytest.raises(I2IError, match="is there already"):
        write_plugin("colour", "loss", tmp_path)


def test_every_kind_has_a_template():
    assert KINDS.keys() == USES.keys()


def test_check_says_ok(tmp_path):
    path = tmp_path / "colour.py"
    path.write_text(COLOUR)
    result = i2i("plugin", "check", str(path))
    assert result.exit_code == 0 and "ok" in result.output and "discriminator colour" in result.output


def test_check_says_what_is_broken(tmp_path):
    path = tmp_path / "broken_colour.py"
    path.write_text(COLOUR.replace("nn.LeakyReLU(0.2)", "nn.Flatten()").replace("Colour", "Broken"))
    result = i2i("plugin", "check", str(path))
    assert result.exit_code == 2
    assert "failed" in result.output and "raised RuntimeError" in result.output
    assert f"{path}:5" in result.output.replace("\n", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "registers no component"),
        ("import nothing_like_this", "cannot be loaded: ModuleNotFoundError"),
        (COLOUR.replace("register_discriminators", "register_discriminator"), "did you mean 'register_discriminators'"),
        (COLOUR.replace("width: int = 64", "width = 64"), "option 'width' needs a type and a default"),
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path, text, message):
    path = tmp_path / "odd_colour.py"
    path.write_text(text)
    with pytest.raises(I2IError, match=message):
        check_plugin(str(path), [])


def test_a_distribution_without_entry_point(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    with pytest.raises(I2IError, match=r"has no table \[project.entry-points.i2i\]"):
        check_plugin(str(tmp_path), [])


def test_plugins_are_listed(tmp_path):
    path = tmp_path / "colour_list.py"
    path.write_text(COLOUR)
    (reference, given) = json.loads(i2i("-p", str(path), "plugins", "--json").output)
    assert reference["name"] == "reference" and reference["offers"]["generators"] == ["resnet"]
    assert given == {
        "name": "colour_list", "origin": str(path), "version": "", "offers": {"discriminators": ["colour"]},
    }  # fmt: skip
    text = i2i("-p", str(path), "plugins").output
    assert "colour_list" in text and "discriminators: colour" in text


def test_hooks_are_documented_with_their_signatures():
    text = (DOCS / "hooks.md").read_text(encoding="utf-8")
    sections = dict(section.split("\n", 1) for section in text.split("\n## ")[1:])
    assert list(sections) == [kind.hook for kind in KINDS.values()]
    for kind in KINDS.values():
        assert f"`factory({', '.join((*kind.wired, '*', 'options'))})`" in sections[kind.hook]


def test_the_tutorial_works(tmp_path):
    text = (DOCS / "plugins.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) == 10
    path = tmp_path / "tutorial_colour.py"
    path.write_text(code, encoding="utf-8")
    ((component, failures),) = check_plugin(str(path), [])
    assert component.name == "colour" and not failures
    for kind in USES:
        assert (kind.replace("_", " ") + ("es" if kind.endswith("s") else "s")) in text.replace("\n", " ")


def test_a_relative_path_is_checked(tmp_path, monkeypatch):
    (tmp_path / "colour.py").write_text(COLOUR)
    monkeypatch.chdir(tmp_path)
    assert [(c.name, failures) for c, failures in check_plugin("colour.py", [])] == [("colour", [])]
