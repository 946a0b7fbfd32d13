"""Which of the authors' networks a state dict holds, and which of our components has the same weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from i2i.importer.weights import Network, Weights, error_at, read_state

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def read_generator(path: Path) -> Network:
    """A ResNet, an anti-aliased ResNet or a U-Net (`latest_net_G.pth`); all options are read from its shapes.

    Raises I2IError for anything else, saying what the file is.
    """
    weights = read_state(path)
    if "model.model.0.weight" in weights:
        return _unet(path, weights)
    first = weights.get("model.1.weight")
    if first is None or first.shape[2:] != (7, 7):
        raise error_at(path, f"{_what_is(weights)}; a generator of the authors was expected")
    return _resnet(path, weights)


def _resnet(path: Path, weights: Weights) -> Network:
    filters = sum(name.endswith(".filt") for name in weights)
    if filters not in (0, 4):
        message = f"has {filters} blur layers: i2i has none or all four, not one of no_antialias and no_antialias_up"
        raise error_at(path, message)
    blocks = {int(m[1]) for m in (re.match(r"model\.(\d+)\.conv_block\.", name) for name in weights) if m}
    convolutions = [name for name in weights if re.fullmatch(r"model\.\d+\.weight", name) and weights[name].dim() == 4]
    last = max(convolutions, key=lambda name: int(name.split(".")[1]))
    seconds = [weights[name] for name in weights if name.endswith(".conv_block.6.weight")]
    dropout = any(weight.dim() == 4 for weight in seconds)  # without dropout a norm stands here
    if dropout:  # it stands between the two halves of a block and moves the second one by a place
        weights = {_without_dropout(name): tensor for name, tensor in weights.items()}
    norm, first = _norm(weights, "model.1", "model.2", path), weights["model.1.weight"]
    name = "resnet_antialiased" if filters else "resnet"
    spec: dict[str, Any] = {"name": name, "base_channels": len(first), "n_blocks": len(blocks), "norm": norm}
    channels = (first.shape[1], len(weights[last]))
    return Network(path, "generator", spec, channels, _kept(weights, norm), dropout)


def _unet(path: Path, weights: Weights) -> Network:
    first, last = weights["model.model.0.weight"], weights.get("model.model.3.weight")
    if last is None:
        raise error_at(path, "is a U-Net generator without its last layer, 'model.model.3.weight'")
    batch = any(name.endswith("running_mean") and name.replace("running_mean", "weight") in weights for name in weights)
    spec: dict[str, Any] = {
        "name": "unet",
        "base_channels": len(first),
        "depth": sum(tensor.dim() == 4 for tensor in weights.values()) // 2,  # a halving and a doubling in each level
        # pix2pix is the one with batch norm. It translates with statistics of the image at hand and with dropout, in
        # the paper as by the authors' test.py; dropout has no weights to be read from.
        "norm": "current_batch" if batch else "instance" if "model.model.0.bias" in weights else "none",
        "dropout": 0.5 if batch else 0.0,
    }
    return Network(path, "generator", spec, (first.shape[1], last.shape[1]), _kept(weights, "batch" if batch else ""))


def read_discriminator(path: Path) -> Network:
    """A PatchGAN (`basic`, `n_layers`), anti-aliased or not, or a PixelGAN (`pixel`) (`latest_net_D.pth`).

    Raises I2IError for anything else, saying what the file is.
    """
    weights = read_state(path)
    spec: dict[str, Any]
    maps = {name: tensor for name, tensor in weights.items() if tensor.dim() == 4 and not name.endswith(".filt")}
    if "net.0.weight" in maps:
        norm = _norm(weights, "net.2", "net.3", path)
        first, spec = maps["net.0.weight"], {"name": "pixelgan"}
    elif "model.0.weight" in maps and maps["model.0.weight"].shape[2:] == (4, 4):
        antialiased = "model.2.filt" in weights
        norm = _norm(weights, *(("model.3", "model.4") if antialiased else ("model.2", "model.3")), path)
        name = "patchgan_antialiased" if antialiased else "patchgan"
        first, spec = maps["model.0.weight"], {"name": name, "n_layers": len(maps) - 2}
    else:
        raise error_at(path, f"{_what_is(weights)}; a discriminator of the authors was expected")
    spec |= {"base_channels": len(first), "norm": norm}
    return Network(path, "discriminator", spec, (first.shape[1],), _kept(weights, norm))


def read_projectors(path: Path) -> dict[str, Network]:
    """The projectors of CUT (`latest_net_F.pth`): `mlp_0`, `mlp_1`, …, one for each layer that is compared.

    Raises I2IError for anything else, saying what the file is.
    """
    weights = read_state(path)
    parts: dict[str, Weights] = {}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    if not all(re.fullmatch(r"mlp_\d+", part) and "0.weight" in own for part, own in parts.items()):
        raise error_at(path, f"{_what_is(weights)}; projectors of CUT (mlp_sample) were expected")
    spec = {"name": "patch_projector"}
    shapes = {part: own["0.weight"].shape for part, own in parts.items()}
    return {part: Network(path, "network", spec, (shapes[part][1], shapes[part][0]), parts[part]) for part in parts}


def _what_is(weights: Mapping[str, Tensor]) -> str:
    """What a state dict that was not expected is, as the begin of a message."""
    tests: list[tuple[str, Callable[[str], bool]]] = [
        ("is a U-Net generator", lambda name: name.startswith("model.model.")),
        ("is a ResNet generator", lambda name: ".conv_block." in name),
        ("is a PixelGAN discriminator", lambda name: name.startswith("net.0.")),
        ("is a PatchGAN discriminator", lambda name: name.startswith("model.0.")),
        ("holds projectors of CUT", lambda name: name.startswith("mlp_")),
    ]
    for what, test in tests:
        if any(map(test, weights)):
            return what
    return f"holds unknown weights: {', '.join(sorted(weights)[:3])}, …"


def _norm(weights: Mapping[str, Tensor], convolution: str, norm: str, path: Path) -> str:
    """The authors' norm after a convolution: batch has weights; before instance norm alone a bias is kept."""
    if f"{norm}.weight" in weights:
        if f"{norm}.running_mean" not in weights:
            raise error_at(
                path, f"has weights but no statistics in its norm {norm!r}; the authors' have both or neither"
            )
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
