"""Image files of 8 bits, and arrays: what is read, how exactly, and what is kept beside the pixels."""

import io
import zipfile

import numpy as np
import pictures
import pytest
from pictures import noise, saved
from PIL import Image, ImageOps

from i2i.data import UnreadableImage
from i2i.images import header, read
from i2i.images.formats import FORMATS, SUFFIXES


def agree(file):
    """The picture, after a look at whether its header says the same."""
    picture, said = read(file), header(file)
    height, width, n = picture.pixels.shape
    assert said.size == (width, height) and said.channels == n and said.dtype == picture.pixels.dtype.name
    assert said.colour == picture.colour and said.alpha == (picture.alpha is not None)
    assert said.format == picture.stored.format and said.pages == picture.stored.pages
    return picture


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_are_exact(format):
    pixels = noise()
    assert np.array_equal(
        agree(saved(pixels, format, **({"lossless": True} if format == "WEBP" else {}))).pixels, pixels
    )


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_is_read_as_pillow_converts_it(format, mode):
    if (format, mode) in (("JPEG", "LA"), ("JPEG", "P"), ("JPEG", "RGBA"), ("BMP", "LA")):
        pytest.skip("Pillow writes no such file")
    content = saved(Image.fromarray(noise(9, 7, 4)).convert(mode), format)
    picture = agree(content)
    with Image.open(io.BytesIO(content)) as image:
        if picture.alpha is not None:
            expected = np.asarray(image.convert("RGBA"))
            assert np.array_equal(picture.alpha, expected[:, :, 3])
        else:
            expected = np.asarray(image.convert("RGB"))
        assert np.array_equal(np.repeat(picture.pixels, 4 - picture.pixels.shape[2], 2)[:, :, :3], expected[:, :, :3])
    assert picture.stored.format == format.lower()


def test_transparency_is_kept_and_not_composed():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    picture = agree(saved(palette, "PNG", transparency=1))
    assert picture.pixels.tolist() == [[[10, 20, 30], [200, 100, 50]]] and picture.alpha.tolist() == [[255, 0]]
    keyed = saved(Image.new("L", (2, 1), 7), "PNG", transparency=7)
    assert agree(keyed).alpha.tolist() == [[0, 0]] and agree(keyed).pixels.tolist() == [[[7], [7]]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_turns_the_image_and_is_reset(format, orientation):
    block = pictures.exif(orientation, t271="Maker", t305="Program")
    content = saved(noise(), format, exif=block, **({"lossless": True} if format == "WEBP" else {}))
    picture = agree(content)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(picture.pixels, np.asarray(ImageOps.exif_transpose(image).convert("RGB")))
    kept = Image.Exif()
    kept.load(picture.stored.exif)
    assert dict(kept) == {0x0112: 1, 271: "Maker", 305: "Program"}


def test_an_orientation_that_means_nothing_turns_nothing():
    assert read(saved(noise(), "PNG", exif=pictures.exif(9))).size == (8, 6)
    broken = b"Exif\0\0MM\0*\xff\xff\xff\xff"
    picture = read(saved(noise(), "PNG", exif=broken))
    assert picture.size == (8, 6) and picture.stored.exif == broken


def test_exif_of_motorola_byte_order_and_a_long_orientation():
    block = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x06\0\0\0\0"
    picture = read(saved(noise(), "PNG", exif=block))
    assert picture.size == (6, 8) and picture.stored.exif == block.replace(b"\x06\0\0\0\0", b"\x01\0\0\0\0")


def test_xmp_says_upright_too():
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for format in ("JPEG", "WEBP"):
        assert read(saved(noise(), format, xmp=packet)).stored.other["xmp"] == packet.replace(b'"6"', b'"1"')


def test_resolution_comments_and_profiles_are_kept():
    profile = pictures.display_p3()
    for format in ("JPEG", "PNG", "WEBP"):
        assert read(saved(noise(), format, icc_profile=profile)).stored.profile == profile
    for format in ("JPEG", "PNG", "BMP"):
        assert read(saved(noise(), format, dpi=(300, 150))).stored.dpi == pytest.approx((300, 150), abs=0.02)
    turned = saved(noise(), "JPEG", dpi=(300, 150), exif=pictures.exif(6))
    assert read(turned).stored.dpi == pytest.approx((150, 300))
    assert read(saved(noise(), "JPEG")).stored.dpi is None
    for format in ("JPEG", "GIF"):
        assert read(saved(noise(), format, comment=b"a note")).stored.other["comment"] == b"a note"


def test_webp_says_whether_it_lost_something():
    for alpha in (3, 4):
        assert read(saved(noise(9, 9, alpha), "WEBP", lossless=True)).stored.other["lossless"]
        assert not read(saved(noise(9, 9, alpha), "WEBP")).stored.other["lossless"]
    assert not read(saved(noise(), "WEBP", exif=pictures.exif(1))).stored.other["lossless"]


def test_a_photo_with_previews_behind_it_is_one_image():
    image = Image.fromarray(noise(16, 16))
    content = saved(image, "MPO", save_all=True, append_images=[image.resize((8, 8))])
    assert agree(content).size == (16, 16) and agree(content).stored.format == "jpeg"


def test_the_content_tells_the_format_not_the_suffix(tmp_path):
    path = tmp_path / "really.png"
    path.write_bytes(saved(noise(), "BMP"))
    assert np.array_equal(read(path).pixels, noise()) and header(path).format == "bmp"


def test_every_suffix_belongs_to_one_format():
    assert sorted(SUFFIXES) == sorted({suffix for f in FORMATS.values() for suffix in f.suffixes})
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in SUFFIXES)
    assert all(FORMATS[f.becomes].writes and FORMATS[f.becomes].lossless for f in FORMATS.values())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_arrays_are_exact(dtype, channels):
    values = noise(channels=channels, dtype=dtype)
    for content in (pictures.npy(values), pictures.npz(only=values), pictures.npz(False, only=values)):
        picture = agree(content)
        assert picture.pixels.dtype == dtype and np.array_equal(picture.pixels, np.atleast_3d(values))
        assert picture.colour == {1: "grey", 3: "rgb"}.get(channels, "bands")


def test_arrays_of_other_layouts_are_read_as_what_they_mean():
    values = noise(dtype="uint16")
    for other in (np.asfortranarray(values), values.astype(">u2")):
        picture = read(pictures.npy(other))
        assert np.array_equal(picture.pixels, values) and picture.pixels.dtype.isnative
    rgba = agree(pictures.npy(noise(channels=4)))
    assert rgba.colour == "rgb" and np.array_equal(rgba.alpha, noise(channels=4)[:, :, 3])


def test_a_small_image_may_have_many_channels():
    assert read(pictures.npy(noise(16, 31, 40))).pixels.shape == (16, 31, 40)


ARRAYS = {
    "chw": (pictures.npy(noise(3, 40, 50)), "looks like (C, H, W)"),
    "four axes": (pictures.npy(np.zeros((2, 3, 4, 5))), "(2, 3, 4, 5)"),
    "one axis": (pictures.npy(np.zeros(9)), "(9,)"),
    "nothing": (pictures.npy(np.zeros((0, 4))), "nothing in it"),
    "int64": (pictures.npy(np.zeros((4, 4), np.int64)), "int64, which is not supported; save it as uint8, uint16"),
    "uint32": (pictures.npy(np.zeros((4, 4), np.uint32)), "uint32"),
    "bool": (pictures.npy(np.zeros((4, 4), bool)), "bool, which is not supported; save it as uint8, true as 255"),
    "complex": (pictures.npy(np.zeros((4, 4), complex)), "complex128"),
    "text": (pictures.npy(np.full((4, 4), "a")), "save it as uint8"),
    "objects": (pictures.npy(np.full((4, 4), None)), "object"),
    "records": (pictures.npy(np.zeros((4, 4), [("x", "u1")])), "save it as uint8"),
    "truncated": (pictures.npy(noise())[:-5], "takes 144 bytes, and it holds 139"),
    "too long": (pictures.npy(noise()) + b"\0", "takes 144 bytes, and it holds more"),
    "two": (pictures.npz(x=noise(), y=noise()), "holds 2 arrays (x.npy, y.npy)"),
    "none": (pictures.npz(), "known format"),
    "truncated npz": (pictures.npz(x=noise(60, 60))[:-40], "is damaged or truncated ("),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_are_no_image_are_refused(kind):
    content, message = ARRAYS[kind]
    with pytest.raises(UnreadableImage) as error:
        read(content, "x.npy")
    assert str(error.value).startswith("x.npy: ") and message in str(error.value)


def test_nothing_in_an_array_file_runs(tmp_path):
    class Trap:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    with pytest.raises(UnreadableImage):
        read(pictures.npy(np.array([[Trap()]], object)))
    assert not (tmp_path / "ran").exists()


def test_an_array_that_claims_much_is_refused_before_memory_is_taken():
    def claiming(shape, dtype):
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
        return file.getvalue()

    for shape, dtype, message in (
        ((100_000, 100_000), "|u1", "more than 178 million pixels"),
        ((10_000, 10_000, 40), "<f4", "14.9 of at most 2 GiB"),
        ((100, 100, 10**12), "<f4", "GiB"),
    ):
        with pytest.raises(UnreadableImage, match=message):
            read(claiming(shape, dtype))
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("x.npy", claiming(shape, dtype))
        with pytest.raises(UnreadableImage, match=message):
            header(archive.getvalue())


def test_messages_name_the_file_or_what_stands_for_it(tmp_path):
    with pytest.raises(UnreadableImage) as error:
        read(b"no image", "<stdin>")
    assert error.value.problems[0].where == "<stdin>"
    with pytest.raises(UnreadableImage, match="No such file") as error:
        read(tmp_path / "gone.png")
    assert error.value.problems[0].where == str(tmp_path / "gone.png")


def test_the_number_of_pixels_has_a_limit(monkeypatch):
    monkeypatch.setattr("i2i.images.headers.MAX_PIXELS", 40)
    for content in (
        saved(noise(), "PNG"),
        saved(noise(), "JPEG"),
        pictures.tiff(noise(channels=1)),
        pictures.npy(noise()),
    ):
        for function in (read, header):
            with pytest.raises(UnreadableImage, match="is 8x6, more than"):
                function(content)


def test_a_large_image_below_the_limit_is_read_without_a_warning(monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow warns above it, and refuses above twice that
    content = saved(Image.new("1", (99, 9)), "PNG")
    assert read(content).size == header(content).size == (99, 9) and not recwarn.list


def test_an_image_that_does_not_fit_into_the_memory_says_so(monkeypatch):
    def full(*arguments):
        raise MemoryError

    monkeypatch.setattr("i2i.images.reading_pillow.upright", full)
    with pytest.raises(UnreadableImage, match="too large for the memory"):
        read(saved(noise(), "PNG"))


def test_floats_that_are_not_finite_are_counted_and_the_first_is_named():
    values = noise(dtype="float32")
    values[2, 5, 1], values[4, 0, 0] = np.nan, np.inf
    with pytest.raises(UnreadableImage, match=r"2 values .*NaN or infinite.* row 2, column 5"):
        read(pictures.npy(values))
