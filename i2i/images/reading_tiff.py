"""TIFF files, by tifffile: any type, strips or tiles, one page or many."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from io import SEEK_CUR, SEEK_END
from typing import Any, BinaryIO, cast

import numpy as np
from tifffile import TiffFile, TiffPage

from i2i.images.headers import MAX_PAGES, Header, Refused
from i2i.images.orientation import corner, upright
from i2i.images.picture import Picture, Piece, Pixels
from i2i.images.reading_tiff_page import described, pictured
from i2i.images.reading_tiff_segments import check_complete, segments
from i2i.images.reading_tiff_tags import orientation_of, stored_tags

_KINDS = ("ome", "mmstack", "ndtiff", "ndpi", "lsm")  # of TIFF, some of which name other files to be opened
_SHORT = " series "  # what tifffile's log speaks of where a stack reaches beyond the end
_INCOMPLETE = "is damaged or truncated: not all of its pages are there"

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class _Ear(logging.Filter):
    """Keeps what tifffile logs about our files from the terminal; of others' files nothing is held back."""

    def filter(self, record: logging.LogRecord) -> bool:
        heard = _heard.get()
        if heard is not None and record.levelno >= logging.ERROR:
            heard.append(record.getMessage())
        return heard is None


logging.getLogger("tifffile").addFilter(_Ear())


def header(file: BinaryIO, max_pixels: int | None = None) -> Header:
    """What the file says of its picture, without decoding it."""
    with _pages(file) as (tiff, pages):
        return _described(pages, _n_images(tiff, pages), max_pixels)


def read(file: BinaryIO, max_pixels: int | None = None) -> Picture:
    """The picture, upright. Several pages, whatever their axes are called, become channels in their order."""
    with _pages(file) as (tiff, pages):
        stored = stored_tags(tiff, pages, file)
        found = _described(pages, _n_images(tiff, pages), max_pixels)
        stored = replace(stored, pages=found.pages)
        pictures = [
            upright(pictured(page, samples, stored), orientation_of(page))
            for page, samples in _samples(tiff, pages, found.pages)
        ]
        if len(pictures) == 1:
            return pictures[0]
        return Picture(np.concatenate([p.samples for p in pictures], 2), "bands", stored=pictures[0].stored)


def read_pieces(file: BinaryIO, max_pixels: int | None = None) -> Iterator[Piece]:
    """The same, strip by strip or tile by tile."""
    with _pages(file) as (tiff, pages):
        stored = stored_tags(tiff, pages, file)
        found = _described(pages, _n_images(tiff, pages), max_pixels)
        stored = replace(stored, pages=found.pages)
        for number in range(found.pages):
            page, beyond = (pages[number], 0) if len(pages) == found.pages else (pages[0], number)
            check_complete(page, beyond + 1)
            if beyond and not page.is_final:
                raise Refused("is a stack that is compressed as a whole; save its images as pages")
            size, orientation = (page.imagewidth, page.imagelength), orientation_of(page)
            for top, left, samples in segments(page, beyond):
                picture = upright(pictured(page, samples, stored), orientation)
                yield Piece(*corner((left, top), samples.shape[1::-1], size, orientation), number, picture)


def read_pages(file: BinaryIO) -> Iterator[Picture]:
    """Each page by itself, upright. They need not be alike."""
    with _pages(file) as (tiff, pages):
        n = _n_images(tiff, pages)
        if n > len(pages):
            _described(pages, n)  # a stack is decoded as a whole
        for page in pages:
            described(page).checked()
        for page, samples in _samples(tiff, pages, n):
            yield upright(pictured(page, samples, stored_tags(tiff, [page], file)), orientation_of(page))


@contextmanager
def _pages(file: BinaryIO) -> Iterator[tuple[TiffFile, list[TiffPage]]]:
    """The pages of a file, without the smaller copies of the first that some hold."""
    file.seek(0)
    token = _heard.set([])
    try:
        with TiffFile(file, **cast(Any, {f"is_{kind}": False for kind in _KINDS})) as tiff:
            pages = [cast(TiffPage, tiff.pages[index]) for index in range(_n_pages(tiff, file))]
            yield tiff, pages[:1] + [page for page in pages[1:] if not page.is_reduced]
    finally:
        _heard.reset(token)


def _n_pages(tiff: TiffFile, file: BinaryIO) -> int:
    """How many pages point to each other. tifffile ends at one that is not there, as if it were not meant."""
    head, counted, pointer, entry = (8, "Q", "Q", 20) if tiff.is_bigtiff else (4, "H", "I", 12)
    count, offset = struct.Struct(tiff.byteorder + counted), struct.Struct(tiff.byteorder + pointer)
    seen: set[int] = set()
    left = file.seek(0, SEEK_END)  # bytes that are in no page's tags yet
    try:
        file.seek(head)
        while (start := offset.unpack(file.read(offset.size))[0]) and start not in seen:
            if len(seen) == MAX_PAGES:
                raise Refused(f"has more than {MAX_PAGES:,} pages")
            seen.add(start)
            file.seek(start)
            length = count.unpack(file.read(count.size))[0] * entry
            if (left := left - length) < 0:  # or they lie in each other: few bytes that take hours
                raise Refused(_INCOMPLETE)
            file.seek(length, SEEK_CUR)
    except struct.error:
        start = -1
    if start or not seen:
        raise Refused(_INCOMPLETE)
    return len(seen)


def _n_images(tiff: TiffFile, pages: list[TiffPage]) -> int:
    """As many as pages, but for a stack of which ImageJ or tifffile wrote only the first page's tags."""
    if len(pages) > 1 or not (pages[0].is_imagej or pages[0].is_shaped):
        return len(pages)
    n = int(tiff.series[0].size // pages[0].size)
    if any(_SHORT in message for message in _heard.get() or ()):
        raise Refused(_INCOMPLETE)
    return n


def _described(pages: list[TiffPage], n: int, max_pixels: int | None = None) -> Header:
    first = described(pages[0])
    for number, page in enumerate(pages[1:], 2):
        if (other := described(page)) != first:
            raise Refused(
                f"has pages that are not alike: page 1 is {_summary(first)}, page {number} {_summary(other)}; "
                "save the one you mean as a file of its own, or all of them by `i2i data prepare pages`"
            )
    if n == 1:
        return first.checked(max_pixels)
    n_channels = (first.channels + first.alpha) * n
    return replace(first, channels=n_channels, colour="bands", alpha=False, pages=n).checked(max_pixels)


def _summary(header: Header) -> str:
    return f"{header.size[0]}x{header.size[1]} {header.mode} of {header.dtype}"


def _samples(tiff: TiffFile, pages: list[TiffPage], n: int) -> Iterator[tuple[TiffPage, Pixels]]:
    """Each image's page, and (H, W, samples) as they are stored, all of them there."""
    if n > len(pages):
        stack = tiff.series[0].asarray(maxworkers=1).reshape(n, *pages[0].shaped)
        yield from ((pages[0], _together(values)) for values in stack)
        return
    for page in pages:
        check_complete(page)
        yield page, _together(page.asarray(squeeze=False, maxworkers=1))


def _together(values: Pixels) -> Pixels:
    """(samples apart, depth, H, W, samples together) as (H, W, samples)."""
    return values[:, 0].transpose(1, 2, 0, 3).reshape(*values.shape[2:4], -1)
