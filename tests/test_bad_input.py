"""Bad input: each mistake is one clear message that names the file, and nothing is lost or silently left out."""

import json
import os
import struct
import time

import numpy as np
import pictures
import pytest
from pictures import deep_png, noise, npy, png, raw_tiff, saved, tiff
from PIL import Image
from tiny import write_images

from i2i.data import DataOptions, UnreadableImage, open_data
from i2i.data.folders import Folders, find_images
from i2i.errors import I2IError
from i2i.images import header, read
from i2i.images.intake import Intake


def animated(format, **options):
    frames = [Image.fromarray(noise(20, 20, 3, seed=seed)) for seed in range(3)]
    return saved(frames[0], format, save_all=True, append_images=frames[1:], **options)


def not_finite():
    values = noise(20, 30, 1, "float32")
    values[7, 11] = values[9, 2] = np.nan
    return values


def looped(n_pages, n_tags):
    """A TIFF whose pages lie in each other: little to store, and much to read."""
    file = bytearray(8 + 12 * (n_pages + n_tags))
    file[:8] = b"II*\0\x08\0\0\0"
    for i in range(n_pages):
        start = 8 + 12 * i
        struct.pack_into("<H", file, start, n_tags)
        struct.pack_into("<I", file, start + 2 + 12 * n_tags, start + 12 if i < n_pages - 1 else 0)
    return bytes(file)


def wide_webp():
    content = bytearray(saved(Image.new("RGBA", (8, 8), "red"), "WEBP", exif=pictures.exif(1)))
    content[24:30] = b"\xff\x3f\0\xff\x3f\0"  # the size of the whole, less 1
    return bytes(content)


PHOTO = np.asarray(Image.fromarray(noise(9, 12)).resize((120, 90)))

REFUSED = {
    "nothing.png": (b"", "is empty"),
    "text.png": (b"Dear photographer,\n", "is no image of a known format (JPEG, PNG, WebP, BMP, GIF, TIFF, NPY, NPZ)"),
    "page.jpg": (b"<!DOCTYPE html><html>404</html>", "is no image of a known format"),
    "half.jpg": (saved(PHOTO, "JPEG")[:1500], "image file is truncated"),
    "half.png": (saved(PHOTO, "PNG")[:5000], "image file is truncated"),
    "half16.png": (deep_png(noise(60, 80, dtype="uint16"))[:5000], "is damaged or truncated ("),
    "half.webp": (saved(PHOTO, "WEBP")[:800], "is damaged or truncated ("),
    "half.bmp": (saved(PHOTO, "BMP")[:5000], "image file is truncated"),
    "half.gif": (saved(PHOTO, "GIF")[:3000], "image file is truncated"),
    "half.tif": (tiff(PHOTO, photometric="rgb")[:5000], "is truncated"),
    "half_lzw.tif": (tiff(PHOTO, photometric="rgb", compression="lzw")[:5000], "is truncated"),
    "half.npy": (npy(PHOTO)[:5000], "is damaged: its array takes 32400 bytes, and it holds 4872"),
    "half.npz": (pictures.npz(x=PHOTO)[:5000], "is damaged or truncated ("),
    "head.jpg": (saved(PHOTO, "JPEG")[:20], "is damaged or truncated ("),
    "head.png": (saved(PHOTO, "PNG")[:20], "is damaged or truncated ("),
    "flipped.png": (saved(PHOTO, "PNG").replace(b"IDAT", b"IDAX"), "is damaged or truncated ("),
    "bomb.png": (png(100_000, 100_000, 8, 2, bytes(1000)), "is 100000x100000, more than 178 million pixels"),
    "bomb16.png": (png(100_000, 100_000, 16, 6, bytes(1000)), "is 100000x100000, more than 178 million pixels"),
    "bomb.tif": (raw_tiff(bytes(48), t256=100_000, t257=100_000), "is 100000x100000, more than 178 million pixels"),
    "bands.tif": (raw_tiff(bytes(48), t256=10_000, t257=10_000, t277=99), "is 10000x10000 with 99 channels of uint8"),
    "bomb.webp": (wide_webp(), "has more than 178 million pixels; make it smaller"),
    "bomb_pages.tif": (looped(2000, 1000), "not all of its pages are there"),
    "minus.npy": (
        npy(noise()).replace(b"(6, 8, 3), } ", b"(-1, 8, 3), }"),
        "is 8x-1 with 3 channels: there is nothing",
    ),
    "moving.gif": (animated("GIF"), "is an animation or has several pages (3)"),
    "moving.webp": (animated("WEBP"), "is an animation or has several pages (3)"),
    "moving.png": (animated("PNG"), "is an animation or has several pages (3)"),
    "pages.tif": (pictures.several(noise(), noise(5, 4)), "page 1 is 8x6 RGB of uint8, page 2 4x5 RGB of uint8"),
    "nan.tif": (
        tiff(not_finite()),
        "holds 2 values that are not finite (NaN or infinite), the first at row 7, column 11",
    ),
    "nan.npy": (npy(not_finite()), "row 7, column 11"),
    "int32.tif": (tiff(np.zeros((4, 4), np.int32)), "holds int32, which is not supported; save it as uint8, uint16"),
    "int64.npy": (npy(np.zeros((4, 4), np.int64)), "holds int64, which is not supported; save it as uint8, uint16"),
    "planes.npy": (npy(np.zeros((3, 64, 64), np.uint8)), "looks like (C, H, W); an image is (H, W, C)"),
}
PIXELS = ("half", "nan.", "flipped", "head.")  # what only decoding tells, in some formats


def known_by_header(name):
    return not name.startswith(PIXELS)


@pytest.mark.parametrize("name", REFUSED)
def test_each_is_one_message_that_names_the_file(tmp_path, name, capfd, recwarn, caplog):
    content, reason = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    for function in (read, header) if known_by_header(name) else (read,):
        with pytest.raises(UnreadableImage) as error:
            function(path)
        (problem,) = error.value.problems
        assert problem.where == str(path) and "\n" not in problem.message and len(problem.message) < 250
        assert reason in str(problem)
        with pytest.raises(UnreadableImage) as error:
            function(content, "standard input")
        assert error.value.problems[0].where == "standard input" and error.value.problems[0].message == problem.message
    out, err = capfd.readouterr()
    assert not out + err and not recwarn.list and not caplog.records


@pytest.mark.parametrize("name", ["bomb.png", "bomb16.png", "bomb.tif", "bomb.webp", "bomb_pages.tif", "bands.tif"])
def test_bombs_are_refused_at_once(name):
    start = time.perf_counter()
    with pytest.raises(UnreadableImage):
        read(REFUSED[name][0])
    assert time.perf_counter() - start < 0.1


def opened(folder, **options):
    settings = {"load_size": 18, "crop_size": 16, "n_workers": 0}
    table = DataOptions.model_validate_json(json.dumps(settings | options))
    source = Folders(a=str(folder / "a"), b=str(write_images(folder / "b", 2)))
    return open_data(table, source, paired=False, seed=0)


@pytest.mark.parametrize("cache", [True, False])
def test_training_starts_with_all_of_them_named(tmp_path, cache):
    write_images(tmp_path / "a", 2)
    for name, (content, _) in REFUSED.items():
        (tmp_path / "a" / name).write_bytes(content)
    with pytest.raises(I2IError) as error:
        opened(tmp_path, cache=cache)
    *shown, rest = error.value.problems
    assert len(shown) == 10 and int(rest.message.split()[1]) >= sum(map(known_by_header, REFUSED)) - 10
    assert not cache or int(rest.message.split()[1]) == len(REFUSED) - 10
    assert all(problem.where.startswith(str(tmp_path / "a")) for problem in shown)


@pytest.mark.parametrize("name", ["half.jpg", "text.png", "bomb.tif", "moving.gif"])
def test_one_of_them_stops_training_or_is_left_out_with_a_warning(tmp_path, name):
    write_images(tmp_path / "a", 2)
    (tmp_path / "a" / name).write_bytes(REFUSED[name][0])
    with pytest.raises(I2IError) as error:
        opened(tmp_path)
    (problem,) = error.value.problems
    assert problem.where == str(tmp_path / "a" / name) and REFUSED[name][1] in problem.message
    with pytest.warns(UserWarning, match=f"1 image of a left out: .*{name}"):
        data = opened(tmp_path, unreadable="skip")
    assert len(data.skipped) == 1 and name in data.skipped[0] and data.n_images == (2, 2)


def test_a_folder_that_is_empty_or_holds_no_image(tmp_path):
    with pytest.raises(I2IError, match=r"data.source.a: the folder '.*' holds no image \(\.bmp, .*\.webp\)$"):
        find_images(tmp_path, "data.source.a")
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(I2IError, match="holds no image .*txt"):
        find_images(tmp_path, "data.source.a")


def test_a_folder_that_is_not_there_or_is_a_file(tmp_path):
    (tmp_path / "zebra").mkdir()
    with pytest.raises(I2IError, match="there is no folder .*zebras.*did you mean 'zebra'"):
        find_images(tmp_path / "zebras", "data.source.a")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(I2IError, match="is a file, not a folder"):
        find_images(tmp_path / "a.png", "data.source.a")


def test_a_folder_without_permission(tmp_path, monkeypatch):
    write_images(tmp_path / "inside", 1)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(I2IError, match=f"data.source.a: cannot read {tmp_path}: Permission denied"):
        find_images(tmp_path, "data.source.a")


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = write_images(tmp_path, 1) / "0.png"

    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(UnreadableImage) as error:
        read(path)
    assert str(error.value) == f"{path}: cannot be read: Permission denied"


def test_a_folder_named_as_an_image(tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UnreadableImage, match="Is a directory"):
        read(tmp_path / "folder.png")
    write_images(tmp_path / "folder.png", 2)
    assert find_images(tmp_path, "data.source.a").names == ["folder.png/0.png", "folder.png/1.png"]


def test_names_with_spaces_and_from_everywhere(tmp_path):
    names = ["a b.png", "ä/é ñ.png", "日本/馬.png", "🦓.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(saved(noise(), "PNG"))
    found = find_images(tmp_path, "data.source.a")
    assert found.names == sorted(names) and all(np.array_equal(found.read(i).pixels, noise()) for i in range(4))


def intake(content, channels=3):
    return Intake(channels).pixels(read(content))


def test_cmyk_is_converted():
    image = Image.frombytes("CMYK", (8, 6), noise(channels=4).tobytes())
    assert np.array_equal(intake(saved(image, "TIFF")), np.asarray(image.convert("RGB")))
    jpeg = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)  # Adobe stores it inverted
    assert np.abs(intake(jpeg).astype(int) - [255, 0, 0]).max() <= 2


def test_a_palette_with_transparency_is_put_on_the_background():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    for content in (saved(image, "PNG", transparency=1), saved(image, "GIF", transparency=1)):
        assert intake(content).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    half = saved(image, "PNG", transparency=bytes([255, 128]))
    assert intake(half).tolist() == [[[10, 20, 30], [round(c * 128 / 255 + 127) for c in (200, 100, 50)]]]


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "GIF"])
def test_one_bit_becomes_black_and_white(format):
    bits = noise(9, 13, 1) > 127
    content = saved(Image.fromarray(bits), format)
    assert np.array_equal(intake(content, 1)[:, :, 0], np.where(bits, 255, 0))
    assert np.array_equal(intake(content, 3), np.where(bits, 255, 0)[:, :, None].repeat(3, 2))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # in a test they come through
def test_damage_at_any_place_is_a_message_or_a_picture(capfd):
    """Whatever is wrong with a file, reading it does not end in an error of a library."""
    rng = np.random.default_rng(0)
    files = [
        saved(PHOTO, "JPEG"), saved(PHOTO, "PNG"), saved(PHOTO, "WEBP"), saved(PHOTO, "GIF"), saved(PHOTO, "BMP"),
        saved(PHOTO, "JPEG", exif=pictures.exif(6), icc_profile=pictures.display_p3()), deep_png(noise(dtype="uint16")),
        tiff(PHOTO, photometric="rgb"), tiff(PHOTO, photometric="rgb", compression="lzw", tile=(32, 32)),
        tiff(PHOTO, photometric="rgb", compression="jpeg"), pictures.several(noise(), noise()),
        npy(noise()), pictures.npz(x=noise()), saved(Image.new("1", (30, 20)), "TIFF", compression="group4"),
    ]  # fmt: skip
    for content in files:
        for _ in range(40):
            damaged = bytearray(content)
            for at in rng.integers(0, min(len(content), 600), 3):
                damaged[at] = rng.integers(0, 256)
            for function in (read, header):
                try:
                    function(bytes(damaged[: rng.integers(len(content) // 2, len(content) + 1)]), "x")
                except UnreadableImage as error:
                    assert str(error).startswith("x: ") and len(str(error)) < 250 and "\n" not in str(error)
    assert capfd.readouterr().err == ""
