"""Images in NumPy's files: what is read from which array, and what is said of arrays that hold no images."""

import pickle
import zipfile

import numpy as np
import pytest

from i2i.data import DataOptions, open_data
from i2i.errors import I2IError
from i2i.images import Picture, UnreadableImage
from i2i_plugins import arrays
from i2i_plugins.arrays import Arrays

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 8, 6), np.uint8)
DEEP = RNG.integers(0, 65536, (4, 8, 8, 7), np.uint16)


def read(images):
    return np.stack([np.asarray(images.read(i)) for i in range(len(images))])


@pytest.fixture
def save(tmp_path):
    def save(name, **named):
        path = tmp_path / name
        if name.endswith(".npy"):
            np.save(path, *named.values())
        else:
            (np.savez_compressed if name.startswith("small") else np.savez)(path, **named)
        return str(path)

    return save


def problem(**options):
    with pytest.raises(I2IError) as error:
        Arrays(**options)
    (message,) = map(str, error.value.problems)
    return message


def test_npy(save):
    source = Arrays(a=save("grey.npy", a=GREY), b=save("deep.npy", b=DEEP))
    split = source.train()
    assert np.array_equal(read(split.a), GREY) and np.array_equal(read(split.b), DEEP)
    assert split.a.name(3) == "grey.npy[3]" and not split.paired and source.test() is None
    assert isinstance(split.a._array.values, np.memmap)
    header = split.a.header(0)
    assert (header.size, header.channels, header.dtype, header.colour) == ((6, 8), 1, "uint8", "grey")
    header = split.b.header(0)
    assert (header.size, header.channels, header.dtype, header.colour) == ((8, 8), 7, "uint16", "bands")


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int16", "float16", ">f4", "float64", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_and_order(save, dtype, order):
    values = np.asarray(RNG.integers(0, 2, (3, 6, 5, 3)).astype(dtype), order=order)
    split = Arrays(a=save("x.npy", a=values), b=save("small.npz", b=values)).train()
    expected = values.astype(np.uint8) * 255 if dtype == "bool" else values
    for images in (split.a, split.b):
        assert np.array_equal(read(images), expected) and images.read(0).dtype.isnative
        seen, picture = images.header(1), Picture.of(images.read(1))
        assert (seen.size, seen.channels, seen.dtype) == (picture.size, 3, picture.pixels.dtype.name)


@pytest.mark.parametrize("name", ["set.npz", "small.npz"])
def test_npz(save, name):
    path = save(name, a=GREY, b=GREY + 1, test_a=GREY[:2], other=GREY[:1])
    source = Arrays(a=path, b=path, test_a=path, test_b=f"{path}:other", paired=True)
    assert np.array_equal(read(source.train().b), GREY + 1) and source.train().paired
    assert np.array_equal(read(source.test().a), GREY[:2]) and len(source.test().b) == 1
    assert isinstance(source.train().a._array.values, np.memmap) is (name == "set.npz")
    digests = {images.digest() for images in (source.train().a, source.train().b, source.test().a)}
    assert len(digests) == 3
    alone = save("alone.npz", whatever=GREY)
    assert np.array_equal(read(Arrays(a=alone, b=alone).train().b), GREY)


def test_other_processes_open_it_anew(save):
    for path in (save("x.npy", x=GREY), save("set.npz", x=GREY), save("small.npz", x=GREY)):
        images = Arrays(a=path, b=path).train().a
        sent = pickle.dumps(images)
        assert len(sent) < 1000 and np.array_equal(read(pickle.loads(sent)), GREY)


def test_labels_and_masks_reach_the_batches(save):
    images = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8) * 10
    masks = np.arange(4)[:, None, None] * np.ones((1, 8, 8)) > 1
    path = save("set.npz", a=images, b=images, label_a=np.arange(4, dtype=np.int32), mask_a=masks)
    source = Arrays(a=path, b=path, label_a=path, mask_a=path)
    options = DataOptions(load_size=8, crop_size=8, batch_size=4, channels=1, n_workers=0)
    (batch,) = open_data(options, source, paired=False, needs={"label_a"}, seed=0).batches(0)
    grey = ((batch.a[:, 0, 0, 0] + 1) * 127.5).round().int()
    assert (grey == batch.extras["label_a"] * 10).all() and sorted(grey.tolist()) == [0, 10, 20, 30]
    assert ((batch.extras["mask_a"][:, 0, 3, 3] == 1) == (grey > 10)).all()


def test_no_numbers_are_told(save):
    values = np.zeros((2, 4, 5), np.float32)
    values[1, 2, 3] = np.nan
    values[1, 3, 0] = np.inf
    images = Arrays(a=save("x.npy", x=values), b=save("x.npy", x=values)).train().a
    assert images.read(0).max() == 0
    with pytest.raises(
        UnreadableImage, match=r"x.npy\[1\]: holds 2 values that are not finite, the first at row 2, column 3"
    ):
        images.read(1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 6, 7), np.int64), "holds int64, which is not supported; save it as uint8, uint16"),
        (np.zeros((2, 6, 7), complex), "holds complex128"),
        (np.zeros((256, 256, 3), np.uint8), "(256, 256, 3); if it is one image, (H, W, C), save x[None]"),
        (np.zeros((9, 3, 32, 32), np.uint8), "looks like (N, C, H, W); save np.moveaxis(x, 1, -1)"),
        (np.zeros((8, 8), np.uint8), "images are (N, H, W) or (N, H, W, C)"),
        (np.zeros((0, 8, 8), np.uint8), "images are (N, H, W) or (N, H, W, C)"),
        (np.zeros((1, 8, 0), np.uint8), "there is nothing in it"),
        (np.zeros((2, 6, 7), [("x", "u1"), ("y", "u1")]), "which is not supported"),
    ],
)
def test_arrays_that_are_no_images(save, values, message):
    found = problem(a=save("x.npy", x=values), b=save("good.npy", x=GREY))
    assert found.startswith("data.source.a: x.npy ") and message in found


def test_files_that_are_no_arrays(save, tmp_path):
    good = save("good.npy", x=GREY)
    np.save(tmp_path / "objects.npy", np.array([GREY, None], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "short.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-1])
    (tmp_path / "header.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:20])
    huge = (tmp_path / "good.npy").read_bytes().replace(b"(5, 8, 6), }       ", b"(999999999, 8, 6),}")
    (tmp_path / "huge.npy").write_bytes(huge)
    (tmp_path / "odd.npy").write_bytes((tmp_path / "good.npy").read_bytes().replace(b"}", b"{"))
    (tmp_path / "long.npy").write_bytes(b"\x93NUMPY\1\0" + (9000).to_bytes(2, "little") + b"(" * 4500 + b")" * 4500)
    with zipfile.ZipFile(tmp_path / "gigabytes.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\2\0" + (3 << 30).to_bytes(4, "little") + b" " * 100)
    with zipfile.ZipFile(tmp_path / "empty.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    whole = (tmp_path / save("whole.npz", x=GREY)).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    expected = {
        "objects.npy": "holds Python objects; images are plain arrays",
        "text.npy": "is neither an .npy nor an .npz file",
        "short.npy": "is cut off: of the 240 bytes of its array 239 are there",
        "header.npy": "EOF: reading array header",
        "huge.npy": "is cut off: of the 47,999,999,952 bytes of its array 240 are there",
        "long.npy": "Cannot parse header: …",
        "gigabytes.npz": "has version (2, 0) of the format, which is for tables",
        "odd.npy": "is damaged: ",
        "empty.npz": "holds no array",
        "cut.npz": "is neither an .npy nor an .npz file",
    }
    for name, message in expected.items():
        found = problem(a=str(tmp_path / name), b=good)
        assert found.startswith(f"data.source.a: {name} {message}"), found
    assert "there is no file" in problem(a=str(tmp_path / "gone.npy"), b=good)
    assert problem(a=good) == "data.source.b: says no file"
    assert problem(a=good, b=good, label_a=good).startswith(
        "data.source.label_a: is uint8 of the shape (5, 8, 6); labels"
    )
    assert problem(a=good, b=good, test_a=good) == "data.source.test_b: says no file"
    negative = save("negative.npy", x=np.array([0, -1]))
    assert problem(a=good, b=good, label_b=negative) == "data.source.label_b: goes from -1 to 0; labels count from 0"


def test_arrays_of_an_npz_that_are_not_there(save):
    path = save("set.npz", x_train=GREY, x_test=GREY)
    found = problem(a=path, b=f"{path}:x_train")
    assert found == "data.source.a: set.npz holds 2 arrays; say which: set.npz:x_train (there is: x_test, x_train)"
    found = problem(a=f"{path}:x_tran", b=f"{path}:x_train")
    assert found.startswith("data.source.a: set.npz holds no array 'x_tran'; did you mean 'x_train'?")


def test_a_large_compressed_array_is_refused_unread(save, monkeypatch):
    monkeypatch.setattr(arrays, "MOST_IN_MEMORY", 100)
    path = save("small.npz", a=GREY, b=GREY)
    with pytest.raises(I2IError, match=r"a is 0.0 GiB, compressed; np.savez keeps it so that it can be mapped"):
        Arrays(a=path, b=path)
    good = save("set.npz", a=GREY, b=GREY)
    assert len(Arrays(a=good, b=good).train().a) == 5


def test_the_array_that_was_looked_at_is_the_one_that_is_read(save, tmp_path):
    np.save(tmp_path / "small.npy", GREY)
    np.save(tmp_path / "other.npy", GREY[:1])
    with zipfile.ZipFile(tmp_path / "two.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "small.npy", "a.npy")
        archive.write(tmp_path / "other.npy", "a")  # what np.load takes for "a"
    path = str(tmp_path / "two.npz")
    assert np.array_equal(read(Arrays(a=path, b=path).train().a), GREY)


def test_numbers_of_images_and_labels_must_fit(save):
    path = save("set.npz", a=GREY, b=GREY[:4], label_a=np.zeros(3, int))
    options = DataOptions(load_size=8, crop_size=8, channels=1, n_workers=0)
    with pytest.raises(I2IError, match="has 5 and 4 images, which are no pairs") as error:
        open_data(options, Arrays(a=path, b=path, label_a=path, paired=True), paired=True, seed=0)
    assert any("has 3 of 'label_a' for 5 images of a" in str(p) for p in error.value.problems)
