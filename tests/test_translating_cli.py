"""`i2i translate` as a user meets it: pipes, patterns, exit codes and what it says."""

import io
import signal
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import identity
import numpy as np
import pytest
import tiny
from PIL import Image

from i2i import cli


class Stream(io.TextIOWrapper):
    """A standard stream that holds what was written or is to be read."""

    def __init__(self, content: bytes = b"", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8", newline="")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def content(self) -> bytes:
        self.flush()
        return self.buffer.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return identity.run(tmp_path_factory.mktemp("identity"), names=["flat", "deep"]).folder


@pytest.fixture
def i2i(run, tmp_path, monkeypatch):
    """Calls `i2i translate` with a run that changes nothing, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, stdin=b"", terminals=()):
        streams = {name: Stream(stdin if name == "stdin" else b"", name in terminals) for name in STREAMS}
        for name, stream in streams.items():
            monkeypatch.setattr(sys, name, stream)
        monkeypatch.setattr(sys, "argv", ["i2i", "-p", identity.__file__, "translate", str(run), *map(str, arguments)])
        with warnings.catch_warnings():
            try:
                cli.main()
                code = 0
            except SystemExit as end:
                code = end.code or 0
        out, err = (streams[name].content() for name in ("stdout", "stderr"))
        return SimpleNamespace(code=code, out=out, err=err.decode())

    return call


STREAMS = ("stdin", "stdout", "stderr")


def encoded(pixels, format="PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_an_image_goes_through_a_pipe(i2i):
    pixels = noise(9, 14, 3)
    told = i2i("-", "-o", "-", stdin=encoded(pixels))
    assert (told.code, told.err) == (0, "")
    assert np.array_equal(Image.open(io.BytesIO(told.out)), pixels)


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [("PNG", (), "PNG"), ("JPEG", (), "PNG"), ("TIFF", (), "TIFF"), ("PNG", ("--format", "jpg"), "JPEG")],
)
def test_the_format_in_a_pipe(i2i, given, options, expected):
    told = i2i("-", "-o", "-", *options, stdin=encoded(noise(9, 14, 3), given))
    assert told.code == 0 and Image.open(io.BytesIO(told.out)).format == expected
    assert told.err == ("" if given == expected else f"1 written as {expected}: they were {given}\n")


def test_half_a_pipe(i2i):
    pixels = noise(9, 14, 3)
    assert i2i("-", "-o", "out", stdin=encoded(pixels)).code == 0
    assert np.array_equal(Image.open("out/stdin.png"), pixels)
    told = i2i("out/stdin.png", "-o", "-")
    assert told.code == 0 and np.array_equal(Image.open(io.BytesIO(told.out)), pixels)


def test_a_bad_image_in_a_pipe_writes_nothing(i2i):
    told = i2i("-", "-o", "-", stdin=b"hello")
    assert (told.code, told.out) == (1, b"") and told.err.startswith("error: stdin: is no image")


@pytest.mark.parametrize(
    ("arguments", "terminals", "message"),
    [
        (["-", "x.png", "-o", "out"], (), "IMAGES: - stands alone"),
        (["in", "-o", "-"], (), "--out: - takes one image, not 2; give a folder"),
        (["-", "-o", "out"], ("stdin",), "IMAGES: - reads an image from stdin, which is the keyboard"),
        (["in/0.png", "-o", "-"], ("stdout",), "--out: - writes an image to stdout, which is the terminal"),
        (["in", "-o", ""], (), "--out: is empty; give a folder, or - for stdout"),
        (["in", "-o", "in"], (), "--out: 'in' is the folder of the images"),
        (["*.gif", "nowhere", "-o", "out"], (), "IMAGES: nothing matches '*.gif'"),
        (["in", "-o", "out", "--batch-size", "0"], (), "--batch-size"),
    ],
)
def test_mistakes(i2i, arguments, terminals, message):
    tiny.write_images(Path("in"), 2)
    told = i2i(*arguments, terminals=terminals)
    assert told.code == 2 and message in told.err and told.out == b"" and not Path("out").exists()


def test_what_is_said_of_a_mixed_folder(i2i):
    folder = tiny.write_images(Path("in"), 3)
    Image.fromarray(noise(5, 6, 3)).save(folder / "photo.jpg")
    (folder / "text.png").write_text("hello")
    np.save(folder / "seven.npy", noise(5, 6, 7))
    Image.fromarray(noise(5, 6, 3)).save(folder / "x [bold].png")
    Path("out").mkdir()
    Path("out/1.png").write_text("mine")
    told = i2i("in", "-o", "out")
    assert told.code == 1
    first, *notes = told.out.decode().splitlines()
    assert first.startswith("4 of 7 images translated, flat to deep, in out, ") and " images/s, by torch in " in first
    assert notes == [
        "2 could not be translated; the errors say why",
        "1 left as they are: they were there already; --overwrite replaces them",
        "1 written as PNG: they were JPEG",
    ]
    assert [line.partition(": ")[2] for line in told.err.splitlines()] == [
        "in/seven.npy: has 7 channels and cannot be brought to 3",
        "in/text.png: is no image of a known format (JPEG, PNG, WebP, BMP, GIF, TIFF, NPY, NPZ), or is damaged",
    ]
    again = i2i(".", "-o", "out")
    assert "left as they are" not in again.out.decode()
    assert "5 in out were not taken for images to translate" in again.out.decode()


def test_names_that_are_no_unicode(i2i):
    folder = tiny.write_images(Path("in"), 1)
    try:
        (folder / "n\udcff.png").write_bytes(encoded(noise(4, 4, 3)))
        (folder / "t\udcff.png").write_text("hello")
    except OSError:
        pytest.skip("this file system has none")
    told = i2i("in", "-o", "out")
    assert told.code == 1 and "2 of 3 images translated" in told.out.decode()
    assert Path("out/n\udcff.png").exists()


def test_ctrl_c_says_how_many_are_done(i2i, monkeypatch):
    tiny.write_images(Path("in"), 8)
    pictures = []

    def stop(translator, taken, batch_size):
        if len(pictures) == 3:
            raise KeyboardInterrupt
        pictures.append(1)
        return [one.unit for one in taken]

    monkeypatch.setattr("i2i.translating.files.run", stop)
    told = i2i("in", "-o", "out")
    assert told.code == 130 and told.out.decode().startswith(
        "interrupted: 3 of 8 images translated, flat to deep, in out"
    )
    assert len(list(Path("out").iterdir())) == 3


def test_the_end_by_sigterm_is_as_tidy_as_ctrl_c(i2i, monkeypatch):
    tiny.write_images(Path("in"), 8)

    def stop(translator, units, batch_size):
        signal.raise_signal(signal.SIGTERM)
        return units

    monkeypatch.setattr("i2i.translating.files.run", stop)
    before = signal.getsignal(signal.SIGTERM)
    told = i2i("in", "-o", "out")
    assert told.code == 130 and told.out.startswith(b"interrupted: 0 of 8 images translated")
    assert list(Path("out").iterdir()) == [] and signal.getsignal(signal.SIGTERM) is before


def test_a_terminal_is_not_flooded_with_errors(i2i):
    Path("in").mkdir()
    for i in range(30):
        Path(f"in/{i:02}.png").write_text("hello")
    assert i2i("in", "-o", "out").err.count("error: in/") == 30
    told = i2i("in", "-o", "out", terminals=["stderr"])
    assert told.err.count("error:") == 20
    assert "and 10 more; 2> errors.txt keeps all of them" in told.err


def test_a_full_disk_is_one_message(i2i, monkeypatch):
    tiny.write_images(Path("in"), 8)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("i2i.translating.work.write", full)
    told = i2i("in", "-o", "out")
    assert told.code == 2 and told.out.decode().startswith("0 of 8 images translated")
    assert told.err.count("error:") == 1 and "No space left on device" in told.err
