"""Memory as the operating system and the device tell it: what this process holds, its peak, what is free."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import psutil
import torch


def held() -> int:
    """Bytes of this process in the machine's memory now: its resident set, as `top` shows it."""
    return int(psutil.Process().memory_info().rss)


def peak_held() -> int:
    """The most bytes that this process has held in the machine's memory since it began."""
    if sys.platform == "linux":  # not `ru_maxrss`, which begins with that of the process it was started from
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return 1024 * int(found[1]) if found else held()
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held where it computes: on CUDA what its allocator reserved there."""
    return int(torch.cuda.max_memory_reserved(device)) if device.type == "cuda" else peak_held()


def free_memory(device: torch.device) -> int:
    """Bytes that this process can still take where it computes, without swapping.

    Of a machine's memory no more than what the control groups of this process leave, as containers and batch systems
    set them.
    """
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + reserved)
    return min(int(psutil.virtual_memory().available), *_left_by_groups(), sys.maxsize)


def _left_by_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """What each control group (version 2) of this process has left, from its own one up to the root."""
    found = re.search(r"^0::/(.*)$", own.read_text(), re.M) if own.exists() else None
    if found is None:
        return []
    group = root / found[1]
    left = []
    for folder in (group, *group.parents):
        limit, used = folder / "memory.max", folder / "memory.current"
        if folder.is_relative_to(root) and limit.exists() and limit.read_text().strip() != "max":
            left.append(int(limit.read_text()) - int(used.read_text()) + _cached(folder / "memory.stat"))
    return left


def _cached(stat: Path) -> int:
    """Bytes of files that a control group gives back when memory is short."""
    found = re.search(r"^inactive_file (\d+)$", stat.read_text(), re.M) if stat.exists() else None
    return int(found[1]) if found else 0
