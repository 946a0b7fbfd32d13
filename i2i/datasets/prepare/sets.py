"""The sets that `i2i data prepare` makes: for each, what is made of a file, and what reads the set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from i2i.data.folders import ImageFiles
from i2i.data.geometry import Interpolation
from i2i.data.matching import Named
from i2i.datasets.prepare import partners
from i2i.datasets.prepare.holes import Shape
from i2i.datasets.prepare.holes import holes as with_holes
from i2i.datasets.prepare.making import Made, Maker, shown
from i2i.errors import I2IError, Problem
from i2i.images import Picture, header, read, read_pages
from i2i.images.values import Range

Limits = tuple[float, float] | None
"""What is dark and what is bright."""


def edges(sigma: float, low: float, high: float, values: Limits) -> Maker:
    """See `partners.edges`. Raises I2IError for thresholds or a range that fall."""
    if low > high:
        raise I2IError(Problem("--low", f"is at most --high, which is {high:g}, not {low:g}"))
    torch.set_num_threads(1)  # each file has a thread
    make = partial(partners.edges, sigma=sigma, low=low, high=high, values=_range(values))
    return _of_photos("edges", make, {"sigma": sigma, "low": low, "high": high, "range": values})


def grey() -> Maker:
    """See `partners.grey`."""
    return _of_photos("grey", partners.grey, {})


def low_resolution(factor: float, interpolation: Interpolation) -> Maker:
    """See `partners.low_resolution`."""
    make = partial(partners.low_resolution, factor=factor, interpolation=interpolation)
    return _of_photos("low_resolution", make, {"factor": factor, "interpolation": interpolation})


def lab() -> Maker:
    """See `partners.lab`."""
    torch.set_num_threads(1)

    def make(file: Path, _: np.random.Generator) -> Made:
        lightness, colour = partners.lab(read(file))
        return {"a": lightness, "b": colour}

    return Maker("lab", make, {"a": "", "b": ""}, domains=("lightness", "colour"))


def holes(share: float, shape: Shape, values: Limits) -> Maker:
    """See `holes.holes`. Raises I2IError for a range that falls."""
    range_ = _range(values)

    def make(file: Path, rng: np.random.Generator) -> Made:
        torn, mask = with_holes(read(file), rng, share=share, shape=shape, values=range_)
        return {"a": torn, "mask_a": mask, "b": file}

    options = {"share": share, "shape": shape, "range": values}
    return Maker("holes", make, {"a": "", "mask_a": "", "b": None}, options, domains=("holes", "photo"))


def pairs(a: ImageFiles, b: ImageFiles) -> Maker:
    """See `partners.side_by_side`; files of the same name, whatever their suffix. Raises I2IError for those without."""
    named_a, named_b = (Named.of(f.folder, f.names) for f in (a, b))
    if wrong := [*named_a.alone(named_b), *named_b.alone(named_a), *named_b.twice()]:
        raise I2IError(*wrong)
    partner = {a.folder / names[0]: b.folder / named_b.names[key][0] for key, names in named_a.names.items()}

    def make(file: Path, _: np.random.Generator) -> Made:
        return {"": partners.side_by_side(read(file), read(partner[file]))}

    return Maker("pairs", make, {"": ""}, {"partners": shown(b.folder.resolve())}, "side_by_side")


def pages() -> Maker:
    """The pages of TIFF files, whether they are alike or not."""

    def make(file: Path, _: np.random.Generator) -> Made:
        return {"": ((f"_{number:04}", page) for number, page in enumerate(read_pages(file)))}

    return Maker("pages", make, {"": "_0000"}, source="one domain")


def tiles(size: int, overlap: int) -> Maker:
    """See `partners.tiles`. Raises I2IError for an overlap that a tile has no room for."""
    if overlap >= size:
        raise I2IError(Problem("--overlap", f"is less than --size, which is {size}, not {overlap}"))

    def make(file: Path, _: np.random.Generator) -> Made:
        return {"": partners.tiles(read(file), size=size, overlap=overlap)}

    return Maker("tiles", make, {"": "_y00000_x00000"}, {"size": size, "overlap": overlap}, "one domain")


def split() -> Maker:
    """Copies of whatever can be read."""

    def make(file: Path, _: np.random.Generator) -> Made:
        header(file)
        return {"": file}

    return Maker("split", make, {"": None}, source="one domain")


def _of_photos(name: str, make: Callable[[Picture], Picture], options: Mapping[str, Any]) -> Maker:
    """Pairs of what is made of a photo and the photo itself."""

    def pair(file: Path, _: np.random.Generator) -> Made:
        return {"a": make(read(file)), "b": file}

    return Maker(name, pair, {"a": "", "b": None}, options, domains=(name, "photo"))


def _range(values: Limits) -> Range | None:
    if values and not values[0] < values[1]:
        raise I2IError(Problem("--range", f"goes from dark to bright, not from {values[0]:g} to {values[1]:g}"))
    return Range(*values) if values else None
