"""One image, or one for each domain."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i.data import DataOptions, open_data
from i2i.errors import I2IError
from i2i_plugins.single import Single


def save(path, value):
    Image.new("RGB", (20, 10), (value, 0, 0)).save(path)
    return str(path)


def problems(**options):
    with pytest.raises(I2IError) as error:
        Single(**options)
    return [str(problem) for problem in error.value.problems]


def test_one_image_for_each_domain(tmp_path):
    source = Single(a=save(tmp_path / "1 é.png", 10), b=save(tmp_path / "2.png", 20))
    split = source.train()
    assert split.a.name(0) == "1 é.png" and len(split.a) == len(split.b) == 1 and not split.paired
    assert source.test() is None
    pixels = [int(images.read(0).pixels.max()) for images in (split.a, split.b)]
    assert pixels == [10, 20] and split.a.header(0).size == (20, 10)


def test_crops_of_one_image(tmp_path):
    rows = np.repeat(np.arange(32, dtype=np.uint8)[:, None], 32, 1)
    Image.fromarray(rows).save(tmp_path / "a.png")
    source = Single(a=str(tmp_path / "a.png"))
    assert source.train().paired and source.train().b.digest() == source.train().a.digest()
    options = DataOptions(load_size=32, crop_size=8, batch_size=16, flip=False, n_workers=0)
    (batch,) = open_data(options, source, paired=False, seed=0).batches(0)
    tops = {round(float(crop[0, 0, 0] + 1) * 127.5) for crop in batch.a}
    assert batch.a.shape == (16, 3, 8, 8) and len(tops) > 4 and tops <= set(range(25))


def test_files_that_are_not_there(tmp_path):
    here = save(tmp_path / "photo.png", 1)
    assert problems() == ["data.source.a: says no file"]
    first, second = problems(a=str(tmp_path / "foto.png"), b=str(tmp_path))
    assert first.startswith("data.source.a: there is no file") and "did you mean 'photo.png'?" in first
    assert second == f"data.source.b: {str(tmp_path)!r} is a folder, not a file"
    (message,) = problems(a=here, b=str(Path(here) / "x.png"))
    assert message.startswith("data.source.b: there is no file")
