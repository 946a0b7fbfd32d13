"""Processes that prepare batches: how many, what they leave to the main process, and how their end is told."""

from __future__ import annotations

import atexit
import importlib.util
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from i2i.data.pixels import Decoded
from i2i.data.steps import Steps
from i2i.errors import I2IError, Problem


def choose(wanted: int | None, steps: Steps) -> int:
    """`wanted` processes; by default none if the pixels are at hand and nothing is done to them that takes time.

    Nor are there any by default if images or augmentations cannot be sent to another process. Raises I2IError if some
    are wanted and they cannot.
    """
    parts = (*steps.a.parts.values(), *steps.b.parts.values())
    decoded = [part.images for part in parts if isinstance(part, Decoded)]
    augmentations = [augment.augmentation for augment in steps.augment]
    strange = [type(thing).__name__ for thing in (*decoded, *augmentations) if not _can_be_sent(thing)]
    if wanted is None:
        return 0 if strange or not (decoded or augmentations) else min(4, (os.cpu_count() or 1) // 2)
    if wanted and strange:
        message = f"another process cannot import {strange[0]} from its file; set it to 0, or install the plugin"
        raise I2IError(Problem("data.n_workers", message))
    return wanted


def _can_be_sent(thing: object) -> bool:
    """Whether a new process can import the class; one that is forked has it already."""
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    package = type(thing).__module__.partition(".")[0]
    return method == "fork" or package == "__main__" or importlib.util.find_spec(package) is not None


def start(_: int) -> None:
    """One thread, and no ear for signals: they are the main process's to handle, which saves, then stops."""
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@atexit.register
def _end_all() -> None:
    """When this process ends by an error, those that it left behind: they have no ear for the SIGTERM it would send."""
    if hasattr(signal, "SIGCHLD"):  # else torch raises an error for each that ends, which hides the one that matters
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


@contextmanager
def end_explained() -> Iterator[None]:
    """Where a process of the block's loaders ends by itself, torch raises RuntimeError, wherever the block is by then.

    Raises I2IError instead.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        message = f"a process that prepares images ended by itself ({str(error).rstrip('. ')})"
        advice = "if the memory was full, fewer processes need less; 0 prepares images in the main process"
        raise I2IError(Problem("data.n_workers", f"{message}; {advice}")) from error
