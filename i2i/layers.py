"""Where recipes come from: files, what they extend, and what the command line sets on top."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from i2i.errors import I2IError, Problem, suggest

Document = dict[str, Any]

RESERVED_TABLES = ("method", "data", "optim", "schedule", "train", "augment", "eval", "extra_loss", "watch")
"""What every recipe may have beside the slots of its method."""


def read(recipe: str | Path, settings: Sequence[str] = ()) -> Document:
    """A recipe with what it extends below it and `settings` ("a.b=value") on top. Raises I2IError.

    Args:
        recipe: a TOML file, the `recipe.json` of a run, or the name of a shipped recipe: `cyclegan`.
    """
    return apply(_read(find(recipe), ()), settings)


def apply(document: Document, settings: Sequence[str]) -> Document:
    """The document with `settings` ("a.b=value") on top, one after the other. Raises I2IError."""
    for setting in settings:
        document = merge(document, parse_setting(setting, document))
    return document


def with_folders(document: Document, a: Path, b: Path, *, paired: bool) -> Document:
    """The document with its source replaced by two folders (see `two_folders`), and its names by theirs."""
    table = document.get("data", {})
    if not isinstance(table, Mapping):
        return document  # whoever resolves it says what is wrong with it
    names = [folder.resolve().name for folder in (a, b)]
    source = two_folders(a, b, paired=paired)
    data = {**table, "source": source, "names": names if names[0] != names[1] else ["a", "b"]}
    return {**document, "data": data}


def two_folders(a: Path, b: Path, *, paired: bool) -> Document:
    """The source of two folders of images, in which files of the same name are a pair if the method is paired."""
    return {"name": "pairs" if paired else "folders", "a": str(a), "b": str(b)}


def shipped() -> dict[str, Path]:
    """The recipes that come with i2i, by name."""
    folder = Path(str(files("i2i_recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find(recipe: str | Path) -> Path:
    """The file of a recipe; `cyclegan` and `recipes/cyclegan.toml` also outside of the checkout."""
    path = Path(recipe)
    if path.is_file():
        return path
    if path.is_dir():
        if (path / "recipe.json").is_file():
            return path / "recipe.json"
        raise I2IError(Problem(str(recipe), "is a folder, not a recipe"))
    recipes = shipped()
    if path.stem in recipes and path.parent.as_posix() in (".", "recipes") and path.suffix in ("", ".toml"):
        return recipes[path.stem]
    raise I2IError(Problem(str(recipe), f"there is no such recipe{suggest(path.stem, recipes)}"))


def _read(path: Path, above: tuple[Path, ...]) -> Document:
    path = path.resolve()
    if path in above:
        raise I2IError(Problem(str(path), "extends itself"))
    try:
        text = path.read_text(encoding="utf-8-sig")
        document: Document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise I2IError(Problem(str(path), f"is not valid {path.suffix[1:].upper()}: {error}")) from None
    except OSError as error:
        raise I2IError(Problem(str(path), f"cannot be read: {error.strerror}")) from None
    if not isinstance(document, dict):
        raise I2IError(Problem(str(path), "is not a table"))
    parent = document.pop("extends", None)
    if parent is None:
        return document
    if not isinstance(parent, str) or not (path.parent / parent).is_file():
        raise I2IError(Problem("extends", f"{path.name} extends {parent!r}, which is no file beside it"))
    return merge(_read(path.parent / parent, (*above, path)), document)


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Document:
    """Key by key, except that a table naming another component replaces the old one whole.

    Naming another method drops the slots of the old one: every top-level table that is not reserved.
    """
    result = dict(below)
    if _name(above.get("method")) not in (None, _name(below.get("method"))):
        result = {k: v for k, v in result.items() if k in (*RESERVED_TABLES, "requires") and k != "method"}
    for key, value in above.items():
        old = result.get(key)
        mergeable = isinstance(old, (Mapping, str)) and isinstance(value, (Mapping, str))
        if key == "schedule" and mergeable:
            result[key] = _merge_schedules(_as_table(old), _as_table(value))
        else:
            result[key] = _merge_tables(old, value) if mergeable else value
    return result


def _merge_tables(old: Any, value: Any) -> Any:
    if isinstance(old, str) and isinstance(value, str):
        return value
    if _name(value) is None or _name(old) in (None, _name(value)):
        return merge(_as_table(old), _as_table(value))
    return value


EPOCHS, STEPS = ("n_epochs", "n_epochs_decay"), ("n_steps", "n_steps_decay")


def _merge_schedules(old: Mapping[str, Any], value: Mapping[str, Any]) -> Document:
    """The length is the run's and outlives its component; given in steps it replaces one in epochs, and the reverse."""
    for unit, other in ((EPOCHS, STEPS), (STEPS, EPOCHS)):
        if value.keys() & unit:
            old = {k: v for k, v in old.items() if k not in other}
    length = {k: v for k, v in old.items() if k in EPOCHS + STEPS}
    return {**length, **_merge_tables(old, value)}


def _name(value: Any) -> Any:
    return value if isinstance(value, str) else value.get("name") if isinstance(value, Mapping) else None


def _as_table(value: Any) -> Mapping[str, Any]:
    return {"name": value} if isinstance(value, str) else value


def parse_setting(setting: str, document: Mapping[str, Any]) -> Document:
    """`a.b=value` as a layer over the document; value is TOML, else a string. `members.1.width=8` reaches a list."""
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise I2IError(Problem(f"--set {setting}", "is not of the form key=value or table.key=value"))
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return _layer(keys, value, document, setting)


def _layer(keys: Sequence[str], value: Any, below: Any, setting: str) -> Document:
    key, *rest = keys
    inner = below.get(key) if isinstance(below, Mapping) else None
    if not rest:
        return {key: value}
    if isinstance(inner, list):
        index, *deeper = rest
        if not index.isdigit() or int(index) >= len(inner):
            raise I2IError(Problem(f"--set {setting}", f"{key} is a list of {len(inner)}; {index!r} is no place in it"))
        items = list(inner)
        old = items[int(index)]
        items[int(index)] = merge(_as_table(old), _layer(deeper, value, old, setting)) if deeper else value
        return {key: items}
    return {key: _layer(rest, value, inner, setting)}
