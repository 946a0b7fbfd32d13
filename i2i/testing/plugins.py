"""A whole plugin against the contract: a file, a package, a distribution's folder, or an installed one."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

from i2i.component import Component
from i2i.engine import GROUP, Engine, origin_of
from i2i.errors import I2IError, Problem
from i2i.testing import Failure, check_component


def check_plugin(given: str, others: list[str]) -> Iterator[tuple[Component, list[Failure]]]:
    """Loads a plugin and checks each of its components.

    Args:
        given: path of a Python file, of a package, or of a folder with a pyproject.toml; a module; the name of an
            installed plugin.
        others: further plugins to load, which it may build on.

    Returns:
        Its components with what is broken in each, one after the other as they are checked. Raises I2IError if it
        cannot be loaded, or offers nothing.
    """
    installed = {point.name: point.module for point in entry_points(group=GROUP)}
    wanted, missing = [], []
    for module in _modules(given):
        names = [n for n, m in installed.items() if module in (n, m) or _same(module, m)]
        wanted += names
        missing += [] if names else [module]
    engine = Engine([*others, *missing])
    origins = {origin_of(module) for module in missing}
    wanted += [name for name, plugin in engine.plugins.items() if plugin.from_option and plugin.origin in origins]
    found = [component for component in engine.components() if component.plugin in wanted]
    if not found:
        raise I2IError(Problem(given, "registers no component; a hook is a function marked with @hookimpl"))
    return ((component, check_component(component, engine.registry)) for component in found)


def _modules(given: str) -> list[str]:
    """What -p would have to be given: the modules that a distribution's entry points name, or the thing itself."""
    folder = Path(given)
    if not (folder / "pyproject.toml").is_file():
        return [given]
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise I2IError(Problem(str(folder / "pyproject.toml"), f"is not valid TOML: {error}")) from None
    modules = project.get("entry-points", {}).get(GROUP, {})
    if not modules:
        raise I2IError(Problem(str(folder / "pyproject.toml"), f"has no table [project.entry-points.{GROUP}]"))
    found = []
    for module in modules.values():
        inside = Path(*module.split("."))
        choices = [root / end for root in (folder, folder / "src") for end in (inside.with_suffix(".py"), inside)]
        path = next((choice for choice in choices if choice.exists()), None)
        if path is None:
            raise I2IError(Problem(given, f"holds no module {module!r}, which its pyproject.toml names"))
        found.append(str(path))
    return found


def _same(given: str, module: str) -> bool:
    """Whether a path is the file of an installed module: an editable install beside its checkout."""
    path = Path(given)
    path = path / "__init__.py" if path.is_dir() else path
    try:
        spec = importlib.util.find_spec(module) if path.is_file() else None
    except ImportError:
        return False
    return bool(spec and spec.origin and Path(spec.origin).resolve() == path.resolve())
