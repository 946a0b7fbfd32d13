"""The registry: from what a recipe says to builders of the components that it names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_type_hints

from i2i.component import KINDS, Component, Factory, SlotOption
from i2i.errors import I2IError, Problem, suggest
from i2i.options import validate
from i2i.slots import Slot


@dataclass(frozen=True)
class Builder:
    """A component with its options settled; calling it with the wired arguments of its kind builds the thing."""

    component: Component
    options: Mapping[str, Any]
    where: str
    needs: type | None = None
    qualified: str = ""

    def __call__(self, *wired: Any) -> Any:
        try:
            built = self.component.factory(*wired, **self.options)
        except ValueError as error:
            raise I2IError(Problem(self.where, str(error))) from error
        if self.needs is not None and not isinstance(built, self.needs):
            promised = {name for name in (*vars(self.needs), *get_type_hints(self.needs)) if not name.startswith("_")}
            lacking = ", ".join(sorted(name for name in promised if not hasattr(built, name)))
            message = f"{self.qualified!r} cannot stand here: it is no {self.needs.__name__}"
            raise I2IError(Problem(self.where, f"{message}, it lacks {lacking}" if lacking else message))
        return built

    def spec(self) -> dict[str, Any]:
        """What a recipe would say to get exactly this: the name and every option, as plain JSON values."""
        model = validate(self.component.options, self._plain(), self.where, [])
        spec: dict[str, Any] = {"name": self.qualified}
        assert model is not None
        spec |= model.model_dump(mode="json", by_alias=True)
        for name, slot in self.component.slots.items():
            value = self.options[name]
            spec[name] = [b.spec() for b in value] if slot.repeated else value.spec()
        return spec

    def _plain(self) -> dict[str, Any]:
        return {k: v for k, v in self.options.items() if k not in self.component.slots}

    def walk(self) -> Iterator[Builder]:
        """This builder and all that fill its slots."""
        yield self
        for name, slot in self.component.slots.items():
            for builder in self.options[name] if slot.repeated else (self.options[name],):
                yield from builder.walk()

    def plugins(self) -> set[str]:
        """Those, beside the reference, whose components these are."""
        return {builder.component.plugin for builder in self.walk()} - {"reference"}

    def translating(self) -> Builder:
        """A method's, with nothing in the slots that its translators do without."""
        component = self.component.translating()
        left_out = self.component.slots.keys() - component.slots.keys()
        return replace(self, component=component, options={k: v for k, v in self.options.items() if k not in left_out})


@dataclass
class Registry:
    """All components of one engine, by kind and name; `plugin:name` picks one where two plugins offer the same."""

    _components: dict[str, dict[str, list[Component]]] = field(default_factory=lambda: {k: {} for k in KINDS})

    def add(self, component: Component) -> None:
        self._components[component.kind.name].setdefault(component.name, []).append(component)

    def names(self, kind: str) -> list[str]:
        """Names that a recipe can use as they are; a name that two plugins offer comes with its plugin."""
        return [self.name_of(c) for c in self.components(kind)]

    def components(self, kind: str) -> list[Component]:
        return [c for _, same in sorted(self._components[kind].items()) for c in same]

    def name_of(self, component: Component) -> str:
        rivals = self._components[component.kind.name][component.name]
        return component.name if len(rivals) == 1 else f"{component.plugin}:{component.name}"

    def get(self, kind: str, name: str, where: str = "") -> Component:
        """The component of that name. Raises I2IError for an unknown or an ambiguous one."""
        plugin, _, bare = name.rpartition(":")
        found = [c for c in self._components[kind].get(bare, []) if plugin in ("", c.plugin)]
        if len(found) == 1:
            return found[0]
        if found:
            offers = " or ".join(f"{c.plugin}:{bare}" for c in found)
            raise I2IError(Problem(where, f"{bare!r} is offered by several plugins; write {offers}"))
        raise I2IError(Problem(where, f"there is no {_words(kind)} {name!r}{suggest(name, self.names(kind))}"))

    def of_factory(self, kind: str, factory: Factory) -> Component | None:
        """The component that a factory is registered as, if it is."""
        return next((c for c in self.components(kind) if c.factory is factory), None)

    def withdraw(self, modules: Sequence[str]) -> None:
        """Takes out components with a default of these modules (of disabled plugins), and what stands on those."""
        gone = list(modules)
        while lost := next((c for c, _, d in self.unregistered() if d.__module__.startswith(tuple(gone))), None):
            self._components[lost.kind.name][lost.name].remove(lost)
            gone.append(lost.factory.__module__)

    def unregistered(self) -> Iterator[tuple[Component, str, Factory]]:
        """Components with a slot whose default is not registered itself; the slot and that default."""
        for kind in KINDS:
            for component in self.components(kind):
                for name, option in component.slots.items():
                    for default in option.defaults:
                        if self.of_factory(option.slot.kind, default) is None:
                            yield component, name, default

    def check(self) -> None:
        """Every slot's default is registered itself, so that a resolved recipe can name it. Raises I2IError."""
        problems = [
            Problem(
                f"{c.plugin}: {c.kind.name} {c.name!r}",
                f"the default of {name!r} is not a registered {c.slots[name].slot.kind}",
            )
            for c, name, _ in self.unregistered()
        ]
        if problems:
            raise I2IError(*problems)

    def resolve(self, kind: str, spec: str | Mapping[str, Any], where: str) -> Builder:
        """A builder for what a recipe says at `where`. Raises I2IError with every mistake in it."""
        problems: list[Problem] = []
        builder = self.settle(Slot(kind), None, spec, where, problems)
        if builder is None or problems:
            raise I2IError(*problems)
        return builder

    def settle(
        self, slot: Slot, default: Factory | None, spec: Any, where: str, problems: list[Problem]
    ) -> Builder | None:
        """As `resolve`, but adds mistakes to `problems`; without a name the slot's `default` component stands."""
        table = {"name": spec} if isinstance(spec, str) else spec
        if not isinstance(table, Mapping):
            problems.append(Problem(where, f"{json.dumps(spec, default=str)} is neither a name nor a table"))
            return None
        name = table.get("name")
        try:
            if name is None and default is not None:
                component = self.of_factory(slot.kind, default)
                assert component is not None, "checked when the engine started"
            elif not isinstance(name, str):
                message = f"{name!r} is not a name" if name is not None else "says no name"
                raise I2IError(Problem(f"{where}.name", message + suggest("", self.names(slot.kind))))
            else:
                component = self.get(slot.kind, name, where if isinstance(spec, str) else f"{where}.name")
        except I2IError as error:
            problems.extend(error.problems)
            return None
        return self.fill(component, table, where, problems, slot.needs)

    def fill(
        self,
        component: Component,
        table: Mapping[str, Any],
        where: str,
        problems: list[Problem],
        needs: type | None = None,
    ) -> Builder | None:
        """A builder of a component with what a table says of its options and slots; adds mistakes to `problems`."""
        rest = {k: v for k, v in table.items() if k != "name"}
        given = {k: rest.pop(k) for k in list(rest) if k in component.slots}
        known = len(problems)
        model = validate(component.options, rest, where, problems, also=component.slots)
        options = dict(model.values()) if model else {}
        for key, inner in component.slots.items():
            path = key if component.kind.name == "method" else f"{where}.{key}"
            if inner.repeated:
                options[key] = self._settle_all(inner, given.get(key), path, problems)
            else:
                options[key] = self.settle(inner.slot, inner.default, given.get(key, {}), path, problems)
        if len(problems) > known:
            return None
        return Builder(component, options, where, needs, self.name_of(component))

    def _settle_all(self, option: SlotOption, specs: Any, where: str, problems: list[Problem]) -> tuple[Any, ...]:
        if specs is None:
            return tuple(self.settle(option.slot, d, {}, where, problems) for d in option.default)
        if not isinstance(specs, list) or not specs:
            problems.append(Problem(where, "takes a list of components, at least one"))
            return ()
        return tuple(self.settle(option.slot, None, s, f"{where}.{i}", problems) for i, s in enumerate(specs))


def _words(kind: str) -> str:
    return kind.replace("_", " ")
