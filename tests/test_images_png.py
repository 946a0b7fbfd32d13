"""PNG files of 16 bits, and the chunks beside the pixels of any."""

import struct
import zlib

import imagecodecs
import numpy as np
import pictures
import pytest
from pictures import deep_png, noise, png, saved
from test_images_reading import agree

from i2i.data import UnreadableImage
from i2i.images import header, read


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_all_16_bits_are_kept(channels):
    samples = noise(channels=channels, dtype="uint16")
    picture = agree(deep_png(samples))
    assert np.array_equal(picture.samples, np.atleast_3d(samples)) and picture.pixels.dtype == np.uint16
    assert picture.colour == ("grey" if channels < 3 else "rgb") and (picture.alpha is not None) == (channels in (2, 4))
    assert header(deep_png(samples)).mode == {1: "I;16", 2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}[channels]


def test_a_colour_that_stands_for_transparent_makes_an_alpha_of_16_bits():
    samples = noise(dtype="uint16")
    picture = agree(deep_png(samples, (b"tRNS", samples[1, 2].astype(">u2").tobytes())))
    transparent = np.zeros((6, 8), bool)
    transparent[1, 2] = True
    assert np.array_equal(picture.alpha, np.where(transparent, 0, 65535)) and np.array_equal(picture.pixels, samples)
    grey = noise(channels=1, dtype="uint16")
    assert agree(deep_png(grey, (b"tRNS", int(grey[0, 0]).to_bytes(2, "big")))).alpha[0, 0] == 0


def test_16_bits_interlaced():
    samples = noise(9, 10, dtype="uint16")
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(
        b"\0" + row.astype(">u2").tobytes() for y, x, dy, dx in passes for row in samples[y::dy, x::dx] if row.size
    )
    assert np.array_equal(read(png(10, 9, 16, 2, rows, interlaced=1)).pixels, samples)


@pytest.mark.parametrize("orientation", [3, 6])
def test_16_bits_are_turned(orientation):
    samples = noise(channels=4, dtype="uint16")
    picture = agree(deep_png(samples, (b"eXIf", pictures.exif(orientation)[6:])))
    assert np.array_equal(picture.samples, np.rot90(samples, {3: 2, 6: -1}[orientation]))
    assert picture.stored.exif == pictures.exif(1)


GAMMA, TIME = (b"gAMA", struct.pack(">I", 45455)), (b"tIME", bytes([7, 234, 11, 22, 9, 30, 0]))
PACKET = b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta tiff:Orientation='8'/>"
BESIDE = (
    GAMMA,
    (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
    (b"sRGB", b"\0"),
    (b"tEXt", b"Title\0M\xfcnchen"),
    (b"zTXt", b"Comment\0\0" + zlib.compress(b"long " * 99)),
    (b"iTXt", "Author\0\0\0de\0Autor\0Jörg".encode()),
    TIME,
)


@pytest.mark.parametrize("deep", [True, False])
def test_chunks_are_kept_as_they_stand(deep):
    samples = noise(dtype="uint16" if deep else "uint8")
    other = (b"bKGD", bytes(6)), (b"prVt", b"mine"), (b"pHYs", struct.pack(">IIB", 11811, 5906, 1))
    if deep:
        content = deep_png(samples, *BESIDE, *other)
    else:
        content = png(8, 6, 8, 2, b"".join(b"\0" + row.tobytes() for row in samples), *BESIDE, *other)
    stored = agree(content).stored
    assert stored.other["chunks"] == BESIDE and stored.dpi == pytest.approx((300, 150), abs=0.02)


def test_chunks_behind_the_pixels_are_kept_too():
    content = saved(noise(), "PNG")
    late = pictures.chunk(b"tEXt", b"Software\0painter") + pictures.chunk(b"eXIf", pictures.exif(6)[6:])
    picture = agree(content[:-12] + late + content[-12:])
    assert picture.stored.other["chunks"] == ((b"tEXt", b"Software\0painter"),) and picture.size == (6, 8)


def test_the_shape_of_pixels_is_kept_where_their_size_is_unknown():
    aspect = (b"pHYs", struct.pack(">IIB", 2, 1, 0))
    stored = read(deep_png(noise(dtype="uint16"), aspect)).stored
    assert stored.dpi is None and stored.other["chunks"] == (aspect,)


def test_xmp_in_a_chunk_says_upright():
    picture = read(deep_png(noise(dtype="uint16"), (b"iTXt", PACKET)))
    assert picture.stored.other["chunks"] == ((b"iTXt", PACKET.replace(b"'8'", b"'1'")),)


def test_the_exif_of_old_files_is_understood():
    block = pictures.exif(6, t271="Maker")
    text = f"\nexif\n{len(block):8d}\n{block.hex()}\n".encode()
    picture = agree(deep_png(noise(dtype="uint16"), (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))))
    assert picture.size == (6, 8) and b"Maker" in picture.stored.exif and not picture.stored.other["chunks"]


def test_a_profile_of_16_bits_is_kept():
    profile = pictures.display_p3()
    picture = read(deep_png(noise(dtype="uint16"), (b"iCCP", b"P3\0\0" + zlib.compress(profile))))
    assert picture.stored.profile == profile


@pytest.mark.parametrize("depth", [8, 16])
def test_a_bomb_is_refused_before_it_is_decoded(depth):
    content = png(100_000, 100_000, depth, 2, bytes(1000))
    for function in (read, header):
        with pytest.raises(UnreadableImage, match="100000x100000, more than 178 million pixels"):
            function(content)


def test_16_bits_that_are_damaged_are_refused():
    content = deep_png(noise(60, 80, dtype="uint16"))
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for broken in (content[: len(content) // 2], bytes(flipped), content[:40], content[:20]):
        with pytest.raises(UnreadableImage, match="x.png: "):
            read(broken, "x.png")


def test_a_16_bit_animation_is_refused():
    control = (b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 6, 0, 0, 1, 10, 0, 0))
    with pytest.raises(UnreadableImage, match="animation"):
        read(deep_png(noise(dtype="uint16"), *control))


def test_nothing_is_said_about_data_to_spare(caplog):
    data = png(8, 6, 16, 2, bytes(6 * (1 + 8 * 3 * 2) + 99_999))
    assert not read(data).pixels.any() and not caplog.messages
    imagecodecs.png_decode(data)
    assert "Too much image data" in caplog.text  # else this shows nothing


def test_nothing_is_said_about_a_profile(caplog):
    profile = bytes(pictures.display_p3()).replace(b"\0\0\xf6\xd6\0\1\0\0", b"\0\0\xf6\xd0\0\1\0\0")  # not quite D50
    file = deep_png(noise(dtype="uint16"), (b"iCCP", b"x\0\0" + zlib.compress(profile)))
    assert read(file, "x.png").stored.profile == profile
    assert not caplog.messages
    imagecodecs.png_decode(file)
    assert "illuminant" in caplog.text  # else this shows nothing
