"""What augmentations promise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i.data.augment import Augmentation, misfit

Build = Callable[..., Any]

SIZES = ((64, 64), (24, 40))
"""Height and width of test images: a square, and one that is none."""
CHANNELS = (3, 1, 5)
N_DRAWS = 20
ALIKE = 0.8
"""The least correlation of an image and a mask that moved together; colours, noise and nearest pixels leave more."""


def augmentation_has_its_methods(build: Build) -> Iterator[str]:
    """It has the methods draw, image and mask"""
    augmentation = build()
    for name in ("draw", "image", "mask"):
        if not callable(getattr(augmentation, name, None)):
            yield f"has no method {name}()"


def augmentation_keeps_shapes(build: Build) -> Iterator[str]:
    """It gives images and masks of the shape and type that it got, finite, and leaves what it got as it is"""
    augmentation, rng = build(), np.random.default_rng(0)
    if not isinstance(augmentation, Augmentation):  # the check before has told
        return
    types = (torch.uint8, torch.float32)
    images = [_noise(channels, size, dtype) for size in SIZES for channels in CHANNELS for dtype in types]
    images = [image for image in images if not _refuses(augmentation, image)]
    masks = [_noise(1, size, torch.uint8) for size in SIZES]
    if not images:
        yield "refuses images of 1, 3 and 5 channels"
    for method, given in (("image", images), ("mask", masks)):
        for pixels in given:
            kept = pixels.clone()
            for _ in range(N_DRAWS):
                changed = getattr(augmentation, method)(pixels, augmentation.draw(rng))
                if wrong := misfit(changed, kept):
                    yield f"{method}() {wrong}"
                    return
                if not torch.equal(pixels, kept):
                    yield f"{method}() writes to what it is given"
                    return


def augmentation_draws_from_its_generator(build: Build) -> Iterator[str]:
    """All its chance comes from the generator that draw() is given"""
    image, results = _changeable(build()), []
    if image is None:
        return
    for seed in (1, 2):
        augmentation, rng = build(), np.random.default_rng(0)
        torch.manual_seed(seed)
        before = global_states()
        drawn = [augmentation.draw(rng) for _ in range(N_DRAWS)]
        results.append([augmentation.image(image, one) for one in drawn])
        results.append([augmentation.image(image, one) for one in drawn])
        if global_states() != before:
            yield "draws from a global generator; draw all of it in draw(), from the generator given there"
            return
    if not all(all(map(torch.equal, results[0], others)) for others in results[1:]):
        yield "gives another image for the same draw; image() depends on the image and on what was drawn alone"


def augmentation_moves_masks_along(build: Build) -> Iterator[str]:
    """It moves a mask as it moves its image, if it moves images"""
    augmentation, rng = build(), np.random.default_rng(0)
    image = _changeable(augmentation)
    if image is None:
        return
    for _ in range(N_DRAWS):
        drawn = augmentation.draw(rng)
        changed = augmentation.image(image, drawn).double().mean(0)
        mask = augmentation.mask(image[:1].clone(), drawn).double()[0]
        if changed.std() < 1 or mask.std() < 1:
            continue
        alike = float(torch.corrcoef(torch.stack([changed.flatten(), mask.flatten()]))[0, 1])
        if abs(alike) < ALIKE:
            yield f"moves a mask otherwise than its image: both were equal, and correlate by {alike:.2f} afterwards"
            return


def global_states() -> tuple[Any, ...]:
    """Of the random generators of Python, numpy and torch, to be compared."""
    of_numpy: Any = np.random.get_state()
    return random.getstate(), of_numpy[1].tolist(), of_numpy[2], torch.get_rng_state().tolist()


def _refuses(augmentation: Any, image: Tensor) -> bool:
    """Whether it cannot change images of so many channels, which it may say by a ValueError."""
    try:
        augmentation.image(image.clone(), augmentation.draw(np.random.default_rng(0)))
    except ValueError:
        return True
    return False


def _keeps(augmentation: Any, image: Tensor) -> bool:
    """Whether it makes an image and a mask of such ones; if not, the check of shapes tells."""
    try:
        drawn = augmentation.draw(np.random.default_rng(0))
        both = ((augmentation.image, image), (augmentation.mask, image[:1]))
        return not any(misfit(change(given.clone(), drawn), given) for change, given in both)
    except Exception:  # whatever a plugin raises
        return False


def _noise(channels: int, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    values = torch.rand(channels, *size)
    return (values * 255).to(dtype) if dtype == torch.uint8 else values


def _changeable(augmentation: Any) -> Tensor | None:
    """An image that it changes as promised, if any: uint8, smooth, and nowhere like what lies a few pixels on."""
    y, x = torch.meshgrid(*(torch.arange(64) * (math.pi / 32) for _ in range(2)), indexing="ij")
    waves = [torch.sin(across * x + down * y + across) for across, down in ((4, 1), (-2, 3), (1, -4), (3, 3), (2, 0))]
    image = (127.5 + 127.5 * torch.stack(waves).mean(0)).to(torch.uint8)
    images = (image.expand(channels, -1, -1).contiguous() for channels in CHANNELS)
    return next((one for one in images if _keeps(augmentation, one)), None)


AUGMENTATION = (
    augmentation_has_its_methods,
    augmentation_keeps_shapes,
    augmentation_draws_from_its_generator,
    augmentation_moves_masks_along,
)
