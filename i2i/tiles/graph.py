"""A network as a graph of operators, each of which is local, a statistic of the image, or independent of it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map

from i2i.device import memory_is_full
from i2i.errors import I2IError, Problem
from i2i.tiles.statistics import Finish

Span = tuple[int, int]
"""Rows or columns, from the first to behind the last."""
Box = tuple[Span, Span]
"""Rows and columns."""
Arguments = dict[str, Any]


@dataclass(eq=False)
class Value:
    """What an operator gives.

    Args:
        arguments: of the operator, by name, with the values that other operators give in their places.
        layer: where it stands in the network.
    """

    arguments: Arguments
    layer: str

    @property
    def inputs(self) -> list[Value]:
        """The values among the arguments."""
        return [leaf for leaf in tree_leaves(self.arguments) if isinstance(leaf, Value)]

    def filled(self, known: Callable[[Value], Any]) -> Arguments:
        """The arguments, with what is known in place of values."""
        filled: Arguments = tree_map(lambda x: known(x) if isinstance(x, Value) else x, self.arguments)
        return filled


@dataclass(eq=False)
class Whole(Value):
    """What has no place in the image: weights, statistics, and what is computed of them.

    Args:
        compute: from the arguments.
        example: its shapes and types, without numbers.
    """

    compute: Callable[[Arguments], Any]
    example: Any


SPLITS = {
    torch.ops.aten.split.Tensor,
    torch.ops.aten.split_with_sizes.default,
    torch.ops.aten.chunk.default,
    torch.ops.aten.unbind.int,
}
"""Operators with several results, each of them a map."""


def _itself(box: Box) -> Box:
    return box


@dataclass(eq=False)
class Map(Value):
    """What has a place in the image, and depends on the neighbourhood of this place alone.

    Args:
        shape: of the whole, such as (1, C, H, W).
        axes: of rows and columns, counted from the end.
        compute: a piece of it, from the arguments with pieces of maps in them, and its box.
        need: the box of all maps among the arguments that a box of this one depends on; may lie outside of them.
        border: the value of what lies outside.
        work: multiply-accumulates per pixel.
        scratch: whether the operator takes as much memory again, for copies in another layout.
        flat: the network sees rows and columns as one axis; `shape` and pieces have both.
    """

    shape: tuple[int, ...]
    axes: tuple[int, int]
    dtype: torch.dtype
    compute: Callable[[Arguments, Box], Tensor]
    need: Callable[[Box], Box] = _itself
    border: float = 0.0
    work: float = 1.0
    scratch: bool = False
    flat: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape[self.axes[0]], self.shape[self.axes[1]]

    @property
    def n_channels(self) -> int:
        """Numbers per pixel."""
        return torch.Size(self.shape).numel() // max(1, self.size[0] * self.size[1])

    @property
    def maps(self) -> list[Map]:
        """The maps among the arguments."""
        return [value for value in self.inputs if isinstance(value, Map)]


@dataclass(eq=False)
class Statistic(Value):
    """What is taken over all pixels of a map, the only one among the arguments.

    Args:
        finish: from mean, variance, extremes and number of all pixels to the operator's result.
        extremes: whether smallest and largest values are looked for, or else mean and variance.
        example: its shapes and types, without numbers.
    """

    finish: Finish
    example: Any
    extremes: bool = False

    @property
    def map(self) -> Map:
        (source,) = self.inputs
        assert isinstance(source, Map)
        return source


@dataclass(frozen=True)
class Call:
    """An operator of the network, as the rules see it: see `Value` for arguments and layer.

    Args:
        example: its result, without numbers.
        index: which of several results is asked for.
    """

    target: Any
    arguments: Arguments
    layer: str
    example: Any
    index: int | None = None

    @property
    def maps(self) -> list[Map]:
        return [leaf for leaf in tree_leaves(self.arguments) if isinstance(leaf, Map)]

    def refusal(self, why: str = "is neither local nor a statistic of the image") -> I2IError:
        """What is said of a network that cannot go tile by tile."""
        name = str(self.target).removeprefix("aten.").partition(".")[0]
        return I2IError(
            Problem(self.layer, f"its operator {name} {why}; this network takes images whole, not in tiles")
        )


@dataclass(eq=False)
class Graph:
    """All values in the order of computation, from the image to the output."""

    image: Map
    output: Map
    values: list[Value]
    device: torch.device

    @property
    def statistics(self) -> Iterator[Statistic]:
        return (value for value in self.values if isinstance(value, Statistic))


def trace(network: nn.Module, channels: int, height: int, width: int) -> Graph:
    """The graph of a network in evaluation mode, for images of this size; nothing is computed.

    Raises I2IError for a layer that is neither local nor a statistic, and for an image too small for the network.
    """
    from i2i.tiles.operators import local  # which are made of the above

    with FakeTensorMode(allow_non_fake_inputs=True):
        parameter = next(network.parameters())
        images = torch.empty(1, channels, height, width, dtype=parameter.dtype, device=parameter.device)
    program = _exported(network, images)
    tensors = {**program.state_dict, **program.constants}
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names |= signature.inputs_to_lifted_tensor_constants
    found: dict[fx.Node, Any] = {}
    image = Map({}, "the image", tuple(images.shape), (-2, -1), images.dtype, lambda arguments, box: arguments["piece"])
    for node in program.graph.nodes:
        if node.op == "placeholder":
            found[node] = image
            if node.name in names:
                tensor = tensors[names[node.name]]
                found[node] = Whole({}, names[node.name], lambda _, tensor=tensor: tensor, node.meta["val"])
        elif node.op == "call_function" and node.target is not torch.ops.aten._assert_tensor_metadata.default:
            found[node] = _value(node, found, local)
        elif node.op == "output":
            output = found[node.args[0][0]] if len(node.args[0]) == 1 else None
            if not isinstance(output, Map) or output.flat or output.size != image.size or output.axes != (-2, -1):
                raise I2IError(Problem("the network", "gives no image of the size of its input"))
            return Graph(image, output, _needed(output), parameter.device)
    raise AssertionError("a graph ends with its output")


def _exported(network: nn.Module, images: Tensor) -> Any:
    height, width = images.shape[-2:]
    try:
        with torch.no_grad():
            return torch.export.export(network, (images,), strict=False)
    except Exception as error:  # of torch.export, of operators, or of the network itself
        if memory_is_full(error):
            raise
        if min(height, width) < 32:
            raise too_small(height, width) from error
        first = str(error).strip().partition("\n")[0]
        raise I2IError(Problem("the network", f"cannot be taken apart into its operators: {first}")) from error


def too_small(height: int, width: int) -> I2IError:
    """What is said of an image that a network cannot take."""
    return I2IError(Problem("image", f"{width}x{height} px is too small for this network; enlarge the image"))


def _value(node: fx.Node, found: dict[fx.Node, Any], local: Callable[[Call], Value]) -> Any:
    """What a node of torch's graph gives: a value, or a call whose results are asked for one by one."""
    layer = _layer(node)
    if node.target is operator.getitem:
        of, index = found[node.args[0]], node.args[1]  # type: ignore[index]
        if isinstance(of, Call):
            return local(Call(of.target, of.arguments, of.layer, node.meta["val"], index))  # type: ignore[arg-type]
        return Whole({"of": of}, layer, lambda known: known["of"][index], node.meta["val"])
    given = fx.node.map_arg((node.args, node.kwargs), lambda n: found[n])
    if not hasattr(node.target, "_schema"):
        raise Call(node.target, {}, layer, None).refusal("is not known to work by pixels")
    target = _functional(node)
    call = Call(target, _by_name(target, *given), layer, node.meta.get("val"))
    if not call.maps:
        return Whole(call.arguments, layer, lambda known: target(**known), call.example)
    value = call if target in SPLITS else local(call)
    if target is not node.target:
        found[node.args[0]] = value  # type: ignore[index]
    return value


def _functional(node: fx.Node) -> Any:
    """The operator, or, of one that works in place, that which does the same and leaves its input as it is.

    Raises I2IError if the input is part of what is used again.
    """
    target: Any = node.target
    if not target._schema.is_mutable:
        return target
    changed = node.args[0]
    assert isinstance(changed, fx.Node)
    while isinstance(changed, fx.Node) and _shares_memory(changed):
        changed = changed.args[0]  # type: ignore[assignment]
        if isinstance(changed, fx.Node) and any(user > node for user in changed.users):
            raise Call(target, {}, _layer(node), None).refusal("changes in place what is used again")
    name = target._overloadpacket.__name__.removesuffix("_")
    functional = getattr(getattr(torch.ops.aten, name, None), target._overloadname, None)
    if functional is None:
        raise Call(target, {}, _layer(node), None).refusal("works in place")
    return functional


def _shares_memory(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    name = getattr(node.target, "__name__", "")
    return name.startswith(("reshape", "contiguous", "flatten")) or bool(
        schema and schema.returns and schema.returns[0].alias_info and not schema.is_mutable
    )


def _by_name(target: Any, args: Any, kwargs: Any) -> Arguments:
    """All arguments of an operator, those left out with their defaults."""
    named = zip(target._schema.arguments, args, strict=False)
    defaults = {a.name: a.default_value for a in target._schema.arguments if a.has_default_value()}
    return {**defaults, **{a.name: value for a, value in named}, **kwargs}


def _layer(node: fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    kind = kind if isinstance(kind, str) else kind.__name__
    return f"{path} ({kind.rpartition('.')[2]})" if path else "the network"


def _needed(output: Value) -> list[Value]:
    """What the output depends on, each before what it is needed for."""
    order: dict[Value, None] = {}
    waiting: list[tuple[Value, bool]] = [(output, False)]
    while waiting:  # no recursion: networks are deep
        value, ready = waiting.pop()
        if value in order:
            continue
        if ready:
            order[value] = None
        else:
            waiting += [(value, True), *((one, False) for one in reversed(value.inputs))]
    return list(order)
