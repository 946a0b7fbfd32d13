"""One page of a TIFF file: what its samples are, and the picture that they make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, TiffPage

from i2i.images.headers import MAX_PIXELS, Header, Refused
from i2i.images.orientation import turned
from i2i.images.picture import Picture, Pixels, Stored, opaque
from i2i.images.profiles import from_cmyk
from i2i.images.reading_tiff_tags import named, orientation_of

_COLOURS: dict[int, int] = {  # how many samples they take
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
}
_GREY = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK)
_INVERTED = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.SEPARATED)
_INKS, _CMYK = 332, 1  # the tag of what the inks are, and its value where it is not there
_JPEG = (COMPRESSION.JPEG, COMPRESSION.OJPEG)  # whose decoders make RGB of YCbCr
_COMPRESSIONS = (  # whose decoders stop where a strip or tile ends
    *(COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE, COMPRESSION.PACKBITS),
    *(COMPRESSION.ZSTD, COMPRESSION.LZMA, COMPRESSION.WEBP, *_JPEG),
    *(COMPRESSION.CCITTRLE, COMPRESSION.CCITTFAX3, COMPRESSION.CCITTFAX4),
)
_FEW_BITS = {1: 255, 2: 85, 4: 17}  # and what makes 8 of them
_NUMBERS = (
    *("imagewidth", "imagelength", "imagedepth", "samplesperpixel", "photometric", "compression", "planarconfig"),
    *("tilewidth", "tilelength", "rowsperstrip", "predictor", "fillorder"),
)


def described(page: TiffPage) -> Header:
    """What a page holds, upright. Raises Refused for what is not read; sizes are not checked yet."""
    if not all(isinstance(getattr(page, name), int) for name in _NUMBERS):
        raise Refused("is damaged: it has several values where there is one")
    colours, compression = named(PHOTOMETRIC, page.photometric), named(COMPRESSION, page.compression)
    coarse = _is_ycbcr(page) and (page.is_subsampled or page.bitspersample != 8)
    if page.photometric not in _COLOURS or coarse or page.tags.valueof(_INKS, _CMYK) != _CMYK:
        raise Refused(f"has colours of the kind {colours}, which is not supported; save it as RGB or greyscale")
    if page.compression not in _COMPRESSIONS:
        raise Refused(f"is compressed by {compression}, which is not supported; save it with deflate or uncompressed")
    if page.imagedepth != 1:
        raise Refused(f"is a volume of depth {page.imagedepth}; save its slices as pages")
    if page.is_tiled and page.tilewidth * page.tilelength > MAX_PIXELS:
        raise Refused(f"has tiles of {page.tilewidth}x{page.tilelength} pixels; it is damaged, or too large")
    extra, alpha = _extra(page)
    bands = extra > 0 and not alpha
    if extra < 0 or (bands and page.photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB)):
        raise Refused(f"has {page.samplesperpixel} samples per pixel, which does not go with {colours}")
    dtype = "uint8" if _has_few_bits(page) else "unknown numbers" if page.dtype is None else page.dtype.name
    if page.photometric in _INVERTED and not dtype.startswith("u"):
        raise Refused(f"holds {dtype} in {colours}; save it as RGB or greyscale")
    grey, size = page.photometric in _GREY, (page.imagewidth, page.imagelength)
    return Header(
        size=size[::-1] if turned(orientation_of(page)) else size,
        channels=page.samplesperpixel if bands else 1 if grey else 3,
        dtype="uint8" if page.photometric == PHOTOMETRIC.PALETTE else dtype,
        colour="bands" if bands else "grey" if grey else "rgb",
        alpha=alpha,
        pages=1,
        format="tiff",
        mode=colours.upper(),
    )


def pictured(page: TiffPage, samples: Pixels, stored: Stored) -> Picture:
    """(H, W, samples) of a page that is described, as grey, RGB or bands; colours are not multiplied by the alpha."""
    extra, has_alpha = _extra(page)
    if extra and not has_alpha:
        return Picture(samples, "bands", stored=stored)
    pixels, alpha = (samples[:, :, :-1], samples[:, :, -1]) if has_alpha else (samples, None)
    if alpha is not None and page.extrasamples[0] == EXTRASAMPLE.ASSOCALPHA:
        pixels = _apart(pixels, alpha)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        pixels = np.subtract(2**page.bitspersample - 1, pixels, dtype=np.result_type(pixels, np.uint8))
    if page.photometric == PHOTOMETRIC.PALETTE:
        pixels = _looked_up(page, pixels[:, :, 0])
    elif page.photometric == PHOTOMETRIC.SEPARATED:
        pixels, profile = from_cmyk(pixels, stored.profile)
        stored = replace(stored, profile=profile)
    elif _is_ycbcr(page):
        pixels = np.asarray(Image.frombytes("YCbCr", pixels.shape[1::-1], pixels.tobytes()).convert("RGB"))
    elif _has_few_bits(page):
        pixels = pixels * np.uint8(_FEW_BITS[page.bitspersample])
    return Picture(pixels, "grey" if pixels.shape[2] == 1 else "rgb", alpha, stored)


def _is_ycbcr(page: TiffPage) -> bool:
    """Whether samples are brightness and colour when they are decoded."""
    return page.photometric == PHOTOMETRIC.YCBCR and page.compression not in _JPEG


def _extra(page: TiffPage) -> tuple[int, bool]:
    """How many samples there are beside the colours, and whether the only one is an alpha."""
    extra = page.samplesperpixel - _COLOURS[page.photometric]
    alphas = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
    return extra, extra == 1 and len(page.extrasamples) == 1 and page.extrasamples[0] in alphas


def _has_few_bits(page: TiffPage) -> bool:
    """Whether grey or indices have fewer than 8 bits. Raises Refused for others that have."""
    bits = page.bitspersample
    fewest = min(bits) if isinstance(bits, tuple) else bits
    if fewest < 8 and (page.samplesperpixel > 1 or fewest not in _FEW_BITS):
        raise Refused(f"has {page.samplesperpixel} samples of {fewest} bits per pixel; save it with 8 bits")
    return fewest < 8


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
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8).T[indices.astype(np.intp)]
