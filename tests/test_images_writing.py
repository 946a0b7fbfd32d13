"""Image files as others see them: what is written, with what beside the pixels, and what is refused."""

import io
import re
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from zipfile import ZipFile

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from i2i.images import Picture, Stored, write
from i2i.images.formats import FORMATS
from i2i.images.picture import TYPES
from i2i.images.writing import target_format

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def values(shape, dtype="uint8", seed=0):
    """Noise from end to end of what the type holds; floats about 0."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def picture(channels=3, dtype="uint8", alpha=False, size=(13, 9), **stored):
    width, height = size
    colour = {1: "grey", 3: "rgb"}.get(channels, "bands")
    transparency = values((height, width), dtype, 1) if alpha else None
    return Picture(values((height, width, channels), dtype), colour, transparency, Stored(**stored))


def written(image, format):
    buffer = io.BytesIO()
    write(image, buffer, format)
    buffer.seek(0)
    return buffer


def exif():
    block = Image.Exif()
    block[271], block[306] = "Maker", "2026:01:02 03:04:05"
    block.get_ifd(0x8769).update({33434: 0.01, 36867: "2026:01:02 03:04:05"})
    block.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.5)})
    return block.tobytes()


def shown(samples):
    """As Pillow and tifffile give one channel."""
    return samples[:, :, 0] if samples.shape[2] == 1 else samples


def png_samples(file):
    """A PNG by its specification (ISO/IEC 15948, 9.2), chunks checked: (H, W, C)."""
    at, data = 8, b""
    while at < len(file):
        (length,) = struct.unpack_from(">I", file, at)
        kind, body = file[at + 4 : at + 8], file[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == int.from_bytes(file[at + 8 + length : at + 12 + length], "big")
        if kind == b"IHDR":
            width, height, bits, colour = struct.unpack(">IIBB", body[:10])
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    n = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    step = n * bits // 8  # bytes of a pixel
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * step)
    above = [0] * (step + width * step)
    out = []
    for row in rows.tolist():
        here = [0] * step
        for x, value in enumerate(row[1:], step):
            left, up, corner = here[x - step], above[x], above[x - step]
            paeth = min((left, up, corner), key=lambda near: abs(left + up - corner - near))
            here.append((value + (0, left, up, (left + up) // 2, paeth)[row[0]]) & 255)
        above = here
        out.append(here[step:])
    return np.array(out, np.uint8).view(f">u{bits // 8}").reshape(height, width, n)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("channels", "alpha"), [(1, False), (1, True), (3, False), (3, True), (2, False), (4, False)])
def test_png_by_its_specification(channels, alpha, dtype):
    image = picture(channels, dtype, alpha)
    samples = png_samples(written(image, "png").getvalue())
    assert samples.itemsize == image.pixels.itemsize
    assert np.array_equal(samples, image.samples)


@pytest.mark.parametrize(("format", "channels", "alpha"), [
    ("png", 1, False), ("png", 1, True), ("png", 3, False), ("png", 3, True), ("webp", 3, False), ("webp", 3, True),
    ("bmp", 1, False), ("bmp", 3, False),
])  # fmt: skip
def test_8_bits_by_pillow(format, channels, alpha):
    image = picture(channels, alpha=alpha)
    with Image.open(written(image, format)) as other:
        assert other.format == format.upper()
        assert np.array_equal(np.asarray(other), shown(image.samples))


def test_jpeg_loses_little_and_no_colour_resolution():
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    red, blue = np.meshgrid(ramp, ramp)
    image = Picture(np.dstack([red, 255 - red, blue]), "rgb")
    with Image.open(written(image, "jpeg")) as other:
        assert other.layer[1][1:3] == other.layer[0][1:3]  # 4:4:4: chroma is sampled as luma is
        assert np.abs(np.asarray(other).astype(int) - image.pixels).mean() < 1.5
    with Image.open(written(picture(1), "jpeg")) as grey:
        assert grey.mode == "L"


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("channels", "alpha"), [(1, False), (1, True), (3, False), (3, True), (7, False)])
@pytest.mark.parametrize("layout", [{}, {"compression": "none"}, {"compression": "lzw", "predictor": False},
    {"compression": "zstd", "tile": (16, 32)}, {"planar": "separate", "byteorder": ">"}, {"compression": "packbits"},
    {"compression": "jpeg", "bigtiff": True}])  # fmt: skip
def test_tiff_by_tifffile(dtype, channels, alpha, layout):
    image = picture(channels, dtype, alpha, other=layout)
    with tifffile.TiffFile(written(image, "tiff")) as other:
        assert len(other.pages) == 1
        page = other.pages[0]
        read = page.asarray()
        planar = layout.get("planar") == "separate" and page.samplesperpixel > 1
        assert np.array_equal(read.transpose(1, 2, 0) if planar else read, shown(image.samples))
        assert read.dtype == dtype
        assert page.photometric.name == ("RGB" if channels == 3 else "MINISBLACK")
        assert (tifffile.EXTRASAMPLE.UNASSALPHA in page.extrasamples) == alpha
        # JPEG loses, so that deflate takes its place
        compression = {"jpeg": "adobe_deflate"}.get(*[layout.get("compression", "adobe_deflate")] * 2)
        assert page.compression.name.lower() == compression
        assert page.is_tiled == ("tile" in layout)
        assert other.is_bigtiff == layout.get("bigtiff", False)
        assert other.byteorder == layout.get("byteorder", "<")
        assert (page.predictor != 1) == (compression != "none" and layout.get("predictor", True))


def test_8_bit_tiff_by_pillow():
    image = picture(3, alpha=True, other={"compression": "lzw"})
    with Image.open(written(image, "tiff")) as other:
        assert other.mode == "RGBA"
        assert np.array_equal(np.asarray(other), image.samples)


def test_pages_come_back_as_pages():
    image = picture(
        5, "uint16", pages=5, other={"tags": tuple([(285, 2, 0, f"z = {z}".encode(), False)] for z in range(5))}
    )
    with tifffile.TiffFile(written(image, "tiff")) as other:
        assert [page.tags.valueof(285) for page in other.pages] == [f"z = {z}" for z in range(5)]
        assert all(np.array_equal(page.asarray(), image.pixels[:, :, z]) for z, page in enumerate(other.pages))
    one = replace(image, pixels=image.pixels[:, :, :3])  # three channels are not five pages
    with tifffile.TiffFile(written(one, "tiff")) as other:
        assert np.array_equal(other.asarray(), one.pixels)


@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_pages_of_colours(photometric):
    image = picture(6, pages=2, other={"photometric": photometric})  # what the pages were before
    with tifffile.TiffFile(written(image, "tiff")) as other:
        assert [page.photometric.name for page in other.pages] == ["RGB", "RGB"]
        assert np.array_equal(other.pages[1].asarray(), image.pixels[:, :, 3:])


def test_a_tile_larger_than_the_picture_does_not_fill_the_disk():
    image = picture(other={"tile": (1 << 16, 1 << 16)})
    file = written(image, "tiff")
    assert len(file.getvalue()) < 100_000
    assert np.array_equal(tifffile.imread(file), image.pixels)


def test_what_is_larger_than_32_bits_reach_is_a_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("i2i.images.writing_tiff._CLASSIC", 1000)  # instead of 4 GB
    for side, big in ((10, False), (30, True)):
        write(picture(size=(side, side)), tmp_path / "x.tif", "tiff")
        with tifffile.TiffFile(tmp_path / "x.tif") as file:
            assert file.is_bigtiff == big


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("channels", "alpha"), [(1, False), (3, False), (3, True), (7, False)])
def test_arrays_by_numpy(dtype, channels, alpha):
    image = picture(channels, dtype, alpha)
    array = np.load(written(image, "npy"), allow_pickle=False)
    assert array.dtype == dtype
    assert np.array_equal(array, shown(image.samples))
    with np.load(written(image, "npz"), allow_pickle=False) as archive:
        assert archive.files == ["image"]
        assert np.array_equal(archive["image"], array)


def test_an_array_keeps_its_name_its_axis_and_its_compression():
    image = picture(1, other={"name": "file", "ndim": 3, "compressed": True}, size=(64, 64))
    image = replace(image, pixels=np.zeros_like(image.pixels))
    file = written(image, "npz")
    with np.load(file, allow_pickle=False) as archive:
        assert archive["file"].shape == (64, 64, 1)
    assert ZipFile(file).infolist()[0].compress_size < 1000


@pytest.mark.parametrize(
    ("format", "other"),
    [("png", {}), ("jpeg", {}), ("webp", {}), *(
        ("tiff", {"byteorder": order, "bigtiff": big}) for order in "<>" for big in (False, True)
    )],
)  # fmt: skip
def test_profile_exif_and_resolution_by_pillow(format, other):
    image = picture(profile=SRGB, exif=exif(), dpi=(300, 150), other=other)
    with Image.open(written(image, format)) as seen:
        assert seen.info["icc_profile"] == SRGB
        found = seen.getexif()
        assert found[271] == "Maker"
        assert float(found.get_ifd(0x8769)[33434]) == 0.01
        assert found.get_ifd(0x8769)[36867] == "2026:01:02 03:04:05"
        assert [float(part) for part in found.get_ifd(0x8825)[2]] == [48, 12, 30.5]
        if format != "webp":  # it has no place for a resolution
            assert seen.info["dpi"] == pytest.approx((300, 150), abs=0.02)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_exif_block_is_left_out_of_a_tiff():
    block = exif()
    for end in range(len(block)):
        file = written(picture(exif=block[:end]), "tiff")
        assert tifffile.imread(file).shape == (9, 13, 3)


def test_bmp_keeps_its_resolution():
    with Image.open(written(picture(dpi=(300, 300)), "bmp")) as seen:
        assert seen.info["dpi"] == pytest.approx((300, 300), abs=0.02)
    assert written(picture(), "bmp").getvalue()[38:46] == bytes(8)  # dots per metre: none


def test_png_keeps_its_chunks():
    chunks = (
        (b"gAMA", (45455).to_bytes(4, "big")),
        (b"tEXt", b"Title\0A title"),
        (b"tIME", bytes([7, 234, 1, 2, 3, 4, 5])),
    )
    with Image.open(written(picture(other={"chunks": chunks}), "png")) as seen:
        seen.load()
        assert seen.text == {"Title": "A title"}
        assert seen.info["gamma"] == 0.45455
    file = written(picture(1, "uint16", other={"chunks": chunks}), "png").getvalue()
    assert all(kind + body in file for kind, body in chunks)


def test_notes_of_other_formats_survive():
    xmp, comment = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", b"a comment"
    stored = {"other": {"xmp": xmp, "comment": comment}}
    with Image.open(written(picture(**stored), "jpeg")) as seen:
        assert (seen.info["xmp"], seen.info["comment"]) == (xmp, comment)
    with Image.open(written(picture(**stored), "webp")) as seen:
        assert seen.info["xmp"] == xmp
    with Image.open(written(picture(**stored), "png")) as seen:
        seen.load()
        assert (seen.info["xmp"], seen.text["Comment"]) == (xmp, "a comment")
    with tifffile.TiffFile(written(picture(**stored), "tiff")) as seen:
        assert seen.pages[0].tags.valueof(700) == xmp


def test_xmp_of_a_png_goes_with_it():
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    chunks = ((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),)
    for format in ("png", "jpeg", "webp", "tiff"):
        with Image.open(written(picture(other={"chunks": chunks}), format)) as seen:
            assert seen.info["xmp"] == xmp


@pytest.mark.parametrize("format", [format.name for format in FORMATS.values() if format.writes])
@pytest.mark.parametrize("size", [(1, 9), (13, 1), (1, 1)])
def test_pixels_may_lie_anyhow_in_memory(format, size):
    image = picture(size=size)
    pixels = image.pixels
    for turned in (pixels[::-1, ::-1], np.asfortranarray(pixels), pixels.transpose(1, 0, 2), pixels[:, :, :1]):
        if format == "webp" and turned.shape[2] == 1:
            continue
        other = Picture(turned, "grey" if turned.shape[2] == 1 else "rgb")
        plain = Picture(np.array(turned, order="C"), other.colour)
        assert written(other, format).getvalue() == written(plain, format).getvalue()


def test_tiff_keeps_its_tags_and_its_resolution_as_they_stand():
    tags = (
        (270, 2, 0, "Müller".encode(), False),
        (305, 2, 0, b"a program", False),
        (33550, 12, 3, (1.5, 2.5, 0.0), False),
    )
    resolution = ((3937, 100), (1, 3), 3)
    image = picture(other={"tags": (tags,), "resolution": resolution}, dpi=(100, 0.8466))
    with tifffile.TiffFile(written(image, "tiff")) as file:
        found = file.pages[0].tags
        assert (found.valueof(270), found.valueof(305), found.valueof(33550)) == (
            "Müller",
            "a program",
            (1.5, 2.5, 0.0),
        )
        assert (found.valueof(282), found.valueof(283), found.valueof(296)) == resolution


OME = (
    b'<OME xmlns="x"><Image ID="Image:0"><Pixels ID="Pixels:0" '
    b'Type="%s" SizeX="%d" SizeY="9" SizeC="%d" SizeZ="1" SizeT="1"/></Image></OME>'
)


@pytest.mark.parametrize(("description", "kept"), [
    (b"cells in a dish", True),
    (b"ImageJ=1.54f\nimages=4\nslices=4\nunit=um\n", True),
    (b"ImageJ=1.54f\nimages=5\nslices=5\nunit=um\n", False),
    (b"ImageJ=1.54f\n", False),
    (OME % (b"uint16", 13, 4), True),
    (OME % (b"uint16", 13, 3), False),
    (OME % (b"uint8", 13, 4), False),
    (OME % (b"uint16", 12, 4), False),
    (b"<OME><Pixels SizeC='x' SizeX=></OME>", False),
])  # fmt: skip
def test_a_description_of_other_pixels_is_dropped(description, kept):
    tags = (((270, 2, 0, description, False),), (), (), ())
    image = picture(4, "uint16", pages=4, other={"tags": tags})
    with tifffile.TiffFile(written(image, "tiff")) as file:
        found = file.pages[0].tags.get(270)
        assert (found is not None) == kept
        assert not kept or found.value == description.decode().rstrip()  # as tifffile gives it


def test_a_profile_for_other_colours_is_left_out():
    for format in ("png", "tiff", "jpeg"):
        with Image.open(written(picture(1, profile=SRGB), format)) as seen:
            assert "icc_profile" not in seen.info


@pytest.mark.parametrize(("image", "format", "message"), [
    (picture(3, "float32"), "png", "has 3 channels of float32, which PNG cannot hold; TIFF can"),
    (picture(7), "png", "has 7 channels of uint8, which PNG cannot hold; TIFF can"),
    (picture(1, "int16"), "png", "has 1 channel of int16, which PNG cannot hold; TIFF can"),
    (picture(alpha=True), "jpeg", "has 3 channels of uint8 and an alpha, which JPEG cannot hold; PNG can"),
    (picture(1, "uint16"), "jpeg", "has 1 channel of uint16, which JPEG cannot hold; PNG can"),
    (picture(1), "webp", "has 1 channel of uint8, which WebP cannot hold; PNG can"),
    (picture(alpha=True), "bmp", "has 3 channels of uint8 and an alpha, which BMP cannot hold; PNG can"),
    (picture(), "gif", "cannot be written as 'gif' (there is: bmp, jpeg, npy, npz, png, tiff, webp)"),
    (picture(), "tif", "cannot be written as 'tif'; did you mean 'tiff'? (there is: "),
    (picture(size=(16_384, 1)), "webp", "is 16384x1, more than the 16383 pixels a side that WebP can hold; PNG can"),
    (picture(size=(1, 65_501)), "jpeg", "is 1x65501, more than the 65500 pixels a side that JPEG can hold; PNG can"),
    (picture(exif=bytes(70_000)), "jpeg", "has 70000 bytes of EXIF, more than the 65533 that JPEG can hold; PNG can"),
        (
            picture(other={"xmp": bytes(65_505)}),
            "jpeg",
            "has 65505 bytes of XMP, more than the 65504 that JPEG can hold; PNG can",
        ),
        (
            picture(other={"comment": bytes(65_534)}),
            "jpeg",
            "has 65534 bytes of comment, more than the 65533 that JPEG can hold; PNG can",
        ),
        (
            picture(size=(1, 1_000_001)),
            "png",
            "is 1x1000001, more than the 1000000 pixels a side that PNG can hold; TIFF can",
        ),
])  # fmt: skip
def test_what_a_format_cannot_hold_is_refused(tmp_path, image, format, message):
    path = tmp_path / "x"
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        write(image, path, format)
    assert not path.exists()


@pytest.mark.parametrize("format", [format.name for format in FORMATS.values() if format.writes])
def test_the_longest_sides_and_notes_are_written(format):
    side = {"webp": 16_383, "jpeg": 65_500}.get(format, 1_000_000)
    notes = {"exif": bytes(65_533), "other": {"xmp": bytes(65_504), "comment": b"c" * 65_533}}
    image = Picture(np.zeros((1, side, 3), np.uint8), "rgb", stored=Stored(**notes))
    assert len(written(image, format).getvalue()) > (65_533 if format == "jpeg" else 0)


@pytest.mark.parametrize("format", ["png", "jpeg", "bmp", "tiff"])
@pytest.mark.parametrize("dpi", [(1e-9, 1e-9), (0.1, 0.1), (70_000, 300), (1e9, 1e9)])
def test_a_resolution_that_cannot_be_said_is_left_out(format, dpi):
    with Image.open(written(picture(dpi=dpi), format)) as seen:
        found = seen.info.get("dpi")
    assert found in (None, (0, 0)) or found == pytest.approx(dpi, rel=0.2)


@pytest.mark.parametrize("format", [format.name for format in FORMATS.values() if format.writes])
def test_a_stream_need_not_be_seekable(tmp_path, format):
    write(picture(), tmp_path / "file", format)
    code = f"""
import sys, numpy as np
from i2i.images import Picture, read, write
write(read(__import__("pathlib").Path({str(tmp_path / "file")!r})), sys.stdout.buffer, {format!r})
"""
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    again = Picture.of(np.load(io.BytesIO(piped.stdout))) if format == "npy" else None
    assert again is None or np.array_equal(again.pixels, picture().pixels)
    assert piped.stdout.startswith((tmp_path / "file").read_bytes()[:4])
    assert not piped.stderr


@pytest.mark.parametrize(("came", "dtype", "channels", "goes"), [
    ("png", "uint8", 3, "png"), ("png", "uint16", 4, "png"), ("png", "float32", 3, "tiff"), ("png", "uint8", 7, "tiff"),
    ("jpeg", "uint8", 3, "png"), ("jpeg", "uint16", 1, "png"), ("gif", "uint8", 4, "png"), ("bmp", "uint8", 3, "bmp"),
    ("bmp", "uint8", 4, "png"), ("webp", "uint8", 4, "webp"), ("webp", "uint8", 1, "png"), ("tiff", "uint8", 1, "tiff"),
    ("npy", "float64", 5, "npy"), ("npz", "int16", 2, "npz"), ("", "uint8", 3, "png"), ("", "int16", 3, "tiff"),
])  # fmt: skip
def test_where_translations_go(came, dtype, channels, goes):
    assert target_format(Stored(came), np.dtype(dtype), channels) is FORMATS[goes]
