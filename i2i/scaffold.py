"""A new plugin as a distribution of its own: module, test, pyproject and a README that is its tutorial."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from i2i import hookspecs
from i2i.component import KINDS
from i2i.errors import I2IError, Problem, suggest

USES = {
    "method": ("method", '[method]\nname = "{}"'),
    "generator": ("generator", '[generator]\nname = "{}"'),
    "discriminator": ("discriminator", '[discriminator]\nname = "{}"'),
    "network": ("classifier", '[classifier]\nname = "{}"'),
    "normalization": ("generator.norm", '[generator]\nnorm = "{}"'),
    "loss": ("cycle", '[cycle]\nname = "{}"'),
    "adversarial_loss": ("adversarial", '[adversarial]\nname = "{}"'),
    "buffer": ("pool", '[pool]\nname = "{}"'),
    "initialization": ("generator.initialization", '[generator]\ninitialization = "{}"'),
    "schedule": ("schedule", '[schedule]\nname = "{}"\nn_epochs = 100\nn_epochs_decay = 100'),
    "source": ("data.source", '[data]\nsource = "{}"'),
    "augmentation": ("augment", '[[augment]]\nname = "{}"'),
    "metric": ("eval.metrics", '[eval]\nmetrics = ["{0}"]\nbest_by = "{0}"'),
    "watcher": ("watch", '[[watch]]\nname = "{}"'),
}
"""Every kind, with the place of a recipe where it goes."""


def write_plugin(name: str, kind: str, parent: Path) -> Path:
    """Writes the folder `i2i-NAME` below `parent` and returns it. Raises I2IError, also if it is there already."""
    if kind not in USES:
        raise I2IError(Problem("--kind", f"there is no kind {kind!r}{suggest(kind, USES)}"))
    module = "i2i_" + name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise I2IError(
            Problem("NAME", f"{name!r}: a name has lower-case letters and digits, in words joined by - or _")
        )
    folder = parent / f"i2i-{name}"
    if folder.exists():
        raise I2IError(Problem(str(folder), "is there already; choose another name, or another place with --out"))
    key, recipe = USES[kind]
    words = kind.replace("_", " ")
    listed = {"augmentation": f'[{{name = "{name}"}}]', "watcher": f'[{{name = "{name}"}}]', "metric": f'["{name}"]'}
    value = f"'{listed[kind]}'" if kind in listed else name
    values = {
        "name": name,
        "module": module,
        "Name": "".join(word.capitalize() for word in re.split("[_-]", name)),
        "kind": kind,
        "words": words,
        "article": "an" if words[0] in "aeiou" else "a",
        "base": "cycada" if kind == "network" else "cyclegan",
        "use": f"--set {key}={value}" + (f" --set eval.best_by={name}" if kind == "metric" else ""),
        "hook": KINDS[kind].hook,
        "promise": (getattr(hookspecs, KINDS[kind].hook).__doc__ or "").partition(": ")[2].rstrip("."),
        "wired": ", ".join(KINDS[kind].wired),
        "recipe": recipe.format(name),
    }
    targets = {
        "pyproject.toml.j2": folder / "pyproject.toml",
        "README.md.j2": folder / "README.md",
        f"{kind}.py.j2": folder / f"{module}.py",
        "test.py.j2": folder / "tests" / f"test_{module}.py",
    }
    templates = files("i2i") / "templates"
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    for template, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        text = environment.from_string((templates / template).read_text(encoding="utf-8")).render(values)
        target.write_text(text, encoding="utf-8", newline="\n")
    return folder
