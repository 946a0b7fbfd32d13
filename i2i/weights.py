"""Weights files: a translator's weights, and what they say of themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from i2i import __version__
from i2i.errors import I2IError, Problem
from i2i.files import write_tensors
from i2i.recipe import Recipe
from i2i.run import Run


def save_translator(path: Path, module: nn.Module, *, recipe: Recipe, direction: str, step: int) -> None:
    """Writes weights that describe themselves: the recipe and the plugins that they need travel in the metadata.

    Raises OSError.
    """
    about = {
        "i2i": __version__,
        "direction": direction,
        "step": step,
        "names": list(recipe.data.names),
        "plugins": sorted(recipe.method.translating().plugins()),
        "recipe": recipe.document(),
    }
    write_tensors(path, module.state_dict(), {"i2i": json.dumps(about)})


def described(path: Path) -> dict[str, Any]:
    """What a weights file says of itself: recipe, direction, step, names. Raises I2IError for any other file."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("i2i", "null"))
    except (OSError, SafetensorError, ValueError) as error:
        hint = "; `i2i import` reads those of CycleGAN's, pix2pix's and CUT's authors" if path.suffix == ".pth" else ""
        raise I2IError(Problem(str(path), f"is no safetensors file, or is damaged: {error}{hint}")) from None
    known = {"recipe", "direction", "names"}
    if not (isinstance(about, dict) and known <= about.keys() and isinstance(about["recipe"], dict)):
        message = (
            "says nothing of its recipe; i2i writes it into ab.safetensors and ba.safetensors, and `i2i import` too"
        )
        raise I2IError(Problem(str(path), message))
    return about


def needed_plugins(source: Path, at: str = "latest") -> list[str] | None:
    """Names of the plugins that the translators of a run or a weights file need; None if it does not say.

    `at` as in `find_translator`. Raises I2IError for what is neither.
    """
    if source.is_file():
        return needs(described(source))
    run = Run.open(source)
    for direction in ("ab", "ba"):
        if (path := run.weights(direction, best=at == "best")).is_file():
            with suppress(I2IError):  # one that is damaged is told when it is read
                return needs(described(path))
    return needs({"recipe": run.recipe})


def needs(about: Mapping[str, Any]) -> list[str] | None:
    """Where the translators are not spoken of, all plugins of the recipe."""
    names = about.get("plugins", about["recipe"].get("requires"))
    return names if isinstance(names, list) else None
