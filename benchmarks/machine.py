"""What a benchmark ran on: printed before its numbers and written beside them."""

import os
import platform
import time
from typing import Any

import torch


def machine(cpu_time: bool) -> dict[str, Any]:
    """Prints date, processor, threads, clock and versions, and gives them.

    Args:
        cpu_time: the processor time of one thread is measured, and torch is held to one.
    """
    if cpu_time:
        torch.set_num_threads(1)
    can = torch.cpu.get_capabilities()
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": can.get("cpu_name") or platform.machine(),
        "amx": bool(can.get("amx_bf16")),
        "avx512_bf16": bool(can.get("avx512_bf16")),
        "n_cores": os.cpu_count(),
        "n_threads": torch.get_num_threads(),
        "clock": "processor time" if cpu_time else "wall",
        "torch": torch.__version__,
        "platform": platform.platform(),
    }
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    return about
