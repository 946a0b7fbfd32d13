"""What a backend is, and what it says where it cannot be one."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from i2i.errors import I2IError, Problem

Compute = Callable[[Tensor], Tensor]
"""(N, n_in, H, W) float32 to (N, n_out, H, W), in [-1, 1], for any N, H and W that the network takes."""

ComputedIn = Literal["fp32", "bf16"]


class Prepare(Protocol):
    """Makes what computes a network in evaluation mode, with the weights that it has now."""

    def __call__(self, module: nn.Module, example: Tensor, precision: ComputedIn) -> Compute:
        """Raises whatever the library does for a network that it does not take."""


@dataclass(frozen=True)
class Backend:
    """A way to compute networks.

    Args:
        module: of `i2i.backends`, with a function `prepare`.
        precisions: that it computes in.
        seconds: that `prepare` takes with a ResNet of 9 blocks on two cores, the first time on a machine.
        packages: that it needs.
        extra: of i2i, which installs them.
        cpu_only: computes nowhere else.
    """

    module: str
    precisions: tuple[ComputedIn, ...] = ("fp32", "bf16")
    seconds: float = 0.0
    packages: tuple[str, ...] = ()
    extra: str = ""
    cpu_only: bool = False

    @property
    def installed(self) -> bool:
        return not self.missing

    @property
    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]

    def check(self, name: str, precision: str, device: torch.device) -> None:
        """Raises I2IError for what it does not do, or where its package is missing."""
        if not self.installed:
            message = f"{name!r} misses {', '.join(self.missing)}: pip install 'i2i[{self.extra}]'"
            raise I2IError(Problem("--backend", message))
        if self.cpu_only and device.type != "cpu":
            raise I2IError(Problem("--backend", f"{name!r} computes on the CPU only, not on {device}"))
        if precision != "auto" and precision not in self.precisions:
            message = f"{name!r} does not compute in {precision}; there is: auto, {', '.join(self.precisions)}"
            raise I2IError(Problem("--precision", message))

    def prepare(self, module: nn.Module, example: Tensor, precision: ComputedIn) -> Compute:
        prepare: Prepare = importlib.import_module(self.module).prepare
        return prepare(module, example, precision)


def exported(module: nn.Module, example: Tensor) -> Any:
    """The network's graph, as a `torch.export.ExportedProgram` for any number and size of images.

    Raises whatever torch does for networks whose graph depends on the size or on the values.
    """
    # Of a single image, the number would be taken for a constant.
    several = example[:1].repeat(2, 1, 1, 1)
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    with torch.no_grad():
        return torch.export.export(module, (several,), dynamic_shapes=(sizes,), strict=False)
