"""What generators, discriminators, auxiliary networks and normalizations promise."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from itertools import count, takewhile
from typing import Any

import torch
from torch import Tensor, nn

from i2i.method import size_multiple
from i2i.slots import Encodes
from i2i.testing.modules import EVERY_MODULE, Build, Inputs, bound, treats_samples_apart
from i2i.translate import Translator

SIZES = ((64, 64), (64, 96), (71, 67))
"""A square, a rectangle and an odd size."""


def generator_maps_shapes(build: Build) -> Iterator[str]:
    """It keeps the size of images and changes their channels"""
    for n_in, n_out in ((3, 3), (1, 3)):
        module = build(n_in, n_out)
        for size in SIZES:
            images = _images(n_in, size, module)
            yield from _as_expected(module(images), images, n_out)


def generator_translates(build: Build) -> Iterator[str]:
    """It translates images of an odd size, padded to what it declares as its size_multiple"""
    module = build(3, 3)
    least = size_multiple(module) // 2 + 5  # a reflection is smaller than the image that it pads
    height, width = (max(n, least) for n in SIZES[-1])
    images = torch.rand(1, 3, height, width) * 2 - 1
    yield from _as_expected(Translator(module)(images), images, 3)


def generator_encodes(build: Build) -> Iterator[str]:
    """If it has encode() and feature_channels(), they agree with what its layers make in a forward pass"""
    module = generator = build(3, 3).eval()
    if not isinstance(module, Encodes):
        return
    for tap in (-1, 10**6):
        if _has(module, tap):
            yield f"feature_channels([{tap}]) raises no ValueError, though there is no such layer"
            return
    taps = list(takewhile(lambda tap: _has(module, tap), count()))
    if not taps:
        yield "feature_channels([0]) raises ValueError; taps count from 0"
        return
    images = _images(3, SIZES[0], generator)
    with torch.no_grad():
        torch.manual_seed(1)
        made = _made_by_layers(generator, images)
        torch.manual_seed(1)
        features = module.encode(images, taps[::-1])
    if len(features) != len(taps):
        yield f"encode() gives {len(features)} features for {len(taps)} taps"
        return
    for tap, channels, feature in zip(taps[::-1], module.feature_channels(taps[::-1]), features, strict=True):
        if feature.dim() != 4 or feature.shape[1] != channels:
            yield f"encode() gives {_shape(feature)} for tap {tap}, where feature_channels() says {channels} channels"
        elif not any(feature.shape == one.shape and torch.allclose(feature, one, atol=1e-6) for one in made):
            yield f"encode() gives for tap {tap} what no layer makes in a forward pass"


def discriminator_gives_maps(build: Build) -> Iterator[str]:
    """It gives a map of logits, or a list of maps"""
    for channels in (3, 1):
        module = build(channels)
        for size in SIZES:
            images = _images(channels, size, module)
            output = module(images)
            for logits in output if isinstance(output, list) and output else [output]:
                if not isinstance(logits, Tensor) or logits.dim() != 4 or len(logits) != len(images):
                    yield f"gives {_shape(logits)} for images of shape {_shape(images)}, not (2, C, H, W) or a list"
                elif not logits.isfinite().all():
                    yield f"gives logits that are not finite for images of shape {_shape(images)}"


def normalization_keeps_shapes(build: Build) -> Iterator[str]:
    """It keeps the shape of feature maps"""
    module = build(64)
    for size in ((16, 16), (8, 24), (7, 5)):
        maps = torch.randn(2, 64, *size)
        yield from _as_expected(module(maps), maps, 64)


def normalization_has_its_gradient(build: Build) -> Iterator[str]:
    """Its gradient is the same in whatever order images and gradients lie in memory"""
    module, towards = build(64), torch.randn(1, 64, 8, 6)
    maps = torch.randn(1, 64, 8, 6)
    orders = (torch.contiguous_format, torch.channels_last)
    gradients = []
    for of_maps, of_gradient in itertools.product(orders, orders):
        leaf = maps.contiguous(memory_format=of_maps).requires_grad_()
        (gradient,) = torch.autograd.grad(module(leaf), leaf, towards.contiguous(memory_format=of_gradient))
        gradients.append(gradient)
    if not all(torch.allclose(gradient, gradients[0], atol=1e-4) for gradient in gradients):
        yield "has another gradient if images or gradients lie channels last in memory, as torch's instance norm has"


def _images(channels: int, size: tuple[int, int], module: nn.Module) -> Tensor:
    """(2, channels, H, W) in [-1, 1], H and W enlarged to what the module declares as its `size_multiple`."""
    height, width = (-(-n // size_multiple(module)) * size_multiple(module) for n in size)
    return torch.rand(2, channels, height, width) * 2 - 1


def _as_expected(output: Any, images: Tensor, channels: int) -> Iterator[str]:
    expected = (len(images), channels, *images.shape[2:])
    if not isinstance(output, Tensor) or output.shape != expected:
        yield f"gives {_shape(output)} for images of shape {_shape(images)}; expected is {expected}"
    elif not output.isfinite().all():
        yield f"gives values that are not finite for images of shape {_shape(images)}"


def _has(module: Encodes, tap: int) -> bool:
    try:
        module.feature_channels([tap])
    except ValueError:
        return False
    return True


def _made_by_layers(module: nn.Module, images: Tensor) -> list[Tensor]:
    """The outputs of all inner modules in a forward pass."""
    made: list[Tensor] = []

    def note(layer: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            made.append(output.clone())  # the next layer may work in place

    hooks = [layer.register_forward_hook(note) for layer in module.modules()]
    module(images)
    for hook in hooks:
        hook.remove()
    return made


def _taken_by(shapes: Sequence[tuple[int, ...]]) -> Callable[[nn.Module], Inputs | None]:
    """An example of the first of these shapes that a module takes."""

    def example(module: nn.Module) -> Inputs | None:
        for shape in shapes:
            given = torch.rand(shape) * 2 - 1
            try:
                with torch.no_grad():
                    module(given)
            except Exception:  # whatever it raises, this is not what it takes
                continue
            return (given,)
        return None

    return example


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _image_inputs(module: nn.Module) -> Inputs:
    return (_images(3, SIZES[0], module),)


_FIRST, *_OTHERS = bound((*EVERY_MODULE, treats_samples_apart), _image_inputs, 3, 3)
GENERATOR = (_FIRST, generator_maps_shapes, generator_translates, generator_encodes, *_OTHERS)
_FIRST, *_OTHERS = bound(EVERY_MODULE, _image_inputs, 3)
DISCRIMINATOR = (_FIRST, discriminator_gives_maps, *_OTHERS)
_FIRST, *_OTHERS = bound((*EVERY_MODULE, treats_samples_apart), lambda module: (torch.randn(2, 64, 16, 16),), 64)
NORMALIZATION = (_FIRST, normalization_keeps_shapes, normalization_has_its_gradient, *_OTHERS)
# What a network takes is for its method to say: small and larger images, noise, vectors and rows of them are tried.
_SHAPES = ((2, 3, 8, 8), (2, 3, 32, 32), (2, 3, 1, 1), (2, 3), (2, 5, 3))
NETWORK = bound((*EVERY_MODULE, treats_samples_apart), _taken_by(_SHAPES), 3, 8)
