"""The order of images and the batches: a function of seed and step, whatever the workers, ranks and the cache."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data import DataOptions, Split, UnreadableImage, open_data
from i2i.data.order import Order
from i2i.data.workers import end_explained
from i2i.errors import I2IError, Problem
from i2i.method import Batch


class Plain:
    """Images held in memory: the i-th is `first` + i everywhere, or what `pictures` gives."""

    def __init__(self, n, first=0, pictures=None, broken=()):
        self.n, self.first, self.pictures, self.broken = n, first, pictures, set(broken)

    def __len__(self):
        return self.n

    def name(self, index):
        return f"{index}.png"

    def read(self, index):
        if index in self.broken:
            raise UnreadableImage(Problem(self.name(index), "is broken"))
        value = np.full((8, 8, 3), self.first + index, np.uint8) if self.pictures is None else self.pictures[index]
        return Image.fromarray(value)

    def digest(self):
        pictures = np.asarray(self.pictures if self.pictures is not None else []).tobytes()
        return sha256(f"{self.n} {self.first} {sorted(self.broken)}".encode() + pictures).hexdigest()


class Fixed:
    def __init__(self, a, b, paired=False, test=None):
        self.split, self.held_out = Split(a, b, paired), test

    def train(self):
        return self.split

    def test(self):
        return self.held_out


OPTIONS = {"load_size": 8, "crop_size": 8, "n_workers": 0}


def opened(source, paired=False, seed=0, options=(), **more):
    return open_data(DataOptions(**{**OPTIONS, **dict(options)}), source, paired=paired, seed=seed, **more)


def shown(batches):
    """Which image each row of a and b is, by its grey level."""
    a, b = (torch.cat([getattr(batch, d)[:, 0, 0, 0] for batch in batches]) for d in "ab")
    return [((t + 1) * 127.5).round().int().tolist() for t in (a, b)]


def stream(data, n_steps):
    """Which images the first steps show, in order, of a and of b."""
    return shown([data.batches(step)[0] for step in range(n_steps)])


def test_each_round_shows_each_image_once_in_an_order_of_its_own():
    data = opened(Fixed(Plain(5), Plain(7, 100)))
    a, b = stream(data, 35)
    assert Counter(a) == dict.fromkeys(range(5), 7) and Counter(b) == dict.fromkeys(range(100, 107), 5)
    rounds = [tuple(a[i : i + 5]) for i in range(0, 35, 5)]
    assert all(sorted(r) == list(range(5)) for r in rounds) and len(set(rounds)) > 1
    assert data.steps_per_epoch == 7 and data.n_images == (5, 7)


def test_another_seed_is_another_order_and_the_same_seed_the_same():
    source = Fixed(Plain(50), Plain(50))
    orders = [stream(opened(source, seed=s), 50) for s in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_domains_are_shuffled_independently_unless_paired():
    source = Fixed(Plain(50), Plain(50), paired=True)
    for paired in (False, True):
        a, b = stream(opened(source, paired=paired), 50)
        assert (a == b) is paired


def test_images_are_scaled_to_minus_one_and_one():
    a = Plain(1, pictures=[np.arange(192, dtype=np.uint8).reshape(8, 8, 3)])
    b = Plain(1, pictures=[np.full((8, 8, 3), 255, np.uint8)])
    (batch,) = opened(Fixed(a, b), options={"flip": False}).batches(0)
    expected = torch.arange(192).reshape(8, 8, 3).permute(2, 0, 1) / 127.5 - 1
    assert batch.a.dtype == torch.float32 and batch.a.is_contiguous()
    assert torch.equal(batch.a[0], expected) and batch.b.min() == batch.b.max() == 1


def drawn(draw, margin):
    """The corner and the mirroring of one use, drawn in the order that recipes count on."""
    chance = draw.chance()
    top, left = chance.integers(margin, size=2, endpoint=True)
    return (int(top), int(left)), bool(chance.random() < 0.5)


def test_crops_cover_all_corners_and_half_are_mirrored():
    order = Order(seed=0, stream=0, n=10)
    uses = [drawn(order.draw(position), 2) for position in range(4000)]
    corners = Counter(corner for corner, _ in uses)
    assert set(corners) == {(top, left) for top in range(3) for left in range(3)}
    assert all(abs(n - 4000 / 9) < 5 * (4000 * 8 / 81) ** 0.5 for n in corners.values())  # five standard deviations
    assert abs(sum(mirrored for _, mirrored in uses) - 2000) < 5 * 1000**0.5


def test_crop_and_mirror_are_what_the_order_says():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    data = opened(Fixed(Plain(1, pictures=[pixels]), Plain(1)), options={"crop_size": 5}, seed=4)
    order = Order(4, 0, 1)
    for step in range(20):
        (top, left), mirrored = drawn(order.draw(step), 3)
        crop = pixels[top : top + 5, left : left + 5]
        crop = crop[:, ::-1] if mirrored else crop
        shown_now = ((data.batches(step)[0].a[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        assert np.array_equal(shown_now, crop)


def test_pairs_share_crop_and_mirror():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    source = Fixed(Plain(4, pictures=pixels), Plain(4, pictures=255 - pixels), paired=True)
    data = opened(source, paired=True, options={"crop_size": 5, "batch_size": 4})
    for step in range(5):
        (batch,) = data.batches(step)
        assert torch.allclose(batch.a, -batch.b, atol=1e-6)


@pytest.mark.parametrize(("n_batches", "n_micro_batches"), [(1, 1), (2, 1), (1, 3), (2, 2)])
def test_two_processes_see_together_what_one_sees(n_batches, n_micro_batches):
    source = Fixed(Plain(11), Plain(13, 100))
    counts = {"n_batches": n_batches, "n_micro_batches": n_micro_batches}
    one = opened(source, options={"batch_size": 4}, **counts)
    two = [opened(source, options={"batch_size": 2}, rank=rank, world_size=2, **counts) for rank in (0, 1)]
    assert two[0].steps_per_epoch == one.steps_per_epoch
    for step in range(4):
        for whole, *parts in zip(one.batches(step), *(data.batches(step) for data in two), strict=True):
            fresh = zip(whole.split(n_batches), *(part.split(n_batches) for part in parts), strict=True)
            for expected, *halves in fresh:
                assert torch.equal(expected.a, torch.cat([half.a for half in halves]))
                assert torch.equal(expected.b, torch.cat([half.b for half in halves]))


def test_micro_batches_see_together_what_a_large_batch_sees():
    source = Fixed(Plain(11), Plain(13, 100))
    large, small = (
        opened(source, options={"batch_size": 6}),
        opened(source, options={"batch_size": 2}, n_micro_batches=3),
    )
    assert shown(large.batches(5)) == shown(small.batches(5))


@pytest.mark.parametrize("n_workers", [0, 2])
def test_the_loader_gives_the_batches_and_draws_from_no_global_generator(n_workers):
    data = opened(Fixed(Plain(5), Plain(7)), options={"n_workers": n_workers, "crop_size": 6})
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    loaded = list(data.loader(3, 9))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1] and random.getstate() == states[2]
    assert len(loaded) == 6
    for step, (batch,) in zip(range(3, 9), loaded, strict=True):
        (expected,) = data.batches(step)
        assert torch.equal(batch.a, expected.a) and torch.equal(batch.b, expected.b)


def test_channels_of_each_domain():
    data = opened(Fixed(Plain(2), Plain(2)), options={"channels": (1, 3)})
    (batch,) = data.batches(0)
    assert batch.a.shape == (1, 1, 8, 8) and batch.b.shape == (1, 3, 8, 8) and data.channels == (1, 3)


def test_preview_is_evenly_spaced_and_held_out_if_it_can_be():
    data = opened(Fixed(Plain(9), Plain(6, 100)))
    preview = data.preview(3)
    assert preview.names == (["0.png", "3.png", "6.png"], ["0.png", "2.png", "4.png"]) and not preview.paired
    assert shown([preview])[0] == [0, 3, 6] and preview.a.shape == (3, 3, 8, 8)
    data = opened(Fixed(Plain(9), Plain(6), test=Split(Plain(2, 50), Plain(2, 60), paired=True)))
    assert shown([data.preview(6)]) == [[50, 51], [60, 61]] and data.preview().paired


def test_held_out_pairs_come_in_order_and_whole():
    test = Split(Plain(5, 50), Plain(5, 60), paired=True)
    data = opened(Fixed(Plain(3), Plain(3), test=test))
    assert data.n_shown == (5, 5) and data.held_out and data.shown_in_pairs
    assert shown([Batch(**data.look("ab", [1, 2, 4]))]) == [[51, 52, 54], [61, 62, 64]]
    assert data.look("b", [0])["b"].shape == (1, 3, 8, 8) and "a" not in data.look("b", [0])
    assert shown([Batch(**data.look("ab", [0, 2], training=True))]) == [[0, 2], [0, 2]]
    unpaired = Split(Plain(5, 50), Plain(5, 60))
    assert not opened(Fixed(Plain(3), Plain(3), test=unpaired)).shown_in_pairs
    training = opened(Fixed(Plain(3), Plain(3), paired=True))
    assert not training.held_out and not training.shown_in_pairs and training.n_shown == (3, 3)


def test_a_method_that_needs_pairs_refuses_others():
    with pytest.raises(I2IError, match=r"data\.source.*needs pairs"):
        opened(Fixed(Plain(3), Plain(3)), paired=True)
    with pytest.raises(I2IError, match="3 and 4 images"):
        opened(Fixed(Plain(3), Plain(4), paired=True), paired=True)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("n_workers", [0, 2])
def test_an_unreadable_image_is_replaced_and_named_or_fatal(cache, n_workers):
    source = Fixed(Plain(3, 70, broken={1}), Plain(3, 80), paired=True)
    options = {"cache": cache, "n_workers": n_workers}
    data = opened(source, paired=True, options={**options, "unreadable": "skip"})
    rows = [shown(batches) for batches in data.loader(0, 12)]
    assert {(a[0], b[0]) for a, b in rows} == {(70, 80), (72, 82)}  # pairs stay pairs
    assert data.skipped == ["1.png: is broken"]
    with pytest.raises(I2IError, match=r"1\.png: is broken"):
        list(opened(source, paired=True, options=options).loader(0, 12))


def test_nothing_left():
    source = Fixed(Plain(2, broken={0, 1}), Plain(2))
    with pytest.raises(I2IError, match="none of the a images is left"):
        opened(source, options={"unreadable": "skip"})


def test_what_is_left_out_is_told_at_the_start_and_later():
    source = Fixed(Plain(6, broken={0, 1, 2, 4}), Plain(6, broken={5}))
    with pytest.warns(UserWarning) as told:
        opened(source, options={"unreadable": "skip", "names": ("flat", "deep")})
    assert [str(w.message) for w in told] == [
        "4 images of flat left out: 0.png: is broken; 1.png: is broken; 2.png: is broken; and 1 more",
        "1 image of deep left out: 5.png: is broken",
    ]
    source = Fixed(Plain(3), Plain(3))
    data = opened(source, options={"unreadable": "skip", "cache": False, "n_workers": 0})
    source.split.a.broken.add(1)
    with pytest.warns(UserWarning) as told:
        list(data.loader(0, 9))
    assert [str(w.message) for w in told] == ["1.png: is broken; the next image is shown in its place"]


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_images_of_a_class_that_no_other_process_can_import_stay_in_this_one(monkeypatch, method):
    class Given(Plain):
        """As of a plugin file."""

    Given.__module__ = "i2i_given.tints"
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: method)
    monkeypatch.setattr("i2i.data.workers.os.cpu_count", lambda: 4)
    source, free = Fixed(Plain(3), Given(3)), {"cache": False, "n_workers": None}
    assert opened(source, options=free).n_workers == (0 if method == "spawn" else 2)
    assert opened(Fixed(Plain(3), Plain(3)), options=free).n_workers == 2
    assert opened(source, options={"n_workers": 2}).n_workers == 2  # from the cache: a worker gets its path
    wanted = {"cache": False, "n_workers": 2}
    if method == "fork":
        assert opened(source, options=wanted).n_workers == 2
    else:
        with pytest.raises(I2IError, match=r"data\.n_workers: another process cannot import Given"):
            opened(source, options=wanted)


def in_worker():
    return multiprocessing.parent_process() is not None


class Listening(Plain):
    """Tells, as its grey level, how its process takes SIGTERM."""

    def read(self, index):
        assert not in_worker() or signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        return Image.new("L", (8, 8), 10 if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN else 20)


class Dying(Plain):
    """Ends the process that reads it."""

    def read(self, index):
        if in_worker():
            os._exit(3)
        return super().read(index)


def test_workers_leave_signals_to_the_main_process():
    data = opened(Fixed(Listening(2), Plain(2)), options={"cache": False, "n_workers": 1})
    (batch,) = next(iter(data.loader(0, 2)))
    assert shown([batch])[0] == [10]


ENDS_BY_AN_ERROR = """
import sys
sys.path.insert(0, {tests!r})
from test_data_order import Fixed, Plain, opened
loader = opened(Fixed(Plain(2), Plain(2)), options={{"cache": False, "n_workers": 1}}).loader(0, 9)
next(loader)
raise RuntimeError("of whatever else")
"""


def test_workers_do_not_outlive_an_error_of_the_main_process():
    script = ENDS_BY_AN_ERROR.format(tests=str(Path(__file__).parent))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and ended.stderr.endswith("RuntimeError: of whatever else\n")


def test_a_dead_worker_is_explained():
    data = opened(Fixed(Dying(2), Plain(2)), options={"cache": False, "n_workers": 1})
    explained = pytest.raises(I2IError, match=r"data\.n_workers: a process that prepares images ended by itself")
    with explained, end_explained():
        list(data.loader(0, 2))
    with pytest.raises(RuntimeError, match="else"), end_explained():
        raise RuntimeError("something else")
