"""What metrics promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, get_args

import torch
from torch import Tensor

from i2i.metric import Better, ImageMetric, Metric, Need, SetMetric, Translation
from i2i.testing.augmentations import global_states

Build = Callable[..., Any]

SIZES = (16, 64, 192)
"""Pixels of test images. A metric may refuse some, not all."""
CHANNELS = (3, 1)
N_IMAGES = 3
"""For metrics of images. Few, since a network sees each of them several times."""
N_OUTPUTS = (7, 20, 60)
"""For metrics of sets: as many as the statistic takes, which may look at an image's neighbours."""
SLACK = 1e-4
"""Relative; in a batch, networks add up in another order."""


def metric_says_what_it_is(build: Build) -> Iterator[str]:
    """It is an ImageMetric or a SetMetric, with its title, its unit and which way is better"""
    metric = build()
    if not isinstance(metric, (ImageMetric, SetMetric)):
        yield f"gives a {type(metric).__name__}, not an i2i.metric.ImageMetric or SetMetric"
        return
    if metric.better not in get_args(Better):
        yield f"has better = {metric.better!r}; possible are {_listed(get_args(Better))}"
    for name in ("title", "unit", "network"):
        if not isinstance(text := getattr(metric, name), str):
            yield f"has a {name} that is a {type(text).__name__}, not text"
    for need in {*metric.needs} - {*get_args(Need)}:
        yield f"needs {need!r}; possible are {_listed(get_args(Need))}"


def metric_gives_numbers(build: Build) -> Iterator[str]:
    """It gives finite numbers, (N,) or (N, D), or says by a ValueError why it cannot judge such images"""
    metric, reason, n_judged = build(), "", 0
    if not isinstance(metric, Metric):  # the check before has told
        return
    for translation in _translations(metric, n=2):
        try:
            wrong = _misfit(metric, translation)
        except ValueError as error:
            reason = reason or str(error)
            continue
        n_judged += 1
        if wrong:
            yield wrong
            return
    if not n_judged:
        yield f"refuses images of {_listed(SIZES)} px with {_listed(CHANNELS)} channels: {reason}"


def metric_judges_each_image_alone(build: Build) -> Iterator[str]:
    """What it says of an image does not depend on the others of its batch"""
    for metric, translation in _judged(build):
        together = _rows(metric, _copy(translation, slice(3)))
        slack = 1e-6 + SLACK * float(together.abs().max())
        for i in range(2):
            alone = _rows(metric, _copy(translation, slice(i, i + 1)))
            if not torch.allclose(alone[0], together[i], SLACK, slack):
                yield "says something else of an image by itself than of the same image in a batch"
                return


def metric_leaves_no_trace(build: Build) -> Iterator[str]:
    """It says the same twice, without a gradient, draws from no global generator and writes to no image"""
    for metric, translation in _judged(build):
        kept, before = _copy(translation), global_states()
        first, second = (_rows(metric, translation) for _ in range(2))
        rows, numbers = first.detach().double(), set()
        if isinstance(metric, SetMetric):
            numbers = {metric.statistic(rows[1:], rows[:-1]) for _ in range(2)}
        if global_states() != before:
            yield "draws from a global generator; give it one of its own, with a fixed seed"
        if not torch.equal(first, second) or len(numbers) > 1:
            yield "says something else of the same images the second time"
        if first.requires_grad:
            yield "gives numbers that carry a gradient; compute them under torch.no_grad()"
        for name in ("source", "output", "partner"):
            images, as_before = getattr(translation, name), getattr(kept, name)
            if images is not None and not torch.equal(images, as_before):
                yield f"writes to the {name} that it is given"


def metric_states_a_number(build: Build) -> Iterator[str]:
    """Its statistic is a finite float, and of_subsets() gives that of subsets"""
    for metric, translation in _judged(build):
        if not isinstance(metric, SetMetric):
            return
        outputs = metric.features(translation.output).double()
        n_outputs, n_targets = len(outputs), len(outputs) + 1
        targets = metric.features(_images(n_targets, *translation.output.shape[1:3])).double()
        value, subsets = metric.statistic(outputs, targets), metric.of_subsets(outputs, targets)
        if not isinstance(value, float) or not math.isfinite(value):
            yield f"statistic() gives {value!r}, not a finite float"
            return
        for n, m in ((n_outputs, n_targets), (n_outputs - 1, n_targets - 2)):
            some, others = torch.arange(n), torch.arange(m)
            expected, found = metric.statistic(outputs[some], targets[others]), subsets(some, others)
            if not math.isclose(expected, found, rel_tol=1e-6, abs_tol=1e-9):
                both = f"{found:.6g}, and statistic() {expected:.6g}"
                yield f"of_subsets() gives for {n} outputs and {m} real images {both}"
                return


def metric_knows_what_is_better(build: Build) -> Iterator[str]:
    """Perfect outputs are not worse than grey ones, where it says which way is better"""
    for metric, translation in _judged(build):
        real, grey = translation.source, torch.zeros_like(translation.source)
        if isinstance(metric, SetMetric):
            targets, one = (metric.features(images).double() for images in (real, grey[:1]))
            others = one.expand_as(targets)
            perfect, bad = metric.statistic(targets, targets), metric.statistic(others, targets)
        elif "partner" in metric.needs:
            perfect, bad = (
                float(metric.values(Translation(real, outputs, real.clone(), translation.back)).mean())
                for outputs in (real, grey)
            )
        else:
            return
        if {"lower": perfect > bad, "higher": perfect < bad}.get(metric.better):
            yield f"says {metric.better} is better, but gives {perfect:.4g} for real images and {bad:.4g} for grey"


def _translations(metric: Metric, n: int) -> Iterator[Translation]:
    """Small ones first, each with what the metric says that it needs, and with nothing else."""
    for size in SIZES:
        for channels in CHANNELS:
            yield Translation(
                _images(n, channels, size),
                _images(n, channels, size),
                _images(n, channels, size) if "partner" in metric.needs else None,
                (lambda images: images.flip(-1)) if "back" in metric.needs else None,
            )


def _images(n: int, channels: int, size: int) -> Tensor:
    """Soft colours under some noise, in [-1, 1]."""
    colours = torch.nn.functional.interpolate(torch.rand(n, channels, 4, 4), size=(size, size), mode="bilinear")
    return (0.8 * colours + 0.2 * torch.rand(n, channels, size, size)) * 2 - 1


def _judged(build: Build) -> Iterator[tuple[Any, Translation]]:
    """The metric with the first images that it judges as promised; nothing if there are none, which a check tells."""
    metric = build()
    if not isinstance(metric, Metric):
        return
    for few, many in zip(_translations(metric, 2), _translations(metric, N_OUTPUTS[-1]), strict=True):
        try:
            wrong = _misfit(metric, few)
        except ValueError:
            continue
        if not wrong:
            n = _enough(metric, _rows(metric, few).shape[1]) if isinstance(metric, SetMetric) else N_IMAGES
            yield metric, _copy(many, slice(n))
        return


def _enough(metric: SetMetric, width: int) -> int:
    """Outputs that its statistic says something of, also without one of them."""
    for n in N_OUTPUTS[:-1]:
        rows = torch.rand(n - 1, width, dtype=torch.float64)
        try:
            metric.statistic(rows, rows)
        except ValueError:
            continue
        return n
    return N_OUTPUTS[-1]


def _rows(metric: Any, translation: Translation) -> Tensor:
    rows: Tensor = (
        metric.values(translation) if isinstance(metric, ImageMetric) else metric.features(translation.output)
    )
    return rows


def _misfit(metric: Any, translation: Translation) -> str:
    """What is wrong with the numbers it gives, if something is."""
    rows, shape = _rows(metric, translation), tuple(translation.output.shape)
    n_dims, expected = (1, "(N,)") if isinstance(metric, ImageMetric) else (2, "(N, D)")
    if not isinstance(rows, Tensor) or rows.dim() != n_dims or len(rows) != shape[0]:
        given = tuple(rows.shape) if isinstance(rows, Tensor) else f"a {type(rows).__name__}"
        return f"gives {given} for images of shape {shape}; expected is {expected}"
    if not rows.is_floating_point():
        return f"gives {rows.dtype} for images of shape {shape}; expected are floats"
    return "" if rows.isfinite().all() else f"gives values that are not finite for images of shape {shape}"


def _copy(translation: Translation, chosen: slice = slice(None)) -> Translation:
    """Of some of its images."""
    partner = translation.partner
    return Translation(
        translation.source[chosen].clone(),
        translation.output[chosen].clone(),
        None if partner is None else partner[chosen].clone(),
        translation.back,
    )


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(map(repr, values))


METRIC = (
    metric_says_what_it_is,
    metric_gives_numbers,
    metric_judges_each_image_alone,
    metric_leaves_no_trace,
    metric_states_a_number,
    metric_knows_what_is_better,
)
