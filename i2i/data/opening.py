"""From a source to training data: everything is checked, prepared and cached once, before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2i.data.augment import Augment
from i2i.data.cache import cached
from i2i.data.geometry import Geometry, Sides
from i2i.data.loading import Data, Shown
from i2i.data.order import Order
from i2i.data.pixels import Decoded, Pixels, Preparation, Report, Unreadable, hold, look
from i2i.data.ranges import measured
from i2i.data.source import Images, Source, Split, called
from i2i.data.steps import Domain, Labels, Steps
from i2i.data.table import DataOptions
from i2i.errors import I2IError, Problem

Progress = Callable[[str, int, int], None]
EXTRAS_FROM = (
    "`manifest`, `arrays` and `fluent-emoji` give labels and masks, `labelled_folders` gives labels, `folders` and "
    "`pairs` give masks"
)
PAIRS_FROM = "sources of pairs are `pairs`, `side_by_side`, `manifest` and `arrays`"
N_SHOWN = 10
N_WARNED = 3


def open_data(
    options: DataOptions,
    source: Source,
    *,
    paired: bool,
    needs: Collection[str] = (),
    multiple: int = 1,
    augment: Sequence[Augment] = (),
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
        multiple: what the sides of images must be multiples of; where nothing is cropped they are resized to it.
        augment: random changes, in this order.
        seed: what order, crops, flips and augmentations depend on.
        n_batches: fresh batches per step that the method asks for.
        n_micro_batches: a step's batches of which gradients are summed.
        rank, world_size: this process, and how many there are.
        progress: told the domain's name, images done and images in all, while the cache is made.

    Raises I2IError for unpaired images where pairs are needed, for extras that are needed and missing, for unreadable
    images (unless they are skipped; all at once), for sizes that make no batch, and if no image is left.
    """
    train, test = source.train(), source.test()
    if lacking := [*lacks(train, paired, needs)]:
        raise I2IError(*lacking)
    if wrong := [problem for split in (train, test) if split is not None for problem in _misfits(split)]:
        raise I2IError(*wrong)
    geometry = options.geometry(multiple)
    bad: list[Problem] = []
    opening = _Opening(options, geometry, progress, bad)
    a, b = opening.split(train)
    to_look_at = (opening.shown(a, train.a), opening.shown(b, train.b))
    if test is not None:
        shown = Shown(test, *replace(opening, geometry=geometry.shows).split(test), *to_look_at, True)
    else:
        shown = Shown(train, *to_look_at, *to_look_at, False)
    if bad and options.unreadable == "error":
        raise I2IError(*_shortened(bad))
    if empty := [*_empty(a, b, shown, options.names)]:
        raise I2IError(*_shortened(bad), *empty)
    window = geometry.window
    if problems := [*_uneven(a, b, train, options, window is None and options.batch_size * n_batches > 1, paired)]:
        raise I2IError(*problems)
    ranges = measured(options, {"a": a, "b": b})
    steps = Steps(
        a=a,
        b=b,
        ranges=ranges,
        order_a=Order(seed, 0, len(a.usable)),
        order_b=Order(seed, 1, len(b.usable)),
        paired=paired,
        skip=options.unreadable == "skip",
        window=window,
        flip=options.flip,
        augment=tuple(augment),
        batch_size=options.batch_size,
        n_batches=n_batches,
        n_micro_batches=n_micro_batches,
        rank=rank,
        world_size=world_size,
    )
    return Data(options, steps, shown, [str(problem) for problem in bad])


def lacks(train: Split, paired: bool, needs: Collection[str]) -> Iterator[Problem]:
    """What the recipe needs and the images to train on do not have: pairs, and extras by name."""
    if paired and not train.paired:
        message = "the method needs pairs (the same scene in both domains), and this source has none"
        yield Problem("data.source", f"{message}; {PAIRS_FROM}")
    if missing := sorted({*needs} - train.extras.keys()):
        message = f"gives no {' and no '.join(missing)}, which the recipe needs"
        yield Problem("data.source", f"{message}; {EXTRAS_FROM}")


@dataclass(frozen=True)
class _Opening:
    """How the images of one split are opened; what is wrong with any is added to `bad`."""

    options: DataOptions
    geometry: Geometry
    progress: Progress | None
    bad: list[Problem]

    def split(self, split: Split) -> tuple[Domain, Domain]:
        """Both domains, prepared, without those that cannot be read; of a pair, both are left out."""
        (parts_a, bad_a), (parts_b, bad_b) = (self._domain(split, domain) for domain in (0, 1))
        for found, name in zip((bad_a, bad_b), self.options.names, strict=True):
            new = [p for error in found.values() for p in error.problems if p not in self.bad]  # a file may hold both
            if new and self.options.unreadable == "skip":
                warnings.warn(_left_out(new, name), stacklevel=2)
            self.bad.extend(new)
        out_a, out_b = (bad_a.keys() | bad_b.keys(),) * 2 if split.paired else (bad_a.keys(), bad_b.keys())
        usable_a = tuple(i for i in range(len(split.a)) if i not in out_a)
        usable_b = tuple(i for i in range(len(split.b)) if i not in out_b)
        return Domain(parts_a, usable_a), Domain(parts_b, usable_b)

    def shown(self, domain: Domain, images: Images) -> Domain:
        """The images of a domain that is trained on, as test images are shown; its extras are not."""
        name = next(key for key in "ab" if key in domain.parts)
        how = Preparation(self.options.intakes["ab".index(name)], self.geometry.shows)
        return Domain({name: Decoded(images, how, domain.pixels.dtype)}, domain.usable)

    def _domain(self, split: Split, domain: int) -> tuple[dict[str, Pixels | Labels], Unreadable]:
        """The images of a (0) or b (1) and their extras, prepared; what is unreadable in any of them."""
        key, name, intake = "ab"[domain], self.options.names[domain], self.options.intakes[domain]
        parts: dict[str, Pixels | Labels] = {}
        unreadable: Unreadable = {}
        extras = {part: values for part, values in split.extras.items() if part.endswith(f"_{key}")}
        for part, values in {key: (split.a, split.b)[domain], **extras}.items():
            if isinstance(values, Images):
                what, how = name, Preparation(intake, self.geometry)
                if part != key:
                    what, how = (
                        f"{name} ({part})",
                        Preparation(replace(intake, channels=1), self.geometry, as_mask=True),
                    )
                report: Report = partial(self.progress, what) if self.progress else _silent
                parts[part], bad = _open(values, how, self.options.cache, report)
                unreadable = bad | unreadable
            else:
                parts[part] = np.array(values, np.int64)
        return parts, unreadable


def _open(images: Images, how: Preparation, cache: bool, report: Report) -> tuple[Pixels, Unreadable]:
    if getattr(images, "in_memory", False):
        return hold(images, how, report)
    if cache and (found := cached(images, how, report)) is not None:
        return found
    dtype, sides, unreadable = look(images, how, report=report)
    return Decoded(images, how, dtype, sides), unreadable


def _empty(a: Domain, b: Domain, shown: Shown, names: tuple[str, str]) -> Iterator[Problem]:
    """Domains of which nothing is left, and held-out ones of another type: their values would mean something else."""
    for name, domain, held_out in zip(names, (a, b), (shown.a, shown.b), strict=True):
        if not domain.usable:
            yield Problem("data.source", f"none of the {name} images is left")
        elif not held_out.usable:
            yield Problem("data.source", f"none of the held-out {name} images is left")
        elif held_out.pixels.dtype != domain.pixels.dtype:
            types = f"{held_out.pixels.dtype.name}, and those to train on {domain.pixels.dtype.name}"
            yield Problem("data.source", f"the held-out {name} images hold {types}; bring all to one type")


def _uneven(a: Domain, b: Domain, split: Split, options: DataOptions, stacked: bool, paired: bool) -> Iterator[Problem]:
    """Sizes that make no batch, no pair, or are not those of their masks."""
    for domain, images in ((a, split.a), (b, split.b)):
        masks = (part for part in domain.parts if part.startswith("mask"))
        for part in masks:
            mask: Any = domain.parts[part]
            if wrong := [i for i in domain.usable if mask.sides[i] != domain.pixels.sides[i]]:
                first = f"{_px(mask.sides[wrong[0]])} for {_px(domain.pixels.sides[wrong[0]])} px"
                message = f"{len(wrong)} of {part} have another size than their image, such as {first}"
                advice = 'preprocess = "resize_and_crop" brings both to one size'
                yield Problem("data.source", f"{message}, that of {called(images, wrong[0])}; {advice}")
    if stacked:
        for name, domain in zip(options.names, (a, b), strict=True):
            if len(sizes := {domain.pixels.sides[index] for index in domain.usable}) > 1:
                (h0, w0), (h1, w1) = sorted(sizes)[:: len(sizes) - 1]
                message = f"the {name} images come in {len(sizes)} sizes, from {w0}x{h0} to {w1}x{h1} px"
                crops = f"a preprocess that crops (not {options.preprocess!r})"
                if options.batch_size > 1:
                    yield Problem("data.batch_size", f"{message}, which make no batch; take 1, or {crops}")
                else:
                    yield Problem(
                        "data.preprocess", f"{message}, and the method needs several in a batch; take {crops}"
                    )
    if paired and (unequal := [i for i in a.usable if a.pixels.sides[i] != b.pixels.sides[i]]):
        index = unequal[0]
        first = f"{_px(a.pixels.sides[index])} and {_px(b.pixels.sides[index])} px of {called(split.a, index)}"
        message = f"{len(unequal)} of the pairs have images of two sizes, such as {first}, so that no crop fits both"
        yield Problem("data.preprocess", f'{message}; "resize_and_crop" brings all to one size')


def _px(sides: Sides) -> str:
    return f"{sides[1]}x{sides[0]}"


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
    more = f'{len(problems) - N_SHOWN} more images cannot be used; data.unreadable = "skip" leaves such images out'
    return [*problems[:N_SHOWN], Problem("", f"and {more}")]


def _left_out(problems: list[Problem], name: str) -> str:
    some, more = problems[:N_WARNED], len(problems) - N_WARNED
    count = f"{len(problems)} image{'s' if len(problems) > 1 else ''} of {name} left out"
    return f"{count}: {'; '.join(map(str, some))}" + (f"; and {more} more" if more > 0 else "")


def _silent(done: int, total: int) -> None:
    """Nobody asked for progress."""
