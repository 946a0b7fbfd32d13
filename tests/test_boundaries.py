"""Rooms and their doors: who may import what, how long files are, and that plugins and entry points agree."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("i2i/**/*.py"), *ROOT.glob("plugins/**/*.py")])
NAMES = [path.relative_to(ROOT).as_posix() for path in SOURCES]
COMPONENTS = ("i2i.reference", "i2i_plugins", "i2i.data", "i2i.watch", "i2i.engine", "i2i.registry")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def test_the_trainer_imports_no_component_and_names_no_method():
    path = ROOT / "i2i" / "trainer.py"
    assert not [name for name in imported(path) if name.startswith(COMPONENTS)]
    assert "cyclegan" not in path.read_text().lower()


def test_the_core_does_not_import_the_reference():
    core = [p for p in SOURCES if p.is_relative_to(ROOT / "i2i") and "reference" not in p.parts]
    offenders = [p.name for p in core if any(name.startswith("i2i.reference") for name in imported(p))]
    assert offenders == []


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_nothing_can_run_code_from_files(path):
    names = imported(path)
    assert not {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"} & names
    if "importer" not in path.relative_to(ROOT).as_posix():
        assert not re.search(r"torch\.load\b|torch\.save\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_nobody_toggles_what_the_loop_owns(path):
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT).as_posix()
    copies = ("i2i/testing", "i2i/measure", "i2i/receptive_field", "i2i/rehearsal")  # work on a copy of a network
    if not name.startswith(("i2i/trainer", "i2i/translate", *copies)):
        assert not re.search(r"\.(train|eval)\(\)", text.replace("source.train()", "").replace(".train() ->", ""))
    assert not re.search(r"\.requires_grad = |random\.seed\(|np\.random\.(seed|rand)", text)


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_no_file_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 260


def test_the_command_line_imports_no_torch():
    code = (
        "import sys, i2i.cli; heavy = {'torch', 'timm', 'numpy', 'PIL', 'pydantic'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_plugins_and_entry_points_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    files = {p.stem for p in ROOT.glob("plugins/*.py") if p.stem != "__init__"}
    folders = {p.parent.name for p in ROOT.glob("plugins/*/__init__.py")}
    assert project["entry-points"]["i2i"] == {name: f"i2i_plugins.{name}" for name in files | folders}


def test_plugins_have_no_privileges():
    """They import what anyone's plugin may: public modules of i2i, no command line, no loop."""
    forbidden = ("i2i.cli", "i2i.training", "i2i.loop", "i2i.run", "i2i.checkpoint", "i2i.engine")
    for path in ROOT.glob("plugins/**/*.py"):
        assert not [name for name in imported(path) if name.startswith(forbidden)], path
