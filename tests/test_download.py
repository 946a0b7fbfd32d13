"""Downloads from a local server that drops connections, lies and changes its mind."""

import gzip
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import httpx2
import pytest
from local_server import CONTENT, Request, Watched, answering, dropping, good, serving

from i2i.datasets.download import answers, parts, transfer
from i2i.datasets.download.parts import RemoteFile
from i2i.datasets.download.transfer import WAITS, fetch, open_client
from i2i.errors import I2IError


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with open_client(timeout=5) as opened:
        yield opened


def remote(*urls: str, content: bytes = CONTENT, name: str = "file.zip", **more) -> RemoteFile:
    return RemoteFile(name, urls, len(content), "sha256", hashlib.sha256(content).hexdigest(), **more)


@pytest.fixture
def get(tmp_path, client):
    """Downloads a file into tmp_path, and says what the user was told."""

    def run(file: RemoteFile, via: httpx2.Client = client, clock: Callable[[], float] = time.monotonic) -> Watched:
        watched = Watched()
        try:
            path = fetch(file, tmp_path, via, watched, watched.slept.append, clock)
        except I2IError as error:
            error.watched = watched
            raise
        assert path == tmp_path / file.name
        assert sorted(p.name for p in tmp_path.iterdir() if ".part" in p.name) == []
        return watched

    return run


def test_a_file_is_downloaded_once(tmp_path, server, get):
    file = remote(server.url())
    watched = get(file)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert watched.done == sorted(watched.done) and watched.done[-1] == len(CONTENT) and watched.said == []
    assert watched.sizes == {len(CONTENT)}
    assert server.asked[0][1]["User-Agent"].startswith("i2i/") and server.asked[0][1]["Accept-Encoding"] == "identity"
    get(file)
    assert len(server.asked) == 1


def test_a_dropped_connection_is_taken_up_where_it_broke(tmp_path, server, get):
    server.script = [dropping(100_000), dropping(50_000)]
    watched = get(remote(server.url()))
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert server.asked[1][1]["If-Range"] == '"1"'
    assert watched.slept == [*WAITS[:2]]


def test_a_long_piece_is_followed_by_the_next_at_once(server, get, monkeypatch):
    monkeypatch.setattr(transfer, "STEP", 90_000)
    server.script = [dropping(100_000), dropping(100_000)]
    assert get(remote(server.url())).slept == []
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]


def test_a_part_is_gone_on_with_by_a_later_run(tmp_path, server, get):
    server.script = [dropping(100_000)] + [answering(503)] * len(WAITS)
    with pytest.raises(I2IError, match="503"):
        get(remote(server.url()))
    note = json.loads((tmp_path / "file.zip.part.json").read_text())
    assert note["url"] == server.url() and note["size"] == len(CONTENT)
    assert (tmp_path / "file.zip.part").read_bytes() == CONTENT[:100_000]
    server.asked.clear()
    get(remote(server.url()))
    assert server.ranges == ["bytes=100000-"] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_that_is_whole_is_not_asked_for_again(tmp_path, server, get):
    file = remote(server.url())
    part = parts.Part.of(file, tmp_path)
    part.path.write_bytes(CONTENT)
    part.begin(server.url(), "")
    get(file)
    assert server.asked == [] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_that_is_whole_is_known_by_416_where_no_exact_size_is(tmp_path, server, get):
    file = replace(remote(server.url()), size=2 * len(CONTENT), exact=False)
    part = parts.Part.of(file, tmp_path)
    part.path.write_bytes(CONTENT)
    part.begin(server.url(), "")
    get(file)
    assert server.ranges == [f"bytes={len(CONTENT)}-"] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_the_part_of_another_file_is_not_used(tmp_path, server, get):
    (tmp_path / "file.zip.part").write_bytes(b"x" * 1000)
    (tmp_path / "file.zip.part.json").write_text(json.dumps({"url": server.url(), "digest": "of another file"}))
    get(remote(server.url()))
    assert server.ranges == [None]


@pytest.mark.parametrize("note", ["", "[]", "{", '{"digest": 1}'])
def test_a_part_with_a_broken_note_is_not_used(tmp_path, server, get, note):
    (tmp_path / "file.zip.part").write_bytes(b"x" * 1000)
    (tmp_path / "file.zip.part.json").write_text(note)
    get(remote(server.url()))
    assert server.ranges == [None]


def test_another_mirror_goes_on_with_the_part(tmp_path, server, get):
    server.files["/mirror.zip"] = CONTENT
    server.script = [dropping(100_000)]
    watched = get(remote(server.url(), server.url("/mirror.zip")))
    assert [(path, h.get("Range"), h.get("If-Range")) for path, h in server.asked] == [
        ("/file.zip", None, None),
        ("/mirror.zip", "bytes=100000-", None),  # the tag was the first server's
    ]
    assert watched.slept == [] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_sends_all_of_it_again(tmp_path, server, get):
    server.script = [dropping(100_000), answering(200, CONTENT)]
    get(remote(server.url()))
    assert server.ranges == [None, "bytes=100000-"] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_sent_again(tmp_path, server, get):
    server.files["/file.zip"] = b"y" * len(CONTENT)
    server.script = [dropping(100_000), lambda request: (changed(), good(request))]

    def changed() -> None:
        server.tag, server.files["/file.zip"] = '"2"', CONTENT

    get(remote(server.url()))
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_beginning_from_elsewhere_that_does_not_fit_is_started_again(tmp_path, server, get):
    server.files["/bad.zip"] = b"y" * len(CONTENT)
    server.script = [dropping(100_000)]
    watched = get(remote(server.url("/bad.zip"), server.url()))
    assert server.ranges == [None, "bytes=100000-", None]
    assert "put together from several downloads" in watched.said[-1]
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("said", ["bytes 5-299999/300000", "", "bytes */300000"])
def test_a_wrong_range_is_started_again(tmp_path, server, get, said):
    server.script = [dropping(100_000), answering(206, CONTENT[5:], Content_Range=said)]
    watched = get(remote(server.url()))
    assert "cannot go on at byte 100,000" in watched.said[2]
    assert (tmp_path / "file.zip").read_bytes() == CONTENT and server.ranges[-1] is None


def test_416_gives_the_part_up(tmp_path, server, get):
    server.script = [dropping(100_000), answering(416, Content_Range="bytes */7")]
    assert any("cannot go on at byte 100,000" in said for said in get(remote(server.url())).said)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_mirror_that_cannot_go_on_does_not_spoil_the_part_of_another(server, get):
    server.script = [dropping(100_000), answering(416)]
    get(remote(server.url(), server.url("/mirror.zip")))
    assert server.ranges == [None, "bytes=100000-", "bytes=100000-"]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_mirror_without_the_file_is_left_for_the_next(server, get, status):
    server.script = [answering(status)]
    watched = get(remote(server.url("/gone.zip"), server.url()))
    assert f"answers {status}" in watched.said[0] and watched.slept == []


def test_every_mirror_is_named_when_none_has_the_file(tmp_path, server, get):
    urls = server.url("/gone.zip"), server.url("/also-gone.zip")
    with pytest.raises(I2IError) as error:
        get(remote(*urls))
    assert [problem.where for problem in error.value.problems] == [*urls]
    assert all("answers 404" in problem.message for problem in error.value.problems)
    assert error.value.watched.slept == [] and [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again_later(server, get, status):
    server.script = [answering(status)] * len(WAITS)
    assert get(remote(server.url())).slept == [*WAITS]
    server.script = [answering(status)] * 20
    with pytest.raises(I2IError, match=f"answers {status}"):
        get(remote(server.url(), name="another.zip"))
    assert len(server.script) == 20 - 1 - len(WAITS)


def test_nobody_listens(tmp_path, get):
    with pytest.raises(I2IError) as error:
        get(remote("http://127.0.0.1:9/file.zip"))
    assert str(error.value) == "http://127.0.0.1:9/file.zip: Connection refused"
    assert error.value.watched.slept == [*WAITS]
    # Told once before the waiting, in the same words, and once in the error.
    assert error.value.watched.said == [str(error.value), *(f"trying again in {wait:g} s" for wait in WAITS)]


def test_a_failure_that_ends_all_is_in_the_error_alone(server, get):
    with pytest.raises(I2IError) as error:
        get(remote(server.url("/gone.zip"), server.url("/also-gone.zip")))
    assert len(error.value.problems) == 2 and error.value.watched.said == []


def test_a_server_that_falls_silent_is_left_after_a_while(tmp_path, server, get):
    fallen_silent = threading.Event()

    def silent(request: Request) -> None:
        fallen_silent.wait()

    server.script = [silent]
    with open_client(timeout=0.05) as impatient:
        watched = get(remote(server.url()), impatient)
    fallen_silent.set()
    assert "no more data in time" in watched.said[0] and (tmp_path / "file.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(("seconds", "left"), [(40.0, False), (61.0, True)])
def test_a_server_that_trickles_is_left_for_the_next(tmp_path, server, get, monkeypatch, seconds, left):
    """With a clock that goes on so far at every look."""
    monkeypatch.setattr(answers, "LEAST", 2000)
    server.files["/mirror.zip"] = CONTENT
    server.script = [answering(200, CONTENT[:1000], Content_Length=str(len(CONTENT)))]
    watched = get(remote(server.url(), server.url("/mirror.zip")), clock=itertools.count(0, seconds).__next__)
    assert [f"{server.url()}: sent only 1,000 bytes in 61 s" in watched.said] == [left]
    assert watched.slept == [] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_wrong_checksum_names_both_and_leaves_nothing(tmp_path, server, get):
    wrong = b"y" * len(CONTENT)
    server.files["/file.zip"] = wrong
    with pytest.raises(I2IError) as error:
        get(remote(server.url()))
    for content in (wrong, CONTENT):
        assert hashlib.sha256(content).hexdigest() in str(error.value)
    assert [*tmp_path.iterdir()] == [] and len(server.asked) == 1


def test_a_wrong_checksum_leads_to_the_next_mirror(tmp_path, server, get):
    server.files["/bad.zip"] = b"y" * len(CONTENT)
    get(remote(server.url("/bad.zip"), server.url()))
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_file_with_the_wrong_content_is_set_aside(tmp_path, server, get):
    for n, content in enumerate([b"mine", b"mine too"]):
        (tmp_path / "file.zip").write_bytes(content)
        watched = get(remote(server.url()))
        assert (tmp_path / "file.zip").read_bytes() == CONTENT
        assert (tmp_path / f"file.zip.old{n or ''}").read_bytes() == content and ".old" in watched.said[0]


@pytest.mark.parametrize("length", [len(CONTENT) - 1, len(CONTENT) + 1, 10**15])
def test_another_length_than_the_table_says_is_not_downloaded(server, get, length):
    server.script = [answering(200, b"y" * 1000, Content_Length=str(length))]
    with pytest.raises(I2IError, match=rf"has {length:,} bytes; file.zip has {len(CONTENT):,}"):
        get(remote(server.url()))


def test_a_length_that_is_a_lie_is_an_answer_that_broke_off(tmp_path, server, get):
    server.script = [answering(200, CONTENT[:1000], Content_Length=str(len(CONTENT)))]
    get(remote(server.url()))
    assert server.ranges == [None, "bytes=1000-"] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_an_answer_without_a_length_that_ends_early_is_gone_on_with(tmp_path, server, get):
    server.script = [answering(200, CONTENT[:1000], Content_Length="")]
    get(remote(server.url()))
    assert server.ranges == [None, "bytes=1000-"] and (tmp_path / "file.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("exact", [True, False])
def test_never_more_bytes_than_the_table_says(tmp_path, server, get, exact):
    server.script = [answering(200, CONTENT + b"y" * 2_000_000, Content_Length="")]
    with pytest.raises(I2IError, match="sends more than the 300,000 bytes") as error:
        get(remote(server.url(), exact=exact))
    assert max(error.value.watched.done) <= len(CONTENT)
    assert sum(p.stat().st_size for p in tmp_path.iterdir() if p.suffix == ".part") == 0


def test_a_size_may_be_an_upper_bound(tmp_path, server, get):
    bounded = replace(remote(server.url()), size=10**6, exact=False)
    assert get(bounded).sizes == {len(CONTENT)}  # the server says it
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    server.script = [answering(200, CONTENT, Content_Length="")]
    assert get(replace(bounded, name="another.zip")).sizes == {None}


def test_a_transfer_may_be_compressed(tmp_path, server, get):
    content = b"0" * 5_000_000
    server.script = [answering(200, gzip.compress(content), Content_Encoding="gzip")]
    get(remote(server.url(), content=content))
    assert (tmp_path / "file.zip").read_bytes() == content


def test_a_compressed_bomb_is_cut_off(server, get):
    server.script = [answering(200, gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")]
    with pytest.raises(I2IError, match="sends more than"):
        get(remote(server.url()))


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_gzipped_file_that_is_called_an_encoding_is_taken_as_it_is(tmp_path, server, get, encoding):
    content = gzip.compress(CONTENT)
    server.script = [answering(200, content, Content_Encoding=encoding, Content_Type="application/x-tar")]
    get(remote(server.url("/set.tar.gz"), content=content, name="set.tar.gz"))
    assert (tmp_path / "set.tar.gz").read_bytes() == content


def test_a_web_page_is_not_the_file(server, get):
    page = b"<html>".ljust(len(CONTENT))
    server.script = [answering(200, page, Content_Type="text/html; charset=utf-8")]
    with pytest.raises(I2IError, match="a web page in place of the file"):
        get(remote(server.url()))


def test_a_redirect_on_the_same_host_is_followed_with_its_range(tmp_path, server, get):
    server.script = [answering(302, Location="/elsewhere.zip"), dropping(1000), answering(301, Location="/file.zip")]
    server.files["/elsewhere.zip"] = CONTENT
    get(remote(server.url("/old.zip")))
    assert [path for path, _ in server.asked] == ["/old.zip", "/elsewhere.zip", "/old.zip", "/file.zip"]
    assert server.ranges[-2:] == ["bytes=1000-"] * 2


@pytest.mark.parametrize(
    "where", ["http://localhost/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "//other.example/x"]
)
def test_a_redirect_to_an_unsafe_place_is_refused(server, get, where):
    server.script = [answering(302, Location=where)]
    with pytest.raises(I2IError, match="only HTTPS is followed"):
        get(remote(server.url()))
    assert len(server.asked) == 1


def test_https_is_not_left(get):
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "safe.example":
            return httpx2.Response(200, stream=httpx2.ByteStream(CONTENT))
        where = {"a.example": "https://safe.example/x", "b.example": "http://b.example/file.zip"}[request.url.host]
        return httpx2.Response(302, headers={"Location": where})

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        with pytest.raises(I2IError, match="redirects to http://b.example/file.zip"):
            get(remote("https://b.example/file.zip"), client)
        get(remote("https://a.example/file.zip"), client)


@pytest.mark.parametrize(
    "where", ["https://..../x", "https://\xff\xfe/x", "https://[::1/x", "https://" + "a" * 70 + "/x"]
)
def test_a_redirect_to_what_is_no_host_leads_to_the_next_mirror(tmp_path, server, get, where):
    server.script = [answering(302, Location=where)]
    watched = get(remote(server.url(), server.url("/file.zip?2")))
    assert len(watched.said) == 1 and (tmp_path / "file.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("tag", ['"\xff"', '"' + "x" * 5000 + '"', '"a\tb"'])
def test_an_odd_tag_is_not_sent_back(tmp_path, server, get, tag):
    server.tag = tag
    server.script = [dropping(100_000)]
    get(remote(server.url()))
    assert "If-Range" not in server.asked[1][1] and (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_long_reason_is_cut(server, get):
    server.script = [lambda request: (request.send_response_only(404, "x" * 9000), request.end_headers())]
    with pytest.raises(I2IError, match="answers 404 x") as error:
        get(remote(server.url()))
    assert len(str(error.value)) < 200


def test_redirects_in_a_circle_end(server, get):
    server.script = [answering(302, Location="/file.zip")] * 50
    with pytest.raises(I2IError, match="redirects more than 5 times"):
        get(remote(server.url()))


def test_ctrl_c_keeps_the_part(tmp_path, server, client):
    class Impatient(Watched):
        def progress(self, *_) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(remote(server.url()), tmp_path, client, Impatient())
    kept = (tmp_path / "file.zip.part").read_bytes()
    assert kept and CONTENT.startswith(kept)
    fetch(remote(server.url()), tmp_path, client, Watched())
    assert server.ranges == [None, f"bytes={len(kept)}-"] and (tmp_path / "file.zip").read_bytes() == CONTENT
