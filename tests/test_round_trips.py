"""Files through `read` and `write`, and through the values that a network sees: nothing changes on the way."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
import tifffile
from pictures import display_p3, raw_tiff
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from i2i.images import Picture, Stored, header, read, write
from i2i.images.formats import FORMATS
from i2i.images.intake import Intake
from i2i.images.picture import TYPES
from i2i.images.profiles import to_srgb
from i2i.images.values import Range
from i2i.images.writing import target_format

HEIGHT, WIDTH = 11, 14


def values(channels, dtype, seed=0):
    """(H, W, C), or (H, W) for one channel: noise from end to end of what the type holds; floats about 0."""
    shape = (HEIGHT, WIDTH, channels)[: 2 if channels == 1 else 3]
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def save(path, samples, alpha):
    """A file as other programs write it."""
    match path.suffix:
        case ".png":
            path.write_bytes(imagecodecs.png_encode(samples))
        case ".webp":
            path.write_bytes(imagecodecs.webp_encode(samples, lossless=True))
        case ".bmp":
            Image.fromarray(samples).save(path)
        case ".tif":
            n = 1 if samples.ndim == 2 else samples.shape[2]
            colours = "rgb" if n - alpha == 3 else "minisblack"
            layout = {"planarconfig": "contig"} if n > 1 else {}
            layout |= {"extrasamples": ["unassalpha"]} if alpha else {}
            tifffile.imwrite(path, samples, photometric=colours, **layout)
        case ".npy":
            np.save(path, samples)
        case ".npz":
            np.savez(path, picture=samples)


def seen(path):
    """The samples, by another library."""
    match path.suffix:
        case ".png":
            return imagecodecs.png_decode(path.read_bytes())
        case ".webp":
            return imagecodecs.webp_decode(path.read_bytes())
        case ".bmp":
            return np.asarray(Image.open(path))
        case ".tif":
            return tifffile.imread(path)
        case ".npy":
            return np.load(path, allow_pickle=False)
        case ".npz":
            return np.load(path, allow_pickle=False)["picture"]


def declared():
    """All that FORMATS says is written without loss: suffix, type, channels, alpha."""
    for format in FORMATS.values():
        suffix = ".tif" if format.name == "tiff" else format.suffixes[0]
        for dtype in format.types if format.writes and format.lossless else ():
            for channels in format.channels or (1, 3, 5, 7):
                alphas = format.alpha and channels < 4 and (suffix not in (".npy", ".npz") or dtype == "uint8")
                for alpha in (False, True)[: 1 + alphas]:
                    yield suffix, dtype, channels, alpha


def through(path, folder):
    """The file, read and written again."""
    picture = read(path)
    again = folder / ("again" + path.suffix)
    write(picture, again, picture.stored.format)
    return picture, again


def same(a, b):
    """Whether two pictures are equal to the last bit, and so is what their files say beside the pixels."""
    assert a.colour == b.colour
    assert a.pixels.dtype == b.pixels.dtype
    assert np.array_equal(a.pixels, b.pixels)
    assert (a.alpha is None) == (b.alpha is None)
    assert a.alpha is None or np.array_equal(a.alpha, b.alpha)
    assert a.stored == b.stored
    return True


@pytest.mark.parametrize(("suffix", "dtype", "channels", "alpha"), list(declared()))
def test_every_declared_kind(tmp_path, suffix, dtype, channels, alpha):
    samples, path = values(channels + alpha, dtype), tmp_path / f"x{suffix}"
    save(path, samples, alpha)
    picture, again = through(path, tmp_path)
    assert np.array_equal(np.squeeze(picture.samples), samples)
    assert (picture.pixels.shape[2], picture.alpha is not None) == (channels, alpha)
    written = seen(again)
    assert written.dtype == samples.dtype
    assert np.array_equal(written, samples)
    assert same(read(again), picture)
    assert header(again) == header(path)


EXIF = Image.Exif()
EXIF[271], EXIF[306] = "Maker", "2026:01:02 03:04:05"
EXIF.get_ifd(0x8769).update({33434: 0.01, 36867: "2026:01:02 03:04:05"})
EXIF.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.5)})
PROFILES = {"L": b"", "RGB": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def texts():
    found = PngImagePlugin.PngInfo()
    found.add_text("Title", "A title")
    found.add_text("Comment", "x" * 2000, zip=True)
    found.add_itxt("Author", "Zoë", lang="de", tkey="Autorin")
    found.add(b"gAMA", (45455).to_bytes(4, "big"))
    found.add(b"tIME", bytes([7, 234, 1, 2, 3, 4, 5]))
    return found


def about(path):
    """What Pillow finds beside the pixels."""
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        info = {key: value for key, value in image.info.items() if key in ("dpi", "icc_profile", "xmp", "gamma")}
        return (
            info,
            dict(image.text if path.suffix == ".png" else {}),
            exif.get_ifd(0x8769),
            exif.get_ifd(0x8825),
            exif[271],
        )


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("suffix", "options"), [
    (".png", {"pnginfo": texts(), "dpi": (300, 150)}),
    (".webp", {"lossless": True, "xmp": XMP}),
    (".tif", {"dpi": (300, 150), "description": "A description", "artist": "Zoë", "compression": "tiff_lzw"}),
])  # fmt: skip
def test_what_stands_beside_the_pixels(tmp_path, suffix, options, mode):
    if (suffix, mode) == (".webp", "L"):
        mode = "RGB"  # there is no other
    path = tmp_path / f"x{suffix}"
    Image.fromarray(values(len(mode), "uint8")).save(path, exif=EXIF, icc_profile=PROFILES[mode], **options)
    picture, again = through(path, tmp_path)
    assert same(read(again), picture)
    assert about(again) == about(path)


def test_what_stands_beside_deep_pixels(tmp_path):
    small, path = tmp_path / "small.png", tmp_path / "x.png"
    Image.fromarray(values(3, "uint8")).save(small, pnginfo=texts(), exif=EXIF, icc_profile=PROFILES["RGB"])
    write(replace(read(small), pixels=values(3, "uint16")), path, "png")
    picture, again = through(path, tmp_path)
    assert picture.pixels.dtype == np.uint16
    assert same(read(again), picture)
    assert about(again) == about(small)


@pytest.mark.parametrize(("suffix", "format"), [(".jpg", "png"), (".gif", "png")])
def test_formats_with_loss_become_png(tmp_path, suffix, format):
    path, again = tmp_path / f"x{suffix}", tmp_path / "again.png"
    options = {"exif": EXIF, "icc_profile": PROFILES["RGB"], "dpi": (300, 300), "xmp": XMP} if suffix == ".jpg" else {}
    Image.fromarray(values(3, "uint8")).save(path, comment=b"A comment", **options)
    picture = read(path)
    assert target_format(picture.stored, picture.pixels.dtype, picture.samples.shape[2]).name == format
    write(picture, again, format)
    with Image.open(path) as image, Image.open(again) as other:
        other.load()
        assert np.array_equal(np.asarray(other), np.asarray(image.convert("RGB")))
        assert other.text["Comment"] == "A comment"
    if options:
        assert about(again)[2:] == about(path)[2:]
        info = about(again)[0]
        assert (info["icc_profile"], info["xmp"]) == (PROFILES["RGB"], XMP)
        assert info["dpi"] == pytest.approx((300, 300), abs=0.02)


def test_colours_that_were_converted_are_not_said_to_be_others(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(values(3, "uint8")).save(path, pnginfo=texts(), icc_profile=display_p3())
    write(to_srgb(read(path)), path, "png")
    with Image.open(path) as image:
        image.load()
        assert set(image.info) == {"Title", "Comment", "Author"}


@pytest.mark.parametrize("endian", ["<", ">"])
def test_a_preview_of_other_pixels_is_not_kept(tmp_path, endian):
    block = Image.Exif()
    block.endian = endian
    block[0x0112], block[271] = 6, "Maker"
    with_preview = bytearray(block.tobytes())
    end = 6 + 8 + 2 + 12 * 2  # behind the two tags: where the next folder begins
    assert with_preview[end : end + 4] == bytes(4)
    with_preview[end : end + 4] = struct.pack(f"{endian}I", len(with_preview) - 6)
    with_preview += struct.pack(f"{endian}HHHII", 1, 0x0103, 3, 1, 6 << (16 if endian == ">" else 0)) + bytes(4)
    Image.fromarray(values(3, "uint8")).save(tmp_path / "x.jpg", exif=bytes(with_preview))
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1) == {0x0103: 6}
    write(read(tmp_path / "x.jpg"), tmp_path / "x.png", "png")
    with Image.open(tmp_path / "x.png") as image:
        assert dict(image.getexif()) == {0x0112: 1, 271: "Maker"}
        assert not image.getexif().get_ifd(ExifTags.IFD.IFD1)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("options", [
    {"compression": "lzw", "predictor": True},
    {"compression": "zlib"},
    {"compression": "zstd", "tile": (16, 32)},
    {"compression": "lzma"},
    {"compression": "packbits", "byteorder": ">"},
    {"planarconfig": "separate", "bigtiff": True},
    {"photometric": "minisblack"},
    {"resolution": ((3937, 100), (1, 3)), "resolutionunit": "centimeter"},
    {"extratags": [(33550, 12, 3, (1.5, 2.5, 0.0), True), (42113, 2, 0, "-9999", True)], "description": "of a field"},
])  # fmt: skip
def test_every_layout_of_a_tiff(tmp_path, dtype, options):
    path = tmp_path / "x.tif"
    samples = values(3, dtype)
    stored = samples.transpose(2, 0, 1) if options.get("planarconfig") == "separate" else samples
    layout = {"planarconfig": "contig", "photometric": "rgb", "metadata": None, "software": "a camera"}
    tifffile.imwrite(path, stored, **layout | options)
    picture, again = through(path, tmp_path)
    assert np.array_equal(picture.pixels, samples)
    assert same(read(again), picture)
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(again) as after:
        assert before.byteorder == after.byteorder
        assert before.is_bigtiff == after.is_bigtiff
        # where things lie in the file, and how large the strips are
        codes = [tag.code for tag in before.pages[0].tags if tag.code not in (273, 278, 279, 324, 325)]
        assert [after.pages[0].tags.valueof(code) for code in codes] == [
            before.pages[0].tags.valueof(code) for code in codes
        ]


@pytest.mark.parametrize(("options", "channels"), [
    ({"photometric": "miniswhite"}, 1),
    ({"photometric": "palette", "colormap": np.arange(768, dtype=np.uint16).reshape(3, 256) * 85}, 1),
    ({"photometric": "separated"}, 4),
    ({"photometric": "rgb", "compression": "jpeg"}, 3),
    ({"photometric": "rgb", "extrasamples": ["assocalpha"]}, 4),
    ({"photometric": "rgb", "extrasamples": ["unspecified"]}, 4),
])  # fmt: skip
def test_what_a_tiff_showed_is_shown_again(tmp_path, options, channels):
    """Where colours were stored in another way, or with loss: the same pixels, as grey, RGB or bands."""
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values(channels, "uint8"), metadata=None, **options)
    picture, again = through(path, tmp_path)
    found = read(again)
    assert same(replace(found, stored=picture.stored), picture)
    assert np.array_equal(np.squeeze(picture.samples), tifffile.imread(again))


@pytest.mark.parametrize("kind", ["grey", "rgb", "imagej", "ome", "shaped"])
def test_pages_are_pages_again(tmp_path, kind):
    path = tmp_path / ("x.ome.tif" if kind == "ome" else "x.tif")
    pages = np.stack([values(3 if kind == "rgb" else 1, "uint16", seed) for seed in range(5)])
    options = {"imagej": {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 0.5, "Labels": list("abcde")}},
               "ome": {"metadata": {"axes": "ZYX"}}, "shaped": {}}.get(kind, {"metadata": None})  # fmt: skip
    tifffile.imwrite(path, pages, photometric="rgb" if kind == "rgb" else "minisblack", **options)
    picture, again = through(path, tmp_path)
    assert picture.stored.pages == 5
    assert same(read(again), picture)
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(again) as after:
        assert len(after.pages) == 5
        assert np.array_equal(after.asarray(), pages)
        assert after.imagej_metadata == before.imagej_metadata
        assert after.ome_metadata == before.ome_metadata


@pytest.mark.parametrize("tags", [
    {"t282": 300, "t283": 300},
    {"t282": 300, "t283": 0, "t296": 255},
    {"t270": 7, "t305": 7, "t306": 0},
    {"t50838": 4, "t50839": 8, "t34735": 1, "t33550": 1},
])  # fmt: skip
def test_tags_of_the_wrong_kind_do_no_harm(tmp_path, tags):
    pixels = values(1, "uint8")[:6, :8]
    path = tmp_path / "x.tif"
    path.write_bytes(raw_tiff(pixels.tobytes(), **tags))
    again = through(path, tmp_path)[1]
    assert np.array_equal(tifffile.imread(again), pixels)


def test_many_at_once(tmp_path):
    """Files are written in threads beside the network."""

    def one(number):
        format = ("png", "tiff", "webp", "jpeg", "bmp", "npz")[number % 6]
        buffer = io.BytesIO()
        write(Picture(values(3, "uint8", number), "rgb", stored=Stored(exif=EXIF.tobytes())), buffer, format)
        return buffer.getvalue()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(120))) == [one(number) for number in range(120)]


@pytest.mark.parametrize(("suffix", "dtype", "channels", "alpha"), list(declared()))
def test_the_way_of_a_translator(tmp_path, suffix, dtype, channels, alpha):
    """Into [-1, 1] and back, as a translator does that changes nothing."""
    samples, path = values(channels + alpha, dtype), tmp_path / f"x{suffix}"
    save(path, samples, alpha)
    picture = read(path)
    floats = picture.pixels.dtype.kind == "f"
    intake = Intake(channels + alpha, Range(-6, 6) if floats else None)
    unit = intake.unit(picture)
    assert (unit.dtype, unit.shape) == (np.float32, (channels + alpha, HEIGHT, WIDTH))
    assert np.abs(unit).max() <= 1
    pixels = intake.range_of(picture.pixels).from_unit(unit.transpose(1, 2, 0), picture.pixels.dtype)
    write(replace(picture, pixels=pixels, colour="bands", alpha=None), tmp_path / "again", picture.stored.format)
    again = read(tmp_path / "again").samples
    assert again.dtype == dtype
    if floats:
        assert np.abs(again.astype(np.float64) - picture.samples).max() <= 12 * 1e-6
    else:
        assert np.array_equal(again, picture.samples)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_every_integer_of_any_range_comes_back(dtype):
    info, rng = np.iinfo(dtype), np.random.default_rng(0)
    every = np.arange(info.min, info.max + 1).astype(dtype)
    ends = np.sort(rng.uniform(info.min, info.max, (30, 2)), 1)
    wide = [(low, high) for low, high in ends if high - low > 1]
    for low, high in [(info.min, info.max), (0, 4095), (0, 1), *wide]:
        within = every[(every >= low) & (every <= high)]
        unit = Range(low, high).to_unit(within)
        assert np.array_equal(Range(low, high).from_unit(unit, within.dtype), within)
        assert Range(low, high).outside(every) == len(every) - len(within)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_of_any_range_come_back_within_a_millionth_of_it(dtype):
    rng = np.random.default_rng(0)
    for _ in range(200):
        low = rng.normal() * 10.0 ** rng.integers(-3, 4)
        high = low + 10.0 ** rng.uniform(-2, 4)
        within = rng.uniform(low, high, 500).astype(dtype)
        within = within[(within >= low) & (within <= high)]
        again = Range(low, high).from_unit(Range(low, high).to_unit(within), within.dtype)
        assert again.dtype == dtype
        assert np.abs(again.astype(np.float64) - within.astype(np.float64)).max(initial=0) <= 1e-6 * (high - low)


def test_what_lies_outside_is_clipped():
    pixels = np.array([-5, 0, 100, 200, 300], np.int16)
    assert Range(0, 200).to_unit(pixels).tolist() == [-1, -1, 0, 1, 1]
    assert Range(0, 200).from_unit(np.array([-2, -1, 0, 1, 2], np.float32), np.dtype("int16")).tolist() == [
        0,
        0,
        100,
        200,
        200,
    ]
    assert Range(0, 300).from_unit(np.array([1], np.float32), np.dtype("uint8")).tolist() == [255]
    assert Range(0, 200).outside(pixels) == 2
