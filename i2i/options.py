"""Options: typed, bounded and strict. `"4"`, `true` and `3.0` are no `int`; an unknown key is an error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from i2i.errors import Problem, suggest


def _absolute(path: str) -> str:
    path = str(Path(path).expanduser().absolute()) if path else path
    if not _is_unicode(path):  # the working directory's part
        raise ValueError(NOT_UNICODE.format(path))
    return path


def _is_unicode(text: str) -> bool:
    """False for what the system made of file names in another encoding."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


NOT_UNICODE = "{!r} is not valid UTF-8, which no recipe can say; rename the file or folder"


LocalPath = Annotated[str, AfterValidator(_absolute)]
"""A path: relative to the working directory, recorded absolute, so that a run goes on from anywhere."""


class Options(BaseModel):
    """The base of every table of a recipe."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, validate_default=False)

    def values(self) -> Iterator[tuple[str, Any]]:
        """Pairs of the option's own name and its value, as Python objects."""
        for attribute, info in type(self).model_fields.items():
            yield info.alias or attribute, getattr(self, attribute)


AnyOptions = TypeVar("AnyOptions", bound=BaseModel)


def options_model(name: str, options: Mapping[str, tuple[Any, Any]]) -> type[Options]:
    """A model of {option: (type, default)}. Fields have aliases, since `copy` or `json` would shadow pydantic's own."""
    fields: dict[str, Any] = {f"option_{k}": (kind, Field(default, alias=k)) for k, (kind, default) in options.items()}
    return create_model(f"{name}Options", __base__=Options, **fields)


def validate(
    model: type[AnyOptions], table: Mapping[str, Any], where: str, problems: list[Problem], also: Iterable[str] = ()
) -> AnyOptions | None:
    """The table as a model, or None with what is wrong added to `problems`; `also` are keys known elsewhere."""
    try:
        text = json.dumps(table)
    except TypeError:
        problems.extend(_not_json(table, where))
        return None
    if strange := list(_not_unicode(table, where)):
        problems.extend(strange)
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        names = [info.alias or name for name, info in model.model_fields.items()] + list(also)
        reasons: dict[str, list[str]] = {}  # a value that fits no member of a union fails once for each
        for e in error.errors():
            path, value = _locate(table, e["loc"])
            if e["type"] == "extra_forbidden":
                reasons[path] = ["unknown option" + suggest(path.rpartition(".")[2], names)]
            elif e["type"] == "value_error":  # a validator's own words
                reasons[path] = [str(e["ctx"]["error"])]
            elif e["type"] == "too_short":
                least = e["ctx"]["min_length"]
                if len(value) < least:  # else it is so for want of items that are wrong, which is told of each
                    reasons[path] = [f"takes a list of at least {least}, not {json.dumps(value)}"]
            else:
                reasons.setdefault(path, []).append(f"{_lower(_reason(e))}, not {json.dumps(value, default=str)}")
        for path, texts in reasons.items():
            if any(other.startswith(f"{path}.") for other in reasons):
                continue  # of a list it is told which item is wrong
            *others, last = texts
            first = [text.rsplit(", not ", 1)[0] for text in others]
            message = " or ".join([*first, last]).replace(" or should be ", " or ")
            problems.append(Problem(f"{where}.{path}" if where else path, message))
        return None


def _locate(table: Any, loc: tuple[int | str, ...]) -> tuple[str, Any]:
    """Path and value of pydantic's location, without the marks that it adds for the members of a union."""
    path: list[str] = []
    for part in loc:
        if isinstance(table, Mapping) and (part in table or not path):
            table = table.get(part)
        elif isinstance(table, list) and isinstance(part, int) and part < len(table):
            table = table[part]
        else:
            continue
        path.append(str(part))
    return ".".join(path), table


def _reason(error: ErrorDetails) -> str:
    """Pydantic's, but for lists of another length than a tuple's: it would speak of fields and of validation."""
    if error["type"] == "too_long":
        return f"Input should be a list of at most {error['ctx']['max_length']}"
    if error["type"] == "missing" and isinstance(place := error["loc"][-1], int):
        return f"Input should be a list of at least {place + 1}"
    return error["msg"]


def _lower(message: str) -> str:
    message = message.replace("Input should be", "should be").replace("a valid array", "a list")
    return message[:1].lower() + message[1:]


def _not_unicode(value: Any, where: str) -> Iterator[Problem]:
    if isinstance(value, str) and not _is_unicode(value):
        yield Problem(where, NOT_UNICODE.format(value))
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, part in inner:
        yield from _not_unicode(part, f"{where}.{key}" if where else str(key))


def _not_json(table: Mapping[str, Any], where: str) -> Iterator[Problem]:
    for key, value in table.items():
        try:
            json.dumps(value)
        except TypeError:
            yield Problem(f"{where}.{key}", f"takes no {type(value).__name__}; write it as a string if it is one")
