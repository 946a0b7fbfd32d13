"""Operators that take pixels from other places, row by row and column by column: padding, enlarging, cutting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from i2i.tiles.graph import Arguments, Box, Call, Map, Span
from i2i.tiles.pixelwise import pixelwise

aten = torch.ops.aten

Taps = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""From places (n,) along an axis of the result to places (n, k) of the input, and their weights (n, k) unless 1."""


def padded(call: Call) -> Map:
    """Padding by a constant, by reflection, or by the border."""
    image = _rows_and_columns(call)
    given, packet = call.arguments, call.target._overloadpacket
    named = {aten.reflection_pad2d: "reflect", aten.replication_pad2d: "replicate", aten.constant_pad_nd: "constant"}
    mode = named.get(packet) or given["mode"]
    left, _, top, _, *others = [*(given["padding"] if "padding" in given else given["pad"]), 0, 0][: 4 + 2 * 4]
    if mode == "circular" or any(others):
        raise call.refusal(f"pads in the mode {mode!r}" if mode == "circular" else "pads channels")
    if mode == "constant":

        def need(box: Box) -> Box:
            (first, end), (start, stop) = box
            return (first - top, end - top), (start - left, stop - left)

        value = float(given["value"] or 0)
        return Map(
            given, call.layer, tuple(call.example.shape), image.axes, image.dtype,
            lambda known, box: known["self"], need, border=value,
        )  # fmt: skip
    height, width = image.size
    if mode == "reflect":
        return _tapped(call, (partial(_reflected, before=top, n=height), partial(_reflected, before=left, n=width)))
    return _tapped(call, (partial(_clamped, before=top, n=height), partial(_clamped, before=left, n=width)))


def reflect(places: Tensor, n: int) -> Tensor:
    """Places on an axis of n pixels for those up to n - 1 pixels outside of it, mirrored at the first and the last."""
    return (n - 1) - ((n - 1) - places.abs()).abs()


def _reflected(places: Tensor, before: int, n: int) -> tuple[Tensor, None]:
    return reflect(places - before, n)[:, None], None


def _clamped(places: Tensor, before: int, n: int) -> tuple[Tensor, None]:
    return (places - before).clamp(0, n - 1)[:, None], None


def resampled(call: Call) -> Map:
    """Enlarging or reducing to the nearest pixel, or by bilinear or bicubic interpolation."""
    image = _rows_and_columns(call)
    given, kind = call.arguments, call.target._overloadpacket.__name__
    factors = given.get("scale_factors") or (given.get("scales_h"), given.get("scales_w"))
    taps = []
    for n, n_out, factor in zip(image.size, call.example.shape[-2:], factors, strict=True):
        corners = given.get("align_corners", False)
        step = (n - 1) / max(n_out - 1, 1) if corners else 1 / factor if factor else n / n_out
        taps.append(partial(_INTERPOLATIONS[kind], n=n, step=step, corners=corners))
    return _tapped(call, (taps[0], taps[1]))


def _nearest(places: Tensor, n: int, step: float, corners: bool) -> tuple[Tensor, None]:
    return (places.float() * step).long().clamp(max=n - 1)[:, None], None


def _nearest_exact(places: Tensor, n: int, step: float, corners: bool) -> tuple[Tensor, None]:
    return ((places.float() + 0.5) * step).long().clamp(max=n - 1)[:, None], None


def _linear(places: Tensor, n: int, step: float, corners: bool) -> tuple[Tensor, Tensor]:
    at = places.double() * step if corners else ((places.double() + 0.5) * step - 0.5).clamp(min=0)
    first = at.long().clamp(max=n - 1)
    share = at - first
    return torch.stack([first, (first + 1).clamp(max=n - 1)], 1), torch.stack([1 - share, share], 1)


def _cubic(places: Tensor, n: int, step: float, corners: bool) -> tuple[Tensor, Tensor]:
    """Keys 1981, equation 4, with a = -3/4."""
    at = places.double() * step if corners else (places.double() + 0.5) * step - 0.5
    first, a = at.floor(), -0.75
    distance = (at - first)[:, None] + torch.tensor([1, 0, -1, -2], dtype=torch.float64, device=places.device)
    x = distance.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    index = first.long()[:, None] + torch.arange(-1, 3, device=places.device)
    return index.clamp(0, n - 1), torch.where(x <= 1, near, far)


_INTERPOLATIONS: dict[str, Callable[..., tuple[Tensor, Tensor | None]]] = {
    "upsample_nearest2d": _nearest,
    "_upsample_nearest_exact2d": _nearest_exact,
    "upsample_bilinear2d": _linear,
    "upsample_bicubic2d": _cubic,
}


def sliced(call: Call) -> Map:
    """Some rows, columns or channels."""
    (image,) = call.maps
    given = call.arguments
    axis = given["dim"] % len(image.shape) - len(image.shape)
    if axis not in image.axes:
        return pixelwise(call)
    n = image.shape[axis]
    first, _, step = slice(given["start"], given["end"], given["step"]).indices(n)

    def some(places: Tensor) -> tuple[Tensor, None]:
        return (first + places * step)[:, None], None

    def all_of_them(places: Tensor) -> tuple[Tensor, None]:
        return places[:, None], None

    return _tapped(call, (some, all_of_them) if axis == image.axes[0] else (all_of_them, some))


def _rows_and_columns(call: Call) -> Map:
    (image,) = call.maps
    if image.axes != (-2, -1):
        raise call.refusal("is given something else than (…, H, W)")
    return image


def _tapped(call: Call, taps: tuple[Taps, Taps]) -> Map:
    """An operator that is known by where it takes its pixels from."""
    (image,) = call.maps
    (name,) = [name for name, value in call.arguments.items() if value is image]

    def need(box: Box) -> Box:
        spans = []
        for span, tap in zip(box, taps, strict=True):
            index, _ = tap(torch.arange(*span))
            spans.append((int(index.min()), int(index.max()) + 1))
        return spans[0], spans[1]

    def compute(known: Arguments, box: Box) -> Tensor:
        piece: Tensor = known[name]
        for axis, span, (start, _), tap in zip(image.axes, box, need(box), taps, strict=True):
            index, weights = tap(torch.arange(*span, device=piece.device))
            piece = weighted(piece, axis, index - start, weights)
        return piece

    shape = tuple(call.example.shape)
    return Map(call.arguments, call.layer, shape, image.axes, image.dtype, compute, need, scratch=True)


def weighted(piece: Tensor, axis: int, index: Tensor, weights: Tensor | None) -> Tensor:
    """Along an axis, the sum of k of its places for each place of the result: index and weights (n, k)."""
    if weights is None:
        return taken(piece, axis, index[:, 0])
    along = [1] * piece.dim()
    along[axis] = -1
    parts: Sequence[Tensor] = [
        taken(piece, axis, index[:, tap]) * weights[:, tap].to(piece.dtype).reshape(along)
        for tap in range(index.shape[1])
    ]
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def taken(piece: Tensor, axis: int, index: Tensor) -> Tensor:
    """These places of an axis; without a copy where they follow one another."""
    first: Span = (int(index[0]), int(index[0]) + len(index))
    if torch.equal(index, torch.arange(*first, device=index.device)):
        return piece.narrow(axis, first[0], len(index))
    return piece.index_select(axis, index)
