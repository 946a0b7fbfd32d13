"""Ctrl-C and SIGTERM as wishes that a training grants between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def caught(handle: Callable[[int], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `handle` instead of raising, while the block lasts; only the main thread may ask."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, lambda n, frame: handle(n)) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
