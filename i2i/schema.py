"""JSON Schema of recipes, for editors: what is installed, with every option, its type, bounds and default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from i2i.component import Component
from i2i.data.table import DataOptions
from i2i.manual import page
from i2i.placed import AugmentOptions, ExtraLossOptions
from i2i.recipe import EvalOptions, Length, TrainOptions
from i2i.registry import Registry

DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def recipe_schema(registry: Registry) -> Schema:
    """The schema (draft 2020-12) of a recipe file for the components of this registry.

    A kind is a definition, `generator`, and so is each component, `generator.resnet`: a table of its options, or its
    name alone. A table may leave its name out, since the recipe that it extends may say it, and a slot has a default;
    it must then fit one of the components.
    """
    definitions: Schema = {}
    slots: dict[str, list[Schema]] = {}
    for component in registry.components("method"):
        abouts = {slot.name: slot.about for slot in page(component, registry).slots}
        for name, option in component.slots.items():
            schema = _slot(option.slot.kind, option.repeated, abouts[name], registry, definitions)
            if schema not in slots.setdefault(name, []):
                slots[name].append(schema)
    properties: Schema = {
        "extends": {"type": "string", "description": "A recipe, relative to this file, that this one changes."},
        "requires": {"type": "array", "items": {"type": "string"}, "description": "Plugins that must be loaded."},
        "method": _kind("method", registry, definitions),
        **{name: choices[0] if len(choices) == 1 else {"anyOf": choices} for name, choices in slots.items()},
        "data": _table(DataOptions, {"source": _kind("source", registry, definitions)}),
        "optim": {
            "type": "object",
            "description": "Any optimizer of timm.optim with its options; [optim.PLAYER] is for one player.",
            "properties": {"name": {"type": "string", "default": "adam"}, "lr": {"type": "number", "minimum": 0}},
        },
        "schedule": _kind("schedule", registry, definitions),
        "train": _table(TrainOptions, {}),
        "augment": _placed("augmentation", AugmentOptions, registry, definitions),
        "extra_loss": _placed("loss", ExtraLossOptions, registry, definitions),
        "eval": _table(
            EvalOptions, {"metrics": {"type": "array", "items": _named(_kind("metric", registry, definitions))}}
        ),
        "watch": {"type": "array", "items": _named(_kind("watcher", registry, definitions))},
    }
    return {
        "$schema": DRAFT,
        "title": "i2i recipe",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def _kind(kind: str, registry: Registry, definitions: Schema) -> Schema:
    """A reference to a kind; defines it and its components the first time."""
    if kind not in definitions:
        names = registry.names(kind)
        definitions[kind] = {"anyOf": [{"enum": names}, *({"$ref": f"#/$defs/{kind}.{name}"} for name in names)]}
        for component, name in zip(registry.components(kind), names, strict=True):
            definitions[f"{kind}.{name}"] = _component(component, name, registry, definitions)
        if not names:
            definitions[kind] = {"not": {}}
    return {"$ref": f"#/$defs/{kind}"}


def _component(component: Component, name: str, registry: Registry, definitions: Schema) -> Schema:
    """The table of one component: its name, options and slots."""
    about = page(component, registry)
    extra: Schema = {"name": {"const": name}}
    if component.kind.name != "method":  # a method's slots are tables beside it
        for slot in about.slots:
            extra[slot.name] = _slot(slot.kind, slot.repeated, slot.about, registry, definitions)
    if component.kind.name == "schedule":
        extra |= _table(Length, {})["properties"]
    schema = _table(component.options, extra)
    for option in about.options:
        schema["properties"][option.name] |= {"description": option.about} if option.about else {}
    return {**schema, "description": component.summary}


def _slot(kind: str, repeated: bool, about: str, registry: Registry, definitions: Schema) -> Schema:
    reference = _kind(kind, registry, definitions)
    schema = {"type": "array", "items": _named(reference), "minItems": 1} if repeated else reference
    return {**schema, "description": about} if about else schema


def _named(reference: Schema) -> Schema:
    """An element of a list, where nothing stands by default: a table must say its name."""
    return {**reference, "if": {"type": "object"}, "then": {"required": ["name"]}}


def _placed(kind: str, place: type[BaseModel], registry: Registry, definitions: Schema) -> Schema:
    """A list of components of a kind: of each the table, with what says where it goes."""
    _kind(kind, registry, definitions)
    placing = _table(place, {})
    components = [definitions[f"{kind}.{name}"] for name in registry.names(kind)]
    required = ["name", *placing.get("required", [])]
    choices = [
        {**c, "properties": {**c["properties"], **placing["properties"]}, "required": required} for c in components
    ]
    return {"type": "array", "items": {"anyOf": choices} if choices else {"not": {}}}


def _table(model: type[BaseModel], extra: Mapping[str, Schema]) -> Schema:
    """The table of a model's options, and of what else it may hold."""
    schema = model.model_json_schema(by_alias=True)
    options = {
        key: {k: v for k, v in option.items() if k != "title"} for key, option in schema.get("properties", {}).items()
    }
    required = {"required": schema["required"]} if "required" in schema else {}
    return {"type": "object", "properties": {**extra, **options}, "additionalProperties": False, **required}
