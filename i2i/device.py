"""Where and how precisely to compute: device names and precisions, chosen and explained."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator
from torch import Tensor

from i2i.errors import I2IError, Problem

Precision = Literal["auto", "fp32", "bf16"]
Compile = Literal["auto", True, False]


def _check_name(name: str) -> str:
    if not re.fullmatch(r"auto|(cpu|cuda|mps)(:\d\d?)?", name):
        raise ValueError(f"{name!r} is no device; auto, cpu, cuda, cuda:1 or mps")
    return name


DeviceName = Annotated[str, AfterValidator(_check_name)]
"""`auto`, or a device that may be there on some machine: `pick_device` tells whether it is on this one."""


def pick_device(name: str, where: str = "train.device") -> torch.device:
    """`auto` takes cuda, mps, cpu, in this order. Raises I2IError for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(_check_name(name))
    except ValueError as error:
        raise I2IError(Problem(where, str(error))) from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        have = [kind for kind, here in there.items() if here]
        raise I2IError(Problem(where, f"{name!r} is not on this machine; there is: {', '.join(['auto', *have])}"))
    return device


def memory_format(device: torch.device) -> torch.memory_format:
    """The order of weights in which convolutions are fastest: channels last on CUDA, where tensor cores want it.

    On a CPU it costs copies around normalizations and padding by reflection: eager steps took 1.2 times as long
    (128 px, bf16, AVX-512), compiled ones as long as without.
    """
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def memory_is_full(error: BaseException) -> bool:
    """Whether this is Python, or torch in its words for every device, telling that memory ran out."""
    return isinstance(error, MemoryError) or bool(re.search("out of memory|can't allocate", str(error)))


def cpu_capabilities() -> dict[str, Any]:
    """What torch knows of this CPU, by name; nothing if this version of torch does not tell."""
    return dict(getattr(torch.cpu, "get_capabilities", dict)())


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 natively: CUDA from compute capability 8, CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        can = cpu_capabilities()
        return bool(can.get("amx_bf16") or can.get("avx512_bf16") or can.get("bf16"))
    return False


def pick_precision(precision: Precision, device: torch.device, *, deep: bool = False) -> Literal["fp32", "bf16"]:
    """`auto` takes bf16 where the hardware multiplies it natively, float32 elsewhere and for images above 8 bits.

    Of 65,536 levels bf16 tells 2,304 apart.
    """
    if precision == "auto":
        return "bf16" if multiplies_bf16(device) and not deep else "fp32"
    return precision


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. To CUDA it goes from pinned memory: a copy from any other would wait for the device."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@contextmanager
def as_written() -> Iterator[None]:
    """Compiled networks compute eagerly as long as this lasts: another mode or size would compile them once more."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and importing it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
