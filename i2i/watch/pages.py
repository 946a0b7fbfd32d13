"""Pages that people look at: their templates, which share the report's look."""

from __future__ import annotations

from functools import cache, partial
from importlib import resources
from typing import Any

import jinja2


def page(room: str, name: str, **values: Any) -> str:
    """The template `name` of the package `room`, filled. What it includes is in that package, or is the report's."""
    return _pages(room).get_template(name).render(values)


@cache
def _pages(room: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(partial(_template, room)),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _template(room: str, name: str) -> str | None:
    for place in (room, "i2i.watch", "i2i.watch.report"):
        if (file := resources.files(place).joinpath(name)).is_file():
            return file.read_text(encoding="utf-8")
    return None
