"""Sizes: what each policy makes of images, against Pillow and against arithmetic."""

import numpy as np
import pytest
from PIL import Image

from i2i.data import DataOptions
from i2i.data.geometry import Geometry, corner, resize


def noise(height, width, channels=3, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 10, (height, width, channels)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, (height, width, channels), dtype, endpoint=True)


@pytest.mark.parametrize("interpolation", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_eight_bits_are_resized_as_pillow_does_it(interpolation):
    pixels = noise(20, 30)
    expected = Image.fromarray(pixels).resize((11, 8), Image.Resampling[interpolation.upper()])
    assert np.array_equal(resize(pixels, (8, 11), interpolation), np.asarray(expected))
    bands = noise(20, 30, 5)
    alone = [
        np.asarray(Image.fromarray(bands[:, :, i]).resize((11, 8), expected_filter(interpolation))) for i in range(5)
    ]
    assert np.array_equal(resize(bands, (8, 11), interpolation), np.stack(alone, 2))


def expected_filter(interpolation):
    return Image.Resampling[interpolation.upper()]


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
@pytest.mark.parametrize("sides", [(7, 9), (40, 60)])
def test_deep_pixels_are_resized_in_floats_and_stay_between_their_extremes(dtype, sides):
    pixels = noise(20, 30, 2, dtype)
    out = resize(pixels, sides, "bicubic")
    assert out.shape == (*sides, 2) and out.dtype == pixels.dtype
    assert out.min() >= pixels.min() and out.max() <= pixels.max()
    for band in range(2):
        wide = np.asarray(
            Image.fromarray(pixels[:, :, band].astype(np.float32)).resize(sides[::-1], Image.Resampling.BICUBIC)
        )
        inside = wide.clip(pixels.min(), pixels.max())
        assert np.abs(out[:, :, band] - inside).max() <= (0.5 if out.dtype.kind in "iu" else 0)


def test_an_image_of_the_size_is_not_touched():
    pixels = noise(8, 9, 1, np.uint16)
    assert resize(pixels, (8, 9), "bicubic") is pixels


@pytest.mark.parametrize(
    ("preprocess", "height", "width", "sides", "window"),
    [
        ("resize_and_crop", 100, 300, (48, 64), (32, 40)),
        ("crop", 100, 300, (100, 300), (32, 40)),
        ("none", 101, 301, (100, 300), None),
        ("none", 102, 303, (104, 304), None),
        ("scale_width", 100, 300, (20, 64), None),
        (
            "scale_width_and_crop",
            100,
            300,
            (32, 64),
            (32, 40),
        ),  # 21 high, and at least the crop, as the authors have it
        ("scale_width_and_crop", 200, 300, (42, 64), (32, 40)),
        ("scale_shorter", 100, 300, (64, 192), None),
        ("scale_shorter", 300, 100, (192, 64), None),
        ("scale_shorter_and_crop", 100, 310, (64, 198), (32, 40)),
        ("cover", 100, 300, (32, 96), (32, 40)),
        ("cover", 300, 100, (120, 40), (32, 40)),
    ],
)
def test_policies(preprocess, height, width, sides, window):
    geometry = Geometry(preprocess, (48, 64), (32, 40), "bilinear", 4)
    assert geometry.sides(height, width) == sides and geometry.window == window
    shape = geometry(noise(height, width, 2)).shape
    assert shape == (*(window if preprocess == "cover" else sides), 2)


@pytest.mark.parametrize("height", range(1, 80, 7))
@pytest.mark.parametrize("width", range(1, 80, 9))
def test_covering_leaves_no_gap_and_keeps_the_shape(height, width):
    geometry = Geometry("cover", (1, 1), (16, 24))
    high, wide = geometry.sides(height, width)
    assert (high == 16 and wide >= 24) or (wide == 24 and high >= 16)
    scale = max(16 / height, 24 / width)
    assert abs(high - height * scale) <= 0.5 and abs(wide - width * scale) <= 0.5
    assert geometry(noise(height, width, 1)).shape == (16, 24, 1)


def test_an_image_smaller_than_the_crop_is_named_with_the_way_out():
    geometry = DataOptions(preprocess="crop", crop_size=(32, 48)).geometry()
    with pytest.raises(
        ValueError, match=r'is 40x64 px: smaller than the crop of 48x32 px.*preprocess = "resize_and_crop"'
    ):
        geometry(noise(64, 40))


def test_an_image_that_would_become_huge_is_refused():
    geometry = Geometry("scale_shorter", (256, 256), (256, 256))
    assert geometry.sides(1, 2000) == (256, 512_000)
    with pytest.raises(ValueError, match="is 4000x1 px and would become 1024000x256 px, more than 178 million"):
        geometry.sides(1, 4000)


def test_training_images_are_shown_as_they_are_trained_on():
    squashed = DataOptions(load_size=40, crop_size=(32, 24)).geometry().shows
    assert squashed.sides(100, 300) == (32, 24)
    kept = DataOptions(preprocess="scale_width", load_size=40, crop_size=16).geometry(4).shows
    pixels = noise(32, 64)
    whole = np.asarray(Image.fromarray(pixels).resize((32, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(kept(pixels), whole[:, 8:24])


def test_the_key_holds_all_that_matters_and_no_more():
    def key(multiple=1, **options):
        return DataOptions(**options).geometry(multiple).key

    assert key(crop_size=128) == key(crop_size=64) == key(4)  # it is cut later
    options = [
        {}, {"load_size": 300}, {"preprocess": "none"}, {"preprocess": "none", "multiple": 4}, {"interpolation": "box"},
        {"preprocess": "crop", "crop_size": 128}, {"preprocess": "crop"}, {"load_size": (286, 300)},
    ]  # fmt: skip
    assert len({key(**o) for o in options}) == len(options)


def test_corners_reach_every_place():
    rng = np.random.default_rng(0)
    seen = {corner(rng, (3, 10, 12), (8, 9)) for _ in range(400)}
    assert seen == {(top, left) for top in range(3) for left in range(4)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_size": 300}, "a crop of 300 px does not fit into images of load_size = 286 px"),
        ({"crop_size": (256, 300)}, r"a crop of \[256, 300\] px does not fit"),
        ({"preprocess": "scale_width_and_crop", "load_size": 100, "crop_size": (300, 128)}, "does not fit"),
        ({"preprocess": "scale_width", "load_size": (10, 20)}, "is one number for preprocess = 'scale_width'"),
        ({"range": (1,)}, r'is "type", "auto", \[low, high\], or a list of two of these, not \[1\]'),
        ({"range": "autoo"}, 'is "type", "auto"'),
        ({"range": ("auto", "auto", "auto")}, 'is "type", "auto"'),
        ({"range": (5, 1)}, "goes from low to high, not from 5.0 to 1.0"),
        ({"range": ("auto", (1, 1))}, "goes from low to high"),
        ({"range": (0, float("inf"))}, 'is "type", "auto"'),
        ({"range": (float("nan"), 1)}, 'is "type", "auto"'),
        ({"range": (0, 10**400)}, 'is "type", "auto"'),
        ({"background": "rgb(300, 0, 0)"}, "is no colour"),
        ({"range_percentiles": (50, 2)}, "go from low to high"),
        ({"background": "whit"}, "'whit' is no colour; white, black or #8899aa"),
    ],
)
def test_what_no_image_could_satisfy_is_refused_in_the_recipe(options, message):
    with pytest.raises(ValueError, match=message):
        DataOptions(**options)


@pytest.mark.parametrize(
    ("preprocess", "key"), [("crop", "data.crop_size"), ("scale_width", "data.load_size"), ("none", "data.preprocess")]
)
def test_messages_name_what_sets_the_size(preprocess, key):
    assert DataOptions(preprocess=preprocess).size_key == key
