"""What a network costs: parameters, multiply-accumulates, time and memory."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


def n_parameters(module: nn.Module) -> int:
    """Numbers that the module learns; shared ones are counted once."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def gmacs(module: Callable[..., Any], *inputs: Tensor) -> float:
    """Multiply-accumulates of one forward pass in 10⁹: convolutions, matrix products and attention.

    Module and inputs may be on the meta device, where this costs nothing.
    """
    counter = FlopCount()
    with torch.no_grad(), counter:
        module(*inputs)
    return counter.total / 2e9


@cache
def _formulas() -> dict[Any, Callable[..., int]]:
    """Of floating-point operations, by operator."""
    from torch.utils.flop_counter import flop_registry  # imports triton too

    return {
        **flop_registry,  # without the attention of the CPU, whose arguments are those of the other fused ones
        aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
        aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
            aten._scaled_dot_product_flash_attention_backward
        ],
    }


class FlopCount(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts floating-point operations while it is on, by the formulas of torch's FlopCounterMode.

    That one also tracks modules, by hooks that do not allow a gradient within the forward pass, as penalties take one.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if (formula := _formulas().get(func._overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def feature_maps(output: Any) -> list[Tensor]:
    """The tensors in what a network returns: a map, a list of maps, or anything nested."""
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


@dataclass(frozen=True, slots=True)
class Timing:
    """Median milliseconds of a forward and of a backward pass; no backward where nothing has a gradient."""

    forward: float
    backward: float | None


def timing(f: Callable[..., Any], *inputs: Tensor, repeats: int = 5, budget: float = 3.0) -> Timing:
    """Times `f` and the backward pass of the sum of what it returns, after one pass to warm up.

    Args:
        f: a module or function of `inputs`.
        repeats: at most so many passes, fewer once `budget` seconds are spent.
    """
    device = inputs[0].device
    forward: list[float] = []
    backward: list[float] = []
    _forward_backward(f, inputs)
    end = time.perf_counter() + budget
    while not forward or (len(forward) < repeats and time.perf_counter() < end):
        start = now(device)
        total = _total(f(*inputs))
        forward.append(now(device) - start)
        if total is not None and total.requires_grad:
            start = now(device)
            torch.autograd.backward(total)
            backward.append(now(device) - start)
    return Timing(1000 * median(forward), 1000 * median(backward) if backward else None)


def _forward_backward(f: Callable[..., Any], inputs: tuple[Tensor, ...]) -> None:
    total = _total(f(*inputs))
    if total is not None and total.requires_grad:
        torch.autograd.backward(total)


def _total(output: Any) -> Tensor | None:
    maps = [m for m in feature_maps(output) if m.is_floating_point()]
    return torch.stack([m.float().sum() for m in maps]).sum() if maps else None


def now(device: torch.device) -> float:
    """Seconds of a clock, once the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def pass_memory(f: Callable[..., Any], *inputs: Tensor) -> int:
    """Peak bytes of one forward and backward pass beyond inputs and weights: activations and gradients."""
    return peak_memory(lambda: _forward_backward(f, inputs), inputs[0].device)


def peak_memory(run: Callable[[], object], device: torch.device) -> int:
    """Peak bytes that `run` holds at one time in new tensors.

    On CUDA the caching allocator's own count. Elsewhere the storages that come to life under a dispatch mode: what
    operators use and free inside of themselves, such as an unfolded convolution, is not in it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    live = LiveStorages()
    with live:
        run()
    return live.peak


def bytes_of(values: Iterable[Any]) -> int:
    """Bytes of the tensors among them; of those that share memory once."""
    storages = {v.untyped_storage()._cdata: v.untyped_storage() for v in values if isinstance(v, Tensor)}
    return sum(storage.nbytes() for storage in storages.values())


def three_digits(value: float) -> str:
    """0.0351, 7.2, 24.1, 1,296."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def in_bytes(value: float) -> str:
    """Bytes in kB, MB or GB, powers of a thousand, with three digits."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{three_digits(value / factor)} {unit}"
    return f"{value:.0f} B"


class LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all storages that operators return while this is on, until they die."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in feature_maps((args, kwargs)):  # what was there before is not new when a view of it is returned
            self._follow(tensor.untyped_storage(), new=False)
        out = func(*args, **(kwargs or {}))
        for tensor in feature_maps(out):
            self._follow(tensor.untyped_storage(), new=True)
        return out

    def _follow(self, storage: torch.UntypedStorage, new: bool) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if new else 0
        self._known.add(key)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)

        def forget() -> None:
            self._known.discard(key)
            self.bytes -= size

        weakref.finalize(storage, forget).atexit = False
