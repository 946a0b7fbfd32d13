"""Operators that work on each pixel by itself, and those that give maps another shape."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from i2i.tiles.graph import Arguments, Box, Call, Map, Statistic, Whole

aten = torch.ops.aten


def _packets(names: str) -> set[Any]:
    return {getattr(aten, name) for name in names.split()}


ELEMENTWISE = _packets(
    """
    add sub rsub mul div neg abs square pow sqrt rsqrt reciprocal exp exp2 expm1 log log2 log10 log1p sin cos
    sign floor ceil round frac lerp addcmul addcdiv clamp clamp_min clamp_max minimum maximum where gt ge lt le
    eq ne logical_not logical_and logical_or bitwise_not bitwise_and bitwise_or isnan isfinite nan_to_num
    masked_fill relu relu6 leaky_relu elu selu celu gelu silu mish sigmoid log_sigmoid tanh hardtanh
    hardsigmoid hardswish hardshrink softshrink softplus threshold erf tan atan asin acos sinh cosh clone
    contiguous to _to_copy alias detach
    """
)
"""Operators on numbers in the same place, broadcast."""

ALONG_CHANNELS = _packets(
    """
    batch_norm cat stack select permute transpose movedim unsqueeze squeeze split split_with_sizes chunk unbind
    glu prelu softmax log_softmax layer_norm rms_norm linear einsum channel_shuffle linalg_vector_norm
    """
)
"""Operators that mix or move channels; along rows or columns they would change the sizes of the probe, or refuse it."""

PROBE = (10007, 10009)
"""A height and a width that no other dimension has: primes, so that they show where rows and columns go."""


def pixelwise(call: Call) -> Map:
    """An operator whose result at a pixel depends on the same pixel of maps of one size.

    Where rows and columns go is seen from a trial without numbers, on a map of the size of the probe.
    """
    packet, first = call.target._overloadpacket, call.maps[0]
    alike = all((m.axes, m.size, m.flat) == (first.axes, first.size, first.flat) for m in call.maps)
    wholes = [value for value in _tensors(call) if not isinstance(value, Map) and _shape(value)]
    if not alike or (first.flat and (packet not in ELEMENTWISE or wholes)):
        raise call.refusal()
    softmax = packet in (aten.softmax, aten.log_softmax)
    if softmax and call.arguments["dim"] % len(first.shape) - len(first.shape) in first.axes:
        raise call.refusal()
    spread = packet in ELEMENTWISE

    def compute(known: Arguments, box: Box) -> Any:
        if spread and wholes:
            known = tree_map(lambda x: _cut(x, first, box) if isinstance(x, Tensor) else x, known)
        out = call.target(**known)
        return out if call.index is None else out[call.index]

    shape = [*_probed(call, compute, first, spread).shape]
    if sorted(n for n in shape if n in PROBE) != [*PROBE]:
        raise call.refusal()
    rows, columns = (shape.index(n) for n in PROBE)
    shape[rows], shape[columns] = first.size
    if not first.flat and shape != [*call.example.shape]:
        raise call.refusal()
    axes = (rows - len(shape), columns - len(shape))
    work = wholes[0].example.numel() if packet in (aten.linear, aten.einsum) and wholes else 1
    return Map(call.arguments, call.layer, tuple(shape), axes, call.example.dtype, compute, work=work, flat=first.flat)


def _probed(call: Call, compute: Any, first: Map, spread: bool) -> Tensor:
    """What the operator gives for maps of the probe's size."""

    def shown(value: Any) -> Any:
        if isinstance(value, Map) or (isinstance(value, Whole | Statistic) and isinstance(value.example, Tensor)):
            shape = [*_shape(value)]
            for axis, n, probe in zip(first.axes, first.size, PROBE, strict=True):
                if isinstance(value, Map) or (spread and len(shape) >= -axis and shape[axis] == n > 1):
                    shape[axis] = probe
            return torch.empty(shape, dtype=_dtype(value), device="meta")
        return torch.device("meta") if isinstance(value, torch.device) else value

    known = tree_map(shown, call.arguments)
    try:
        out: Tensor = compute(known, ((0, PROBE[0]), (0, PROBE[1])))
    except (RuntimeError, ValueError, IndexError, NotImplementedError) as error:
        raise call.refusal() from error
    return out


def _tensors(call: Call) -> list[Map | Whole | Statistic]:
    found: list[Map | Whole | Statistic] = []
    tree_map(lambda x: found.append(x) if isinstance(x, Map | Whole | Statistic) else None, call.arguments)
    return found


def _shape(value: Map | Whole | Statistic) -> tuple[int, ...]:
    return value.shape if isinstance(value, Map) else tuple(getattr(value.example, "shape", ()))


def _dtype(value: Map | Whole | Statistic) -> torch.dtype:
    dtype: torch.dtype = value.dtype if isinstance(value, Map) else value.example.dtype
    return dtype


def _cut(tensor: Tensor, image: Map, box: Box) -> Tensor:
    """The box of a tensor that has values for all pixels, such as weights of places; pieces have this size already."""
    for axis, n, (first, end) in zip(image.axes, image.size, box, strict=True):
        if tensor.dim() >= -axis and tensor.shape[axis] == n != end - first:
            tensor = tensor.narrow(axis, first, end - first)
    return tensor


def reshaped(call: Call) -> Map:
    """view and its like, which leave rows and columns as they are, or make one axis of them."""
    (image,) = call.maps
    given, shape = call.arguments, tuple(call.example.shape)
    n_before = len(image.shape) + image.axes[0]
    before, (height, width) = math.prod(image.shape[:n_before]), image.size
    merged = (*image.shape[:n_before], height * width, *image.shape[n_before + 2 :])

    def result(axes: tuple[int, int], flat: bool = False) -> Map:
        whole = image.shape if flat else shape

        def compute(known: Arguments, box: Box) -> Tensor:
            piece: Tensor = known["self"]
            sizes = [*whole]
            for axis, (first, end) in zip(axes, box, strict=True):
                sizes[axis] = end - first
            return piece.expand(sizes) if call.target._overloadpacket is aten.expand else piece.reshape(sizes)

        return Map(given, call.layer, whole, axes, image.dtype, compute, flat=flat)

    if call.target._overloadpacket is aten.expand and not image.flat:
        return result(image.axes)
    if image.axes[1] == image.axes[0] + 1:
        for place in range(len(shape) - 1):
            if math.prod(shape[:place]) == before and shape[place : place + 2] == (height, width):
                return result((place - len(shape), place + 1 - len(shape)))
        if shape == merged:
            return result(image.axes, flat=True)
    raise call.refusal("mixes rows and columns with what is not an axis of the image")
