"""Random changes of training images: what an augmentation is, and how those of a recipe are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from i2i.errors import I2IError, Problem
from i2i.images.picture import Pixels
from i2i.images.values import Range


@runtime_checkable
class Augmentation(Protocol):
    """One random change; registered by `register_augmentations`. Called in several processes, so it keeps no state."""

    def draw(self, rng: np.random.Generator) -> Any:
        """The parameters of one use. All chance comes from `rng`."""

    def image(self, pixels: Tensor, drawn: Any) -> Tensor:
        """(C, H, W) changed as drawn: uint8 or, above 8 bits, float32 in [0, 1]; shape and type stay."""

    def mask(self, mask: Tensor, drawn: Any) -> Tensor:
        """The mask (1, H, W), uint8, of an image changed as drawn: moved like it; as it is if only colours change."""


@dataclass(frozen=True)
class Augment:
    """An augmentation with its place in a recipe.

    Args:
        augmentation: what is done.
        probability: how often.
        domain: whose images.
        shared: the images of a pair are changed alike; else each as it is drawn for itself.
    """

    augmentation: Augmentation
    probability: float = 1.0
    domain: Literal["both", "a", "b"] = "both"
    shared: bool = True

    def __call__(
        self, row: Mapping[str, Any], domain: Literal["a", "b"], limits: Range, rng: np.random.Generator
    ) -> dict[str, Any]:
        """What belongs to one image of a domain, changed or, by chance or since it is another's, as it is.

        Args:
            row: images and masks (C, H, W) and labels, by name.
            limits: the values of the image that are 0 and 1.

        Raises I2IError if the augmentation does not keep shape and type.
        """
        if self.domain not in ("both", domain) or rng.random() >= self.probability:
            return dict(row)
        drawn = self.augmentation.draw(rng)
        changed = dict(row)
        for name, part in row.items():
            if name == domain:
                changed[name] = self._image(part, drawn, limits)
            elif part.ndim:
                changed[name] = self._kept("mask", _tensor(part), drawn).numpy()
        return changed

    def _image(self, pixels: Pixels, drawn: Any, limits: Range) -> Pixels:
        if pixels.dtype == np.uint8:
            return self._kept("image", _tensor(pixels), drawn).numpy()
        unit = torch.from_numpy((limits.to_unit(pixels) + 1) / 2)
        changed = self._kept("image", unit, drawn).clamp(0, 1).numpy()
        return limits.from_unit(changed * 2 - 1, pixels.dtype)

    def _kept(self, method: Literal["image", "mask"], given: Tensor, drawn: Any) -> Tensor:
        changed = getattr(self.augmentation, method)(given, drawn)
        if wrong := misfit(changed, given):
            raise I2IError(Problem("augment", f"{type(self.augmentation).__name__}.{method}() {wrong}"))
        return cast(Tensor, changed)


def misfit(changed: Any, given: Tensor) -> str:
    """Why this is not what `image` or `mask` promise for a tensor, as the end of a sentence; empty if it is."""
    of = f"for {given.dtype} of shape {tuple(given.shape)}"
    if not isinstance(changed, Tensor):
        return f"gives a {type(changed).__name__}, not a tensor, {of}"
    if changed.shape != given.shape or changed.dtype != given.dtype:
        return f"gives {changed.dtype} of shape {tuple(changed.shape)} {of}; expected is the same"
    sound = not changed.is_floating_point() or changed.sum().isfinite()  # a hundred times as fast as to ask each value
    return "" if sound else f"gives values that are not finite {of}"


def _tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.array(pixels, order="C"))  # a copy: what is held stays, whatever a plugin writes to
