"""Handwritten digits as labelled folders: MNIST's IDX files and USPS's LIBSVM text become PNG files by class."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from i2i.datasets.download.damage import damage_told
from i2i.errors import I2IError, Problem

MOST = 100_000
"""Digits in one file; both sets have fewer."""
Digits = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Images (N, H, W) and the digits that they show (N,)."""


def write_mnist_and_usps(files: Mapping[str, Path], folder: Path) -> None:
    """Writes `mnist/train/7/00015.png` and so on, for both sets and splits. Raises I2IError for damaged files."""
    for split, name in (("train", "train"), ("test", "t10k")):
        images, labels = files[f"{name}-images-idx3-ubyte.gz"], files[f"{name}-labels-idx1-ubyte.gz"]
        _write(idx_digits(images, labels), folder / "mnist" / split)
    for split, name in (("train", "usps.bz2"), ("test", "usps.t.bz2")):
        _write(libsvm_digits(files[name], 16), folder / "usps" / split)


def idx_digits(images: Path, labels: Path) -> Digits:
    """MNIST's files (yann.lecun.com/exdb/mnist): big-endian sizes after a magic number, then bytes. Raises I2IError."""
    pixels, shown = _idx(images, 3), _idx(labels, 1)
    if len(pixels) != len(shown) or shown.max(initial=0) > 9:
        raise I2IError(Problem(str(labels), f"does not hold a digit for each of the {len(pixels):,} images"))
    return pixels, shown


def _idx(path: Path, n_axes: int) -> NDArray[np.uint8]:
    with damage_told(path), gzip.open(path) as stream:
        header = stream.read(4 + 4 * n_axes)
        shape = tuple(int(n) for n in np.frombuffer(header[4:], ">u4"))
        if (
            header[:4] != bytes([0, 0, 8, n_axes])
            or len(shape) != n_axes
            or shape[0] > MOST
            or max(shape[1:], default=0) > 64
        ):
            raise ValueError("no IDX header of this kind")
        size = int(np.prod(shape))
        content = stream.read(size + 1)
        if len(content) != size:
            raise ValueError(f"has other than the {size:,} bytes that its header says")
    return np.frombuffer(content, np.uint8).reshape(shape)


def libsvm_digits(path: Path, side: int) -> Digits:
    """USPS's lines `label index:value …`: labels 1 to 10 for 0 to 9, values -1 to 1, absent ones 0. Raises I2IError."""
    with damage_told(path), bz2.open(path, "rb") as stream:
        rows = [_row(line, side * side) for line in _lines(stream)]
    values = np.stack([row for row, _ in rows]) if rows else np.empty((0, side * side))
    pixels = np.rint((values + 1) * 127.5).astype(np.uint8)
    return pixels.reshape(-1, side, side), np.array([digit for _, digit in rows], np.uint8)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    for n, line in enumerate(iter(lambda: stream.readline(2**16), b"")):
        if n == MOST or len(line) == 2**16:
            raise ValueError("has more lines, or longer ones, than a set of digits")
        yield line


def _row(line: bytes, n_values: int) -> tuple[NDArray[np.float64], int]:
    label, *pairs = line.decode("ascii").split()
    values = np.zeros(n_values)
    for pair in pairs:
        index, _, value = pair.partition(":")
        if not 1 <= int(index) <= n_values:
            raise ValueError(f"a pixel of the number {index}")
        values[int(index) - 1] = float(value)
    digit = int(float(label)) - 1
    if not 0 <= digit <= 9 or not (np.abs(values) <= 1).all():  # not for NaN either
        raise ValueError(f"a line of the label {label} with values outside of [-1, 1], or of no digit")
    return values, digit


def _write(digits: Digits, folder: Path) -> None:
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
    for index, (pixels, digit) in enumerate(zip(*digits, strict=True)):
        Image.fromarray(pixels).save(folder / str(digit) / f"{index:05}.png")
