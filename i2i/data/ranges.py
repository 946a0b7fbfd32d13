"""The range of values of each domain: declared, that of the files' type, or measured over the training images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from i2i.data.pixels import Decoded
from i2i.data.steps import Domain
from i2i.data.table import DataOptions, RangeOption
from i2i.errors import I2IError, Problem
from i2i.images import UnreadableImage
from i2i.images.values import Range

N_IMAGES, N_VALUES = 512, 50_000
"""At most so many images, and of each so many values, tell the percentiles."""


def measured(options: DataOptions, domains: Mapping[str, Domain]) -> tuple[Range, Range]:
    """The values that become -1 and 1, of a and of b. Raises I2IError for floats that nobody has given a range."""
    problems: list[Problem] = []
    found: list[Range] = []
    for domain, name, wanted in zip(domains.values(), options.names, options.both_ranges, strict=True):
        try:
            found.append(_range_of(domain, wanted, options.range_percentiles, name))
        except ValueError as error:
            problems.append(Problem("data.range", f"the {name} images {error}"))
    if problems:
        raise I2IError(*problems)
    return found[0], found[1]


def recorded(options: DataOptions, ranges: tuple[Range, Range]) -> DataOptions:
    """The options with what was measured in the place of `auto`."""
    both: list[RangeOption] = [
        (measured.low, measured.high) if wanted == "auto" else wanted
        for wanted, measured in zip(options.both_ranges, ranges, strict=True)
    ]
    return options if "auto" not in options.both_ranges else options.model_copy(update={"range": tuple(both)})


def _range_of(domain: Domain, wanted: RangeOption, percentiles: tuple[float, float], name: str) -> Range:
    """Raises ValueError."""
    pixels = domain.pixels
    if wanted == "type" and pixels.dtype.kind != "f":
        return Range.of(pixels.dtype)
    if wanted == "type":
        raise ValueError('hold floats, which say nothing of their range; give it as [low, high], or take "auto"')
    if wanted == "auto":
        low, high = pixels.extremes() if percentiles == (0, 100) else _percentiles(domain, percentiles)
        if low == high:
            raise ValueError(f"have no range: all their values are {low:g}")
        return Range(low, high)
    limits = Range(float(wanted[0]), float(wanted[1]))
    if not isinstance(pixels, Decoded):  # to know it of these, all would have to be decoded
        low, high = pixels.extremes()
        if low < limits.low or high > limits.high:
            message = f"the {name} images hold values from {low:g} to {high:g}"
            warnings.warn(f"data.range: {message}; what lies outside {list(wanted)} is clipped", stacklevel=2)
    return limits


def _percentiles(domain: Domain, percentiles: tuple[float, float]) -> tuple[float, float]:
    """Of evenly spaced values of evenly spaced images, as they are trained on."""
    n = len(domain.usable)
    places = np.unique(np.linspace(0, n - 1, min(n, N_IMAGES)).round().astype(int))
    some = []
    for place in places:
        with suppress(UnreadableImage):  # the training tells of it, when it comes to it
            pixels = domain.pixels[domain.usable[place]]
            step = math.ceil(pixels.size / N_VALUES)
            while math.gcd(step, pixels.shape[2]) > 1:  # else some columns only
                step += 1
            some.append(pixels.reshape(-1)[::step])
    low, high = np.percentile(np.concatenate(some), percentiles) if some else (0, 0)
    return float(low), float(high)
