"""Checkpointed activations: networks compute them again in the backward pass, and keep their inputs alone till then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from i2i.method import Method
from i2i.slots import Encodes

Buffers = Mapping[tuple[nn.Module, str], Tensor]


def checkpoint_activations(method: Method) -> None:
    """From now on passes through the players' networks keep their input, and are computed again to be differentiated.

    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174, with whole networks as regions:
    of the passes of a step the activations of one are alive at a time. A step takes almost a third more time, and its
    gradients are the same to the last bit on a CPU in float32, where nothing is compiled.

    Names, types and copies of networks stay what they are. Before a network is compiled, not after.
    """
    for network in {part: None for player in method.players().values() for part in player}:
        _wrap(network)


def _wrap(network: nn.Module) -> None:
    if isinstance(network, (nn.ModuleList, nn.ModuleDict)):  # only what is in it is ever called
        for part in network.children():
            _wrap(part)
        return
    network.forward = partial(_recomputed, network, network.forward)
    if isinstance(network, Encodes):
        network.encode = partial(_recomputed, network, network.encode)  # type: ignore[method-assign]


def _recomputed(network: nn.Module, f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return f(*args, **kwargs)
    before = {(part, name): b.clone() for part in network.modules() for name, b in part.named_buffers(recurse=False)}
    if before:
        kwargs["context_fn"] = partial(_contexts, before)
    return checkpoint(f, *args, use_reentrant=False, **kwargs)


def _contexts(before: Buffers) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _Restored(before)


class _Restored(AbstractContextManager[None]):
    """Buffers have these values as long as this lasts, and then again those that they had.

    A second pass must begin where the first did (the vectors of a spectral norm), and must leave no trace (running
    statistics). A gradient of a gradient enters this once more, so that no generator can make it.
    """

    def __init__(self, values: Buffers) -> None:
        self.values = values
        self._now: Buffers = {}

    def __enter__(self) -> None:
        self._now = {(part, name): getattr(part, name) for part, name in self.values}
        _set({key: value.clone() for key, value in self.values.items()})

    def __exit__(self, *error: object) -> None:
        _set(self._now)
        self._now = {}


def _set(values: Buffers) -> None:
    for (part, name), value in values.items():
        setattr(part, name, value)
