"""The authors' weights: state dicts in `.pth` files, read without running any code that they may hold.

This is the only module of i2i that calls `torch.load`, and only with `weights_only=True`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from i2i.errors import I2IError, Problem
from i2i.registry import Registry

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Network:
    """One of the authors' networks, as our component of the same weight names.

    Args:
        path: where it came from.
        kind: `generator`, `discriminator` or `network`.
        spec: what a recipe says to get it: name and options.
        channels: what the engine passes: (in,) of a discriminator, (in, out) of the others.
        weights: float32, by our names.
        dropout: it was trained with dropout in its residual blocks, which ours leave out, as at inference.
    """

    path: Path
    kind: str
    spec: Mapping[str, Any]
    channels: tuple[int, ...]
    weights: Weights
    dropout: bool = False

    def build(self, registry: Registry) -> nn.Module:
        """The network with its weights, on the CPU. Raises I2IError if they do not fit each other exactly."""
        builder = registry.resolve(self.kind, self.spec, str(self.path))
        with torch.device("meta"):
            module: nn.Module = builder(*self.channels)
        own = {name: tensor.shape for name, tensor in module.state_dict().items()}
        weights = self.weights
        if self.spec.get("norm") == "none":  # the authors' convolutions have no bias then, ours do
            weights = weights | {n: torch.zeros(s) for n, s in own.items() if n.endswith(".bias") and n not in weights}
        for name in sorted(own.keys() ^ weights.keys()):
            what = f"holds no {name!r}" if name in own else f"holds {name!r}"
            raise error_at(self.path, f"{what}, so it is no {_described(self)} of the authors")
        for name, shape in own.items():
            if weights[name].shape != shape:
                shapes = f"{tuple(weights[name].shape)}, not {tuple(shape)}"
                raise error_at(self.path, f"{name!r} has shape {shapes} as in a {_described(self)}")
        module.load_state_dict(weights, assign=True)
        return module


def read_state(path: Path) -> Weights:
    """Names and float32 tensors of a `.pth` file. Raises I2IError if it holds anything else."""
    expected = "a .pth file was expected, a dict of tensors by name"
    if not path.is_file():
        raise error_at(path, f"is a folder; {expected}" if path.exists() else "there is no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises eight kinds of exceptions for what is no state dict
        raise error_at(path, f"{_why(path, error)}; {expected}") from None
    if not isinstance(state, Mapping) or not state:
        raise error_at(path, f"holds a {type(state).__name__} without tensors; {expected}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise error_at(path, f"holds {name!r}, a {type(value).__name__}; {expected}")
    weights = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {name: t.float() if t.is_floating_point() else t for name, t in weights.items()}


def _why(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        start = file.read(1024)
    if found := re.search(r"\bGLOBAL ([\w.]+)", str(error)):
        return f"wants to run code ({found[1]}) when it is read, so it is not read; save the network's state_dict()"
    if not start:
        return "is empty"
    if start.startswith((b"PK", b"\x80")):
        return "is cut off, damaged, or was not written by torch.save"
    return "is text" if start.isascii() else "cannot be read as weights"


def error_at(path: Path, message: str) -> I2IError:
    """An error to raise that names the file."""
    return I2IError(Problem(str(path), message))


def _described(network: Network) -> str:
    options = ", ".join(f"{key} = {value}" for key, value in network.spec.items() if key != "name")
    return f"{network.spec['name']} {network.kind} ({options})"
