"""What schedules, sources and watchers promise."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

from i2i.data.source import Split
from i2i.errors import I2IError
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
    try:
        source = build()
    except I2IError:  # without options there may be nothing to read
        return
    for name, split in (("train", source.train()), ("test", source.test())):
        if split is None and name == "test":
            continue
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
        for images in (split.a, split.b):
            if len(images) == 0:
                yield f"{name}() gives no image"
                continue
            image = images.read(len(images) - 1)
            if not isinstance(image, Image.Image):
                yield f"{name}(): read() gives a {type(image).__name__}, not a PIL image"
            if not isinstance(images.name(0), str) or not isinstance(images.digest(), str):
                yield f"{name}(): name() and digest() must give text"


def watcher_has_its_methods(build: Build) -> Iterator[str]:
    """It has the methods started, logged and finished"""
    watcher = build()
    for name in ("started", "logged", "finished"):
        if not callable(getattr(watcher, name, None)):
            yield f"has no method {name}()"


SCHEDULE = (schedule_gives_factors, schedule_is_pure_or_saves)
SOURCE = (source_gives_images,)
WATCHER = (watcher_has_its_methods,)
