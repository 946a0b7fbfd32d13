"""What every torch module promises: it learns, repeats itself, can be saved, laid out and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from i2i.method import mixes_samples

Build = Callable[..., Any]
Check = Callable[[Build], Iterator[str]]
Inputs = tuple[Tensor, ...]
Example = Callable[[nn.Module], Inputs | None]
"""What to show a module; None if nobody but its method knows."""


def bound(checks: tuple[Callable[..., Iterator[str]], ...], example: Example, *wired: int) -> tuple[Check, ...]:
    """These checks for a kind: its modules are built with `wired` and shown `example`."""

    def bind(check: Callable[..., Iterator[str]]) -> Check:
        @wraps(check)
        def one(build: Build) -> Iterator[str]:
            return check(lambda: build(*wired), example)

        return one

    return tuple(map(bind, checks))


def builds(build: Build, example: Example) -> Iterator[str]:
    """It builds with its options"""
    module = build()
    if not isinstance(module, nn.Module):
        yield f"gives a {type(module).__name__}, not a torch.nn.Module"


def learns(build: Build, example: Example) -> Iterator[str]:
    """Every trainable parameter gets a gradient, under bf16 autocast too"""
    module: nn.Module = build()
    inputs = example(module)
    trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trainable or inputs is None:
        return
    with torch.no_grad():  # a gate that begins at zero hides what is behind it
        for parameter in trainable.values():
            parameter.add_(0.02 * torch.randn_like(parameter))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = tensors(module(*inputs))
    _backward(outputs)
    for name, parameter in trainable.items():
        if parameter.grad is None:
            yield f"parameter {name!r} gets no gradient; is it used?"
        elif not parameter.grad.isfinite().all():
            yield f"parameter {name!r} gets a gradient that is not finite, under bf16 autocast"
        elif not parameter.grad.any() and not name.endswith("bias"):  # that of a bias before a norm is zero
            yield f"parameter {name!r} gets a gradient of zero; does the output depend on it?"


def repeats_itself(build: Build, example: Example) -> Iterator[str]:
    """It gives the same twice in evaluation mode, also after its weights went through a state dict"""
    module, inputs = _evaluated(build(), example)
    if inputs is None:
        return
    first = _seen(module, inputs)
    if not _equal(first, _seen(module, inputs)):
        yield "gives two outputs for one input in evaluation mode, under one seed"
    other, _ = _evaluated(build(), example)
    other.load_state_dict(module.state_dict())
    if not _equal(first, _seen(other, inputs)):
        yield "gives another output after load_state_dict; is something that matters neither parameter nor buffer?"


def lays_out(build: Build, example: Example) -> Iterator[str]:
    """It can be built on the meta device and filled afterwards, as `i2i translate` does"""
    original, inputs = _evaluated(build(), example)
    with torch.device("meta"):
        module = build()
    if not isinstance(module, nn.Module):
        return
    module.eval().load_state_dict(original.state_dict(), assign=True)
    empty = [n for n, t in (*module.named_parameters(), *module.named_buffers()) if t.device.type == "meta"]
    for name in empty:
        yield f"{name!r} is not in the state dict; use register_buffer with persistent=True"
    if inputs is not None and not empty and not _equal(_seen(original, inputs), _seen(module, inputs)):
        yield "gives another output when it was built on the meta device; is a tensor neither parameter nor buffer?"


def compiles(build: Build, example: Example) -> Iterator[str]:
    """It traces under torch.compile with the same results, or declares compiles = False"""
    module, traced = build(), build()
    inputs = example(module)
    if inputs is None or not all(getattr(inner, "compiles", True) for inner in module.modules()):
        return
    traced.load_state_dict(module.state_dict())
    torch._dynamo.reset()
    try:
        traced.compile(backend="aot_eager")
        expected, found = _results(module, inputs), _results(traced, inputs)
    finally:
        torch._dynamo.reset()
    for name, tensor in expected.items():
        if not torch.allclose(tensor, found[name], rtol=1e-3, atol=1e-3 * float(tensor.abs().max())):
            yield f"gives another {name} under torch.compile; mend it, or declare compiles = False on the class"
            return


def treats_samples_apart(build: Build, example: Example) -> Iterator[str]:
    """What it makes of a sample does not depend on the batch, or it declares mixes_samples = True"""
    module, other = build(), build()
    inputs = example(module)
    if inputs is None or mixes_samples(module):
        return
    for part in (*module.modules(), *other.modules()):
        if isinstance(part, _DropoutNd):  # draws for all samples at once
            part.p = 0.0
    other.load_state_dict(module.state_dict())  # a copy, since a pass may change buffers
    together, alone = _seen(module, inputs), _seen(other, tuple(given[:1] for given in inputs))
    if any((a[:1] - b).abs().max() > 1e-3 * b.abs().max() for a, b in zip(together, alone, strict=True)):
        yield "makes something else of a sample in another batch; declare mixes_samples = True on the class"


EVERY_MODULE = (builds, learns, repeats_itself, lays_out, compiles)


def tensors(output: Any) -> list[Tensor]:
    """The tensors of an output: one, or a list of them."""
    return [t for one in output for t in tensors(one)] if isinstance(output, (list, tuple)) else [output]


def restore(other: Any, module: Any) -> None:
    """Gives `other` the state of `module` as Trainer.load_state_dict does: buffers are assigned, since they grow."""
    if not isinstance(module, nn.Module):
        return
    with torch.no_grad():
        for own, saved in zip(other.parameters(), module.parameters(), strict=True):
            own.copy_(saved)
    for name, buffer in module.named_buffers():
        inner, _, leaf = name.rpartition(".")
        setattr(other.get_submodule(inner), leaf, buffer.clone())


def _evaluated(module: Any, example: Example) -> tuple[Any, Inputs | None]:
    """The module in evaluation mode and what to show it; nothing, if it is no module."""
    return (module.eval(), example(module)) if isinstance(module, nn.Module) else (module, None)


def _seen(module: nn.Module, inputs: Inputs) -> list[Tensor]:
    torch.manual_seed(1)
    with torch.no_grad():
        return tensors(module(*inputs))


def _results(module: nn.Module, inputs: Inputs) -> dict[str, Tensor]:
    """Outputs and gradients of a step in training mode."""
    torch.manual_seed(1)
    outputs = tensors(module(*inputs))
    found = {f"output {i}" if i else "output": output.detach() for i, output in enumerate(outputs)}
    if any(output.requires_grad for output in outputs):
        _backward(outputs)
    return found | {f"gradient of {n!r}": p.grad for n, p in module.named_parameters() if p.grad is not None}


def _backward(outputs: list[Tensor]) -> None:
    """From outputs weighted at random, so that nothing cancels; the same weights under one seed."""
    generator = torch.Generator().manual_seed(2)
    learnt = [output for output in outputs if output.requires_grad]
    total = torch.stack([(t.float() * torch.randn(t.shape, generator=generator)).sum() for t in learnt]).sum()
    torch.autograd.backward(total)


def _equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(
        torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(one, other, strict=True)
    )
