"""What each backend costs, remembered: to start it, and for an image."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor, nn

from i2i import __version__
from i2i.data.checksums import cache_folder
from i2i.device import cpu_capabilities
from i2i.files import write_json


@dataclass(frozen=True)
class Cost:
    """Seconds to start, and for an image of a size."""

    start: float
    image: float

    def of(self, n_images: int) -> float:
        return self.start + n_images * self.image


class Costs:
    """Of all backends that were tried with a network, a size and a precision on this machine; None: cannot do it."""

    def __init__(self, module: nn.Module, example: Tensor, precision: str) -> None:
        self.path: Path | None = None
        self.known: dict[str, Cost | None] = {}
        with suppress(OSError, RuntimeError, ValueError, TypeError, AttributeError, KeyError):  # unreadable is unknown
            self.path = cache_folder() / "backends" / f"{_key(module, example, precision)}.json"
            found = json.loads(self.path.read_text(encoding="utf-8"))
            self.known = {
                name: Cost(float(cost["start"]), float(cost["image"])) if cost else None for name, cost in found.items()
            }

    def note(self, name: str, cost: Cost | None) -> None:
        """Remembers, where the disk allows it."""
        self.known[name] = cost
        if self.path is None:
            return
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {name: cost and asdict(cost) for name, cost in self.known.items()})


def _key(module: nn.Module, example: Tensor, precision: str) -> str:
    """A hash of whatever changes the costs: the network but for its weights' values, the size, machine and versions."""
    weights = [(name, tuple(weight.shape)) for name, weight in module.state_dict().items()]
    machine = (platform.node(), platform.machine(), os.cpu_count(), torch.get_num_threads(), cpu_capabilities())
    versions = [__version__, *map(_version, ("torch", "onnx", "onnxscript", "onnxruntime", "openvino"))]
    text = repr((str(module), weights, tuple(example.shape), str(example.device), precision, machine, versions))
    return hashlib.sha256(text.encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
