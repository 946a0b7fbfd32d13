"""What can be said about a component: its docstring in parts, its options in words, a recipe that uses it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from i2i.component import KINDS, Component, Factory, Kind, SlotOption
from i2i.errors import I2IError, Problem, suggest
from i2i.registry import Registry

_BOUNDS = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le"), Lt: ("<", "lt")}


@dataclass(frozen=True, slots=True)
class OptionPage:
    """An option: its type and bounds in words, its default as in TOML, and what the docstring says of it."""

    name: str
    type: str
    default: str
    about: str


@dataclass(frozen=True, slots=True)
class SlotPage:
    """A slot: the kind that goes there, what stands there by default, and every component that could."""

    name: str
    kind: str
    repeated: bool
    default: tuple[str, ...]
    choices: tuple[str, ...]
    needs: str | None
    about: str


@dataclass(frozen=True, slots=True)
class Page:
    """All about one component."""

    kind: str
    name: str
    plugin: str
    file: str
    line: int
    paragraphs: tuple[str, ...]
    options: tuple[OptionPage, ...]
    slots: tuple[SlotPage, ...]
    example: str


def kinds_called(word: str) -> tuple[Kind, ...]:
    """The kinds that a word means, in the singular or the plural; `losses` are both kinds of loss.

    Raises I2IError for a word that means none.
    """
    plain = word.lower().replace("-", "_")
    if plain in ("loss", "losses"):
        return KINDS["loss"], KINDS["adversarial_loss"]
    found = tuple(kind for kind in KINDS.values() if plain in (kind.name, kind.plural))
    if not found:
        raise I2IError(Problem("", f"there is no kind {word!r}{suggest(plain, (k.plural for k in KINDS.values()))}"))
    return found


def find(registry: Registry, kinds: Sequence[Kind], name: str) -> Component:
    """The component of that name in any of these kinds. Raises I2IError."""
    bare = name.rpartition(":")[2]
    for kind in kinds:
        if any(c.name == bare for c in registry.components(kind.name)):
            return registry.get(kind.name, name)
    names = [n for kind in kinds for n in registry.names(kind.name)]
    raise I2IError(f"there is no {kinds[0].name.replace('_', ' ')} {name!r}{suggest(name, names)}")


def page(component: Component, registry: Registry) -> Page:
    """All that `i2i show` prints."""
    paragraphs, about = _parts(inspect.cleandoc(component.factory.__doc__ or ""))
    options = tuple(
        OptionPage(
            name := info.alias or field,
            in_words(info.annotation, info.metadata),
            "not set" if info.default is None else toml(json.loads(json.dumps(info.default))),
            about.get(name, ""),
        )
        for field, info in component.options.model_fields.items()
    )
    slots = []
    for name, option in component.slots.items():
        kind = option.slot.kind
        names = tuple(registry.name_of(c) for d in option.defaults if (c := registry.of_factory(kind, d)) is not None)
        needs = option.slot.needs.__name__ if option.slot.needs else None
        fitting = (c for c in registry.components(kind) if _may_stand(c.factory, option.slot.needs))
        choices = tuple(map(registry.name_of, fitting))
        slots.append(SlotPage(name, kind, option.repeated, names, choices, needs, about.get(name, "")))
    file, line = component.source_file
    name = registry.name_of(component)
    example = _example(component, registry)
    return Page(
        component.kind.name, name, component.plugin, file, line, paragraphs, options, tuple(slots), example
    )  # fmt: skip


def _may_stand(factory: Factory, needs: type | None) -> bool:
    """Whether what a factory gives may satisfy a slot's Protocol, as far as its class tells without building it."""
    try:
        return needs is None or not isinstance(factory, type) or issubclass(factory, needs)
    except TypeError:  # the Protocol asks for attributes, which are there once it is built
        return True


def in_words(annotation: Any, bounds: Iterable[Any] = ()) -> str:
    """A type with its bounds: "int >= 1", "one of a, b", "[float, float]"."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return in_words(args[0], args[1:])
    if origin is Literal:
        text = "one of " + ", ".join(str(a) for a in args)
    elif origin in (Union, UnionType):
        text = " or ".join("not set" if a is type(None) else in_words(a) for a in args)
    elif origin is tuple and args[1:] == (...,):
        text = f"list of {in_words(args[0])}"
    elif origin is tuple:
        text = f"[{', '.join(in_words(a) for a in args)}]"
    else:
        text = getattr(annotation, "__name__", str(annotation))
    limits = [f"{sign} {getattr(b, key)}" for b in bounds for bound, (sign, key) in _BOUNDS.items() if type(b) is bound]
    return " ".join([text, " and ".join(limits)]).strip()


def toml(value: Any) -> str:
    """A JSON value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _parts(doc: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The docstring's paragraphs, each on one line, and what its `Args:` say of each name."""
    paragraphs: list[str] = []
    about: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", doc):
        first, *rest = block.splitlines()
        if first.strip() != "Args:":
            paragraphs.append(" ".join(line.strip() for line in (first, *rest)))
            continue
        for entry in re.split(r"\n(?= {4}\S)", "\n".join(rest)):
            names, _, text = entry.partition(":")
            for name in names.split(","):
                about[name.strip()] = " ".join(text.split())
    return tuple(paragraphs), about


def _example(component: Component, registry: Registry) -> str:
    """The tables of a recipe that use the component, with its defaults; empty if no recipe can name its kind."""
    kind = component.kind.name
    spec = registry.resolve(kind, registry.name_of(component), component.name).spec()
    if kind == "method":
        slots = {name: spec.pop(name) for name in component.slots}
        return "\n\n".join([_table("[method]", spec), *(_table(f"[{n}]", s) for n, s in slots.items() if s)])
    if kind == "source":
        return _table("[data]", {"source": spec})
    if kind == "metric":
        return _table("[eval]", {"metrics": [spec if len(spec) > 1 else spec["name"]]})
    tables = {"schedule": "[schedule]", "augmentation": "[[augment]]", "watcher": "[[watch]]"}
    if kind in tables:
        return _table(tables[kind], spec)
    places = [
        (method, top, inner, option)
        for method in registry.components("method")
        for top, inner, option in _slots_of(method, registry)
        if option.slot.kind == kind
    ]
    if not places:
        return ""

    def rank(place: tuple[Component, str, str, SlotOption]) -> tuple[bool, ...]:
        """A slot of a method before one inside of it, the reference's before others, where it stands by default."""
        method, _, inner, option = place
        return bool(inner), method.plugin != "reference", option.default is not component.factory

    method, top, inner, option = min(places, key=rank)
    table = _table(f"[{top}]", {inner: [spec] if option.repeated else spec} if inner else spec)
    if method.plugin == "reference":
        return table
    return _table("[method]", {"name": registry.name_of(method)}) + "\n\n" + table


def _slots_of(method: Component, registry: Registry) -> Iterator[tuple[str, str, SlotOption]]:
    """A method's slots, and those of what stands in them by default: the table, the key inside of it, the slot."""
    for top, option in method.slots.items():
        if not option.repeated:
            yield top, "", option
            holder = registry.of_factory(option.slot.kind, option.default)
            yield from ((top, inner, slot) for inner, slot in (holder.slots.items() if holder else ()))


def _table(header: str, spec: Mapping[str, Any]) -> str:
    def short(value: Any) -> Any:
        """A component without options is just its name."""
        return value["name"] if isinstance(value, Mapping) and value.keys() == {"name"} else value

    return "\n".join([header, *(f"{k} = {toml(short(v))}" for k, v in spec.items() if v is not None)])
