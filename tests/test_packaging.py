"""What `pip install` puts on a machine: the wheel and the editable install, each used outside of the checkout."""

import configparser
import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"i2i": "i2i", "plugins": "i2i_plugins", "recipes": "i2i_recipes"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.egg-info")

pytestmark = pytest.mark.slow


def pip(*arguments: object) -> None:
    """pip without network."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what is installed from, with the tests, which must not be."""
    copy = tmp_path_factory.mktemp("checkout") / "i2i"
    for folder in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=NOT_SHIPPED)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", checkout, "--no-deps", "--no-build-isolation", "--no-index", "-w", folder)
    (path,) = folder.iterdir()
    return path


def test_the_wheel_holds_the_packages_with_their_data_and_nothing_else(wheel, checkout):
    expected = {
        (PurePosixPath(package) / path.relative_to(checkout / folder).as_posix()).as_posix()
        for folder, package in PACKAGES.items()
        for path in (checkout / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected
    assert {"i2i/py.typed", "i2i_recipes/cyclegan.toml", "i2i_plugins/fluent_emoji/train_a.webp"} <= found
    assert wheel.stat().st_size < 4_000_000


def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        about = {PurePosixPath(n).name: n for n in archive.namelist() if ".dist-info/" in n}
        points = configparser.ConfigParser()
        points.read_string(archive.read(about["entry_points.txt"]).decode())
        metadata = email.message_from_bytes(archive.read(about["METADATA"]))
        assert "MIT" in archive.read(about["LICENSE"]).decode()
        assert "Microsoft" in archive.read(about["LICENSE.txt"]).decode()  # of the embedded images
    assert dict(points["i2i"]) == PROJECT["entry-points"]["i2i"]
    assert dict(points["console_scripts"]) == PROJECT["scripts"]
    needed = {r for r in metadata.get_all("Requires-Dist") if "extra ==" not in r}
    assert needed == set(PROJECT["dependencies"])
    assert metadata["License-Expression"] == "MIT"


@pytest.mark.parametrize("form", ["wheel", "editable"])
def test_an_installation_works_outside_of_the_checkout(form, request, checkout, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    places = {"base": str(home), "platbase": str(home)}
    scripts, site = (Path(sysconfig.get_path(name, "venv", places)) for name in ("scripts", "purelib"))
    # the dependencies of this environment; the .pth files in them, and so this checkout, are not looked at
    (site / "dependencies.pth").write_text("\n".join({sysconfig.get_path(n) for n in ("purelib", "platlib")}))
    python = scripts / f"python{sysconfig.get_config_var('EXE')}"
    what = [request.getfixturevalue("wheel")] if form == "wheel" else ["-e", checkout]
    pip("--python", python, "install", "--no-deps", "--no-index", "--no-build-isolation", *what)
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}

    def call(*command: object) -> str:
        done = subprocess.run(
            [*map(str, command)], cwd=empty, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    home_of_code = Path(call(python, "-c", "import i2i; print(i2i.__file__)").strip()).parent.parent
    assert home_of_code == (site if form == "wheel" else checkout)
    recipe = call(python, "-c", "from i2i import layers; print(layers.read('cyclegan')['method']['name'])")
    assert recipe.strip() == "cyclegan"
    plugins = {entry["plugin"] for entry in json.loads(call(scripts / "i2i", "list", "--json"))}
    assert plugins == {"reference", *PROJECT["entry-points"]["i2i"]}
    call(scripts / "i2i", "plugin", "new", "my_loss", "--kind", "loss")
    assert (empty / "i2i-my_loss" / "pyproject.toml").is_file()
    tiny = [
        "generator.base_channels=2", "generator.n_blocks=1", "discriminator.base_channels=2",
        "schedule.n_steps=1", "schedule.n_steps_decay=0",
    ]  # fmt: skip
    call(scripts / "i2i", "train", "cyclegan", *(part for setting in tiny for part in ("--set", setting)))
    assert (empty / "runs" / "cyclegan" / "report.html").is_file()
