"""Image files through a translator: decoded and encoded in threads beside the network, each whole or absent."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np

from i2i.device import memory_is_full
from i2i.errors import I2IError, Problem
from i2i.images import UnreadableImage, write
from i2i.images.formats import Format
from i2i.images.writing import write_regions
from i2i.translate import Translator
from i2i.translating.large import translated
from i2i.translating.pictures import Unit, give, run
from i2i.translating.places import Place
from i2i.translating.summary import Summary
from i2i.translating.tiling import Tiling
from i2i.translating.work import Large, Progress, Ready, Work, identity

N_THREADS = min(4, os.cpu_count() or 1)
"""That decode, and as many that encode: what waits before and after the network is bounded by this number."""

_ENDS_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)


def translate_files(
    translator: Translator,
    places: Sequence[Place],
    out: Path,
    summary: Summary,
    *,
    format: Format | None = None,
    overwrite: bool = False,
    batch_size: int = 1,
    tiling: Tiling = Tiling(),  # noqa: B008 (frozen)
    advance: Callable[[], None] = lambda: None,
    progress: Progress = lambda name, done, total: None,
) -> None:
    """Translates files into a folder and goes on after those that cannot be translated; `summary` tells of all.

    Args:
        batch_size: pictures of equal size that go through the network together.
        tiling: which images go through the network in tiles, and how.
        advance: called after each file.
        progress: told of an image that goes in tiles how much of it is done, and of how much.

    Raises OSError where nothing more can be written. However it ends, no half file is left, and `summary` is right.
    """
    sources = frozenset(filter(None, (identity(p.source) for p in places if isinstance(p.source, Path))))
    work = Work(translator, out, format, overwrite, sources, tiling)
    began = time.monotonic()
    writing: deque[tuple[Ready, Future[None]]] = deque()

    def note(place: Place, error: BaseException) -> None:
        summary.problems += _problems(place, error)
        advance()

    def settle() -> None:
        error = writing[0][1].exception()  # waits; what is interrupted here is still in the queue
        ready, _ = writing.popleft()
        if error is not None:
            note(ready.place, error)
        else:
            summary.count(str(ready.place), ready.taken, ready.format)
            advance()

    def prepared() -> Iterator[Ready]:
        for place, future in _ahead(readers, work.prepare, places, N_THREADS):
            try:
                ready = future.result()
                ready = work.decided(ready) if isinstance(ready, Large) else ready
                taken = work.translate(ready, progress) if isinstance(ready, Large) else None
            except Exception as error:
                note(place, error)
                continue
            if isinstance(ready, Ready):
                yield ready
            elif ready is not None and taken is not None:
                summary.count(str(place), taken, ready.format)
                summary.tiled[tiling.mode] += 1
                advance()
            else:
                summary.present += 1
                advance()

    readers, writers = ThreadPoolExecutor(N_THREADS), ThreadPoolExecutor(N_THREADS)
    try:
        for batch in _batches(prepared(), batch_size):
            for ready, result in _translated(translator, batch, batch_size):
                if isinstance(result, Exception):
                    note(ready.place, result)
                    continue
                # What the network has seen is large, and of no use to those that encode.
                done = replace(ready, taken=replace(ready.taken, unit=np.empty(0, np.float32)))
                writing.append((done, writers.submit(work.write, done, result)))
                if len(writing) > N_THREADS:
                    settle()
        while writing:
            settle()
    finally:
        readers.shutdown(cancel_futures=True)
        writers.shutdown()
        for ready, future in writing:  # what came through the network before an end from outside
            if future.exception() is None:
                summary.count(str(ready.place), ready.taken, ready.format)
        summary.seconds = time.monotonic() - began


def translate_stream(
    translator: Translator,
    place: Place,
    to: BinaryIO,
    format: Format | None = None,
    tiling: Tiling = Tiling(),  # noqa: B008 (frozen)
) -> Summary:
    """Translates one image into a stream: all of it, or nothing where it cannot be translated. Raises OSError."""
    work, summary = Work(translator, Path(), format, True, frozenset(), tiling), Summary(1)
    with TemporaryFile() as encoded:
        try:
            ready = work.prepare(place)
            ready = work.decided(ready) if isinstance(ready, Large) else ready
            assert ready is not None
            if isinstance(ready, Large):
                with translated(translator, place, ready.format.name, tiling) as done:
                    write_regions(done.outline, done.read, encoded, ready.format.name)
                taken = done.taken
            else:
                taken = ready.taken
                write(give(translator, taken, run(translator, [taken])[0]), encoded, ready.format.name)
        except Exception as error:
            summary.problems += _problems(place, error)
            return summary
        encoded.seek(0)
        shutil.copyfileobj(encoded, to)
    to.flush()
    if isinstance(ready, Large):
        summary.tiled[tiling.mode] += 1
    summary.count(str(place), taken, ready.format)
    return summary


def _ahead(
    pool: ThreadPoolExecutor, prepare: Callable[[Place], Ready | Large | None], places: Iterable[Place], n: int
) -> Iterator[tuple[Place, Future[Ready | Large | None]]]:
    """The work of a pool in order, at most n begun beyond the one that is waited for."""
    begun: deque[tuple[Place, Future[Ready | Large | None]]] = deque()
    for place in places:
        begun.append((place, pool.submit(prepare, place)))
        if len(begun) > n:
            yield begun.popleft()
    yield from begun


def _batches(pictures: Iterable[Ready], batch_size: int) -> Iterator[list[Ready]]:
    """Pictures of equal size and depth together; those of rare sizes wait for others, but not while many wait."""
    waiting: dict[tuple[int, ...], list[Ready]] = {}
    for ready in pictures:
        size = (*ready.taken.unit.shape[1:], ready.taken.deep)
        group = waiting.setdefault(size, [])
        group.append(ready)
        if len(group) == batch_size:
            yield waiting.pop(size)
        elif sum(map(len, waiting.values())) >= 4 * batch_size:
            yield waiting.pop(max(waiting, key=lambda size: len(waiting[size])))
    yield from waiting.values()


def _translated(
    translator: Translator, batch: Sequence[Ready], batch_size: int
) -> Iterator[tuple[Ready, Unit | Exception]]:
    """Each picture with what the network makes of it, or with what went wrong; one by one if memory is short."""
    results: Sequence[Unit | Exception]
    try:
        results = run(translator, [ready.taken for ready in batch], batch_size)
    except Exception as error:
        # Its traceback would keep what the network has computed, in the memory that is short.
        results = [error.with_traceback(None) if memory_is_full(error) else error] * len(batch)
    if batch_size > 1 and isinstance(results[0], Exception) and memory_is_full(results[0]):
        for ready in batch:
            yield from _translated(translator, [ready], 1)
    else:
        yield from zip(batch, results, strict=True)


def _problems(place: Place, error: BaseException) -> list[Problem]:
    """What went wrong with one file, in words; raises what concerns all of them, or what nobody foresaw."""
    if isinstance(error, UnreadableImage):
        return list(error.problems)
    if isinstance(error, I2IError):
        return [Problem(str(place), problem.message) for problem in error.problems]
    if memory_is_full(error):
        return [Problem(str(place), "is too large for the memory of this machine; make it smaller")]
    if isinstance(error, ValueError):
        return [Problem(str(place), str(error))]
    if isinstance(error, OSError) and error.errno not in _ENDS_ALL:
        return [Problem(str(place), f"its translation cannot be written: {error.strerror or error}")]
    raise error
