"""Downloads over bad networks and from bad servers: resumed, bounded, verified, from several mirrors."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from i2i import __version__
from i2i.datasets.download.answers import BrokenError, UselessError, read_answer
from i2i.datasets.download.parts import Part, RemoteFile, set_aside, wrong_checksum
from i2i.errors import I2IError, Problem

if TYPE_CHECKING:
    from httpx2 import Client

WAITS = 1.0, 4.0, 15.0
"""Seconds before every further round over the mirrors."""
STEP = 2**20
"""A connection that broke after so many bytes is taken up again at once, from the same mirror."""


class Watch(Protocol):
    """Who is told while a file is on its way."""

    def progress(self, file: RemoteFile, done: int, size: int | None) -> None:
        """So many bytes of it are here; fewer than before if it was started again. None: its size is not known."""

    def say(self, text: str) -> None:
        """What went wrong, and what happens now."""


def open_client(timeout: float = 30.0) -> Client:
    """What `fetch` downloads with. Proxies are taken from the environment."""
    import httpx2

    headers = {"User-Agent": f"i2i/{__version__}", "Accept-Encoding": "identity"}
    return httpx2.Client(timeout=httpx2.Timeout(timeout, connect=min(timeout, 10.0)), headers=headers)


class _Teller:
    """Tells a watch of failures when something else is tried instead, each once; those at the end are in the error."""

    def __init__(self, watch: Watch) -> None:
        self.failures: dict[str, str] = {}
        self._told: set[tuple[str, str]] = set()
        self._watch = watch

    def progress(self, file: RemoteFile, done: int, size: int | None) -> None:
        self._tell_failures()
        self._watch.progress(file, done, size)

    def say(self, text: str) -> None:
        self._tell_failures()
        self._watch.say(text)

    def _tell_failures(self) -> None:
        for failure in self.failures.items():
            if failure not in self._told:
                self._told.add(failure)
                self._watch.say(": ".join(failure))


def fetch(
    file: RemoteFile,
    folder: Path,
    client: Client,
    watch: Watch,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Path:
    """The verified file in the folder; what is not there yet is downloaded.

    Goes over the mirrors, and after each of `WAITS` again over those that may still have the file. What has been
    downloaded stays when it is interrupted. Raises I2IError that says of every mirror what was wrong with it.
    """
    done = folder / file.name
    if done.exists():
        if not (wrong := wrong_checksum(done, file)):
            return done
        kept = set_aside(done)
        watch.say(f"{done}: {wrong}; it is now {kept.name}, and is downloaded again")
    part, teller, mirrors = Part.of(file, folder), _Teller(watch), list(file.urls)
    for wait in (0.0, *WAITS):
        if wait:
            teller.say(f"trying again in {wait:g} s")
            sleep(wait)
        for url in tuple(mirrors):
            try:
                _complete(part, url, client, teller, clock)
            except (BrokenError, UselessError) as error:
                teller.failures[url] = str(error)
                if isinstance(error, UselessError):
                    mirrors.remove(url)
            else:
                part.finish(done)
                return done
        if not mirrors:
            break
    raise I2IError(*(Problem(url, message) for url, message in teller.failures.items()))


def _complete(part: Part, url: str, client: Client, watch: Watch, clock: Callable[[], float]) -> None:
    """Completes the part from this mirror and verifies it. Raises BrokenError and UselessError."""
    restarted = False
    while True:
        before = part.size
        try:
            resumed = part.complete or read_answer(part, url, client, watch.progress, clock)
        except BrokenError:
            if part.size >= before + STEP:
                continue
            raise
        if not (wrong := wrong_checksum(part.path, part.file)):
            return
        part.discard()
        if restarted or not resumed:
            raise UselessError(f"{wrong}; it was deleted")
        # The beginning may have come from elsewhere, or from another day.
        watch.say(f"{part.file.name}: {wrong}; it was put together from several downloads, and is started again")
        restarted = True
