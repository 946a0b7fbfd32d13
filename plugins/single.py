"""A source of one image, or of one for each domain, for methods that learn from the crops of a single image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from i2i import hookimpl
from i2i.data import Split
from i2i.data.folders import ImageFiles
from i2i.data.paths import find_file
from i2i.errors import I2IError, Problem, collecting
from i2i.options import LocalPath


class Single:
    """One image for each domain, or one image with itself: an epoch is one crop of it.

    Args:
        a: an image file.
        b: another one; left out, the image of a stands in both domains, which makes it a pair.
    """

    def __init__(self, *, a: LocalPath = "", b: LocalPath = "") -> None:
        files: list[ImageFiles] = []
        problems: list[Problem] = []
        for option, file in {"a": a, **({"b": b} if b else {})}.items():
            with collecting(problems):
                path = find_file(file, f"data.source.{option}")
                files.append(ImageFiles(path.parent, [path.name]))
        if problems:
            raise I2IError(*problems)
        self._train = Split(files[0], files[-1], paired=not b)

    def train(self) -> Split:
        return self._train

    def test(self) -> Split | None:
        return None


@hookimpl
def register_sources() -> dict[str, Callable[..., Any]]:
    return {"single": Single}
