"""What is in a part of a set of images, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from i2i.datasets.check.findings import counted
from i2i.datasets.check.sets import Part
from i2i.images import Header

N_SHOWN = 6
"""Kinds, formats, modes and profiles in words; foreign files may have any number of them."""
Size = tuple[int, int]
"""Width and height, in px."""


@dataclass(frozen=True)
class Facts:
    """A part of a set.

    Args:
        title: of the part.
        n_images: with those that cannot be read.
        smallest, median, largest: sizes; the first and the last by area, the median of each side.
        n_sizes: how many different sizes there are.
        sides: how many images have a shorter side from one power of two up to the next, by `128–255`.
        kinds: how many are of each kind of pixels, such as `RGB, 8 bits`; so are formats, the files' own modes, and
            colour profiles.
        classes: how many images have each label.
        values: of deep images the least, the 0.1 and 99.9 percentiles and the largest value.
        becomes: the size that is trained on, if it is one.
        kept: the share of pixels that is left of the median image; above 1 if it is enlarged.
    """

    title: str
    n_images: int
    n_unreadable: int
    smallest: Size | None
    median: Size | None
    largest: Size | None
    n_sizes: int
    sides: Mapping[str, int]
    kinds: Mapping[str, int]
    formats: Mapping[str, int]
    modes: Mapping[str, int]
    profiles: Mapping[str, int]
    classes: Mapping[int, int]
    values: tuple[float, float, float, float] | None
    becomes: Size | None
    kept: float | None

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    def texts(self) -> tuple[str, str, str]:
        """Sizes, pixels and files in words, a line for each thing to say."""
        sizes = []
        if self.median and self.smallest and self.largest:
            sizes = [_shown(self.median)]
            if self.n_sizes > 1:
                sizes = [f"median {_shown(self.median)}", f"{_shown(self.smallest)} to {_shown(self.largest)}"]
                sizes.append(f"{self.n_sizes:,} sizes")
        if self.kept is not None and self.kept != 1:
            sizes.append(f"become {_shown(self.becomes)}" if self.becomes else "become many sizes")
            sizes.append(f"with {100 * self.kept:.3g} % of the px")
        pixels = _shares(self.kinds)
        if self.values:
            pixels.append(f"values {self.values[0]:g} to {self.values[3]:g}")
        if self.classes:
            counts = self.classes.values()
            each = f"{min(counts):,} to {max(counts):,}" if len({*counts}) > 1 else f"{max(counts):,}"
            pixels.append(f"{counted(len(counts), 'class', 'classes')} of {each}")
        files = _shares(self.formats)
        files += [f"mode {mode}" for mode in _shares(self.modes)] if len(self.modes) > 1 else []
        files += [f"profile {profile}" for profile in _shares(self.profiles)]
        return "\n".join(sizes), "\n".join(pixels), "\n".join(files)


def facts(part: Part) -> Facts:
    """Counts what was seen of a part."""
    looks = list(part.looks.values())
    headers = [look.picture for look in looks]
    sizes = [header.size for header in headers]
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    middle = tuple(int(side) for side in np.median(sizes, axis=0)) if sizes else ()
    becomes = {look.becomes for look in looks if look.becomes is not None}
    kept = [np.prod(look.becomes) / np.prod(look.picture.size) for look in looks if look.becomes is not None]
    return Facts(
        title=part.title,
        n_images=len(part.images),
        n_unreadable=len(part.unreadable),
        smallest=by_area[0] if sizes else None,
        median=(middle[0], middle[1]) if sizes else None,
        largest=by_area[-1] if sizes else None,
        n_sizes=len(set(sizes)),
        sides=_octaves(min(size) for size in sizes),
        kinds=_counted(map(_kind, headers)),
        formats=_counted(header.format.upper() for header in headers),
        modes=_counted(header.mode.partition(" (")[0] for header in headers),  # arrays tell their shape, too
        profiles=_counted(look.profile for look in looks),
        classes=dict(sorted(Counter(part.labels or ()).items())),
        values=part_range(part),
        becomes=next(iter(becomes))[::-1] if len(becomes) == 1 else None,
        kept=float(np.median(kept)) if kept else None,
    )


def part_range(part: Part) -> tuple[float, float, float, float] | None:
    """Of deep images: the least value, the 0.1 and 99.9 percentiles, and the largest one."""
    deep = [look for look in part.looks.values() if look.values is not None]
    if not deep:
        return None
    low, high = np.percentile(np.concatenate([look.values for look in deep if look.values is not None]), [0.1, 99.9])
    return min(look.low for look in deep), float(low), float(high), max(look.high for look in deep)


def proposed(least: float, low: float, high: float, largest: float) -> tuple[float, float]:
    """A range for values with these percentiles: a usual one if it is mostly used, else the percentiles, rounded."""
    usual = [(0.0, 1.0), (-1.0, 1.0), *((0.0, 2.0**bits - 1) for bits in (8, 10, 12, 14, 16))]
    for first, last in usual:
        if first <= least and largest <= last and high - low >= (last - first) / 2:
            return first, last
    unit = 10.0 ** np.floor(np.log10(high - low) - 1) if high > low else 1.0
    return float(f"{np.floor(low / unit) * unit:.6g}"), float(f"{np.ceil(high / unit) * unit:.6g}")


def _shown(size: Size) -> str:
    return f"{size[0]} × {size[1]}"


def _shares(counts: Mapping[str, int]) -> list[str]:
    """Each word with its number, the most frequent first; a word alone needs none."""
    if len(counts) == 1:
        return list(counts)
    words, rest = list(counts.items())[:N_SHOWN], list(counts.values())[N_SHOWN:]
    return [f"{word}: {n:,}" for word, n in words] + ([f"{len(rest):,} others: {sum(rest):,}"] if rest else [])


def _octaves(sides: Iterable[int]) -> dict[str, int]:
    """Counts by powers of two; those between that have none are there, with 0."""
    counts = Counter(side.bit_length() for side in sides)
    bits = range(min(counts), max(counts) + 1) if counts else ()
    return {f"{2 ** (n - 1)}–{2**n - 1}": counts[n] for n in bits}


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(word for word in words if word).most_common())


def _kind(header: Header) -> str:
    """`RGB and alpha, 8 bits`; `5 bands, float32`."""
    colour = {"rgb": "RGB", "grey": "grey"}.get(header.colour, f"{header.channels} bands")
    depth = {"uint8": "8 bits", "uint16": "16 bits"}.get(header.dtype, header.dtype)
    return f"{colour}{' and alpha' if header.alpha else ''}, {depth}"
