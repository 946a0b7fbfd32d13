"""The cache of prepared images: decoded once, never half, never wrong, and not needed."""

import errno
import io
import os
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from PIL import Image

from i2i.data import DataOptions, open_data
from i2i.data.folders import Folders, ImageFiles
from i2i.errors import I2IError

N_A, N_B = 5, 3


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path):
    generator = np.random.default_rng(0)
    for domain, n in (("a", N_A), ("b", N_B)):
        (tmp_path / domain).mkdir()
        for i in range(n):
            Image.fromarray(generator.integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / domain / f"{i}.png")
    return Folders(a=str(tmp_path / "a"), b=str(tmp_path / "b"))


def opened(source, progress=None, **options):
    table = DataOptions(**{"load_size": 16, "crop_size": 12, **options})
    return open_data(table, source, paired=False, seed=0, progress=progress)


def same(one, other):
    for step in range(8):
        (x,), (y,) = one.batches(step), other.batches(step)
        assert torch.equal(x.a, y.a) and torch.equal(x.b, y.b)


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that are decoded."""
    names = []
    read = ImageFiles.read

    def counted(self, index):
        names.append(self.names[index])
        return read(self, index)

    monkeypatch.setattr(ImageFiles, "read", counted)
    return names


def test_images_are_decoded_once_and_progress_is_told(source, cache, reads):
    told = []
    first = opened(source, names=("horse", "zebra"), progress=lambda *what: told.append(what))
    assert told == [("horse", i, N_A) for i in range(1, N_A + 1)] + [("zebra", i, N_B) for i in range(1, N_B + 1)]
    assert len(reads) == N_A + N_B
    second = opened(source, progress=lambda *what: pytest.fail("made again"))
    same(first, second)
    assert len(reads) == N_A + N_B and len(list(cache.glob("*"))) == 2
    assert first.n_workers == 0


def test_without_the_cache_the_batches_are_the_same(source, cache):
    same(opened(source), opened(source, cache=False, n_workers=0))
    assert len(list(cache.glob("*.pixels"))) == 2


def test_progress_is_told_without_the_cache_as_well(source, reads):
    """Of the headers, which take long on a slow disk."""
    told = []
    opened(source, cache=False, n_workers=0, progress=lambda *what: told.append(what))
    assert told == [("a", i, N_A) for i in range(1, N_A + 1)] + [("b", i, N_B) for i in range(1, N_B + 1)]
    assert not reads


def test_the_key_is_content_size_and_channels(source, cache, tmp_path):
    opened(source)
    opened(source, load_size=20)
    assert len(list(cache.glob("*.pixels"))) == 4
    opened(source, channels=1)
    assert len(list(cache.glob("*.pixels"))) == 6
    Image.new("RGB", (20, 30)).save(tmp_path / "a/0.png")
    changed = opened(source)
    assert len(list(cache.glob("*.pixels"))) == 7
    assert any((changed.batches(step)[0].a == -1).all() for step in range(N_A))


@pytest.mark.parametrize("damage", ["shorter", "empty", "text", "another shape"])
def test_a_damaged_file_is_made_again(source, cache, damage):
    first = opened(source)
    expected = [[(batch.a.clone(), batch.b.clone()) for batch in first.batches(step)] for step in range(8)]
    del first  # its map
    for path in cache.glob("*.pixels"):
        whole = path.read_bytes()
        fake = io.BytesIO()
        np.save(fake, np.zeros((1, 3, 16, 16), np.uint8))
        path.unlink()
        damaged = {"shorter": whole[:-200], "empty": b"", "text": b"x" * 999, "another shape": fake.getvalue()}
        path.write_bytes(damaged[damage])
    again = opened(source)
    for step in range(8):
        for batch, (a, b) in zip(again.batches(step), expected[step], strict=True):
            assert torch.equal(batch.a, a) and torch.equal(batch.b, b)


def test_an_interrupted_run_leaves_nothing_that_looks_complete(source, cache):
    def interrupt(name, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(source, progress=interrupt)
    assert list(cache.iterdir()) == []


def test_a_full_disk_is_warned_of_once_per_domain_and_survived(source, cache, monkeypatch):
    expected = opened(source, cache=False, n_workers=0)

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("i2i.data.cache.os.fsync", full)
    with pytest.warns(UserWarning, match="cannot be used") as warnings:
        data = opened(source, n_workers=0)
    assert os.strerror(errno.ENOSPC) in str(warnings[0].message) and list(cache.iterdir()) == []
    same(data, expected)


def test_a_cache_that_cannot_be_written_is_survived(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="I2I_CACHE"):
        data = opened(source, n_workers=0)
    same(data, opened(source, cache=False, n_workers=0))


def test_unreadable_files_stay_known_and_may_heal(source, tmp_path, reads):
    path = tmp_path / "a/2.png"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])  # a fine header
    for _ in range(2):
        with pytest.raises(I2IError, match=r"2\.png"):
            opened(source)
        data = opened(source, unreadable="skip")
        assert data.n_images == (N_A - 1, N_B) and len(data.skipped) == 1 and str(path) in data.skipped[0]
    assert reads.count("0.png") == 2  # one of each domain: the cache serves both options
    path.write_bytes(good)
    assert opened(source).n_images == (N_A, N_B)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_files_that_break_later_without_the_cache(source, tmp_path, n_workers):
    skipping, strict = (opened(source, cache=False, unreadable=u, n_workers=n_workers) for u in ("skip", "error"))
    path = tmp_path / "a/2.png"
    path.write_bytes(path.read_bytes()[:-300])
    assert len(list(skipping.loader(0, 2 * N_A))) == 2 * N_A
    assert len(skipping.skipped) == 1 and "2.png" in skipping.skipped[0]
    assert len(skipping.preview(5).a) == N_B and strict.skipped == []
    with pytest.raises(I2IError, match=r"2\.png: is damaged or truncated"):
        list(strict.loader(0, 2 * N_A))


def test_what_goes_to_a_worker_is_the_path_of_the_cache_not_its_bytes(source):
    data = opened(source, load_size=200, crop_size=12)
    sent = bytes(ForkingPickler.dumps(data._steps))
    assert len(sent) < 5_000  # five images of this size are 600,000
    received = ForkingPickler.loads(sent)[3].batches
    for here, there in zip(data._steps[3].batches, received, strict=True):
        assert np.array_equal(here["a"], there["a"]) and np.array_equal(here["b"], there["b"])


def test_the_cache_is_readable_by_whom_the_umask_says(source, cache, tmp_path):
    opened(source)
    (tmp_path / "plain").write_bytes(b"")
    assert {path.stat().st_mode for path in cache.iterdir()} == {(tmp_path / "plain").stat().st_mode}


def test_a_cache_file_that_cannot_be_opened_is_warned_of_and_survived(source, cache):
    expected = opened(source)
    for path in list(cache.iterdir()):
        path.rename(path.with_suffix(".kept"))
        path.mkdir()  # opening it fails as another user's file does
    with pytest.warns(UserWarning, match="cannot be used"):
        data = opened(source, n_workers=0)
    for path in cache.glob("*.kept"):
        path.with_suffix(".pixels").rmdir()
        path.rename(path.with_suffix(".pixels"))
    same(data, expected)
