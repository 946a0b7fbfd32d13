"""Public sets: the table, its page, and how a set gets onto the disk, as a user of `i2i data download` sees it."""

import bz2
import errno
import gzip
import hashlib
import io
import os
import re
import struct
import tarfile
import tomllib
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from local_server import Request, Server, Watched, answering, dropping, good, serving
from PIL import Image
from test_cli import i2i
from test_docs import DOCS, rows

from i2i.data.source import Split
from i2i.datasets.download import answers, digits, parts, public
from i2i.datasets.download.parts import RemoteFile
from i2i.datasets.download.public import PublicSet, obtain, public_sets
from i2i.datasets.download.transfer import open_client
from i2i.errors import I2IError


def png(seed: int, size: tuple[int, int] = (8, 8)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(stream := io.BytesIO(), "PNG")
    return stream.getvalue()


IMAGES = {"trainA": 3, "trainB": 4, "testA": 1, "testB": 2}
FILES = {f"{folder}/{n}.png": png(100 * f + n) for f, (folder, k) in enumerate(IMAGES.items()) for n in range(k)}
OTHERS = {"readme.txt": b"x", "trainA/.hidden.png": b"x", "trainA/notes.txt": b"x", "valA/1.png": b"x", "1.png": b"x"}


def zipped(files: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as packed:
        for name, content in files.items():
            packed.writestr(f"top/{name}", content)
    return stream.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w:gz") as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(f"top/{name}")
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def served(server: Server, content: bytes, **more) -> PublicSet:
    """A set in one archive on the server."""
    server.files["/set.zip"] = content
    remote = RemoteFile(
        "set.zip", (server.url("/set.zip"),), len(content), "sha256", hashlib.sha256(content).hexdigest()
    )
    options = {"source": {"name": "root", "path": "."}, "images": IMAGES, "top": "top", "paired": False} | more
    return PublicSet("emoji", "flat; in 3D", "drawn here", remote=(remote,), **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def get(tmp_path, monkeypatch):
    """Obtains a set below tmp_path, and says what the user was told."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(wanted: PublicSet, **options) -> list[str]:
        watched = Watched()
        with open_client(timeout=5) as client:
            assert obtain(wanted, tmp_path, client, watched, **options) == tmp_path / wanted.name
        return watched.said

    return run


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_set_is_downloaded_and_unpacked_once(tmp_path, server, get, pack):
    wanted = served(server, pack(FILES | OTHERS))
    said = get(wanted)
    assert contents(tmp_path) == {f"emoji/{name}": content for name, content in FILES.items()}
    assert "files of set.zip left out, since they are no images of the set: 5" in said
    assert get(wanted) == [f"{tmp_path / 'emoji'} is complete already"] and len(server.asked) == 1


def test_the_archive_may_be_kept_and_is_then_used_again(tmp_path, server, get):
    wanted = served(server, zipped(FILES))
    get(wanted, keep_archive=True)
    assert (tmp_path / "emoji.download" / "set.zip").read_bytes() == server.files["/set.zip"]
    (tmp_path / "emoji" / "trainA" / "0.png").unlink()
    get(wanted)
    assert len(server.asked) == 1 and not (tmp_path / "emoji.download").exists()


def test_somebody_elses_files_beside_the_archive_stay(tmp_path, server, get):
    (tmp_path / "emoji.download").mkdir()
    (tmp_path / "emoji.download" / "mine.txt").write_text("mine")
    get(served(server, zipped(FILES)))
    assert [p.name for p in (tmp_path / "emoji.download").iterdir()] == ["mine.txt"]


def test_an_incomplete_set_is_set_aside_for_a_complete_one(tmp_path, server, get):
    wanted = served(server, zipped(FILES))
    (tmp_path / "emoji" / "trainA").mkdir(parents=True)
    (tmp_path / "emoji" / "trainA" / "mine.png").write_bytes(b"mine")
    said = get(wanted)
    assert said[0].endswith(
        "trainA has 1 of 3 images, trainB has 0 of 4 images, testA has 0 of 1 images, testB has 0 of 2 images"
    )
    assert contents(tmp_path / "emoji") == FILES
    assert contents(tmp_path / "emoji.old") == {"trainA/mine.png": b"mine"}


def test_what_a_killed_run_left_is_replaced(tmp_path, server, get):
    (tmp_path / ".emoji.unfinished" / "trainA").mkdir(parents=True)
    get(served(server, zipped(FILES)))
    assert contents(tmp_path) == {f"emoji/{name}": content for name, content in FILES.items()}
    assert [p.name for p in tmp_path.iterdir()] == ["emoji"]


def test_counts_without_a_record_ask_for_some_images(tmp_path, server, get):
    wanted = served(server, zipped(FILES), images=dict.fromkeys(IMAGES, 0))
    get(wanted)
    assert get(wanted) == [f"{tmp_path / 'emoji'} is complete already"]


def test_another_number_of_images_than_the_table_says_is_refused(tmp_path, server, get):
    wanted = served(server, zipped(FILES), images=IMAGES | {"trainB": 5})
    with pytest.raises(I2IError, match="trainB has 4 of 5 images"):
        get(wanted)
    assert [p.name for p in tmp_path.iterdir()] == ["emoji.download"]


def test_a_hostile_archive_leaves_nothing(tmp_path, server, get):
    with pytest.raises(I2IError, match="leads out of the folder"):
        get(served(server, zipped(FILES | {"../../../x.png": b"x"})))
    assert [p.name for p in tmp_path.iterdir()] == ["emoji.download"]


def test_a_full_disk_is_told_before_the_download(tmp_path, server, get, monkeypatch):
    wanted = served(server, zipped(FILES))
    monkeypatch.setattr(parts.shutil, "disk_usage", lambda _: type("", (), {"free": 2 * wanted.size}))
    with pytest.raises(I2IError, match=r"emoji needs [\d.]+ kB of disk space; [\d.]+ kB are free"):
        get(wanted)
    assert server.asked == []


def test_a_set_without_sha256_is_verified_by_md5_and_says_so(server, get):
    wanted = served(server, zipped(FILES))
    digest = hashlib.md5(server.files["/set.zip"]).hexdigest()
    wanted = replace(wanted, remote=(replace(wanted.remote[0], algorithm="md5", digest=digest),))
    assert get(wanted)[0] == "verified by MD5, since no SHA-256 is on record: set.zip"
    wrong = replace(wanted, name="other", remote=(replace(wanted.remote[0], digest="0" * 32),))
    with pytest.raises(I2IError, match=f"its MD5 is {digest}, not {'0' * 32}"):
        get(wrong)


def test_images_that_were_added_do_not_make_a_set_incomplete(tmp_path, server, get):
    wanted = served(server, zipped(FILES))
    get(wanted)
    (tmp_path / "emoji" / "trainA" / "mine.png").write_bytes(b"mine")
    assert get(wanted) == [f"{tmp_path / 'emoji'} is complete already"]


def test_a_link_to_nowhere_in_the_place_of_the_set_is_set_aside(tmp_path, server, get):
    (tmp_path / "emoji").symlink_to(tmp_path / "nowhere")
    get(served(server, zipped(FILES)))
    assert contents(tmp_path / "emoji") == FILES and (tmp_path / "emoji.old").is_symlink()


def test_two_processes_do_not_download_one_set_at_once(tmp_path, server, get):
    wanted = served(server, zipped(FILES))

    def meanwhile(request: Request) -> None:
        with pytest.raises(I2IError, match="emoji: is being downloaded by another process"):
            get(wanted)
        good(request)

    server.script = [meanwhile]
    get(wanted)
    assert contents(tmp_path) == {f"emoji/{name}": content for name, content in FILES.items()}
    assert server.script == [] and len(server.asked) == 1


def test_a_failure_leaves_no_empty_folders(tmp_path, server, get):
    wanted = served(server, zipped(FILES))
    server.script = [answering(404)]
    with pytest.raises(I2IError, match="answers 404"):
        get(wanted)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("where", ["transfer", "public"])
def test_a_disk_that_is_full_later_is_told_with_its_place(tmp_path, server, monkeypatch, where):
    """The system says no more than "No space left on device"."""

    def full(*_, **__) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    wanted, watched = served(server, zipped(FILES)), Watched()
    if where == "transfer":
        monkeypatch.setattr(answers, "_write", full)
    else:
        monkeypatch.setattr(public, "extract", full)
    with open_client(timeout=5) as client, pytest.raises(OSError, match="No space left") as error:
        obtain(wanted, tmp_path, client, watched)
    assert error.value.filename == str(tmp_path)
    kept = tmp_path / "emoji.download"
    assert f"what has been downloaded is kept in {kept}; the same command goes on from there" in watched.said
    assert [p.name for p in tmp_path.iterdir()] == ["emoji.download"] and any(kept.iterdir())


def idx(values: np.ndarray) -> bytes:
    """LeCun's format, independently of what reads it."""
    return gzip.compress(struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes())


def libsvm(images: np.ndarray, labels: np.ndarray, sparse: bool) -> bytes:
    lines = []
    for image, label in zip(images.reshape(len(images), -1), labels, strict=True):
        pairs = [f"{i}:{v:.6f}" for i, v in enumerate(image, 1) if v or not sparse]
        lines.append(" ".join([str(label + 1), *pairs]) + " \n")
    return bz2.compress("".join(lines).encode())


def test_digits_become_labelled_folders(tmp_path, server, get, engine):
    rng = np.random.default_rng(0)
    mnist = {
        n: (rng.integers(0, 256, (k, 28, 28), np.uint8), np.arange(k, dtype=np.uint8) % 10)
        for n, k in (("train", 20), ("t10k", 10))
    }
    usps = {
        n: (rng.integers(-4, 5, (k, 16, 16)) / 4, np.arange(k) % 10) for n, k in (("usps.bz2", 30), ("usps.t.bz2", 10))
    }
    packed = {
        f"{n}-{kind}-idx{a}-ubyte.gz": idx(v[i])
        for n, v in mnist.items()
        for i, (kind, a) in enumerate((("images", 3), ("labels", 1)))
    }
    packed |= {n: libsvm(*v, sparse=n == "usps.bz2") for n, v in usps.items()}
    server.files |= {f"/{name}": content for name, content in packed.items()}
    real = public_sets()["mnist2usps"]
    assert {file.name for file in real.remote} == packed.keys()
    remote = tuple(
        RemoteFile(name, (server.url(f"/{name}"),), len(c), "sha256", hashlib.sha256(c).hexdigest())
        for name, c in packed.items()
    )
    get(replace(real, remote=remote, images={"mnist/train": 20, "usps/train": 30, "mnist/test": 10, "usps/test": 10}))
    for n, (folder, k) in {"train": ("mnist/train", 20), "t10k": ("mnist/test", 10)}.items():
        for i in range(k):
            with Image.open(tmp_path / "mnist2usps" / folder / str(i % 10) / f"{i:05}.png") as image:
                assert image.mode == "L" and np.array_equal(np.asarray(image), mnist[n][0][i])
    for n, (folder, k) in {"usps.bz2": ("usps/train", 30), "usps.t.bz2": ("usps/test", 10)}.items():
        for i in range(k):
            with Image.open(tmp_path / "mnist2usps" / folder / str(i % 10) / f"{i:05}.png") as image:
                assert np.allclose(np.asarray(image), (usps[n][0][i] + 1) / 2 * 255, atol=0.501)
    source = tomllib.loads(real.recipe(tmp_path / "mnist2usps"))["source"]
    split = engine.registry.get("source", source.pop("name")).factory(**source).train()
    assert isinstance(split, Split) and (len(split.a), len(split.b)) == (20, 30)
    assert sorted(split.extras["label_a"]) == sorted([*range(10)] * 2)


BAD_DIGITS = [
    (gzip.compress(b"\0\0\x08\x03" + struct.pack(">III", 2**31, 28, 28)), "no IDX header"),
    (gzip.compress(b"\0\0\x08\x03" + struct.pack(">III", 2, 65, 28)), "no IDX header"),
    (gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 2) + b"ab"), "is damaged"),
    (gzip.compress(b"\0\0\x08\x03" + struct.pack(">III", 2, 2, 2) + b"short"), "other than the 8 bytes"),
    (gzip.compress(b"\0\0\x08\x03" + struct.pack(">III", 1, 1, 1) + bytes(9)), "other than the 1 bytes"),
    (gzip.compress(b""), "no IDX header"),
    (b"not gzip", "is damaged"),
    (gzip.compress(bytes(10_000))[:-20], "is damaged"),
]


@pytest.mark.parametrize(("content", "message"), BAD_DIGITS)
def test_damaged_idx_files_are_refused(tmp_path, content, message):
    (tmp_path / "images.gz").write_bytes(content)
    (tmp_path / "labels.gz").write_bytes(idx(np.zeros(1, np.uint8)))
    with pytest.raises(I2IError, match=message):
        digits.idx_digits(tmp_path / "images.gz", tmp_path / "labels.gz")


@pytest.mark.parametrize("labels", [[1], [1, 10]])
def test_labels_that_do_not_fit_are_refused(tmp_path, labels):
    (tmp_path / "images.gz").write_bytes(idx(np.zeros((2, 3, 3), np.uint8)))
    (tmp_path / "labels.gz").write_bytes(idx(np.array(labels, np.uint8)))
    with pytest.raises(I2IError, match="a digit for each of the 2 images"):
        digits.idx_digits(tmp_path / "images.gz", tmp_path / "labels.gz")


BAD_LINES = [
    *("11 1:0", "0 1:0", "x 1:0", "inf 1:0", "1" * 5000 + " 1:0", "1 257:0", "1 0:0", "1 1:nan", "1 1:1.01", "1 1"),
    *("1 " + "1:0 " * 20_000, "é"),
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_damaged_libsvm_lines_are_refused(tmp_path, line):
    (tmp_path / "usps.bz2").write_bytes(bz2.compress(line.encode()))
    with pytest.raises(I2IError, match="is damaged") as error:
        digits.libsvm_digits(tmp_path / "usps.bz2", 16)
    assert len(error.value.problems[0].message) < 300


# The table.


def test_the_table_is_sound():
    for name, found in public_sets().items():
        assert found.name == name and re.fullmatch(r"[a-z0-9_-]+", name) and found.about and found.origin
        assert found.images and all(n >= 0 for n in found.images.values())
        assert found.paired == (found.source["name"] == "side_by_side")
        assert (name == "mnist2usps") == (not found.top)
        for file in found.remote:
            assert re.fullmatch(r"[0-9a-f]{64}" if file.algorithm == "sha256" else r"[0-9a-f]{32}", file.digest)
            assert file.urls and len(set(file.urls)) == len(file.urls) and file.urls[0].startswith("https://")
            assert {urlsplit(url).scheme for url in file.urls} <= (
                {"https", "http"} if file.algorithm == "sha256" else {"https"}
            )
            assert file.exact or file.algorithm == "md5"
            assert all(url.endswith("/" + file.name) for url in file.urls)


def test_every_checksum_says_where_it_is_on_record():
    table = tomllib.loads(Path(public.__file__).with_name("public.toml").read_text(encoding="utf-8"))
    for entry in table.values():
        for file in entry["files"]:
            assert re.fullmatch(r"\S+/\S+@[0-9a-f]{12} \S+", file["record"])
    digests = [file.digest for found in public_sets().values() for file in found.remote]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("name", [*public_sets()])
def test_the_lines_of_a_recipe_name_a_source_and_its_options(engine, name):
    source = tomllib.loads(public_sets()[name].recipe(Path('a "folder"') / name))["source"]
    component = engine.registry.get("source", source.pop("name"))
    assert source.keys() <= {info.alias or name for name, info in component.options.model_fields.items()} and source
    assert all(value.startswith(f'a "folder"/{name}') for value in source.values())


def test_the_recipe_of_horse2zebra_reads_what_is_downloaded():
    text = (Path(__file__).parent.parent / "recipes" / "cyclegan-horse2zebra.toml").read_text(encoding="utf-8")
    assert (
        tomllib.loads(public_sets()["horse2zebra"].recipe(Path("datasets/horse2zebra")))["source"]
        == tomllib.loads(text)["data"]["source"]
    )


def row(found: PublicSet) -> dict[str, str]:
    """What the page says of a set."""
    return {
        "name": f"`{found.name}`",
        "what it shows": f"{found.about} ({found.origin})",
        "images": f"{found.n_images:,}" if found.n_images else "",
        "size": ("" if found.exact else "up to ") + parts.decimal(found.size),
        "source": f"`{found.source['name']}`",
        "checksum": "MD5" if found.only_md5 else "SHA-256",
    }


def test_the_page_is_the_table():
    page = (DOCS / "public-sets.md").read_text(encoding="utf-8")
    assert [r for r in rows(page) if "what it shows" in r] == [row(found) for found in public_sets().values()]


# The command.


def flat(text: str) -> str:
    return " ".join(text.split())


def test_without_a_name_all_sets_are_listed(monkeypatch):
    done = i2i("data", "download", "--to", "sets")
    assert done.code == 0
    for name, found in public_sets().items():
        assert name in done.out and f"{found.about} ({found.origin})" in flat(done.out)
        assert found.recipe(Path("sets") / name) in done.out
    assert done.out.count("verified by MD5\n") == sum(bool(found.only_md5) for found in public_sets().values())


def test_a_set_that_does_not_exist(tmp_path):
    done = i2i("data", "download", "horse2zebras", "--to", tmp_path)
    assert done.code == 2 and "horse2zebras: no such set; did you mean 'horse2zebra'?" in done.err
    assert [*tmp_path.iterdir()] == []


@pytest.fixture
def listed(server, monkeypatch):
    """A table of one set, on the server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    wanted = served(server, zipped(FILES))
    monkeypatch.setattr(public, "public_sets", lambda: {"emoji": wanted})
    return wanted


def test_the_command_downloads_and_says_how_to_train(tmp_path, listed):
    done = i2i("data", "download", "emoji", "--to", tmp_path)
    assert done.code == 0, done.err
    assert done.out.endswith(f'[data]\nsource = {{ name = "root", path = "{tmp_path.as_posix()}/emoji" }}\n')
    assert "10 unpaired images" in flat(done.out) and contents(tmp_path / "emoji") == FILES
    again = i2i("data", "download", "emoji", "--to", tmp_path)
    assert again.code == 0 and "is complete already" in again.err and again.out == done.out


def test_the_command_says_what_was_wrong_with_each_mirror(tmp_path, listed, server):
    server.script = [answering(404)]
    done = i2i("data", "download", "emoji", "--to", tmp_path)
    assert done.code == 2 and done.err == f"error: {server.url('/set.zip')}: answers 404 Not Found "


def test_ctrl_c_says_how_to_go_on(tmp_path, listed, server, monkeypatch):
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(public, "fetch", partial(public.fetch, sleep=interrupted))
    server.script = [dropping(1000)]
    done = i2i("data", "download", "emoji", "--to", tmp_path)
    assert done.code == 130
    assert f"kept in {tmp_path / 'emoji.download'}; the same command goes on from there interrupted " in done.err
    assert i2i("data", "download", "emoji", "--to", tmp_path).code == 0
    assert server.asked[-1][1]["Range"] == "bytes=1000-"


def test_a_disk_that_cannot_be_written_is_one_message(tmp_path, listed):
    (tmp_path / "file").write_text("no folder")
    done = i2i("data", "download", "emoji", "--to", tmp_path / "file")
    assert done.code == 2 and "Traceback" not in done.err and str(tmp_path / "file") in done.err
