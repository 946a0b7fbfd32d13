"""What is compared under training: one component after the other in its place in a recipe, or several recipes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from i2i import layers
from i2i.component import KINDS, Component
from i2i.engine import Engine
from i2i.errors import I2IError, Problem, collecting, suggest
from i2i.layers import Document
from i2i.manual import find, kinds_called
from i2i.recipe import Recipe, resolve
from i2i.registry import Builder, Registry
from i2i.slots import Slot

Variants = Mapping[str, Document]
"""Resolved recipes by name, in the order of the table; the others are compared with the first."""
NOTHING = "none"
"""The variant without any augmentation."""
N_LOGS, N_EVALUATIONS = 50, 10
"""At least so many points has a curve of losses, at most so many one of metrics."""
REFUSED = {
    "source": "other images are judged on other images, and such numbers cannot be compared",
    "metric": "a metric judges and changes nothing; name it by --metric",
    "watcher": "a watcher sees a training and changes nothing",
}


def of_components(base: Document, word: str, names: Sequence[str], settings: Sequence[str], engine: Engine) -> Variants:
    """A recipe with each of these components in its place.

    What the recipe says of a component stays where it names that one; others have their defaults. A method keeps the
    slots that it also has.

    Args:
        base: as `layers.read` gives it.
        word: a kind, or a slot: `cycle`, or one inside of another, `generator.norm`. A kind that the method itself has
            a slot for goes there, else into every slot of that kind, as normalizations do.
        settings: `NAME.KEY=VALUE` for one of the components, `KEY=VALUE` of the recipe for all.

    Raises I2IError with every mistake, and for what cannot be compared by training.
    """
    own = {name: [s.partition(".")[2] for s in settings if s.startswith(f"{name}.")] for name in names}
    for_all = [s for s in settings if s.partition(".")[0] not in own]
    recipe = resolve(layers.apply(base, for_all), engine.registry, list(engine.plugins))
    document, registry = recipe.document(), engine.registry
    kind, places = _places(recipe, word, registry)
    if kind == "augmentation":
        names = list(dict.fromkeys([NOTHING, *names]))
    variants: dict[str, Document] = {}
    problems: list[Problem] = []
    for name in names:
        with collecting(problems):
            if kind == "augmentation":
                changed = document | {"augment": _augmentations(document, name, registry)}
                inside = ["augment.0"]
            else:
                component = find(registry, (KINDS[kind],), name)
                changed = _replaced(document, component, places, registry)
                inside = places
            changed = layers.apply(changed, [f"{place}.{s}" for place in inside for s in own.get(name, [])])
            variants[name] = _settled(name, layers.apply(changed, for_all), engine)
    if problems:
        raise I2IError(*problems)
    return variants


def of_recipes(recipes: Mapping[str, Document], engine: Engine) -> Variants:
    """Recipes by name, resolved. Raises I2IError with every mistake."""
    variants: dict[str, Document] = {}
    problems: list[Problem] = []
    for name, document in recipes.items():
        with collecting(problems):
            variants[name] = _settled(name, document, engine)
    if problems:
        raise I2IError(*problems)
    return variants


def budgeted(variants: Variants, n_steps: int, metrics: Sequence[str | Document], engine: Engine) -> Variants:
    """All of them n_steps long, in the shape of their schedules, judged by the same metrics, and not cut short.

    Args:
        metrics: as a recipe names them; those of each recipe if there are none.
    """
    found = {}
    for name, document in variants.items():
        length, log_every = document["schedule"], document["train"]["log_every"]
        parts = [length.get(key) for unit in (layers.EPOCHS, layers.STEPS) for key in unit if key in length]
        decay = round(n_steps * parts[1] / (sum(parts) or 1))
        every = math.ceil(n_steps / N_EVALUATIONS)
        judging = {"every": every, "best_by": None, "patience": 0} | ({"metrics": [*metrics]} if metrics else {})
        budget = {
            "schedule": {"n_steps": n_steps - decay, "n_steps_decay": decay},
            "train": {"log_every": min(log_every, max(1, n_steps // N_LOGS)), "sample_every": every},
            "eval": judging,
        }
        found[name] = _settled("--metric", layers.merge(document, budget), engine)
    return found


def _settled(name: str, document: Document, engine: Engine) -> Document:
    """With every default written out. Raises I2IError, the variant named."""
    try:
        return resolve(document, engine.registry, list(engine.plugins)).document()
    except I2IError as error:
        raise I2IError(
            *(Problem(": ".join(filter(None, (name, p.where))), p.message) for p in error.problems)
        ) from None


def _places(recipe: Recipe, word: str, registry: Registry) -> tuple[str, list[str]]:
    """The kind that a word means in a recipe, and where its components stand. Raises I2IError."""
    slots = dict(_slots(recipe.method))
    if word in slots:
        return slots[word].kind, [word]
    try:
        kinds = [kind.name for kind in kinds_called(word)]
    except I2IError:
        raise I2IError(Problem("", f"there is no kind and no slot {word!r}{suggest(word, [*KINDS, *slots])}")) from None
    for kind in kinds:
        if kind in REFUSED:
            raise I2IError(Problem(word, f"cannot be compared by training: {REFUSED[kind]}"))
        if kind in ("method", "schedule", "augmentation"):
            return kind, [kind]
    places = {place: slot.kind for place, slot in slots.items() if slot.kind in kinds}
    outer = [place for place in places if "." not in place]
    if len(outer) > 1:
        raise I2IError(Problem(word, f"this recipe has several; say which one: {', '.join(outer)}"))
    if not places:
        method = recipe.method.qualified
        raise I2IError(Problem(word, f"there is no place for one in this recipe; its method, {method}, takes none"))
    chosen = outer or list(places)
    return places[chosen[0]], [place for place in chosen if places[place] == places[chosen[0]]]


def _slots(builder: Builder, path: str = "") -> Iterator[tuple[str, Slot]]:
    """Every slot that holds one component, by its path in a recipe, and those inside of what fills it."""
    for name, option in builder.component.slots.items():
        filled = builder.options[name]
        if not option.repeated:
            yield path + name, option.slot
        for i, inner in enumerate(filled if option.repeated else (filled,)):
            yield from _slots(inner, f"{path}{name}.{i}." if option.repeated else f"{path}{name}.")


def _replaced(document: Document, component: Component, places: Sequence[str], registry: Registry) -> Document:
    """A resolved recipe with this component in these places."""
    name = registry.name_of(component)
    changed = layers.apply(document, [f'{place}="{name}"' for place in places])
    if component.kind.name != "method":
        return changed
    before = registry.get("method", document["method"]["name"]).slots
    both = {s for s in before if s in component.slots and before[s].slot.kind == component.slots[s].slot.kind}
    return changed | {slot: document[slot] for slot in both}


def _augmentations(document: Document, name: str, registry: Registry) -> list[Document]:
    """That one alone, as the recipe has it if it does."""
    if name == NOTHING:
        return []
    name = registry.name_of(find(registry, (KINDS["augmentation"],), name))
    own = [table for table in document.get("augment", []) if table["name"] == name]
    return own[:1] or [{"name": name}]
