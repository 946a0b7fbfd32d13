"""The authors' weights: state dicts in `.pth` files, read without running any code that they may hold.

This is the only module of i2i that calls `torch.load`, and only with `weights_only=True`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from i2i.errors import I2IError, Problem
from i2i.registry import Registry

Weights = dict[str, Tensor]

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Network:
    """One of the authors' networks, as our component of the same weight names.

    Args:
        path: where it came from.
        kind: `generator` or `discriminator`.
        spec: what a recipe says to get it: name and options.
        channels: what the engine passes: (in, out) of a generator, (in,) of a discriminator.
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
        if self.spec["norm"] == "none":  # the authors' convolutions have no bias then, ours do
            weights = weights | {n: torch.zeros(s) for n, s in own.items() if n.endswith(".bias") and n not in weights}
        for name in sorted(own.keys() ^ weights.keys()):
            what = f"holds no {name!r}" if name in own else f"holds {name!r}"
            raise _error(self.path, f"{what}, so it is no {_described(self)} of the CycleGAN authors")
        for name, shape in own.items():
            if weights[name].shape != shape:
                shapes = f"{tuple(weights[name].shape)}, not {tuple(shape)}"
                raise _error(self.path, f"{name!r} has shape {shapes} as in a {_described(self)}")
        module.load_state_dict(weights, assign=True)
        return module


def read_generator(path: Path) -> Network:
    """A ResNet generator (`latest_net_G_A.pth`); channels, width, blocks and norm are read from its shapes.

    Raises I2IError for anything else, saying what the file is.
    """
    weights = read_state(path)
    blocks = {int(m[1]) for m in (re.match(r"model\.(\d+)\.conv_block\.", name) for name in weights) if m}
    first = weights.get("model.1.weight")
    if first is None or first.shape[2:] != (7, 7) or any(name.endswith(".filt") for name in weights):
        raise _error(path, f"{_what_is(weights)}; a ResNet generator of the CycleGAN authors was expected")
    convolutions = [name for name in weights if re.fullmatch(r"model\.\d+\.weight", name) and weights[name].dim() == 4]
    last = max(convolutions, key=lambda name: int(name.split(".")[1]))
    seconds = [weights[name] for name in weights if name.endswith(".conv_block.6.weight")]
    dropout = any(weight.dim() == 4 for weight in seconds)  # without dropout a norm stands here
    if dropout:  # it stands between the two halves of a block and moves the second one by a place
        weights = {_without_dropout(name): tensor for name, tensor in weights.items()}
    norm = _norm(weights, "model.1", "model.2", path)
    spec: dict[str, Any] = {"name": "resnet", "base_channels": len(first), "n_blocks": len(blocks), "norm": norm}
    channels = (first.shape[1], len(weights[last]))
    return Network(path, "generator", spec, channels, _kept(weights, norm), dropout)


def read_discriminator(path: Path) -> Network:
    """A PatchGAN (`basic`, `n_layers`) or a PixelGAN (`pixel`) discriminator (`latest_net_D_A.pth`).

    Raises I2IError for anything else, saying what the file is.
    """
    weights = read_state(path)
    spec: dict[str, Any]
    maps = {name: tensor for name, tensor in weights.items() if tensor.dim() == 4}
    if "net.0.weight" in maps:
        norm = _norm(weights, "net.2", "net.3", path)
        first, spec = maps["net.0.weight"], {"name": "pixelgan"}
    elif "model.0.weight" in maps and maps["model.0.weight"].shape[2:] == (4, 4):
        norm = _norm(weights, "model.2", "model.3", path)
        first, spec = maps["model.0.weight"], {"name": "patchgan", "n_layers": len(maps) - 2}
    else:
        raise _error(path, f"{_what_is(weights)}; a discriminator of the CycleGAN authors was expected")
    spec |= {"base_channels": len(first), "norm": norm}
    return Network(path, "discriminator", spec, (first.shape[1],), _kept(weights, norm))


def read_state(path: Path) -> Weights:
    """Names and float32 tensors of a `.pth` file. Raises I2IError if it holds anything else."""
    expected = "a .pth file was expected, a dict of tensors by name"
    if not path.is_file():
        raise _error(path, f"is a folder; {expected}" if path.exists() else "there is no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises eight kinds of exceptions for what is no state dict
        raise _error(path, f"{_why(path, error)}; {expected}") from None
    if not isinstance(state, Mapping) or not state:
        raise _error(path, f"holds a {type(state).__name__} without tensors; {expected}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise _error(path, f"holds {name!r}, a {type(value).__name__}; {expected}")
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


def _what_is(weights: Mapping[str, Tensor]) -> str:
    """What a state dict that was not expected is, as the begin of a message."""
    tests: list[tuple[str, Callable[[str], bool]]] = [
        ("is a U-Net generator, which `i2i import` does not read", lambda name: name.startswith("model.model.")),
        ("is an anti-aliased ResNet generator of CUT", lambda name: name.endswith(".filt")),
        ("is a ResNet generator", lambda name: ".conv_block." in name),
        ("is a PixelGAN discriminator", lambda name: name.startswith("net.0.")),
        ("is a PatchGAN discriminator", lambda name: name.startswith("model.0.")),
    ]
    for what, test in tests:
        if any(map(test, weights)):
            return what
    return f"holds unknown weights: {', '.join(sorted(weights)[:3])}, …"


def _norm(weights: Mapping[str, Tensor], convolution: str, norm: str, path: Path) -> str:
    """The authors' norm after a convolution: batch has weights; before instance norm alone a bias is kept."""
    if f"{norm}.weight" in weights:
        if f"{norm}.running_mean" not in weights:
            raise _error(path, f"has weights but no statistics in its norm {norm!r}; the authors' have both or neither")
        return "batch"
    return "instance" if f"{convolution}.bias" in weights else "none"


def _kept(weights: Weights, norm: str) -> Weights:
    """Without the statistics that instance norms stored before torch 0.4; with the counters that batch norms lacked."""
    if norm != "batch":
        return {name: tensor for name, tensor in weights.items() if name.rpartition(".")[2] not in _STATISTICS}
    norms = [name.removesuffix("running_mean") for name in weights if name.endswith("running_mean")]
    return {f"{name}num_batches_tracked": torch.tensor(0) for name in norms} | weights


def _without_dropout(name: str) -> str:
    return re.sub(r"(\.conv_block\.)([67])\.", lambda m: f"{m[1]}{int(m[2]) - 1}.", name)


def _error(path: Path, message: str) -> I2IError:
    return I2IError(Problem(str(path), message))


def _described(network: Network) -> str:
    options = ", ".join(f"{key} = {value}" for key, value in network.spec.items() if key != "name")
    return f"{network.spec['name']} {network.kind} ({options})"
