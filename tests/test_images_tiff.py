"""TIFF files: types, layouts, compressions, colours, pages, and tags; against tifffile and Pillow called directly."""

import io
import struct
import warnings
import zlib

import imagecodecs
import numpy as np
import pictures
import pytest
import tifffile
from pictures import noise, raw_tiff, saved, tiff
from PIL import Image
from test_images_reading import agree

from i2i.data import UnreadableImage
from i2i.images import header, read

TYPES = ("uint8", "uint16", "int16", "float16", "float32", "float64")
LAYOUTS = {
    "strips": {"rowsperstrip": 4},
    "tiles": {"tile": (16, 32)},
    "lzw": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "adobe_deflate", "tile": (16, 16)},
    "zstd": {"compression": "zstd", "rowsperstrip": 5},
    "packbits": {"compression": "packbits"},
    "lzma": {"compression": "lzma"},
    "big": {"bigtiff": True},
    "motorola": {"byteorder": ">"},
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_every_type_is_exact(dtype, channels):
    values = noise(channels=channels, dtype=dtype)
    picture = agree(
        tiff(
            values,
            photometric="rgb" if channels == 3 else "minisblack",
            planarconfig="contig"[: 6 * (channels > 1)] or None,
        )
    )
    assert picture.pixels.dtype == dtype and np.array_equal(picture.pixels, np.atleast_3d(values))
    assert picture.colour == {1: "grey", 3: "rgb", 7: "bands"}[channels] and picture.alpha is None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_every_layout_is_exact(layout, dtype):
    if layout == "lzw" and dtype == "float32":
        pytest.skip("tifffile writes no such file")
    values = noise(37, 45, dtype=dtype)
    picture = agree(tiff(values, photometric="rgb", **LAYOUTS[layout]))
    assert np.array_equal(picture.pixels, values) and picture.pixels.dtype.isnative
    other = picture.stored.other
    assert other["compression"] == LAYOUTS[layout].get("compression", "none")
    assert other.get("tile") == LAYOUTS[layout].get("tile") and other["predictor"] == (layout == "lzw")
    assert other["bigtiff"] == (layout == "big") and other["byteorder"] == (">" if layout == "motorola" else "<")


def test_samples_apart_are_brought_together():
    values = noise(dtype="uint16")
    content = tiff(values.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", compression="adobe_deflate")
    assert np.array_equal(agree(content).pixels, values)
    assert read(content).stored.other["planar"] == "separate"
    bands = noise(channels=7, dtype="float32")
    tiled = tiff(bands.transpose(2, 0, 1), planarconfig="separate", tile=(16, 16))
    assert np.array_equal(agree(tiled).pixels, bands)


@pytest.mark.parametrize("options", [{"subsampling": (2, 2)}, {"subsampling": (1, 1), "tile": (16, 16)}])
def test_jpeg_within_tiff_is_rgb(options):
    values = np.asarray(Image.fromarray(noise(4, 5)).resize((50, 40)))
    content = tiff(values, photometric="rgb", compression="jpeg", **options)
    picture = agree(content)
    assert picture.colour == "rgb" and np.array_equal(picture.pixels, tifffile.imread(io.BytesIO(content)))
    assert np.abs(picture.pixels.astype(int) - values).mean() < 12


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_colours_are_those_of_pillow(mode, compression):
    content = saved(Image.fromarray(noise(20, 30)).convert(mode), "TIFF", compression=compression)
    picture = agree(content)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("L" if mode in ("1", "L") else "RGB"))
    most = 1 if mode == "YCbCr" else 0  # libtiff, which Pillow uses for compressed files, rounds it otherwise
    assert np.abs(picture.pixels.astype(int) - np.atleast_3d(expected)).max() <= most


@pytest.mark.parametrize("bits", [2, 4])
def test_two_and_four_bits_are_spread_over_eight(bits):
    values = noise(6, 8, 1) >> (8 - bits)
    packed = np.packbits(np.unpackbits(values[:, :, None], axis=2)[:, :, -bits:].reshape(6, -1), axis=1)
    for photometric, expected in ((1, values), (0, 2**bits - 1 - values)):
        picture = agree(raw_tiff(packed.tobytes(), t258=bits, t262=photometric))
        assert np.array_equal(picture.pixels[:, :, 0], expected * (255 // (2**bits - 1)))


def test_fax_files_are_read():
    image = Image.fromarray(noise(20, 30, 1)).convert("1")
    picture = agree(saved(image, "TIFF", compression="group4"))
    assert np.array_equal(picture.pixels[:, :, 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_may_be_zero(dtype):
    values = noise(channels=1, dtype=dtype)
    picture = agree(tiff(values, photometric="miniswhite"))
    assert np.array_equal(picture.pixels[:, :, 0], np.iinfo(dtype).max - values)
    assert picture.stored.other["photometric"] == "miniswhite"


def test_ink_of_16_bits():
    inks = noise(channels=4, dtype="uint16")
    light = 65535.0 - inks
    expected = np.rint(light[:, :, :3] * light[:, :, 3:] / 65535)
    picture = agree(tiff(inks, photometric="separated"))
    assert np.array_equal(picture.pixels, expected) and picture.pixels.dtype == np.uint16


def test_a_palette_of_8_or_16_bits():
    colours = noise(3, 256, 1, "uint16")
    indices = noise(channels=1)
    picture = agree(tiff(indices, photometric="palette", colormap=colours))
    assert np.array_equal(picture.pixels, (colours >> 8).T[indices]) and picture.pixels.dtype == np.uint8
    small = (colours >> 8).astype(np.uint16)  # some programs write them so
    assert np.array_equal(read(tiff(indices, photometric="palette", colormap=small)).pixels, small.T[indices])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_kept_apart(dtype, channels):
    values = noise(channels=channels, dtype=dtype)
    photometric = "rgb" if channels == 4 else "minisblack"
    picture = agree(tiff(values, photometric=photometric, planarconfig="contig", extrasamples=["unassalpha"]))
    assert np.array_equal(picture.samples, values) and picture.alpha is not None
    assert not picture.stored.other["associated"]


def test_colours_multiplied_by_the_alpha_are_divided_again():
    colours, alpha = noise(), noise(channels=1, seed=1)
    alpha[0, 0] = 0
    stored = np.rint(colours * (alpha[:, :, None] / 255)).astype(np.uint8)
    picture = agree(tiff(np.dstack([stored, alpha]), photometric="rgb", extrasamples=["assocalpha"]))
    again = np.rint(picture.pixels * (picture.alpha[:, :, None] / 255))
    assert np.array_equal(again, stored) and picture.stored.other["associated"]
    assert picture.pixels[0, 0].tolist() == [0, 0, 0]
    error = np.abs(picture.pixels.astype(int) - colours)[alpha > 0].T
    assert (error <= 0.5 * 255 / alpha[alpha > 0] + 0.5).all()


def test_other_extra_samples_make_bands():
    values = noise(channels=4, dtype="uint16")
    picture = agree(tiff(values, photometric="rgb", extrasamples=["unspecified"]))
    assert picture.colour == "bands" and picture.alpha is None and np.array_equal(picture.pixels, values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_turns_the_image(orientation):
    turned = {1: 0, 3: 2, 6: -1, 8: 1}
    values = noise(channels=4, dtype="uint16")
    picture = agree(
        tiff(values, photometric="rgb", extrasamples=["unassalpha"], extratags=[(274, 3, 1, orientation, True)])
    )
    expected = np.rot90(values, turned[orientation]) if orientation in turned else None
    eight = saved(noise(), "TIFF", tiffinfo={274: orientation})
    with Image.open(io.BytesIO(eight)) as image:
        image.load()
        assert np.array_equal(agree(eight).pixels, np.asarray(image))
    assert expected is None or np.array_equal(picture.samples, expected)
    assert agree(saved(Image.new("1", (8, 6)), "TIFF", tiffinfo={274: orientation})).size == picture.size


def test_pages_that_lie_otherwise_are_not_alike():
    first = [(274, 3, 1, 6, True)]
    data = tiff(np.zeros((3, 7, 11), np.uint8), photometric="minisblack", extratags=first)
    for function in (header, read):
        with pytest.raises(UnreadableImage, match="page 1 is 7x11 MINISBLACK of uint8, page 2 11x7 MINISBLACK"):
            function(data, "scan.tif")


@pytest.mark.parametrize(
    "options", [{}, {"imagej": True, "metadata": {"axes": "ZYX"}}, {"ome": True, "metadata": {"axes": "CYX"}}]
)
def test_pages_become_channels_in_their_order(options):
    pages = noise(8, 9, 5, "uint16").transpose(2, 0, 1)
    picture = agree(tiff(pages, **{"photometric": "minisblack"} | options))
    assert np.array_equal(picture.pixels, pages.transpose(1, 2, 0)) and picture.colour == "bands"
    assert picture.stored.pages == 5


@pytest.mark.parametrize("options", [{"imagej": True}, {"metadata": {}}])
def test_a_stack_with_the_tags_of_one_page(options):
    pages = noise(8, 9, 5, "uint16").transpose(2, 0, 1)
    content = tiff(pages, truncate=True, **options)
    assert np.array_equal(agree(content).pixels, pages.transpose(1, 2, 0)) and read(content).stored.pages == 5
    with pytest.raises(UnreadableImage):
        read(content[:-100])


def test_pages_of_rgb_with_alpha_become_bands():
    pages = np.stack([noise(channels=4, seed=seed) for seed in range(2)])
    picture = agree(tiff(pages, photometric="rgb", extrasamples=["unassalpha"]))
    assert np.array_equal(picture.pixels, np.concatenate(list(pages), 2)) and picture.alpha is None


def several(*pages):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page, options in pages:
            writer.write(page, photometric="rgb", metadata=None, **options)
    return file.getvalue()


def test_unequal_pages_are_refused_with_their_numbers():
    for other in (noise(4, 8), noise(dtype="uint16")):
        with pytest.raises(UnreadableImage, match="page 1 is 8x6 RGB of uint8, page 3 8x") as error:
            read(several((noise(), {}), (noise(), {}), (other, {})), "x.tif")
        assert str(error.value).endswith("or all of them by `i2i data prepare pages`")


def test_smaller_copies_of_the_first_page_are_left_out():
    content = several((noise(), {}), (noise()[::2, ::2], {"subfiletype": 1}))
    assert np.array_equal(agree(content).pixels, noise())


def test_too_many_pages(monkeypatch):
    monkeypatch.setattr("i2i.images.reading_tiff.MAX_PAGES", 3)
    assert read(tiff(np.zeros((3, 4, 4), np.uint8))).stored.pages == 3
    with pytest.raises(UnreadableImage, match="more than 3 pages"):
        read(tiff(np.zeros((4, 4, 4), np.uint8)))


def test_tags_that_are_worth_it_are_kept():
    extra = [
        (315, 2, None, "J\u00f6rg".encode(), True),
        (33550, 12, 3, (0.5, 0.5, 0.0), True),  # GeoTIFF: the size of a pixel
        (33922, 12, 6, (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0), True),  # and where one of them is
        (42113, 2, None, b"-9999", True),  # GDAL: no data
        (700, 1, 4, b"<x/>", True),
        (65000, 4, 1, 7, True),  # nobody knows
    ]
    content = tiff(
        noise(dtype="uint16"), photometric="rgb", description="a field", software="scanner",
        datetime="2026:11:22 09:30:00", resolution=((600, 2), (75, 1)), resolutionunit="INCH",
        extratags=extra, iccprofile=pictures.display_p3(),
    )  # fmt: skip
    stored = agree(content).stored
    (tags,) = stored.other["tags"]
    assert {tag[0]: tag[3] for tag in tags} == {
        270: b"a field", 305: b"scanner", 306: b"2026:11:22 09:30:00", 315: b"J\xc3\xb6rg",
        33550: (0.5, 0.5, 0.0), 33922: (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0), 42113: b"-9999",
    }  # fmt: skip
    assert stored.dpi == (300, 75) and stored.other["resolution"] == ((300, 1), (75, 1), 2)
    assert stored.profile == pictures.display_p3() and stored.other["xmp"] == b"<x/>"


def test_tags_can_be_written_as_they_are_kept():
    content = tiff(noise(channels=1), description="first", imagej=False, datetime="2026:11:22 09:30:00", software="x")
    (tags,) = read(content).stored.other["tags"]
    again = tiff(noise(channels=1), extratags=tags, software=False)
    assert read(again).stored.other["tags"] == (tags,)


def test_centimetres_become_inches():
    content = tiff(noise(channels=1), resolution=(100, 50), resolutionunit="CENTIMETER")
    assert read(content).stored.dpi == pytest.approx((254, 127))
    assert read(tiff(noise(channels=1), resolution=(100, 50), resolutionunit="NONE")).stored.dpi is None


def test_exif_and_place_are_kept():
    block = Image.Exif()
    block[271], block[33432] = "Maker", "Jane"
    block.get_ifd(0x8769)[37386] = 50.0  # focal length
    block.get_ifd(0x8825)[1] = "N"
    kept = Image.Exif()
    kept.load(read(saved(noise(), "TIFF", exif=block.tobytes())).stored.exif)
    assert kept[271] == "Maker" and kept[33432] == "Jane"
    assert kept.get_ifd(0x8769)[37386] == 50.0 and kept.get_ifd(0x8825)[1] == "N"
    assert read(saved(noise(), "TIFF")).stored.exif == b""


def test_floats_that_are_not_finite_are_refused():
    values = noise(dtype="float32", channels=1)
    values[3, 4] = np.nan
    with pytest.raises(UnreadableImage, match="x.tif: holds a value that is not finite .* row 3, column 4"):
        read(tiff(values), "x.tif")


SMALL = bytes(48)
REFUSED = {
    "pixels": (raw_tiff(SMALL, t256=100_000, t257=100_000), "100000x100000, more than 178 million"),
    "bytes": (raw_tiff(SMALL, t256=13_000, t257=13_000, t277=40), "6.3 of at most 2 GiB"),
    "tile": (raw_tiff(SMALL, t322=131072, t323=131072, t324=8, t325=48), "tiles of 131072x131072"),
    "uint32": (
        raw_tiff(bytes(192), t258=32, t279=192),
        "holds uint32, which is not supported; save it as uint8, uint16",
    ),
    "lab": (saved(Image.new("LAB", (4, 4)), "TIFF"), "colours of the kind cielab"),
    "colour filter": (raw_tiff(SMALL, t262=32803), "colours of the kind cfa"),
    "unknown colours": (raw_tiff(SMALL, t262=4711), "colours of the kind 4711"),
    "jpeg2000": (tiff(noise(20, 20, 1), compression="jpeg2000"), "compressed by jpeg2000"),
    "unknown compression": (raw_tiff(SMALL, t259=4711), "compressed by 4711"),
    "few bits": (tiff(noise(8, 8, 3) > 99, photometric="rgb"), "3 samples of 1 bits per pixel; save it with 8 bits"),
    "inks": (tiff(noise(channels=5), photometric="separated"), "does not go with separated"),
    "float white": (tiff(noise(channels=1, dtype="float32"), photometric="miniswhite"), "holds float32 in miniswhite"),
    "volume": (tiff(np.zeros((4, 16, 16), np.uint8), volumetric=True, tile=(4, 16, 16)), "volume of depth 4"),
    "deflate bomb": (raw_tiff(zlib.compress(bytes(1 << 24)), t259=8), "is damaged or truncated ("),
    "packbits bomb": (raw_tiff(b"\x81\0" * 100_000, t259=32773), "is damaged or truncated ("),
    "nothing": (raw_tiff(SMALL, t256=0), "nothing in it"),
    "no page": (b"II*\0\0\0\0\0", "x.tif: "),
    "too few strips": (raw_tiff(imagecodecs.lzw_encode(bytes(8)), t259=5, t278=1), "truncated"),
    "far away": (raw_tiff(SMALL, t273=10**6), "truncated"),
    "circle": (raw_tiff(SMALL)[:-4] + struct.pack("<I", 56), "pages"),
    "short": (raw_tiff(imagecodecs.lzw_encode(bytes(40)), t259=5), "is damaged or truncated ("),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_files_that_are_not_read_say_why(kind, caplog, recwarn):
    content, message = REFUSED[kind]
    with pytest.raises(UnreadableImage) as error:
        read(content, "x.tif")
    assert str(error.value).startswith("x.tif: ") and message in str(error.value)
    assert not caplog.records and not recwarn.list


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"compression": "jpeg"}, {"tile": (16, 16)}])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_truncated_files_are_refused(options, share, capfd):
    whole = tiff(noise(60, 80), photometric="rgb", **options)
    with pytest.raises(UnreadableImage, match="x.tif: "):
        read(whole[: int(len(whole) * share)], "x.tif")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("bigtiff", [True, False])
def test_pages_that_are_cut_off_are_not_left_out(bigtiff):
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=bigtiff) as writer:
        for page in range(5):
            writer.write(noise(20, 30, seed=page), photometric="rgb", metadata=None, contiguous=False)
    whole = file.getvalue()
    assert agree(whole).stored.pages == 5
    for share in (0.2, 0.5, 0.8):
        for function in (read, header):
            with pytest.raises(UnreadableImage, match="not all of its pages are there|truncated"):
                function(whole[: int(len(whole) * share)])


def test_what_tifffile_logs_of_other_files_is_left_alone(caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with tifffile.TiffFile(io.BytesIO(raw_tiff(SMALL, t278=1))) as file:
            assert file.pages and caplog.records
    caplog.clear()
    with pytest.raises(UnreadableImage):
        header(raw_tiff(SMALL)[:60])
    assert not caplog.records
