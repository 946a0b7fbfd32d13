"""What a training step takes, told before the first one: parameters, multiply-accumulates and memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from i2i.data.geometry import Sides
from i2i.measure import FlopCount, LiveStorages, bytes_of, n_parameters
from i2i.rehearsal import Shown
from i2i.trainer import Trainer

OVERHEAD = 1.1
"""What the process grows by for each byte that is counted: the heap leaves gaps, and convolutions copy what they read
into layouts of their own."""
CODE = 25_000_000
"""Bytes of torch's own code that the first step reads from the disk.

Both were fitted to steps of CycleGAN, CUT and pix2pix on a CPU; docs/training.md has how near they come.
"""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a step takes.

    Args:
        parameters: that each player learns.
        gmacs: multiply-accumulates in 10⁹, forward and backward.
        weights: bytes of parameters and buffers.
        optimizers: bytes of the optimizers' states.
        activations: bytes of activations, gradients and whatever else lives beside those two at the peak.
    """

    parameters: Mapping[str, int]
    gmacs: float
    weights: int
    optimizers: int
    activations: int

    @property
    def bytes(self) -> int:
        """What is counted: the tensors at the peak of a step."""
        return self.weights + self.optimizers + self.activations

    @property
    def growth(self) -> int:
        """Bytes that a process with the weights in it will take for its steps."""
        return round(OVERHEAD * (self.optimizers + self.activations)) + CODE


def forecast(trainer: Trainer, shown: Shown, sides: Sides, n_batches: int = 1) -> Forecast:
    """What a step of so many micro-batches takes, of images of this height and width. Nothing of the trainer changes.

    A copy plays two steps, the second one beside the states of its optimizers. Its tensors have shapes and no values,
    so that it costs next to nothing; whoever reads a value reads 0. A method that this breaks is copied as it is.
    Compiled networks are counted as they are written.
    """
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    held = [trainer.method, trainer.average, *(term.loss for term in trainer.terms)]
    modules = [module for module in held if isinstance(module, nn.Module)]
    try:
        shapes = {id(t): fake.from_tensor(t) for m in modules for t in (*m.parameters(), *m.buffers())}
        played = copy.deepcopy(trainer, shapes)  # before, since generators are copied by the values of their state
        with fake, _Unread():  # type: ignore[no-untyped-call]
            return _count(played, shown, sides, n_batches)
    except Exception:  # a component may do anything with values; what is wrong with it, the step then raises
        with torch.random.fork_rng():
            return _count(copy.deepcopy(trainer), shown, sides, n_batches)


def _count(trainer: Trainer, shown: Shown, sides: Sides, n_batches: int) -> Forecast:
    method, optimizers = trainer.method, trainer.optimizers.values()
    trainer.reduce = None  # other processes do not play along
    batches = [shown.batch(method, sides, trainer.device)] * n_batches
    weights = bytes_of([*method.parameters(), *method.buffers()])
    flops, live = FlopCount(), LiveStorages()
    with live:
        with flops:
            trainer.train_step(batches)
        trainer.train_step(batches)
    states = bytes_of(value for o in optimizers for state in o.state.values() for value in state.values())
    players = {name: n_parameters(nn.ModuleList(modules)) for name, modules in method.players().items()}
    return Forecast(players, flops.total / 2e9, weights, states, live.peak - states)


class _Unread(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Where tensors have no values, whoever reads one gets 0."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 0.0 if args[0].dtype.is_floating_point else 0
        return func(*args, **(kwargs or {}))
