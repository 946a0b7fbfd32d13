"""What is known of operators: the neighbourhood that each looks at, and how a piece of its result is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from i2i.tiles.graph import Arguments, Box, Call, Map, Value
from i2i.tiles.pixelwise import ALONG_CHANNELS, ELEMENTWISE, pixelwise, reshaped
from i2i.tiles.reductions import REDUCTIONS, normalized, reduced
from i2i.tiles.resampling import padded, resampled, sliced

aten = torch.ops.aten
Rule = Callable[[Call], Value]


def local(call: Call) -> Value:
    """The value that an operator on maps gives. Raises I2IError if it is neither a map nor a statistic."""
    rule = RULES.get(call.target._overloadpacket)
    if rule is None:
        raise call.refusal()
    if any(m.flat for m in call.maps) and rule not in (pixelwise, reshaped, reduced, normalized):
        raise call.refusal("takes rows and columns as one axis")
    return rule(call)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """For rows and columns: one number for both, or two."""
    values = (value, value) if isinstance(value, int) else tuple(value)
    return values[0], values[-1]


def image_of(call: Call) -> Map:
    """The only map of an operator that takes (1, C, H, W) and weights. Raises I2IError for others."""
    maps = call.maps
    if len(maps) != 1 or len(maps[0].shape) != 4 or maps[0].axes != (-2, -1):
        raise call.refusal("is given something else than (1, C, H, W)")
    return maps[0]


def convolution(call: Call) -> Map:
    """conv2d: a window of the input for each pixel, on zeros outside of the image."""
    given, image = call.arguments, image_of(call)
    weight = given["weight"].example
    kernel, stride, dilation = weight.shape[2:], pair(given["stride"]), pair(given["dilation"])
    reach = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    if given["padding"] == "same":
        padding = (reach[0] // 2, reach[1] // 2)
    else:
        padding = (0, 0) if given["padding"] == "valid" else pair(given["padding"])

    def compute(known: Arguments, box: Box) -> Tensor:
        return F.conv2d(known["input"], known["weight"], known["bias"], stride, 0, dilation, given["groups"])

    return Map(
        given, call.layer, tuple(call.example.shape), image.axes, call.example.dtype, compute,
        window(kernel, stride, padding, dilation), work=weight.numel(), scratch=True,
    )  # fmt: skip


def window(
    kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int] = (1, 1)
) -> Callable[[Box], Box]:
    """What a box of a convolution's or a pooling's result depends on."""

    def need(box: Box) -> Box:
        spans = [
            (first * s - p, (end - 1) * s - p + d * (k - 1) + 1)
            for (first, end), k, s, p, d in zip(box, kernel, stride, padding, dilation, strict=True)
        ]
        return spans[0], spans[1]

    return need


def transposed_convolution(call: Call) -> Map:
    """conv_transpose2d: input pixel i adds to the pixels from i * stride - padding on, with gaps of the dilation."""
    given, image = call.arguments, image_of(call)
    weight = given["weight"].example
    kernel = weight.shape[2:]
    stride, padding, dilation = (pair(given[name]) for name in ("stride", "padding", "dilation"))

    def need(box: Box) -> Box:
        spans = []
        for (first, end), k, s, p, d in zip(box, kernel, stride, padding, dilation, strict=True):
            reach = d * (k - 1)
            gap = reach < s - 1  # between the pixels that are added to
            spans.append((-((reach - first - p) // s), (end - 1 + p) // s + 1 + gap))
        return spans[0], spans[1]

    def compute(known: Arguments, box: Box) -> Tensor:
        args = (known["input"], known["weight"], known["bias"], stride, 0, 0, given["groups"], dilation)
        out = F.conv_transpose2d(*args)
        for axis, (first, end), (start, _), s, p in zip((2, 3), box, need(box), stride, padding, strict=True):
            out = out.narrow(axis, first + p - start * s, end - first)
        return out

    work = weight.numel() / math.prod(stride)
    return Map(
        given, call.layer, tuple(call.example.shape), image.axes, call.example.dtype, compute, need,
        work=work, scratch=True,
    )  # fmt: skip


def max_pooling(call: Call) -> Map:
    """max_pool2d, on minus infinity outside of the image."""
    given, image = call.arguments, image_of(call)
    kernel, dilation = pair(given["kernel_size"]), pair(given["dilation"])
    stride = pair(given["stride"] or kernel)

    def compute(known: Arguments, box: Box) -> Tensor:
        return F.max_pool2d(known["self"], kernel, stride, 0, dilation)

    need = window(kernel, stride, pair(given["padding"]), dilation)
    shape, dtype = tuple(call.example.shape), call.example.dtype
    return Map(given, call.layer, shape, image.axes, dtype, compute, need, border=-math.inf)


def average_pooling(call: Call) -> Map:
    """avg_pool2d, on zeros outside of the image, which count or do not."""
    given, image = call.arguments, image_of(call)
    kernel, padding = pair(given["kernel_size"]), pair(given["padding"])
    stride = pair(given["stride"] or kernel)
    need = window(kernel, stride, padding)
    (_, bottom), (_, right) = need(((0, call.example.shape[2]), (0, call.example.shape[3])))
    if bottom > image.size[0] + padding[0] or right > image.size[1] + padding[1]:
        raise call.refusal("has windows that leave the image, by ceil_mode")
    divisor = given["divisor_override"]

    def compute(known: Arguments, box: Box) -> Tensor:
        mean = F.avg_pool2d(known["self"], kernel, stride, 0, divisor_override=divisor)
        if given["count_include_pad"] or divisor or not any(padding):
            return mean
        for axis, ((first, end), (size, k, s, p)) in enumerate(
            zip(box, zip(image.size, kernel, stride, padding, strict=True), strict=True), start=2
        ):
            start = torch.arange(first, end, device=mean.device) * s - p
            inside = (start + k).clamp(max=size) - start.clamp(min=0)
            mean = mean * (k / inside).to(mean).reshape(-1, *[1] * (3 - axis))
        return mean

    return Map(given, call.layer, tuple(call.example.shape), image.axes, call.example.dtype, compute, need)


def shuffled(call: Call) -> Map:
    """pixel_shuffle: r x r channels become r x r pixels."""
    given, image = call.arguments, image_of(call)
    r = given["upscale_factor"]

    def need(box: Box) -> Box:
        (top, bottom), (left, right) = box
        return (top // r, -(-bottom // r)), (left // r, -(-right // r))

    def compute(known: Arguments, box: Box) -> Tensor:
        out = F.pixel_shuffle(known["self"], r)
        for axis, (first, end) in zip((2, 3), box, strict=True):
            out = out.narrow(axis, first % r, end - first)
        return out

    return Map(given, call.layer, tuple(call.example.shape), image.axes, call.example.dtype, compute, need)


def unshuffled(call: Call) -> Map:
    """pixel_unshuffle: r x r pixels become r x r channels."""
    given, image = call.arguments, image_of(call)
    r = given["downscale_factor"]

    def need(box: Box) -> Box:
        (top, bottom), (left, right) = box
        return (top * r, bottom * r), (left * r, right * r)

    def compute(known: Arguments, box: Box) -> Tensor:
        return F.pixel_unshuffle(known["self"], r)

    return Map(given, call.layer, tuple(call.example.shape), image.axes, call.example.dtype, compute, need)


def dropout(call: Call) -> Map:
    """dropout, which some networks keep at inference: what is dropped is a function of the place in the image.

    So a pixel that two pieces have is dropped in both or in neither.
    """
    given = call.arguments
    probability = given["p"]
    if not given["train"]:
        return pixelwise(call)
    image = image_of(call)

    def compute(known: Arguments, box: Box) -> Tensor:
        piece = known["input"]
        grids = [torch.arange(*span, device=piece.device) for span in box]
        channels = torch.arange(piece.shape[1], device=piece.device)
        rows, columns = grids
        place = (channels[:, None, None] * image.size[0] + rows[:, None]) * image.size[1] + columns
        kept = _noise(place) >= probability
        return piece * kept / (1 - probability) if probability < 1 else torch.zeros_like(piece)

    return Map(given, call.layer, image.shape, image.axes, image.dtype, compute)


def _noise(place: Tensor) -> Tensor:
    """Numbers in [0, 1), equally spread, each a function of a place (int64): MurmurHash3's finalizer, twice 32 bits."""
    low = 0xFFFFFFFF
    for _ in range(2):
        place = (place ^ (place >> 16)) * 0x85EBCA6B & low
        place = (place ^ (place >> 13)) * 0xC2B2AE35 & low
        place = (place ^ (place >> 16)) + 0x9E3779B9 & low
    return place.double() / (low + 1)


RULES: dict[Any, Rule] = {
    **dict.fromkeys((*ELEMENTWISE, *ALONG_CHANNELS), pixelwise),
    **{getattr(aten, name): reshaped for name in ("view", "reshape", "flatten", "unflatten", "expand", "_unsafe_view")},
    **dict.fromkeys(REDUCTIONS, reduced),
    **{getattr(aten, name): normalized for name in ("instance_norm", "group_norm", "batch_norm")},
    aten.conv2d: convolution,
    aten.conv_transpose2d: transposed_convolution,
    aten.max_pool2d: max_pooling,
    aten.avg_pool2d: average_pooling,
    aten.pixel_shuffle: shuffled,
    aten.pixel_unshuffle: unshuffled,
    aten.dropout: dropout,
    **{getattr(aten, name): padded for name in ("pad", "reflection_pad2d", "replication_pad2d", "constant_pad_nd")},
    **{getattr(aten, f"upsample_{kind}2d"): resampled for kind in ("nearest", "bilinear", "bicubic")},
    aten._upsample_nearest_exact2d: resampled,
    aten.slice: sliced,
}
"""For each operator of torch that is known, the rule that tells its neighbourhood."""
