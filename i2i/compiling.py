"""Compiled networks: torch.compile, in place, where the planned steps repay what it costs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from i2i.data.checksums import cache_folder
from i2i.measure import FlopCount
from i2i.method import Method
from i2i.rehearsal import Shown, Stage

COST = 120.0
"""Seconds that compiling may take on two cores, the first time on a machine; a ResNet with 9 blocks takes 70."""
SHARE = 0.02
"""`auto` compiles if that is at most this share of the time that the steps take."""
PER_THREAD = {"fp32": 75e9, "bf16": 150e9}
"""Floating-point operations a second of a thread, measured in training steps on a CPU with AVX-512 (Zen 4)."""
ACCELERATOR = 50e12
"""The same of a GPU: assumed, not measured; small networks reach less."""


@dataclass(frozen=True)
class Compiled:
    """What is compiled of a method.

    Args:
        networks: by their names in the method.
        remark: why nothing is, where one might have expected it.
    """

    networks: Mapping[str, nn.Module] = field(default_factory=dict)
    remark: str = ""

    def __bool__(self) -> bool:
        return bool(self.networks)


def networks_to_compile(method: Method) -> dict[str, nn.Module]:
    """The players' networks that translate, by their names in the method, but for those that cannot be traced.

    Discriminators stay as they are: a compiled network computes the gradients of all its weights, also in the
    generators' move, which needs none of them, and a gradient penalty cannot be taken through it.
    """
    translating = {part for translator in method.translators().values() for part in translator.modules()}
    players = {network for networks in method.players().values() for network in networks}
    return {
        name: network
        for name, network in method.named_modules()
        if network in players & translating and all(getattr(part, "compiles", True) for part in network.modules())
    }


def pays(method: Method, shown: Shown, sides: tuple[int, int], n_steps: int, precision: str) -> bool:
    """Whether so many steps repay the cost, by arithmetic alone: what was measured would differ from run to run."""
    counter = FlopCount()
    with counter:
        Stage(method, shown).try_out(sides, on="meta")
    device = next(method.parameters()).device
    rate = PER_THREAD[precision] * torch.get_num_threads() if device.type == "cpu" else ACCELERATOR
    forward_and_backward = 3 * counter.total
    return SHARE * n_steps * forward_and_backward / rate > COST


def fault(device: torch.device) -> str:
    """Why nothing can be compiled on this machine; empty if a small function was."""
    _keep_cache()
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.ones(8, device=device))
    except Exception as error:  # of a compiler that is not there, or too old, or without headers
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    finally:
        torch._dynamo.reset()
    return ""


def compile_networks(networks: Mapping[str, nn.Module]) -> None:
    """Compiles each in place when it is first used; names and weights stay. The results are kept for later runs.

    Whole networks: block by block, a ResNet starts in a third of the time and gains nothing over eager.

    For one size of images. Code for all sizes would depend on the sizes that it met first, which are others in a
    resumed run; and torch 2.14 fails to make any of a ResNet.
    """
    _keep_cache()
    for network in networks.values():
        network.compile(dynamic=False)


def _keep_cache() -> None:
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
