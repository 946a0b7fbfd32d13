"""A source whose folders are classes, for methods that need to know what an image shows, as domain adaptation does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from i2i import hookimpl
from i2i.data import Images, Split
from i2i.data.folders import two_folders
from i2i.data.matching import listed
from i2i.errors import I2IError, Problem, suggest
from i2i.options import LocalPath


class LabelledFolders:
    """Two folders; the subfolders of a are its classes, and those of b too if they have the same names.

    A class is a subfolder of `a` with images in it, at any depth. Labels count from 0 in the order of the names, for
    both domains and the held-out images. If a folder in `b` is called as a class is, the whole of `b` must be labelled.

    Args:
        a, b: folders to train on.
        test_a, test_b: held-out images, or neither.
    """

    def __init__(self, *, a: LocalPath = "", b: LocalPath = "", test_a: LocalPath = "", test_b: LocalPath = "") -> None:
        train, test = two_folders(a, b, test_a, test_b, Split)
        classes = sorted({name for name in folders_of(train.a) if name})
        if not classes:
            raise I2IError(Problem("data.source.a", f"{a!r} holds no subfolder with images; each would be a class"))
        self._train = labelled(train, classes, "")
        self._test = labelled(test, classes, "test_") if test else None

    def train(self) -> Split:
        return self._train

    def test(self) -> Split | None:
        return self._test


def labelled(split: Split, classes: Sequence[str], prefix: str) -> Split:
    """The split with `label_a`, and with `label_b` if b has classes. Raises I2IError for images of no known class."""
    extras = {"label_a": labels_of(split.a, classes, f"data.source.{prefix}a")}
    if not {*folders_of(split.b)}.isdisjoint(classes):
        extras["label_b"] = labels_of(split.b, classes, f"data.source.{prefix}b")
    return Split(split.a, split.b, extras=extras)


def labels_of(images: Images, classes: Sequence[str], where: str) -> list[int]:
    """The place of each image's folder among the classes. Raises I2IError."""
    folders = folders_of(images)
    problems = [
        Problem(where, f"the folder {folder!r} is no class of a{suggest(folder, classes)}")
        for folder in sorted({*folders} - {*classes, ""})
    ]
    if outside := [images.name(index) for index, folder in enumerate(folders) if not folder]:
        message = f"{len(outside)} of {len(images)} images lie in no class's folder: {listed(outside)}"
        problems.append(Problem(where, message))
    if problems:
        raise I2IError(*problems)
    places = {name: place for place, name in enumerate(classes)}
    return [places[folder] for folder in folders]


def folders_of(images: Images) -> list[str]:
    """The first folder on the way to each image; empty for one that lies in none."""
    paths = (PurePosixPath(images.name(index)) for index in range(len(images)))
    return [path.parts[0] if len(path.parts) > 1 else "" for path in paths]


@hookimpl
def register_sources() -> dict[str, Callable[..., Any]]:
    return {"labelled_folders": LabelledFolders}
