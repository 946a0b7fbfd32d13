"""What servers answer to a download, taken with caution: redirects, ranges, lengths and encodings may all be wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from textwrap import shorten
from typing import IO, TYPE_CHECKING

from i2i.datasets.download.parts import Part, RemoteFile

if TYPE_CHECKING:
    from httpx2 import Client, Response

MAX_REDIRECTS = 5
PATIENCE = 60.0
LEAST = 64 * 1024
"""A server that sends fewer bytes than that in so many seconds is left: it might go on so for ever."""
Progress = Callable[[RemoteFile, int, int | None], None]
"""Is told of a file, how many bytes of it there are, and how many there will be, if that is known."""


class BrokenError(Exception):
    """The connection broke, or the server cannot just now: worth another try."""


class UselessError(Exception):
    """This server does not have the file."""


def read_answer(part: Part, url: str, client: Client, progress: Progress, clock: Callable[[], float]) -> bool:
    """Asks for what the part lacks and reads the answer to its end; whether it went on with bytes that were there.

    Never writes more bytes than the file has. Raises BrokenError and UselessError.
    """
    import httpx2

    file, have = part.file, part.size
    headers = {"Range": f"bytes={have}-"} if have else {}
    tag = part.validator
    if have and part.url == url and 0 < len(tag) <= 256 and tag.isascii() and tag.isprintable():
        headers["If-Range"] = tag
    try:
        with _following(client, url, headers) as answer:
            if answer.status_code == 416 and answer.headers.get("Content-Range") == f"bytes */{have}":
                return True  # there is no more of it
            start = _start(answer, have, part, url)
            # Some servers call a .tar.gz a tar file with the encoding gzip: its bytes are then taken as they are.
            raw = not answer.headers.get("Content-Encoding") or file.name.endswith((".gz", ".bz2"))
            size = _size(answer, start, file, raw)
            part.begin(url, _validator(answer))
            with part.path.open("r+b" if start else "wb") as out:
                out.seek(start)
                for done in _write(answer.iter_raw() if raw else answer.iter_bytes(), out, file, clock):
                    progress(file, done, size)
    except (httpx2.InvalidURL, UnicodeError) as error:  # a host that cannot be written in ASCII
        raise UselessError(f"leads to what is no URL: {shorten(str(error), 160)}") from error
    except httpx2.HTTPError as error:
        raise BrokenError(_in_words(error)) from error
    if file.exact and part.size < file.size:
        raise BrokenError(f"the answer ended after {part.size:,} of {file.size:,} bytes")
    return start > 0


def _write(blocks: Iterable[bytes], out: IO[bytes], file: RemoteFile, clock: Callable[[], float]) -> Iterator[int]:
    """Writes the blocks and yields how many bytes there are. Raises BrokenError if they trickle, and UselessError."""
    begin = counted = out.tell()
    since = clock()
    for block in blocks:
        if out.tell() + len(block) > file.size:
            out.truncate(begin)
            raise UselessError(f"sends more than the {file.size:,} bytes of {file.name}")
        out.write(block)
        yield out.tell()
        if (now := clock()) - since >= PATIENCE:
            if out.tell() - counted < LEAST:
                raise BrokenError(f"sent only {out.tell() - counted:,} bytes in {now - since:.0f} s")
            since, counted = now, out.tell()


@contextmanager
def _following(client: Client, url: str, headers: dict[str, str]) -> Iterator[Response]:
    """The answer at the end of the redirects. They may lead to HTTPS anywhere, or else stay on the same host."""
    import httpx2

    place = httpx2.URL(url)
    for _ in range(MAX_REDIRECTS + 1):
        with client.stream("GET", place, headers=headers) as answer:
            if not answer.has_redirect_location:
                _check_status(answer)
                yield answer
                return
            target = place.join(answer.headers["Location"])
        if target.scheme != "https" and (target.scheme, target.host) != (place.scheme, place.host):
            raise UselessError(f"redirects to {target}; only HTTPS is followed to another place")
        place = target
    raise UselessError(f"redirects more than {MAX_REDIRECTS} times")


def _check_status(answer: Response) -> None:
    status = f"{answer.status_code} {answer.reason_phrase[:80]}".strip()
    if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
        raise BrokenError(f"answers {status}")
    if answer.status_code not in (200, 206, 416):
        raise UselessError(f"answers {status}")
    if answer.status_code == 200 and answer.headers.get("Content-Type", "").startswith("text/html"):
        raise UselessError("answers with a web page in place of the file")


def _start(answer: Response, have: int, part: Part, url: str) -> int:
    """Where in the file the answer's bytes belong. Raises BrokenError or UselessError if that is unclear."""
    if answer.status_code == 200:
        return 0  # the server cannot resume, or its file is another one by now
    said = answer.headers.get("Content-Range", "")
    if answer.status_code == 206 and said.startswith(f"bytes {have}-") and not answer.headers.get("Content-Encoding"):
        return have
    trouble = f"cannot go on at byte {have:,} (it answers {answer.status_code})"
    if part.url != url:
        raise UselessError(trouble)  # the part may be of use to another mirror
    part.discard()
    raise BrokenError(f"{trouble}; what was there is given up")


def _size(answer: Response, start: int, file: RemoteFile, raw: bool) -> int | None:
    """The file's size, if it is known. Raises UselessError if the server announces another than the table's."""
    length = answer.headers.get("Content-Length", "")
    if not (raw and length.isdecimal()):
        return file.size if file.exact else None
    size = start + int(length)
    if size > file.size or (file.exact and size < file.size):
        raise UselessError(f"has {size:,} bytes; {file.name} has {'' if file.exact else 'at most '}{file.size:,}")
    return size


def _validator(answer: Response) -> str:
    """What If-Range takes: a strong ETag, or a date."""
    tag = str(answer.headers.get("ETag", ""))
    return tag if tag.startswith('"') else str(answer.headers.get("Last-Modified", ""))


def _in_words(error: Exception) -> str:
    kind = type(error).__name__
    words = {"ConnectTimeout": "no connection in time", "ReadTimeout": "no more data in time"}
    return words.get(kind) or re.sub(r"^\[Errno -?\d+\] ", "", shorten(str(error), 160)) or kind
