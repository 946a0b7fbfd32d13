"""Temporary files: bytes at places, whatever the system writes at once, and a full disk told at once."""

import errno
import io
import os
import tempfile

import numpy as np
import pytest
import torch

from i2i.errors import I2IError
from i2i.images.raster import Raster
from i2i.scratch import Scratch
from i2i.tiles.disk import Stored


class Disk(io.FileIO):
    """A disk that moves seven bytes at once, and holds a hundred."""

    def write(self, values):
        if self.tell() + len(values) > 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(values[:7])

    def readinto(self, values):
        return super().readinto(values[:7])


@pytest.fixture
def disk(monkeypatch, tmp_path):
    """In place of the system's, which has none of the calls that Windows has not."""

    def opened(dir, buffering=-1):
        raw = Disk(tmp_path / "file", "w+")
        return raw if buffering == 0 else io.BufferedRandom(raw)

    monkeypatch.setattr(tempfile, "TemporaryFile", opened)
    for name in ("pread", "preadv", "pwrite", "pwritev"):
        monkeypatch.delattr(os, name, raising=False)


def test_bytes_come_back(disk, tmp_path):
    scratch, values = Scratch(tmp_path), bytes(range(60))
    scratch.extend(80)
    scratch.write(10, memoryview(values))
    back = bytearray(80)
    scratch.read(0, memoryview(back))
    scratch.close()
    assert back == bytes(10) + values + bytes(10)


def test_maps_and_rasters_need_no_more_of_the_system(disk, tmp_path):
    values = torch.arange(24.0).view(1, 2, 3, 4)
    with Stored((1, 2, 3, 4), (-2, -1), torch.float32, tmp_path) as stored:
        stored.write(((0, 3), (0, 3)), values[..., :3])
        stored.write(((0, 3), (3, 4)), values[..., 3:])
        assert torch.equal(stored.read(((0, 3), (0, 4))), values)
    raster = Raster(tmp_path, (2, 3, 4, 1), np.dtype("uint16"))
    raster.write(1, 2, np.full((2, 2, 1), 500, np.uint16), 1)
    assert raster.read(slice(0, 3), slice(0, 4))[..., 1].tolist() == [[0] * 4, *[[0, 0, 500, 500]] * 2]
    raster.close()


def test_a_full_disk_is_told_by_the_write_that_does_not_fit(disk, tmp_path):
    with Stored((1, 1, 6, 6), (-2, -1), torch.float32, tmp_path) as stored:
        stored.write(((0, 1), (0, 6)), torch.zeros(1, 1, 1, 6))
        with pytest.raises(I2IError, match="choose a folder with more room"):
            stored.write(((5, 6), (0, 6)), torch.zeros(1, 1, 1, 6))
    raster = Raster(tmp_path, (1, 6, 6, 4), np.dtype("uint8"))
    with pytest.raises(I2IError, match="cannot be written: No space left on device; TMPDIR names another"):
        raster.write(5, 0, np.zeros((1, 6, 4), np.uint8))
    raster.close()
