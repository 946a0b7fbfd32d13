"""Operators over all pixels of an image, and normalizations by what these give."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from i2i.tiles.graph import Arguments, Box, Call, Map, Statistic, Value
from i2i.tiles.pixelwise import pixelwise
from i2i.tiles.statistics import Extremes, Moments

aten = torch.ops.aten

POOLINGS = {aten.adaptive_avg_pool2d, aten.adaptive_max_pool2d}
EXTREMES = {aten.amax, aten.amin, aten.adaptive_max_pool2d}
REDUCTIONS = {aten.mean, aten.sum, aten.var, aten.std, aten.var_mean, aten.std_mean, *POOLINGS, *EXTREMES}


def reduced(call: Call) -> Value:
    """mean and its like: a statistic over rows and columns together, pixelwise over channels alone."""
    (image,) = call.maps
    packet, given = call.target._overloadpacket, call.arguments
    rows, columns = (axis + len(image.shape) for axis in image.axes)
    if packet in POOLINGS:
        if any(n != 1 for n in given["output_size"]):
            raise call.refusal("pools to a size of its own")
        dims = {rows, columns}
    else:
        dims = _dimensions(given.get("dim"), image)
    if not dims & {rows, columns}:
        return pixelwise(call)
    if not dims >= {rows, columns}:
        raise call.refusal("goes over rows or columns alone")
    channels = sorted(dims - {rows, columns})
    correction = given.get("correction", int(given.get("unbiased", True)))
    correction = 1 if correction is None else correction

    def finish(gathered: Any) -> Any:
        if isinstance(gathered, Extremes):
            gathered = gathered.across(channels)
            results = (gathered.least,) if packet is aten.amin else (gathered.most,)
        else:
            moments = gathered.across(channels)
            variance = moments.variance(correction)
            results = {
                "mean": (moments.mean,), "adaptive_avg_pool2d": (moments.mean,), "sum": (moments.mean * moments.n,),
                "var": (variance,), "std": (variance.sqrt(),),
                "var_mean": (variance, moments.mean), "std_mean": (variance.sqrt(), moments.mean),
            }[packet.__name__]  # fmt: skip
        if isinstance(call.example, Tensor):
            return results[0].to(call.example.dtype).reshape(call.example.shape)
        return tuple(one.to(to.dtype).reshape(to.shape) for one, to in zip(results, call.example, strict=False))

    return Statistic({"input": image}, call.layer, finish, call.example, packet in EXTREMES)


def _dimensions(dims: Any, image: Map) -> set[int]:
    """The dimensions of an operator, counted from the first, with rows and columns apart."""
    n = len(image.shape) - image.flat
    if dims is None or dims == []:
        dims = range(n)
    found = {dim % n for dim in ([dims] if isinstance(dims, int) else dims)}
    if not image.flat:
        return found
    both = image.axes[0] + len(image.shape)
    return {dim + (dim > both) for dim in found} | ({both + 1} if both in found else set())


def normalized(call: Call) -> Map:
    """Instance, group and batch normalization: to mean 0 and variance 1 by a statistic, or by what training found."""
    given, packet, (image,) = call.arguments, call.target._overloadpacket, call.maps[:1]
    if packet is aten.batch_norm and not given["training"]:
        return pixelwise(call)
    if len(image.shape) != 4 or image.axes != (-2, -1):
        raise call.refusal("is given something else than (1, C, H, W)")
    n_groups = given.get("num_groups", image.shape[1])
    dtype = torch.promote_types(image.dtype, torch.float32)

    def finish(moments: Moments) -> tuple[Tensor, Tensor]:
        grouped = (1, n_groups, -1)
        of_groups = Moments(moments.n, moments.mean.reshape(grouped), moments.squares.reshape(grouped)).across([2])
        size = image.shape[1] // n_groups
        mean, variance = (t.flatten().repeat_interleave(size) for t in (of_groups.mean, of_groups.variance()))
        return mean.to(dtype), variance.to(dtype)

    statistics: Any = (given.get("running_mean"), given.get("running_var"))
    if given.get("use_input_stats", True):
        statistics = Statistic({"input": image}, call.layer, finish, (torch.empty(0), torch.empty(0)))

    def compute(known: Arguments, box: Box) -> Tensor:
        mean, variance = known["statistics"]
        return F.batch_norm(known["input"], mean, variance, known["weight"], known["bias"], False, 0.0, given["eps"])

    arguments = {"input": image, "statistics": statistics, "weight": given["weight"], "bias": given["bias"]}
    return Map(arguments, call.layer, image.shape, image.axes, image.dtype, compute, flat=image.flat)
