"""What `i2i data prepare` makes of pictures, against formulas, Pillow and kornia."""

import numpy as np
import pytest
import torch
from kornia.filters import canny as kornia_canny
from PIL import Image

from i2i.datasets.prepare import canny, partners
from i2i.datasets.prepare.holes import hole_mask, holes
from i2i.images import Picture
from i2i.images.values import Range


def noise(height=24, width=32, channels=3, dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return Picture.of(rng.random((height, width, channels)).astype(dtype))
    info = np.iinfo(dtype)
    return Picture.of(rng.integers(info.min, info.max, (height, width, channels), dtype, endpoint=True))


def step(dtype, dark, bright, height=20, width=30, column=12):
    pixels = np.full((height, width), dark, dtype)
    pixels[:, column:] = bright
    return Picture.of(pixels)


@pytest.mark.parametrize(
    ("picture", "values"),
    [
        (step("uint8", 0, 255), None),
        (step("uint16", 0, 65535), None),
        (step("int16", -32768, 32767), None),
        (step("float32", 0, 1), None),
        (step("uint16", 1000, 4000), Range(0, 4095)),
        (step("float32", -700, 700), Range(-1000, 1000)),
    ],
)
@pytest.mark.parametrize("sigma", [0, 1])
def test_the_edge_of_a_step_is_one_black_line_where_it_is(picture, values, sigma):
    found = partners.edges(picture, sigma=sigma, low=0.1, high=0.2, values=values)
    assert (found.colour, found.pixels.dtype, found.size) == ("grey", np.uint8, picture.size)
    columns = np.flatnonzero((found.pixels[:, :, 0] == 0).all(0))
    assert len(columns) == 1 and columns[0] in (11, 12)  # the step lies between these two
    assert set(np.delete(found.pixels, columns, 1).flat) == {255}


def test_a_step_shows_if_its_gradient_passes_the_threshold():
    # Sobel's weights add up to 4 across a step of 1 where nothing is blurred.
    assert (partners.edges(step("float32", 0.2, 0.3), sigma=0, low=0.1, high=0.39).pixels == 0).any()
    assert (partners.edges(step("float32", 0.2, 0.3), sigma=0, low=0.1, high=0.41).pixels == 255).all()


@pytest.mark.parametrize("n_pixels", [1, 1 << 20])
@pytest.mark.parametrize(("sigma", "low", "high"), [(0, 0.3, 0.9), (0.5, 0.1, 0.5), (1, 0.1, 0.2), (2.5, 0.02, 0.3)])
def test_edges_are_those_of_kornia_to_the_pixel_in_strips_as_in_one(monkeypatch, n_pixels, sigma, low, high):
    monkeypatch.setattr(canny, "PIXELS", n_pixels)
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20), np.uint8))
    image = np.asarray(coarse.resize((140, 210), Image.Resampling.BICUBIC), np.float32) / 255
    image = np.clip(image + np.random.default_rng(1).normal(0, 0.03, image.shape), 0, 1).astype(np.float32)
    side, sigmas = 2 * int(np.ceil(2 * sigma)) + 1, (sigma or 1.0,) * 2
    _, expected = kornia_canny(torch.from_numpy(image)[None, None], low, high, side, sigmas)
    found = canny.canny(image, sigma, low, high)
    assert 0.02 < found.mean() < 0.5
    assert np.array_equal(found, expected[0, 0].numpy() == 1)


def test_a_weak_line_is_kept_as_far_as_it_hangs_on_a_strong_pixel():
    weak = np.zeros((9, 12), bool)
    weak[4, 2:10] = weak[0, 0:3] = weak[3, 10] = True
    strong = np.zeros_like(weak)
    strong[4, 5] = True
    expected = weak.copy()
    expected[0] = False
    assert np.array_equal(canny.linked(weak | strong, strong), expected)


def test_images_smaller_than_the_blur_are_refused():
    with pytest.raises(ValueError, match="is 5x4 px, too small"):
        partners.edges(noise(4, 5), sigma=2)


def test_grey_is_the_luma_of_itu_r_601():
    picture = noise()
    assert np.array_equal(partners.grey(picture).pixels[:, :, 0], Image.fromarray(picture.pixels).convert("L"))
    for dtype, tolerance in (("uint16", 1), ("float32", 1e-5)):  # Pillow's weights are whole 65,536ths
        picture = noise(dtype=dtype)
        found = partners.grey(picture)
        expected = picture.pixels.astype(np.float64) @ [0.299, 0.587, 0.114]
        assert found.pixels.dtype == dtype and found.colour == "grey"
        assert np.abs(found.pixels[:, :, 0] - expected).max() <= tolerance


def cie_lab(rgb):
    """(…, 3) in [0, 1] to L, a, b by the formulas of IEC 61966-2-1 and CIE 15, for D65."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    xyz = linear @ np.array(matrix).T / [0.95047, 1, 1.08883]
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_lab_is_that_of_the_cie_in_the_numbers_of_icc_profiles(dtype):
    picture = noise(dtype=dtype)
    most = 1 if dtype == "float32" else np.iinfo(dtype).max
    expected = cie_lab(picture.pixels.astype(np.float64) / most)
    lightness, colour = partners.lab(picture)
    assert (lightness.colour, colour.colour) == ("grey", "bands")
    assert lightness.pixels.dtype == colour.pixels.dtype == np.uint16 and colour.pixels.shape[2] == 2
    assert np.abs(lightness.pixels[:, :, 0] / 655.35 - expected[:, :, 0]).max() < 0.002
    assert np.abs(colour.pixels / 257.0 - 128 - expected[:, :, 1:]).max() < 0.005


def test_lab_of_white_and_of_floats_that_are_no_colours():
    lightness, colour = partners.lab(Picture.of(np.full((4, 4, 3), 255, np.uint8)))
    assert (lightness.pixels == 65535).all() and (np.abs(colour.pixels - 128.0 * 257) <= 5).all()
    with pytest.raises(ValueError, match="holds floats from 0 to 300; without a range"):
        partners.lab(Picture.of(np.array([[[0, 3, 300]]], np.float32)))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_low_resolution_leaves_one_colour_as_it_is(dtype, channels):
    picture = Picture.of(np.full((21, 34, channels), 1 if dtype.startswith("float") else 77, dtype))
    found = partners.low_resolution(picture, factor=4)
    assert np.array_equal(found.pixels, picture.pixels) and found.pixels.dtype == dtype


@pytest.mark.parametrize("interpolation", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_low_resolution_is_pillows_resize_there_and_back(interpolation):
    picture, how = noise(21, 34), Image.Resampling[interpolation.upper()]
    small = Image.fromarray(picture.pixels).resize((round(34 / 4), round(21 / 4)), how)
    found = partners.low_resolution(picture, factor=4, interpolation=interpolation)
    assert np.array_equal(found.pixels, small.resize((34, 21), how))


@pytest.mark.parametrize("shape", ["strokes", "rectangles"])
@pytest.mark.parametrize("share", [0.05, 0.25, 0.6])
def test_holes_take_the_share_that_was_asked_for(shape, share):
    for seed in range(10):
        mask = hole_mask(np.random.default_rng(seed), (200, 120), share, shape)
        assert mask.shape == (120, 200) and abs(mask.mean() - share) < 0.03


@pytest.mark.parametrize(
    ("dtype", "values", "middle"),
    [("uint8", None, 128), ("uint16", None, 32768), ("int16", None, 0), ("uint16", Range(0, 4095), 2048),
     ("float32", None, 0.5), ("float64", Range(-1, 3), 1.0)],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_the_mask_of_holes_marks_the_pixels_that_changed(dtype, values, middle, channels):
    picture = noise(60, 80, channels, dtype)
    picture.pixels[picture.pixels == middle] = 0
    torn, mask = holes(picture, np.random.default_rng(3), values=values)
    changed = (torn.pixels != picture.pixels).all(2)
    assert set(mask.pixels.flat) == {0, 255} and mask.pixels.dtype == np.uint8
    assert np.array_equal(changed, mask.pixels[:, :, 0] == 255)
    assert np.array_equal((torn.pixels != picture.pixels).any(2), changed)
    assert torn.pixels.dtype == dtype and set(torn.pixels[changed].flat) == {middle}
    again = holes(picture, np.random.default_rng(3), values=values)[1]
    other = holes(picture, np.random.default_rng(4), values=values)[1]
    assert np.array_equal(again.pixels, mask.pixels) and not np.array_equal(other.pixels, mask.pixels)


@pytest.mark.parametrize("make", [partners.edges, partners.grey, lambda p: partners.lab(p)[0], partners.low_resolution])
def test_what_is_transparent_is_put_on_white(make):
    picture = noise(channels=4)
    picture.alpha[:] = np.where(picture.alpha < 128, 0, 255)
    white = Picture.of(np.where(picture.alpha[:, :, None] == 0, 255, picture.pixels).astype(np.uint8))
    found = make(picture)
    assert found.alpha is None and np.array_equal(found.pixels, make(white).pixels)


@pytest.mark.parametrize(("size", "overlap"), [(8, 0), (8, 3), (16, 15), (100, 0)])
def test_tiles_cover_the_picture_and_say_where_they_lie(size, overlap):
    picture = noise(21, 34, 4)
    whole = np.full((21, 34, 4), 255, np.uint8)
    for name, tile in partners.tiles(picture, size=size, overlap=overlap):
        top, left = int(name[2:7]), int(name[9:14])
        height, width = tile.pixels.shape[:2]
        assert (height, width) == (min(size, 21), min(size, 34))
        whole[top : top + height, left : left + width] = tile.samples
    assert np.array_equal(whole, picture.samples)


def test_the_tiles_of_a_row_overlap_by_what_was_asked_and_the_last_ends_with_the_picture():
    picture = noise(10, 25)
    assert [name for name, _ in partners.tiles(picture, size=10, overlap=2)] == [
        "_y00000_x00000", "_y00000_x00008", "_y00000_x00015"
    ]  # fmt: skip


def test_side_by_side_takes_the_larger_number_of_channels_and_refuses_other_sizes():
    left, right = noise(channels=1), noise(seed=1)
    found = partners.side_by_side(left, right)
    assert np.array_equal(found.pixels[:, :32], np.repeat(left.pixels, 3, 2)) and found.colour == "rgb"
    assert np.array_equal(found.pixels[:, 32:], right.pixels)
    for other in (noise(24, 30), noise(20, 32), noise(dtype="uint16")):
        with pytest.raises(ValueError, match="and its partner"):
            partners.side_by_side(left, other)
