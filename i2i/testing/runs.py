"""What schedules, sources and watchers promise."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from i2i.data.source import Checks, Images, Split
from i2i.errors import I2IError
from i2i.images import Picture
from i2i.images.picture import Pixels
from i2i.schedules import Observes

Build = Callable[..., Any]


def schedule_gives_factors(build: Build) -> Iterator[str]:
    """It gives a factor of at least 0 for every step"""
    for n_steps, n_decay in ((20, 10), (0, 10), (10, 0)):
        schedule = build(n_steps, n_decay)
        for step in range(n_steps + n_decay):
            factor = schedule(step)
            if not isinstance(factor, (float, int)) or not math.isfinite(factor) or factor < 0:
                yield f"gives {factor!r} for step {step} of {n_steps} + {n_decay}"
                return
        if not any(schedule(step) > 0 for step in range(n_steps + n_decay)):
            yield f"is 0 in all of {n_steps} + {n_decay} steps, so that nothing is learnt"


def schedule_is_pure_or_saves(build: Build) -> Iterator[str]:
    """It depends on the step alone, or has a state that can be saved as JSON"""
    schedule = build(20, 10)
    first = [schedule(step) for step in range(30)]
    if first != [schedule(step) for step in range(30)]:
        yield "gives another factor for a step that it was asked before; it must depend on the step alone"
    if isinstance(schedule, Observes):
        other = build(20, 10)
        other.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
        if [other(step) for step in range(30)] != first:
            yield "gives other factors after its state went through JSON"


def source_gives_images(build: Build) -> Iterator[str]:
    """It gives images of both domains, or says which option it needs"""
    for name, split in _splits(build):
        if not isinstance(split, Split):
            yield f"{name}() gives a {type(split).__name__}, not a Split"
            continue
        if split.paired and len(split.a) != len(split.b):
            yield f"{name}() is paired, but has {len(split.a)} and {len(split.b)} images"
        for extra, values in split.extras.items():
            if not extra.endswith(("_a", "_b")):
                yield f"{name}() gives an extra {extra!r}; its name ends in _a or _b"
            elif len(values) != (n := len(split.a if extra.endswith("_a") else split.b)):
                yield f"{name}() gives {len(values)} of {extra!r} for {n} images"
            elif not isinstance(values, Images) and np.asarray(values).dtype.kind not in "iu":
                yield f"{name}() gives a {extra!r} that is neither an integer for each image nor images"
        for images in _images(split):
            yield from (f"{name}(): {message}" for message in _wrong_images(images))


def source_tells_the_truth_in_headers(build: Build) -> Iterator[str]:
    """Where it can check images without decoding them, it says of each what reading it gives"""
    for name, split in _splits(build):
        for images in _images(split):
            if len(images) and isinstance(images, Checks):
                seen, picture = images.header(0), Picture.of(images.read(0))
                told = (seen.size, seen.channels, seen.dtype, seen.alpha)
                found = (picture.size, picture.pixels.shape[2], picture.pixels.dtype.name, picture.alpha is not None)
                if told != found:
                    yield f"{name}(): header() tells of {told}, read() gives {found}: size, channels, type, alpha"


def source_repeats_itself(build: Build) -> Iterator[str]:
    """It gives the same images under the same digest at every time"""
    for (name, split), (_, again) in zip(_splits(build), _splits(build), strict=True):
        for images, others in zip(_images(split), _images(again), strict=True):
            if images.digest() != others.digest() or _names(images) != _names(others):
                yield f"{name}(): built again, it gives another digest or other names"
            elif (last := len(images) - 1) >= 0 and not np.array_equal(_pixels(images, last), _pixels(others, last)):
                yield f"{name}(): reading image {last} again gives another image under the same digest"


def _splits(build: Build) -> Iterator[tuple[str, Any]]:
    """What a source gives; nothing if it needs options, and nothing for held-out images if there are none."""
    try:
        source = build()
    except I2IError:  # without options there may be nothing to read
        return
    yield "train", source.train()
    if (test := source.test()) is not None:
        yield "test", test


def _images(split: Any) -> list[Images]:
    """The images of both domains, and the masks."""
    if not isinstance(split, Split):
        return []
    return [split.a, split.b, *(extra for extra in split.extras.values() if isinstance(extra, Images))]


def _wrong_images(images: Images) -> Iterator[str]:
    if not len(images):
        yield "gives no image"
        return
    if not isinstance(images.digest(), str):
        yield f"digest() gives a {type(images.digest()).__name__}, not text"
    name = images.name(len(images) - 1)
    if not isinstance(name, str):
        yield f"name() gives a {type(name).__name__}, not text"
    elif PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        yield f"name() gives {name!r}; a name is a path below some folder"
    image = images.read(len(images) - 1)
    try:
        Picture.of(image)
    except (ValueError, AttributeError) as error:
        yield f"read() gives a {type(image).__name__}, not a Picture, an 8-bit PIL image or an array of one: {error}"


def _names(images: Images) -> list[str]:
    return [images.name(index) for index in range(len(images))]


def _pixels(images: Images, index: int) -> Pixels:
    return Picture.of(images.read(index)).pixels


def watcher_has_its_methods(build: Build) -> Iterator[str]:
    """It has the methods started, logged and finished"""
    try:
        watcher = build()
    except I2IError:  # the package that it writes for may be missing
        return
    for name in ("started", "logged", "finished"):
        if not callable(getattr(watcher, name, None)):
            yield f"has no method {name}()"


SCHEDULE = (schedule_gives_factors, schedule_is_pure_or_saves)
SOURCE = (source_gives_images, source_tells_the_truth_in_headers, source_repeats_itself)
WATCHER = (watcher_has_its_methods,)
