"""Image files as bytes, made by Pillow, tifffile, imagecodecs or by hand, for tests of reading and writing."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import tifffile
from PIL import Image


def noise(height=6, width=8, channels=3, dtype="uint8", seed=0):
    """(H, W, C), or (H, W) for one channel: the whole range of an integer type, 0 to 1 for floats."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    shape = (height, width, channels) if channels > 1 else (height, width)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def saved(image, format, **options):
    """What Pillow writes of an image or of an array of 8 bits."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def tiff(array, **options):
    """What tifffile writes, without the note on the shape that it adds of itself."""
    file = io.BytesIO()
    tifffile.imwrite(file, array, **{"metadata": None, "photometric": "minisblack", **options})
    return file.getvalue()


def several(*pages):
    """A TIFF of RGB pages."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            writer.write(page, photometric="rgb", metadata=None, contiguous=False)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(compressed=True, **arrays):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def png(width, height, depth, colour, rows, *chunks, interlaced=0):
    """A PNG by its specification (ISO/IEC 15948), from filtered rows, with chunks (kind, body) before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(samples, *chunks):
    """A PNG of uint16 (H, W) or (H, W, C)."""
    samples = np.atleast_3d(samples)
    height, width, n = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[n], rows, *chunks)


def raw_tiff(data=b"", **tags):
    """A TIFF by its specification (6.0): 8-bit grey, one strip; `tags` as in `t256=8` replace or add LONGs."""
    all_tags = {256: 8, 257: 6, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 6, 279: len(data)}
    all_tags |= {int(name[1:]): value for name, value in tags.items()}
    data += b"\0" * (len(data) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(all_tags.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(all_tags)) + entries + b"\0" * 4


def exif(orientation, **tags):
    """An EXIF block with an orientation, and other tags as in `t271="Maker"`."""
    block = Image.Exif()
    block[0x0112] = orientation
    for name, value in tags.items():
        block[int(name[1:])] = value
    return block.tobytes()


def display_p3():
    """A colour profile of red, green and blue that are not those of sRGB."""
    primaries = (0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1)
    return imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.3290, 1), primaries=primaries, gamma=2.2)


def ink_profile():
    """A colour profile (ICC.1:2001-04) of four inks that are all the same grey: L* is 100 less 25 for each."""

    def place(value):  # of L*, and grey for a* and b*
        return struct.pack(">3H", round(value / 100 * 0xFF00), 0x8000, 0x8000)

    corners = b"".join(place(100 - 25 * bin(inks).count("1")) for inks in range(16))
    ends = struct.pack(">2H", 0, 65535)
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = b"mft2\0\0\0\0\4\3\2\0" + identity + struct.pack(">2H", 2, 2) + 4 * ends + corners + 3 * ends
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    name = b"desc\0\0\0\0" + struct.pack(">I", 4) + b"ink\0" + bytes(78)
    tags = {b"A2B0": table, b"wtpt": white, b"desc": name, b"cprt": b"text\0\0\0\0none\0"}
    at, index, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        index += tag + struct.pack(">2I", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    start = b"\0\0\0\0lcms\2\x20\0\0prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28)
    start += struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return struct.pack(">I", at + len(body)) + start[4:] + struct.pack(">I", len(tags)) + index + body
