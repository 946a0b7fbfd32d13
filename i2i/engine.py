"""The engine: loads plugins and registers what they offer. One per command and per test; nothing is global."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from i2i import __version__, hookspecs
from i2i.component import KINDS, Component, Factory, describe
from i2i.errors import I2IError, Problem, suggest
from i2i.registry import Registry

GROUP = "i2i"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A loaded plugin: its name, where it came from (what to type after -p, or a distribution), and its version."""

    name: str
    origin: str
    version: str
    from_option: bool = False


class Engine:
    """Plugins and their components.

    Loads the reference, then installed plugins (entry points of group `i2i`, unless `entry_points=False`), then
    `plugins`: paths of Python files, module names, or module objects. With `only`, of the installed ones those of these
    names, and those that the defaults of their slots come from. Raises I2IError for a plugin that cannot be loaded, a
    misspelt hook, or a component that breaks the contract of its kind.
    """

    def __init__(
        self,
        plugins: Iterable[str | Path | ModuleType] = (),
        *,
        entry_points: bool = True,
        only: Collection[str] | None = None,
    ) -> None:
        self.registry = Registry()
        self.plugins: dict[str, Plugin] = {}
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        disabled = {name.strip() for name in os.environ.get("I2I_DISABLE_PLUGINS", "").split(",")}
        self._add(importlib.import_module("i2i.reference"), Plugin("reference", "i2i", __version__))
        installed = _installed() if entry_points and "*" not in disabled else []
        blocked = [point.module for point in installed if point.name in disabled]
        rest = [point for point in installed if point.name not in disabled]
        while wanted := [point for point in rest if only is None or point.name in only or self._stands_on(point)]:
            for point in wanted:
                self._load(point)
            rest = [point for point in rest if point not in wanted]
        for given in plugins:
            module = given if isinstance(given, ModuleType) else _import(str(given))
            name = module.__name__.rpartition(".")[2]
            self._add(module, Plugin(name, origin_of(given), "", True))
        self._check_hooks()
        self.registry.withdraw(blocked)
        self.registry.check()

    def _load(self, point: EntryPoint) -> None:
        with _named(f"plugin {point.name!r} ({point.value})"):
            module = point.load()
        dist = point.dist
        self._add(module, Plugin(point.name, dist.name if dist else "?", dist.version if dist else "?"))

    def _stands_on(self, point: EntryPoint) -> bool:
        """Whether a component has a default that this plugin would register."""
        return any(_is_of(point.module, default) for *_, default in self.registry.unregistered())

    def _add(self, module: ModuleType, plugin: Plugin) -> None:
        try:
            self._manager.register(module, name=plugin.name)
        except ValueError:
            other = self.plugins[plugin.name].origin if plugin.name in self.plugins else "itself"
            raise I2IError(f"plugin {plugin.name!r} ({plugin.origin}) is loaded already, from {other}") from None
        self.plugins[plugin.name] = plugin
        problems: list[Problem] = []
        for kind in KINDS.values():
            for hook in getattr(self._manager.hook, kind.hook).get_hookimpls():
                if hook.plugin is not module:
                    continue
                with _named(f"plugin {plugin.name!r}, {kind.hook}"):
                    factories = dict(hook.function())
                if os.environ.get("I2I_TRACE_PLUGINS") == "1":
                    print(f"i2i: {plugin.name}.{kind.hook}() -> {sorted(factories)}", file=sys.stderr)  # noqa: T201
                for name, factory in factories.items():
                    try:
                        with _named(f"plugin {plugin.name!r}, {kind.name} {name!r}"):
                            self.registry.add(describe(kind, name, factory, plugin.name))
                    except I2IError as error:
                        problems.extend(error.problems)
        if problems:
            raise I2IError(*problems)

    def _check_hooks(self) -> None:
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            plugin = self._manager.get_name(error.plugin)
            hooks = {kind.hook for kind in KINDS.values()}
            unknown = next(n for n in dir(error.plugin) if _is_hook(error.plugin, n) and n not in hooks)
            raise I2IError(
                Problem(f"plugin {plugin!r}", f"there is no hook {unknown!r}{suggest(unknown, hooks)}")
            ) from None

    def components(self) -> Iterator[Component]:
        for kind in KINDS:
            yield from self.registry.components(kind)


def _is_of(module: str, factory: Factory) -> bool:
    return factory.__module__ == module or factory.__module__.startswith(f"{module}.")


def _is_hook(module: object, name: str) -> bool:
    return getattr(getattr(module, name, None), f"{hookspecs.PROJECT}_impl", None) is not None


def _installed() -> list[EntryPoint]:
    """Entry points by name, each once: an editable install beside a checkout may list them twice."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise I2IError(f"two installed plugins are called {point.name!r}: {other.value} and {point.value}")
    return [found[name] for name in sorted(found)]


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Turns whatever a plugin's own code raises into one message that names the plugin."""
    try:
        yield
    except I2IError:
        raise
    except Exception as error:
        trace: Any = error.__traceback__
        while trace.tb_next:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        raise I2IError(Problem(what, f"cannot be loaded: {type(error).__name__}: {error} ({place})")) from error


def origin_of(given: str | Path | ModuleType) -> str:
    """What to type after -p, from any folder."""
    if isinstance(given, ModuleType):
        return given.__name__
    return str(Path(given).absolute()) if Path(given).exists() else str(given)


def _import(given: str) -> ModuleType:
    """A module from a path (`colour.py`, `./folder`) or a dotted name."""
    path = Path(given)
    if path.is_dir() and (path / "__init__.py").is_file():
        path = path / "__init__.py"
    if path.suffix == ".py" or path.is_file():
        if not path.is_file():
            raise I2IError(Problem(f"-p {given}", "there is no such file"))
        package = path.name == "__init__.py"
        name = f"i2i_given.{path.parent.name if package else path.stem}"  # apart from installed modules of that name
        spec = importlib.util.spec_from_file_location(
            name, path, submodule_search_locations=[str(path.parent)] if package else None
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and inspect look their module up
        with _named(f"-p {given}"):
            spec.loader.exec_module(module)
        return module
    if importlib.util.find_spec(given.partition(".")[0]) is None:
        raise I2IError(Problem(f"-p {given}", "there is no such file or module"))
    with _named(f"-p {given}"):
        return importlib.import_module(given)
