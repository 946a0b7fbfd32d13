"""Colour profiles: what is converted to sRGB, by formulas; what is left to the bit; what is of no use."""

import io
import warnings

import imagecodecs
import numpy as np
import pictures
import pytest
from pictures import deep_png, noise, saved, tiff
from PIL import Image, ImageCms

from i2i.images import Picture, Stored, read
from i2i.images.profiles import to_srgb


def encoded(light):
    """sRGB's curve (IEC 61966-2-1), from 0 to 1."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries, white=(0.3127, 0.3290)):
    """The matrix of a display with these chromaticities of red, green and blue: its white has Y = 1."""

    def xyz(x, y):
        return np.array([x / y, 1, (1 - x - y) / y])

    columns = np.stack([xyz(*p) for p in primaries], 1)
    return columns * np.linalg.solve(columns, xyz(*white))


P3, SRGB = to_xyz([(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)]), to_xyz([(0.64, 0.33), (0.3, 0.6), (0.15, 0.06)])


def picture(values, profile, colour="rgb"):
    return Picture(np.atleast_3d(values), colour, stored=Stored("png", profile))


@pytest.mark.parametrize(
    ("dtype", "most", "tolerance"),
    [("uint8", 255, 1.01), ("uint16", 65535, 80), ("float16", 1, 2e-3), ("float32", 1, 5e-4), ("float64", 1, 5e-4)],
)
def test_other_colours_become_those_of_srgb(dtype, most, tolerance):
    values = noise(20, 30, dtype=dtype)
    light = (values / most) ** 2.2 @ P3.T @ np.linalg.inv(SRGB).T
    converted = to_srgb(picture(values, pictures.display_p3()))
    assert converted.pixels.dtype == dtype and converted.stored == Stored("png")
    error = np.abs(np.clip(converted.pixels.astype(float) / most, 0, 1) - encoded(light)) * most
    assert error.max() <= tolerance


@pytest.mark.parametrize(
    ("dtype", "most", "tolerance"), [("uint8", 255, 1.01), ("uint16", 65535, 80), ("float32", 1, 5e-4)]
)
def test_grey_is_converted_by_its_curve(dtype, most, tolerance):
    values = noise(20, 30, 1, dtype)
    gamma = imagecodecs.cms_profile("gray", whitepoint=(0.3457, 0.3585, 1), gamma=1.8)
    converted = to_srgb(picture(values, gamma, "grey")).pixels
    assert converted.shape == (20, 30, 1) and converted.dtype == dtype
    assert np.abs(converted[:, :, 0] / most - encoded((values / most) ** 1.8)).max() * most <= tolerance


def test_grey_with_a_profile_of_rgb_is_converted_as_grey():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    grey = to_srgb(picture(values, pictures.display_p3(), "grey")).pixels
    assert np.abs(grey[:, :, 0] - 255 * encoded((values / 255) ** 2.2)).max() <= 1.01


def srgbs():
    return {
        "LittleCMS": imagecodecs.cms_profile("srgb"),
        "Pillow": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }


@pytest.mark.parametrize("maker", srgbs())
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pictures_in_srgb_are_left_to_the_bit(maker, dtype):
    for channels, colour in ((3, "rgb"), (1, "grey")):
        given = picture(noise(channels=channels, dtype=dtype), srgbs()[maker], colour)
        assert to_srgb(given) is given


def test_a_profile_is_known_by_what_it_does_and_not_by_its_name():
    primaries = (0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1)
    plain = imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.3290, 1), primaries=primaries, gamma=2.2)
    dark = np.full((1, 1, 3), 20, np.uint8)
    converted = to_srgb(picture(dark, plain.replace(b"RGB built-in", b"sRGB IEC6196"))).pixels
    assert np.abs(converted - 255 * encoded((20 / 255) ** 2.2)).max() <= 1 and converted[0, 0, 0] != 20


def test_what_has_no_colours_to_convert_is_left():
    for given in (
        picture(noise(), b""),
        picture(noise(channels=7), pictures.display_p3(), "bands"),
        picture(noise(dtype="int16"), pictures.display_p3()),
    ):
        assert to_srgb(given) is given


def test_alpha_is_not_a_colour():
    given = Picture(noise(), "rgb", noise(channels=1), Stored("png", pictures.display_p3()))
    assert np.array_equal(to_srgb(given).alpha, given.alpha)


def test_a_picture_that_was_turned_is_converted_too():
    content = saved(noise(), "JPEG", icc_profile=pictures.display_p3(), exif=pictures.exif(6))
    straight = saved(noise(), "JPEG", icc_profile=pictures.display_p3())
    assert np.array_equal(to_srgb(read(content)).pixels, np.rot90(to_srgb(read(straight)).pixels, -1))


def in_grey(inks, most):
    """What the profile of `ink_profile` shows, in sRGB from 0 to 1."""
    lightness = 100 - 25 * inks.astype(float).sum(2) / most
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * 27 / 24389)
    return np.repeat(encoded(light)[:, :, None], 3, 2)


def test_cmyk_is_read_by_its_profile():
    inks = noise(20, 30, 4)
    image = Image.frombytes("CMYK", (30, 20), inks.tobytes())
    for content in (
        tiff(inks, photometric="separated", iccprofile=pictures.ink_profile()),
        saved(image, "TIFF", icc_profile=pictures.ink_profile()),
    ):
        found = read(content)
        assert np.abs(found.pixels - 255 * in_grey(inks, 255)).max() <= 1.5 and found.stored.profile == b""
    deep = noise(20, 30, 4, "uint16")
    found = read(tiff(deep, photometric="separated", iccprofile=pictures.ink_profile()))
    assert np.abs(found.pixels - 65535 * in_grey(deep, 65535)).max() <= 150 and found.pixels.dtype == np.uint16


def test_cmyk_jpegs_are_read_by_their_profile_and_else_as_pillow_does():
    inks = np.asarray(Image.fromarray(noise(3, 4, 4)).resize((32, 24)))
    image = Image.frombytes("CMYK", (32, 24), inks.tobytes())
    content = saved(image, "JPEG", quality=100, icc_profile=pictures.ink_profile())
    with Image.open(io.BytesIO(content)) as stored:
        expected = 255 * in_grey(np.asarray(stored), 255)
        plain = np.asarray(stored.convert("RGB"))
    assert np.abs(read(content).pixels - expected).max() <= 1.5
    assert np.array_equal(read(saved(image, "JPEG", quality=100)).pixels, plain)


BROKEN = {
    "no profile": b"no profile at all",
    "truncated": pictures.display_p3()[:200],
    "another space": pictures.ink_profile(),
    "zeros": bytes(500),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_a_profile_that_is_of_no_use_is_left_out_with_a_note(kind, format):
    content = saved(noise(), format, icc_profile=BROKEN[kind])
    with pytest.warns(UserWarning, match="photo: its colour profile is .* left out") as notes:
        found = read(content, "photo")
    assert len(notes) == 1 and found.stored.profile == b"" and to_srgb(found) is found


def test_ink_with_a_broken_profile_is_read_as_pillow_does():
    image = Image.frombytes("CMYK", (8, 6), noise(channels=4).tobytes())
    with pytest.warns(UserWarning, match="colour profile"):
        found = read(saved(image, "TIFF", icc_profile=b"broken"))
    assert np.array_equal(found.pixels, np.asarray(image.convert("RGB")))


def test_profiles_that_are_fine_are_nothing_to_note():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(deep_png(noise(dtype="uint16")))
        read(saved(noise(), "JPEG", icc_profile=pictures.display_p3()))
        read(saved(noise(channels=1), "JPEG", icc_profile=pictures.display_p3()))
