"""Opening a set of images to look at: folders, or the source of a recipe."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from i2i.data.folders import find_images
from i2i.data.opening import lacks
from i2i.data.pixels import Preparation
from i2i.data.source import Images, Source, Split
from i2i.datasets.check.findings import printable
from i2i.datasets.check.sets import ImageSet, Part, Training
from i2i.errors import I2IError, Problem, collecting


def of_folders(folders: Mapping[str, Path | None]) -> ImageSet:
    """The images of some folders, by their option: `a`, `b`, `test_a`, `test_b`. Raises I2IError."""
    problems: list[Problem] = []
    parts: list[Part] = []
    names = _names({domain: folders.get(domain) or folders.get(f"test_{domain}") for domain in "ab"})
    with hearing() as told:
        for option, folder in folders.items():
            with collecting(problems):
                if folder is not None:
                    split: Literal["train", "test"] = "test" if option.startswith("test") else "train"
                    domain: Literal["a", "b"] = "a" if option.endswith("a") else "b"
                    images = find_images(folder, f"--{option.replace('_', '-')}")
                    parts.append(Part(split, domain, names[domain], images))
    if problems:
        raise I2IError(*problems)
    return ImageSet(tuple(parts), warnings=tuple(told))


def _names(folders: Mapping[str, Path | None]) -> dict[str, str]:
    """What domains are called: the ends of their folders' paths, as long as it takes to tell them apart."""
    paths = {domain: folder.resolve().parts for domain, folder in folders.items() if folder is not None}
    for n in (1, 2, 3):
        names = {domain: printable("/".join(parts[-n:])) for domain, parts in paths.items()}
        if len({*names.values()}) == len(names):
            return names
    return {domain: domain for domain in paths}


def of_source(make: Callable[[], Source], training: Training, folders: Mapping[str, Any]) -> ImageSet:
    """The images of a recipe's source.

    Args:
        make: makes the source.
        training: what the recipe makes of its images.
        folders: the source's options. If it refuses what it finds, the folders `a`, `b`, `test_a` and `test_b` among
            them are looked at as they are, so that all there is to say is said at once.

    Raises I2IError if there is nothing to look at.
    """
    problems: list[Problem] = []
    with hearing() as told:
        try:
            source = make()
            train, test = source.train(), source.test()
        except I2IError as error:
            given = {option: Path(folders[option]) for option in ("a", "b", "test_a", "test_b") if folders.get(option)}
            if not given:
                raise
            try:
                found = of_folders(given)
            except I2IError:
                raise error from None
            parts, problems = list(found.parts), [*error.problems]
            told += found.warnings
        else:
            parts = [*_parts("train", train), *(_parts("test", test) if test else ())]
            problems = list(lacks(train, training.paired, training.needs))
    return ImageSet(tuple(_prepared(part, training) for part in parts), training, tuple(problems), tuple(told))


@contextmanager
def hearing() -> Iterator[list[str]]:
    """What is warned of in the block, by any thread, each text once."""
    heard: list[str] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield heard
    heard += dict.fromkeys(str(warning.message) for warning in told)


def _parts(split: str, images: Split) -> Iterator[Part]:
    for domain, of_domain in (("a", images.a), ("b", images.b)):
        label, mask = (images.extras.get(f"{extra}_{domain}") for extra in ("label", "mask"))
        yield Part(
            "test" if split == "test" else "train",
            "a" if domain == "a" else "b",
            domain,
            of_domain,
            images.paired,
            None if label is None or isinstance(label, Images) else [int(value) for value in label],
            mask if isinstance(mask, Images) else None,
        )


def _prepared(part: Part, training: Training) -> Part:
    """The part, with what the recipe does with its images."""
    place, options = "ab".index(part.domain), training.options
    geometry = options.geometry(training.multiple)
    how = Preparation(options.intakes[place], geometry if part.split == "train" else geometry.shows)
    return replace(part, name=printable(options.names[place]), how=how)
