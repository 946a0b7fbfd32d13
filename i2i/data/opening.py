"""From a source to training data: everything is checked, prepared and cached once, before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from i2i.data.cache import Unreadable, cached
from i2i.data.loading import Data, Shown
from i2i.data.order import Order
from i2i.data.pixels import Array, Decoded, Pixels, Report, prepare_all
from i2i.data.source import Checks, Images, Source, Split, UnreadableImage
from i2i.data.steps import Domain, Labels, Steps
from i2i.data.table import DataOptions
from i2i.errors import I2IError, Problem

Progress = Callable[[str, int, int], None]
EXTRAS_FROM = "`fluent-emoji` gives labels and masks where it is asked to, `labelled_folders` gives labels"
N_SHOWN = 10
N_WARNED = 3


def open_data(
    options: DataOptions,
    source: Source,
    *,
    paired: bool,
    needs: Collection[str] = (),
    seed: int,
    n_batches: int = 1,
    n_micro_batches: int = 1,
    rank: int = 0,
    world_size: int = 1,
    progress: Progress | None = None,
) -> Data:
    """The data of a run, ready to be read.

    Args:
        options: the table [data].
        source: where the images come from.
        paired: the method needs the same scene at the same index; both domains then share order, crops and flips.
        needs: extras that the method needs.
        seed: what order, crops and flips depend on.
        n_batches: fresh batches per step that the method asks for.
        n_micro_batches: a step's batches of which gradients are summed.
        rank, world_size: this process, and how many there are.
        progress: told the domain's name, images done and images in all, while the cache is made.

    Raises I2IError for unpaired images where pairs are needed, for extras that are needed and missing, for unreadable
    images (unless they are skipped; all at once), and if none is left.
    """
    train, test = source.train(), source.test()
    if paired and not train.paired:
        message = "the method needs pairs (the same scene in both domains), and this source has none"
        raise I2IError(Problem("data.source", f"{message}; sources of pairs are `pairs` and `side_by_side`"))
    if missing := sorted({*needs} - train.extras.keys()):
        message = f"gives no {' and no '.join(missing)}, which the method needs"
        raise I2IError(Problem("data.source", f"{message}; {EXTRAS_FROM}"))
    if wrong := [problem for split in (train, test) if split is not None for problem in _misfits(split)]:
        raise I2IError(*wrong)
    bad: list[Problem] = []
    a, b = _open_split(train, options, options.load_size, progress, bad)
    if test is not None:
        shown = Shown(test, *_open_split(test, options, options.crop_size, progress, bad), True)
    else:
        images = zip("ab", (train.a, train.b), options.both_channels, (a, b), strict=True)
        shown_a, shown_b = (
            Domain({name: Decoded(i, channels, options.crop_size)}, d.usable) for name, i, channels, d in images
        )
        shown = Shown(train, shown_a, shown_b, False)
    if bad and options.unreadable == "error":
        raise I2IError(*_shortened(bad))
    empty = [
        f"none of the {name} images is left" for name, d in zip(options.names, (a, b), strict=True) if not d.usable
    ]
    if empty:
        raise I2IError(*_shortened(bad), *(Problem("data.source", message) for message in empty))
    margin = options.load_size - options.crop_size
    steps = Steps(
        a=a,
        b=b,
        order_a=Order(seed, 0, len(a.usable), margin, options.flip),
        order_b=Order(seed, 1, len(b.usable), margin, options.flip),
        paired=paired,
        skip=options.unreadable == "skip",
        crop_size=options.crop_size,
        batch_size=options.batch_size,
        n_batches=n_batches,
        n_micro_batches=n_micro_batches,
        rank=rank,
        world_size=world_size,
    )
    return Data(options, steps, shown, [str(problem) for problem in bad])


def _open_split(
    split: Split, options: DataOptions, size: int, progress: Progress | None, bad: list[Problem]
) -> tuple[Domain, Domain]:
    """Both domains, prepared, without those that cannot be read; of a pair, both are left out."""
    (parts_a, bad_a), (parts_b, bad_b) = (_open_domain(split, domain, options, size, progress) for domain in (0, 1))
    for found, name in zip((bad_a, bad_b), options.names, strict=True):
        new = [p for error in found.values() for p in error.problems if p not in bad]  # a file may hold both of a pair
        if new and options.unreadable == "skip":
            warnings.warn(_left_out(new, name), stacklevel=2)
        bad += new
    out_a, out_b = (bad_a.keys() | bad_b.keys(),) * 2 if split.paired else (bad_a.keys(), bad_b.keys())
    usable_a = tuple(i for i in range(len(split.a)) if i not in out_a)
    usable_b = tuple(i for i in range(len(split.b)) if i not in out_b)
    return Domain(parts_a, usable_a), Domain(parts_b, usable_b)


def _open_domain(
    split: Split, domain: Literal[0, 1], options: DataOptions, size: int, progress: Progress | None
) -> tuple[dict[str, Pixels | Labels], Unreadable]:
    """The images of a (0) or b (1) and their extras, prepared; what is unreadable in any of them."""
    key, name = "ab"[domain], options.names[domain]
    parts: dict[str, Pixels | Labels] = {}
    unreadable: Unreadable = {}
    extras = {part: values for part, values in split.extras.items() if part.endswith(f"_{key}")}
    for part, values in {key: (split.a, split.b)[domain], **extras}.items():
        if isinstance(values, Images):
            what, channels = (name, options.both_channels[domain]) if part == key else (f"{name} ({part})", 1)
            report: Report = partial(progress, what) if progress else _silent
            parts[part], bad = _open(values, channels, size, options.cache, report)
            unreadable = bad | unreadable
        else:
            parts[part] = np.array(values, np.int64)
    return parts, unreadable


def _open(images: Images, channels: int, size: int, cache: bool, report: Report) -> tuple[Pixels, Unreadable]:
    if getattr(images, "in_memory", False):
        return _hold(images, channels, size, report)
    if cache and (found := cached(images, channels, size, report)) is not None:
        return found
    return Decoded(images, channels, size), _check(images)


def _hold(images: Images, channels: int, size: int, report: Report) -> tuple[Array, Unreadable]:
    held: Array = np.zeros((len(images), channels, size, size), np.uint8)
    unreadable: Unreadable = {}
    for index, result in enumerate(prepare_all(images, channels, size, report)):
        if isinstance(result, UnreadableImage):
            unreadable[index] = result
        else:
            held[index] = result
    return held, unreadable


def _check(images: Images) -> Unreadable:
    """Those whose headers are refused; none if the source cannot tell without decoding."""
    unreadable: Unreadable = {}
    if isinstance(images, Checks):
        for index in range(len(images)):
            try:
                images.check(index)
            except UnreadableImage as error:
                unreadable[index] = error
    return unreadable


def _misfits(split: Split) -> Iterator[Problem]:
    """What does not fit together in a split."""
    n = {"a": len(split.a), "b": len(split.b)}
    if split.paired and n["a"] != n["b"]:
        yield Problem("data.source", f"has {n['a']} and {n['b']} images, which are no pairs")
    for name, values in split.extras.items():
        if not name.endswith(("_a", "_b")):
            yield Problem("data.source", f"gives an extra {name!r}; the name of an extra ends in _a or _b")
        elif len(values) != n[name[-1]]:
            yield Problem("data.source", f"has {len(values)} of {name!r} for {n[name[-1]]} images of {name[-1]}")
        elif not isinstance(values, Images) and not _is_row_of_integers(np.asarray(values)):
            yield Problem("data.source", f"gives a {name!r} that is neither an integer for each image nor images")


def _is_row_of_integers(values: NDArray[Any]) -> bool:
    return values.ndim == 1 and values.dtype.kind in "iu"


def _shortened(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= N_SHOWN:
        return problems
    more = f'{len(problems) - N_SHOWN} more images cannot be read; data.unreadable = "skip" leaves such images out'
    return [*problems[:N_SHOWN], Problem("", f"and {more}")]


def _left_out(problems: list[Problem], name: str) -> str:
    some, more = problems[:N_WARNED], len(problems) - N_WARNED
    count = f"{len(problems)} image{'s' if len(problems) > 1 else ''} of {name} left out"
    return f"{count}: {'; '.join(map(str, some))}" + (f"; and {more} more" if more > 0 else "")


def _silent(done: int, total: int) -> None:
    """Nobody asked for progress."""
