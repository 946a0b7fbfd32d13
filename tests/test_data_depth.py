"""Depth: 16 bits, floats and many channels from the source to the batch, and the ranges of their values."""

import json
import tracemalloc

import numpy as np
import pytest
import torch

from i2i.data import DataOptions, Split, open_data
from i2i.data.pixels import Decoded, Preparation
from i2i.errors import I2IError, Problem
from i2i.images import Header, Picture, UnreadableImage
from i2i.images.intake import Intake


class Arrays:
    """Images as they are given."""

    def __init__(self, *arrays, name="x"):
        self.arrays, self.label = arrays, name

    def __len__(self):
        return len(self.arrays)

    def name(self, index):
        return f"{self.label}{index}"

    def read(self, index):
        return self.arrays[index]

    def digest(self):
        return str(hash(tuple((a.dtype.str, a.shape, a.tobytes()) for a in self.arrays)))


class Fixed:
    def __init__(self, a, b, **more):
        self.split = Split(a, b, **more)

    def train(self):
        return self.split

    def test(self):
        return None


def levels(dtype, low, high, n=2, channels=1):
    """n images that hold low, high and what lies between."""
    rng = np.random.default_rng(0)
    images = [rng.uniform(low, high, (8, 8, channels)).astype(dtype) for _ in range(n)]
    images[0][0, 0], images[-1][0, 1] = low, high
    return Arrays(*images)


def opened(a, b, paired=False, extras=(), **options):
    settings = {"load_size": 8, "crop_size": 8, "flip": False, "n_workers": 0, "channels": 1}
    table = DataOptions.model_validate_json(json.dumps(settings | options))
    return open_data(table, Fixed(a, b, paired=paired, extras=dict(extras)), paired=paired, seed=0)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize(
    ("dtype", "low", "high", "given", "limits"),
    [
        ("uint8", 0, 255, "type", (0, 255)),
        ("uint16", 7, 4095, "type", (0, 65535)),
        ("int16", -900, 3000, "type", (-32768, 32767)),
        ("uint16", 7, 4095, [0, 4095], (0, 4095)),
        ("uint16", 7, 4095, "auto", (7, 4095)),
        ("float32", -0.5, 2.5, "auto", (-0.5, 2.5)),
        ("float64", -0.5, 2.5, [-1, 3], (-1, 3)),
        ("float16", 0, 1, [0, 1], (0, 1)),
    ],
)
def test_values_become_minus_one_to_one_by_their_range(dtype, low, high, given, limits, cache):
    images = levels(dtype, low, high)
    data = opened(images, images, range=given, cache=cache)
    rows = torch.cat([data.batches(step)[0].a for step in range(2)])
    expected = np.stack([i[:, :, 0].astype(np.float64) for i in images.arrays])
    expected = (expected - limits[0]) / (limits[1] - limits[0]) * 2 - 1
    order = np.argsort([abs(rows[0, 0].double().numpy() - e).max() for e in expected])
    found = rows[:, 0].double().numpy()
    assert np.abs(found - expected[order]).max() < 3e-7
    assert (data.ranges[0].low, data.ranges[0].high) == limits
    assert data.deep is (dtype != "uint8")


def test_a_range_for_each_domain_and_what_was_measured_is_recorded():
    data = opened(levels("uint16", 10, 900), levels("float32", -2, 6), range=["auto", [-4, 8]])
    assert data.options.model_dump(mode="json")["range"] == [[10, 900], [-4, 8]]
    again = DataOptions.model_validate_json(data.options.model_dump_json())
    assert [i.range for i in again.intakes] == list(data.ranges)
    plain = opened(levels("uint8", 0, 255), levels("uint8", 0, 255))
    assert plain.options.range == "type"


def test_auto_is_of_the_training_images_before_they_are_resized():
    sharp = np.zeros((64, 64, 1), np.uint16)
    sharp[31, 31] = 60_000  # one pixel, gone in the small image
    assert opened(Arrays(sharp), Arrays(sharp), range="auto").ranges[0].high == 60_000


def test_percentiles_leave_out_what_is_rare():
    image = np.arange(64, dtype=np.uint16).reshape(8, 8, 1)
    image[0, 0] = 50_000
    data = opened(Arrays(image), Arrays(image), range="auto", range_percentiles=[0, 90])
    assert data.ranges[0].high == pytest.approx(np.percentile(image, 90))
    assert data.batches(0)[0].a.max() == 1  # clipped


def test_floats_without_a_range_say_what_to_do():
    floats = levels("float32", 0, 1)
    with pytest.raises(I2IError, match=r'data\.range: the a images hold floats.*\[low, high\], or take "auto"'):
        opened(floats, levels("uint8", 0, 255))
    with pytest.raises(I2IError, match="have no range: all their values are 3"):
        opened(Arrays(np.full((8, 8, 1), 3, np.float32)), floats, range="auto")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_values_that_no_network_can_take_are_refused_from_any_source(value):
    strange = np.array([[[0.0], [value]]] * 2)
    with pytest.raises(I2IError, match="x0: holds values that are not finite, or too large for float32"):
        opened(Arrays(strange), levels("float32", 0, 1), range=[0, 1])


def test_values_outside_a_declared_range_are_told():
    with pytest.warns(
        UserWarning, match=r"a images hold values from 0 to 5000; what lies outside \[0.0, 4095.0\] is clipped"
    ):
        opened(levels("uint16", 0, 5000), levels("uint16", 0, 4095), range=[0, 4095])


def test_an_image_of_another_depth_is_named():
    deep, flat = np.zeros((8, 8, 1), np.uint16), np.zeros((8, 8, 1), np.uint8)
    mixed = Arrays(flat, deep, flat)
    with pytest.raises(
        I2IError, match="x1: holds uint16, and the other images of this domain uint8; bring all to one type"
    ):
        opened(mixed, Arrays(flat))
    with pytest.warns(UserWarning, match="1 image of a left out: x1: holds uint16"):
        assert opened(mixed, Arrays(flat), unreadable="skip").n_images == (2, 1)


@pytest.mark.parametrize("other", ["uint8", "float32", "int16"])
def test_held_out_images_of_another_type_are_refused(other):
    """A held-out set of 8 bits would be all but black for a training on 16."""
    images, others = levels("uint16", 0, 900), levels(other, 0, 200)
    source = Fixed(images, images)
    source.test = lambda: Split(images, others)
    options = DataOptions(load_size=8, crop_size=8, channels=1)
    with pytest.raises(I2IError, match=f"the held-out b images hold {other}, and those to train on uint16; bring all"):
        open_data(options, source, paired=False, seed=0)


def test_a_set_held_out_of_which_nothing_is_left_is_told():
    images, broken = levels("uint8", 0, 9), Arrays(np.zeros((8, 8, 7), np.uint8))
    source = Fixed(images, images)
    source.test = lambda: Split(images, broken)
    options = DataOptions(load_size=8, crop_size=8, channels=1, unreadable="skip")
    told = pytest.warns(UserWarning, match="1 image of b left out")
    with told, pytest.raises(I2IError, match="none of the held-out b images is left"):
        open_data(options, source, paired=False, seed=0)


def test_percentiles_are_of_all_columns_alike():
    stripes = np.where(np.arange(1000) % 10 == 0, 900, np.arange(1000) % 10).astype(np.uint16)
    image = Arrays(np.tile(stripes, (1000, 1))[:, :, None])  # a million values, of which 50,000 are taken
    found = opened(image, image, range="auto", range_percentiles=[0, 85], preprocess="crop").ranges[0]
    assert (found.low, found.high) == tuple(np.percentile(image.arrays[0], (0, 85))) == (1, 9)


def test_measuring_without_the_cache_holds_no_more_than_a_few_images():
    images = Arrays(*(np.full((256, 256, 1), i, np.float32) for i in range(40)))
    decoded = Decoded(images, Preparation(Intake(1), DataOptions(preprocess="none").geometry()), np.dtype(np.float32))
    tracemalloc.start()
    try:
        assert decoded.extremes() == (0, 39)
        assert tracemalloc.get_traced_memory()[1] < 0.5 * sum(array.nbytes for array in images.arrays)
    finally:
        tracemalloc.stop()


def test_percentiles_pass_over_what_cannot_be_decoded():
    images = levels("uint16", 0, 900, n=3)
    read = images.read
    images.header = lambda index: Header((8, 8), 1, "uint16", "grey", False, 1, "PNG", "I;16")
    images.read = lambda index: (
        read(index) if index else (_ for _ in ()).throw(UnreadableImage(Problem("x0", "is cut")))
    )
    options = {"cache": False, "unreadable": "skip", "range": "auto", "range_percentiles": [5, 95]}
    found = opened(images, images, **options).ranges[0]
    rest = np.concatenate([image.reshape(-1) for image in images.arrays[1:]])
    assert [found.low, found.high] == pytest.approx(np.percentile(rest, (5, 95)))


def test_channels_are_brought_to_the_domains_or_refused_by_name():
    rgb, bands = np.zeros((8, 8, 3), np.uint16), np.zeros((8, 8, 7), np.uint16)
    data = opened(Arrays(rgb), Arrays(bands), channels=[1, 7])
    assert data.batches(0)[0].a.shape == (1, 1, 8, 8) and data.batches(0)[0].b.shape == (1, 7, 8, 8)
    with pytest.raises(I2IError, match="x0: has 7 channels and cannot be brought to 3"):
        opened(Arrays(rgb), Arrays(bands), channels=3)


def test_images_of_many_sizes_are_whole_or_cut(tmp_path):
    rng = np.random.default_rng(0)
    sizes = [(16, 20), (24, 16), (33, 47)]
    images = Arrays(*(rng.integers(0, 256, (*size, 1), np.uint8) for size in sizes))
    for cache in (True, False):
        data = opened(images, images, preprocess="none", cache=cache)
        shapes = {tuple(data.batches(step)[0].a.shape[2:]) for step in range(3)}
        assert shapes == set(sizes) == set(data.sizes) and data.size == (16, 20)
        cut = opened(images, images, preprocess="crop", crop_size=[12, 16], cache=cache)
        windows = [cut.batches(step)[0].a for step in range(6)]
        assert {tuple(w.shape) for w in windows} == {(1, 1, 12, 16)} and cut.sizes == [(12, 16)]
    assert data.preview().a.shape[2:] == (8, 8)
    with pytest.raises(I2IError, match=r"data\.batch_size: the a images come in 3 sizes, from 20x16 to 47x33 px"):
        opened(images, images, preprocess="none", batch_size=2)


def test_a_crop_is_a_window_of_its_image_at_any_depth():
    image = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30, 1)
    data = opened(Arrays(image), Arrays(image), preprocess="crop", crop_size=[6, 9], range=[0, 600])
    corners = set()
    for step in range(50):
        window = ((data.batches(step)[0].a[0, 0].double().numpy() + 1) * 300).round().astype(int)
        top, left = divmod(window[0, 0], 30)
        assert np.array_equal(window, image[top : top + 6, left : left + 9, 0])
        corners.add((top, left))
    assert len(corners) > 25


def test_narrow_images_are_the_first_that_a_network_must_take():
    images = Arrays(np.zeros((20, 20, 1), np.uint8), np.zeros((8, 200, 1), np.uint8))
    assert opened(images, images, preprocess="none").size == (8, 200)


def test_whole_images_of_many_sizes_may_be_accumulated_but_not_stacked():
    images = Arrays(np.zeros((20, 20, 1), np.uint8), np.zeros((16, 24, 1), np.uint8))
    options = DataOptions(load_size=8, crop_size=8, channels=1, preprocess="none")
    data = open_data(options, Fixed(images, images), paired=False, seed=0, n_micro_batches=2)
    assert {tuple(batch.a.shape[2:]) for batch in data.batches(0)} == {(20, 20), (16, 24)}
    with pytest.raises(I2IError, match=r"data\.preprocess: the a images come in 2 sizes.*needs several in a batch"):
        open_data(options, Fixed(images, images), paired=False, seed=0, n_batches=2)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("preprocess", ["crop", "scale_shorter_and_crop", "none"])
def test_a_mask_of_another_shape_is_named(preprocess, cache):
    """Also where files have no headers to look at, which these have not."""
    image, mask = Arrays(np.zeros((20, 20, 1), np.uint8)), Arrays(np.zeros((10, 14, 1), np.uint8), name="mask")
    with pytest.raises(I2IError, match=r"1 of mask_a have another size than their image, such as .* px, that of x0;"):
        opened(image, image, extras={"mask_a": mask}, preprocess=preprocess, cache=cache)


@pytest.mark.parametrize("cache", [True, False])
def test_pairs_of_two_sizes_need_one_size(cache):
    a, b = Arrays(np.zeros((20, 20, 1), np.uint8)), Arrays(np.zeros((20, 24, 1), np.uint8))
    with pytest.raises(
        I2IError, match=r"data\.preprocess: 1 of the pairs have images of two sizes, such as 20x20 and 24x20 px of x0"
    ):
        opened(a, b, paired=True, preprocess="crop", cache=cache)
    assert opened(a, b, paired=True).batches(0)[0].a.shape == (1, 1, 8, 8)


def test_a_mask_of_any_type_is_eight_bits():
    square = DataOptions(load_size=4, crop_size=4).geometry()
    how = Preparation(Intake(1), square, as_mask=True)
    whites = (255, np.uint8), (65535, np.uint16), (32767, np.int16), (1.0, np.float32), (1, np.uint8)
    for white, dtype in whites:
        mask = np.zeros((4, 4, 1), dtype)
        mask[:2] = white
        out = how(Picture.of(mask)).pixels
        assert out.dtype == np.uint8 and out[0].tolist() == [[255] * 4] * 2 + [[0] * 4] * 2
