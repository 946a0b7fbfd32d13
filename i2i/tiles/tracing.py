"""From a network to its graph: torch.export tells the operators, the rules tell what each of them is."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from i2i.device import memory_is_full
from i2i.errors import I2IError, Problem
from i2i.tiles.graph import Arguments, Call, Graph, Map, Value, Whole
from i2i.tiles.operators import local

SPLITS = {
    torch.ops.aten.split.Tensor,
    torch.ops.aten.split_with_sizes.default,
    torch.ops.aten.chunk.default,
    torch.ops.aten.unbind.int,
}
"""Operators with several results, each of them a map."""


def trace(network: nn.Module, channels: int, height: int, width: int) -> Graph:
    """The graph of a network in evaluation mode, for images of this size; nothing is computed.

    Raises I2IError for a layer that is neither local nor a statistic, and for an image too small for the network.
    """
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
                found[node] = _constant(tensor, names[node.name], node.meta["val"])
        elif node.op == "get_attr":
            found[node] = program.graph_module.get_submodule(node.target)
        elif node.op == "call_function" and node.target is not torch.ops.aten._assert_tensor_metadata.default:
            found[node] = _value(node, found)
        elif node.op == "output":
            output = found[node.args[0][0]] if len(node.args[0]) == 1 else None
            if not isinstance(output, Map) or output.flat or output.size != image.size or output.axes != (-2, -1):
                raise I2IError(Problem("the network", "gives no image of the size of its input"))
            return Graph(image, output, _needed(output), parameter.device)
    raise AssertionError("a graph ends with its output")


def _constant(tensor: Tensor, name: str, example: Any) -> Whole:
    return Whole({}, name, lambda known: tensor, example)


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


def _value(node: fx.Node, found: dict[fx.Node, Any]) -> Any:
    """What a node of torch's graph gives: a value, or a call whose results are asked for one by one."""
    layer = _layer(node)
    if node.target is operator.getitem:
        of, index = found[node.args[0]], node.args[1]  # type: ignore[index]
        if isinstance(of, tuple):
            return of[index]  # type: ignore[index]
        if isinstance(of, Call):
            return local(Call(of.target, of.arguments, of.layer, node.meta["val"], index))  # type: ignore[arg-type]
        return Whole({"of": of}, layer, lambda known: known["of"][index], node.meta["val"])
    if node.target is torch.ops.higher_order.wrap_with_autocast:
        return _inside(node, found)
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


def _inside(node: fx.Node, found: dict[fx.Node, Any]) -> tuple[Any, ...]:
    """The values of a block in which the network sets autocast itself."""
    block, *inputs = (found[n] for n in node.args if isinstance(n, fx.Node))
    waiting = iter(inputs)
    for inner in block.graph.nodes:
        if inner.op == "placeholder":
            found[inner] = next(waiting)
        elif inner.op == "call_function" and inner.target is not torch.ops.aten._assert_tensor_metadata.default:
            found[inner] = _value(inner, found)
    results = inner.args[0]
    return tuple(found[n] for n in results)


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
        changed = changed.args[0]
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
