"""TIFF files, by tifffile: any type, strips or tiles, one page or many. Fewer than 8 bits are left to Pillow."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, BinaryIO, cast

import numpy as np
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, TiffFile, TiffPage

from i2i.images import reading_pillow
from i2i.images.headers import MAX_PAGES, MAX_PIXELS, Header, Refused
from i2i.images.orientation import turned, upright
from i2i.images.picture import Picture, Pixels, Stored, opaque
from i2i.images.profiles import from_cmyk
from i2i.images.reading_tiff_tags import named, orientation_of, stored_tags

_COLOURS: dict[int, int] = {  # how many samples they take
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
}
_COMPRESSIONS = (  # those whose decoders stop where a strip or tile ends
    *(COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE, COMPRESSION.PACKBITS),
    *(COMPRESSION.ZSTD, COMPRESSION.LZMA, COMPRESSION.JPEG, COMPRESSION.OJPEG, COMPRESSION.WEBP),
)
_JPEG = (COMPRESSION.JPEG, COMPRESSION.OJPEG)
_CMYK = 1  # an InkSet
_AS_ANY: dict[str, Any] = {
    f"is_{kind}": False for kind in ("ome", "mmstack", "ndtiff", "ndpi", "lsm")
}  # some would open other files
_BROKEN = ("<tifffile.TiffPages ", " series ")  # in its log where a page points, or a stack reaches, beyond the end

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


def header(file: BinaryIO) -> Header:
    """What the file says of its picture, without decoding it."""
    with _pages(file) as (tiff, pages):
        if _is_small(pages):
            return reading_pillow.header(file)
        found = _described(pages, _n_images(tiff, pages))
        return found.turned() if turned(orientation_of(pages[0])) else found


def read(file: BinaryIO) -> Picture:
    """The picture, upright. Several pages, whatever their axes are called, become channels in their order."""
    with _pages(file) as (tiff, pages):
        stored = stored_tags(tiff, pages, file)
        if _is_small(pages):
            return replace(reading_pillow.read(file), stored=stored)
        found = _described(pages, _n_images(tiff, pages))
        stored = replace(stored, pages=found.pages)
        pictures = [_picture(page, samples, stored) for page, samples in _samples(tiff, pages, found.pages)]
        picture, orientation = pictures[0], orientation_of(pages[0])
        if len(pictures) > 1:
            picture = Picture(np.concatenate([p.samples for p in pictures], 2), "bands", stored=picture.stored)
        alpha = None if picture.alpha is None else upright(picture.alpha, orientation)
        return replace(picture, pixels=upright(picture.pixels, orientation), alpha=alpha)


@contextmanager
def _pages(file: BinaryIO) -> Iterator[tuple[TiffFile, list[TiffPage]]]:
    """The pages of a file, without the smaller copies of the first that some hold."""
    file.seek(0)
    token = _heard.set([])
    try:
        with TiffFile(file, **_AS_ANY) as tiff:
            pages: list[TiffPage] = []
            with suppress(IndexError):  # there is no other way to ask whether there is one more
                while len(pages) <= MAX_PAGES:
                    pages.append(cast(TiffPage, tiff.pages[len(pages)]))
            if len(pages) > MAX_PAGES:
                raise Refused(f"has more than {MAX_PAGES:,} pages")
            if not pages:
                raise Refused(_INCOMPLETE)
            _check_complete()
            yield tiff, pages[:1] + [page for page in pages[1:] if not page.is_reduced]
    finally:
        _heard.reset(token)


def _is_small(pages: list[TiffPage]) -> bool:
    """Whether Pillow reads it: fewer than 8 bits, or brightness and colour at different sizes."""
    page, jpeg = pages[0], pages[0].compression in _JPEG
    small = _bits(page) < 8 and page.samplesperpixel == 1
    return len(pages) == 1 and (small or (page.photometric == PHOTOMETRIC.YCBCR and not jpeg))


def _bits(page: TiffPage) -> int:
    """Of the narrowest sample."""
    bits = page.bitspersample
    return min(bits) if isinstance(bits, tuple) else bits


def _n_images(tiff: TiffFile, pages: list[TiffPage]) -> int:
    """As many as pages, but for a stack of which ImageJ or tifffile wrote only the first page's tags."""
    if len(pages) > 1 or not (pages[0].is_imagej or pages[0].is_shaped):
        return len(pages)
    n = int(tiff.series[0].size // pages[0].size)
    _check_complete()
    return n


def _check_complete() -> None:
    if any(sign in message for message in _heard.get() or () for sign in _BROKEN):
        raise Refused(_INCOMPLETE)


def _described(pages: list[TiffPage], n: int) -> Header:
    """As the pixels lie in the file."""
    first = _described_page(pages[0])
    for number, page in enumerate(pages[1:], 2):
        if (other := _described_page(page)) != first:
            raise Refused(
                f"has pages that are not alike: page 1 is {_summary(first)}, page {number} {_summary(other)}; "
                "save the one you mean as a file of its own"
            )
    if n == 1:
        return first.checked()
    return replace(first, channels=(first.channels + first.alpha) * n, colour="bands", alpha=False, pages=n).checked()


def _summary(header: Header) -> str:
    return f"{header.size[0]}x{header.size[1]} {header.mode} of {header.dtype}"


def _described_page(page: TiffPage) -> Header:
    colours, compression = named(PHOTOMETRIC, page.photometric), named(COMPRESSION, page.compression)
    if page.photometric not in _COLOURS or page.tags.valueof(332, _CMYK) != _CMYK:
        raise Refused(f"has colours of the kind {colours}, which is not supported; save it as RGB or greyscale")
    if page.compression not in _COMPRESSIONS:
        raise Refused(f"is compressed by {compression}, which is not supported; save it with deflate or uncompressed")
    if page.imagedepth != 1:
        raise Refused(f"is a volume of depth {page.imagedepth}; save its slices as pages")
    if page.is_tiled and page.tilewidth * page.tilelength > MAX_PIXELS:
        raise Refused(f"has tiles of {page.tilewidth}x{page.tilelength} pixels; it is damaged, or too large")
    extra, alpha = _extra(page)
    n = 1 if (own := _COLOURS[page.photometric]) == 1 and page.photometric != PHOTOMETRIC.PALETTE else 3
    if extra < 0 or (extra and not alpha and own != n):
        raise Refused(f"has {page.samplesperpixel} samples per pixel, which does not go with {colours}")
    inverted = page.photometric in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.SEPARATED)
    dtype = page.dtype.name if page.dtype is not None else f"{page.bitspersample} bits"
    if _bits(page) < 8:
        raise Refused(f"has {page.samplesperpixel} samples of {_bits(page)} bits per pixel; save it with 8 bits")
    if inverted and not dtype.startswith("u"):
        raise Refused(f"holds {dtype} in {colours}; save it as RGB or greyscale")
    bands = extra and not alpha
    return Header(
        size=(page.imagewidth, page.imagelength),
        channels=page.samplesperpixel if bands else n,
        dtype=dtype,
        colour="bands" if bands else "grey" if n == 1 else "rgb",
        alpha=alpha,
        pages=1,
        format="tiff",
        mode=colours.upper(),
    )


def _extra(page: TiffPage) -> tuple[int, bool]:
    """How many samples there are beside the colours, and whether the only one is an alpha."""
    extra = page.samplesperpixel - _COLOURS[page.photometric]
    alphas = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
    return extra, extra == 1 and len(page.extrasamples) == 1 and page.extrasamples[0] in alphas


def _samples(tiff: TiffFile, pages: list[TiffPage], n: int) -> Iterator[tuple[TiffPage, Pixels]]:
    """Each image's page, and (H, W, samples) as they are stored, all of them there."""
    if n > len(pages):
        stack = tiff.series[0].asarray(maxworkers=1).reshape(n, *pages[0].shaped)
        yield from ((pages[0], _together(values)) for values in stack)
        return
    for page in pages:
        n_segments, size = math.prod(page.chunked), page.parent.filehandle.size
        ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if page.is_contiguous:
            ends, n_segments = [page.dataoffsets[0] + page.nbytes], 1
        if len(ends) < n_segments or max(ends) > size:
            raise Refused("is truncated: its pixels go beyond its end")
        yield page, _together(page.asarray(squeeze=False, maxworkers=1))


def _together(values: Pixels) -> Pixels:
    """(samples apart, depth, H, W, samples together) as (H, W, samples)."""
    return values[:, 0].transpose(1, 2, 0, 3).reshape(*values.shape[2:4], -1)


def _picture(page: TiffPage, samples: Pixels, stored: Stored) -> Picture:
    """Samples as grey, RGB or bands, with an alpha that colours are not multiplied by."""
    extra, has_alpha = _extra(page)
    alpha = samples[:, :, -1] if has_alpha else None
    if extra and not has_alpha:
        return Picture(samples, "bands", stored=stored)
    pixels = samples[:, :, :-1] if has_alpha else samples
    if alpha is not None and page.extrasamples[0] == EXTRASAMPLE.ASSOCALPHA:
        pixels = _apart(pixels, alpha)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        pixels = np.subtract(2**page.bitspersample - 1, pixels, dtype=pixels.dtype)
    elif page.photometric == PHOTOMETRIC.PALETTE:
        pixels = _looked_up(page, pixels[:, :, 0])
    elif page.photometric == PHOTOMETRIC.SEPARATED:
        pixels, profile = from_cmyk(pixels, stored.profile)
        stored = replace(stored, profile=profile)
    return Picture(pixels, "grey" if pixels.shape[2] == 1 else "rgb", alpha, stored)


def _apart(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Colours that were multiplied by the alpha, as they were before; black where nothing is left of them."""
    share = alpha[:, :, None].astype(np.float64)
    before = np.divide(pixels * opaque(pixels.dtype), share, out=np.zeros(pixels.shape), where=share > 0)
    if pixels.dtype.kind in "iu":
        before = np.rint(before).clip(0, opaque(pixels.dtype))
    return before.astype(pixels.dtype)


def _looked_up(page: TiffPage, indices: Pixels) -> Pixels:
    """The colours of a palette, 8 bits of them: some programs write them as such, the others times 256."""
    colours = page.colormap
    if colours is None or colours.shape[1] <= int(indices.max()):
        raise Refused("is damaged: its palette does not hold all of its colours")
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8).T[indices]
