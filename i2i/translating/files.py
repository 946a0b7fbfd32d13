"""Image files through a translator: decoded and encoded in threads beside the network, each whole or absent."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from i2i.device import memory_is_full
from i2i.errors import I2IError, Problem
from i2i.files import replacing
from i2i.images import Stored, UnreadableImage, header, read, write
from i2i.images.formats import Format
from i2i.images.writing import target_format
from i2i.translate import Translator
from i2i.translating.pictures import Taken, Unit, give, plan, run, take
from i2i.translating.places import Place
from i2i.translating.summary import Summary

N_THREADS = min(4, os.cpu_count() or 1)
"""That decode, and as many that encode: what waits before and after the network is bounded by this number."""

_ENDS_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Ready:
    """A picture that waits for the network, and where its translation goes."""

    place: Place
    taken: Taken
    format: Format
    target: Path


@dataclass(frozen=True)
class Work:
    """What is the same for all files of a command.

    Args:
        out: the folder of the translations.
        format: of all of them; None: that of each input, or another one where it cannot hold the translation.
        overwrite: replace what is there; never one of the images to translate.
        sources: identities of these, as the file system has them.
    """

    translator: Translator
    out: Path
    format: Format | None
    overwrite: bool
    sources: frozenset[tuple[int, int]]

    def prepare(self, place: Place) -> Ready | None:
        """A picture read and brought to what the network takes; None if its translation is there already."""
        found = header(place.source, str(place))  # so that what is there costs no decoding
        planned = plan(self.translator, found)
        format = self.format or target_format(Stored(found.format), planned.dtype, planned.channels)
        target = self.out / place.named(format)
        if os.path.lexists(target):
            if _identity(target) in self.sources:
                message = f"its translation would replace the image {target}; choose another folder with -o"
                raise I2IError(Problem(str(place), message))
            if not self.overwrite:
                return None
        return Ready(place, take(self.translator, read(place.source, str(place))), format, target)

    def write(self, ready: Ready, out: Unit) -> None:
        picture = give(self.translator, ready.taken, out)
        try:
            ready.target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(ready.target) as temporary:
                write(picture, temporary, ready.format.name)
        except OSError as error:
            error.filename = str(ready.target)  # not the temporary name, which tells nobody anything
            raise


def translate_files(
    translator: Translator,
    places: Sequence[Place],
    out: Path,
    summary: Summary,
    *,
    format: Format | None = None,
    overwrite: bool = False,
    batch_size: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Translates files into a folder and goes on after those that cannot be translated; `summary` tells of all.

    Args:
        batch_size: pictures of equal size that go through the network together.
        advance: called after each file.

    Raises OSError where nothing more can be written. However it ends, no half file is left, and `summary` is right.
    """
    sources = frozenset(filter(None, (_identity(p.source) for p in places if isinstance(p.source, Path))))
    work = Work(translator, out, format, overwrite, sources)
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
            except Exception as error:
                note(place, error)
                continue
            if ready is not None:
                yield ready
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


def translate_stream(translator: Translator, place: Place, to: BinaryIO, format: Format | None = None) -> Summary:
    """Translates one image into a stream: all of it, or nothing where it cannot be translated. Raises OSError."""
    work, summary = Work(translator, Path(), format, True, frozenset()), Summary(1)
    try:
        ready = work.prepare(place)
        assert ready is not None
        encoded = BytesIO()
        write(give(translator, ready.taken, run(translator, [ready.taken.unit])[0]), encoded, ready.format.name)
    except Exception as error:
        summary.problems += _problems(place, error)
        return summary
    to.write(encoded.getvalue())
    to.flush()
    summary.count(str(place), ready.taken, ready.format)
    return summary


def _ahead(
    pool: ThreadPoolExecutor, prepare: Callable[[Place], Ready | None], places: Iterable[Place], n: int
) -> Iterator[tuple[Place, Future[Ready | None]]]:
    """The work of a pool in order, at most n begun beyond the one that is waited for."""
    begun: deque[tuple[Place, Future[Ready | None]]] = deque()
    for place in places:
        begun.append((place, pool.submit(prepare, place)))
        if len(begun) > n:
            yield begun.popleft()
    yield from begun


def _batches(pictures: Iterable[Ready], batch_size: int) -> Iterator[list[Ready]]:
    """Pictures of equal size together; those of rare sizes wait for others, but not while many wait."""
    waiting: dict[tuple[int, ...], list[Ready]] = {}
    for ready in pictures:
        size = ready.taken.unit.shape[1:]
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
        results = run(translator, [ready.taken.unit for ready in batch], batch_size)
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


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
