"""A local HTTP server that answers well, or by a script: it drops connections, lies about lengths, changes its mind."""

import io
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from i2i.datasets.download.parts import RemoteFile

CONTENT = np.random.default_rng(0).bytes(300_000)
Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; what answers it is taken from the server's script, or the file is sent as a good server does."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        script = self.server.script
        (script.pop(0) if script else good)(self)

    def log_message(self, *_) -> None:
        pass

    def send(self, status: int, body: bytes, **headers: str) -> None:
        """The body with its true length, unless a header says otherwise."""
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)
        if headers.get("Content_Length") is not None:
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.script: list[Answer] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.files: dict[str, bytes] = {"/file.zip": CONTENT}
        self.tag = '"1"'

    def url(self, path: str = "/file.zip") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, *_) -> None:
        """Clients that hang up are what is tested."""

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.asked]


def good(request: Request) -> None:
    """Ranges, If-Range and 404 as in RFC 9110."""
    content = request.server.files.get(request.path.partition("?")[0])
    if content is None:
        return request.send(404, b"no")
    wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    tag = request.server.tag
    if not wanted or request.headers.get("If-Range", tag) != tag:
        return request.send(200, content, ETag=tag)
    start = int(wanted[1])
    if start >= len(content):
        return request.send(416, b"", Content_Range=f"bytes */{len(content)}")
    said = f"bytes {start}-{len(content) - 1}/{len(content)}"
    request.send(206, content[start:], ETag=tag, Content_Range=said)


def dropping(n_bytes: int, then: Answer = good) -> Answer:
    """Sends the headers of the whole answer, and only so many bytes of it."""

    def answer(request: Request) -> None:
        whole, request.wfile = request.wfile, io.BytesIO()
        then(request)
        head, _, body = request.wfile.getvalue().partition(b"\r\n\r\n")
        request.wfile = whole
        request.wfile.write(head + b"\r\n\r\n" + body[:n_bytes])
        request.close_connection = True

    return answer


def answering(status: int, body: bytes = b"", **headers: str) -> Answer:
    return lambda request: request.send(status, body, **headers)


@contextmanager
def serving() -> Iterator[Server]:
    """A server at a port that the system chose."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


class Watched:
    """What was told, and how long would have been waited."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.sizes: set[int | None] = set()
        self.said: list[str] = []
        self.slept: list[float] = []

    def progress(self, file: RemoteFile, done: int, size: int | None) -> None:
        self.done.append(done)
        self.sizes.add(size)

    def say(self, text: str) -> None:
        self.said.append(text)
