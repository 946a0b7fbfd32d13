"""Image files: what is read, how exactly, and what is refused with which words."""

import numpy as np
import pytest
from PIL import Image

from i2i.data import UnreadableImage
from i2i.data.pixels import prepare
from i2i.images import Picture, header, read


def picture(height=6, width=8, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tiff"])
def test_lossless_formats_are_exact(tmp_path, suffix):
    pixels = picture()
    path = tmp_path / f"image{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    assert np.array_equal(read(path).pixels, pixels)
    assert header(path).size == (8, 6)


def test_exif_orientation_turns_the_image(tmp_path):
    pixels = picture()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored as the camera lay; the top of the scene is at the right
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read(tmp_path / "turned.png").pixels, np.rot90(pixels, -1))
    assert header(tmp_path / "turned.png").size == (6, 8)


def test_a_photo_with_previews_behind_it_is_one_image(tmp_path):
    image = Image.fromarray(picture(16, 16))
    image.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[image.resize((8, 8))])
    assert read(tmp_path / "phone.jpg").size == (16, 16)


def save_16_bit_rgb(path):
    """Pillow writes no 16-bit RGB, so this writes a PNG by its specification (ISO/IEC 15948)."""
    import struct
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(4 * 6) for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def write(path, kind):
    grey = Image.fromarray(picture(16, 16, 1))
    if kind == "16-bit grey":
        Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16)).save(path.with_suffix(".png"))
    elif kind == "16-bit RGB":
        save_16_bit_rgb(path.with_suffix(".png"))
    elif kind == "float":
        Image.fromarray(np.zeros((4, 4), np.float32)).save(path.with_suffix(".tiff"))
    elif kind == "animation":
        grey.save(path.with_suffix(".webp"), save_all=True, append_images=[Image.fromarray(picture(16, 16, 1, 1))])
    elif kind == "pages":
        grey.save(path.with_suffix(".tiff"), save_all=True, append_images=[grey])
    elif kind == "truncated":
        Image.fromarray(picture(64, 64)).save(path.with_suffix(".png"))
        whole = path.with_suffix(".png").read_bytes()
        path.with_suffix(".png").write_bytes(whole[: len(whole) // 2])
    elif kind == "text":
        path.with_suffix(".jpg").write_text("no image at all")
    elif kind == "empty":
        path.with_suffix(".jpg").write_bytes(b"")
    elif kind == "another format":
        grey.save(path.with_suffix(".gif"))
        path.with_suffix(".gif").rename(path.with_suffix(".png"))
    return next(path.parent.iterdir())


REFUSED = {
    "16-bit grey": "more than 8 bits",
    "16-bit RGB": "more than 8 bits",
    "float": "more than 8 bits",
    "animation": "animation",
    "pages": "pages",
    "truncated": "cannot be read",
    "text": "known format",
    "empty": "known format",
    "another format": "known format",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_files_are_named_with_the_reason(tmp_path, kind):
    path = write(tmp_path / "image", kind)
    with pytest.raises(UnreadableImage, match=REFUSED[kind]) as error:
        read(path)
    assert error.value.problems[0].where == str(path)
    if kind != "truncated":  # its header is fine
        with pytest.raises(UnreadableImage, match=REFUSED[kind]):
            header(path)


def test_too_many_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr("i2i.images.reading.MAX_PIXELS", 40)
    Image.fromarray(picture()).save(tmp_path / "large.png")
    with pytest.raises(UnreadableImage, match="8x6"):
        read(tmp_path / "large.png")


def test_missing_file(tmp_path):
    with pytest.raises(UnreadableImage, match="No such file"):
        read(tmp_path / "gone.png")


def test_prepare_keeps_pixels_of_the_right_size_and_puts_channels_first():
    pixels = picture(8, 8)
    assert np.array_equal(prepare(Picture.of(Image.fromarray(pixels)), 3, 8), pixels.transpose(2, 0, 1))
    grey = picture(8, 8, 1)
    assert np.array_equal(prepare(Image.fromarray(grey), 1, 8), grey[None])
    assert np.array_equal(prepare(Image.fromarray(grey), 3, 8), np.stack([grey] * 3))


def test_prepare_makes_grey_by_the_luma_of_bt_601():
    pixels = picture(8, 8)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(prepare(Picture.of(Image.fromarray(pixels)), 1, 8)[0] - luma).max() <= 1


def test_prepare_puts_transparency_on_white():
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255  # above opaque black, below transparent black
    for image in (Image.fromarray(pixels), Image.fromarray(pixels).convert("LA")):
        assert np.array_equal(prepare(image, 1, 4)[0], np.repeat([0, 0, 255, 255], 4).reshape(4, 4))


def test_prepare_reads_palettes_cmyk_and_one_bit():
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert prepare(palette, 3, 4)[:, 0, 0].tolist() == [200, 100, 50]
    palette.info["transparency"] = 1
    assert prepare(palette, 3, 4)[:, 0, 0].tolist() == [255, 255, 255]
    assert prepare(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), 3, 4)[:, 0, 0].tolist() == [255, 0, 0]
    assert prepare(Image.new("1", (4, 4), 1), 3, 4)[:, 0, 0].tolist() == [255, 255, 255]


def test_prepare_resizes_bicubically():
    image = Image.fromarray(picture(20, 30))
    expected = np.asarray(image.resize((8, 8), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(prepare(image, 3, 8), expected)


def test_a_large_image_below_the_limit_is_read_without_a_warning(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow warns above it, and refuses above twice that
    Image.new("1", (9, 9)).save(tmp_path / "x.png")
    assert header(tmp_path / "x.png").size == (9, 9) and not recwarn.list


def test_an_image_that_does_not_fit_into_the_memory_says_so(tmp_path, monkeypatch):
    Image.new("RGB", (9, 9)).save(tmp_path / "x.png")

    def full(image):
        raise MemoryError

    monkeypatch.setattr("i2i.images.reading.ImageOps.exif_transpose", full)
    with pytest.raises(UnreadableImage, match="too large for the memory"):
        read(tmp_path / "x.png")
