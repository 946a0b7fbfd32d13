"""What is done with one image file: read, translated if it is large, written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from i2i.errors import I2IError, Problem
from i2i.files import replacing
from i2i.images import Header, Stored, header, read, write
from i2i.images.formats import Format
from i2i.images.writing import target_format, write_regions
from i2i.translate import Translator
from i2i.translating.large import translated
from i2i.translating.pictures import Taken, Unit, give, plan, take
from i2i.translating.places import Place
from i2i.translating.tiling import Tiling

Progress = Callable[[str, float, float], None]
"""Is told of an image how much is done, and of how much."""


@dataclass(frozen=True)
class Ready:
    """A picture that waits for the network, and where its translation goes."""

    place: Place
    taken: Taken
    format: Format
    target: Path


@dataclass(frozen=True)
class Large:
    """An image that is not decoded yet, since it may go through the network in tiles."""

    place: Place
    header: Header
    format: Format
    target: Path


@dataclass(frozen=True)
class Work:
    """What is the same for all files of a command.

    Args:
        out: the folder of the translations.
        format: of all of them; None: that of each input, or another one where it cannot hold the translation.
        overwrite: replace what is there; never one of the images to translate.
        sources: identities of these, as the file system has them.
        tiling: what becomes of those that are large.
    """

    translator: Translator
    out: Path
    format: Format | None
    overwrite: bool
    sources: frozenset[tuple[int, int]]
    tiling: Tiling

    def prepare(self, place: Place) -> Ready | Large | None:
        """A picture read and brought to what the network takes; None if its translation is there already."""
        found = header(place.source, str(place), self.tiling.max_pixels)  # so that what is there costs no decoding
        planned = plan(self.translator, found)
        format = self.format or target_format(Stored(found.format), planned.dtype, planned.channels)
        target = self.out / place.named(format)
        if os.path.lexists(target):
            if identity(target) in self.sources:
                message = f"its translation would replace the image {target}; choose another folder with -o"
                raise I2IError(Problem(str(place), message))
            if not self.overwrite:
                return None
        large = Large(place, found, format, target)
        return self._decoded(large) if self.tiling.lets_pass(self.translator, found) else large

    def decided(self, large: Large) -> Ready | Large:
        """What goes whole after all, decoded; else what was given. Not to be called while another thread computes."""
        return large if self.tiling.cuts(self.translator, large.header) else self._decoded(large)

    def _decoded(self, large: Large) -> Ready:
        place = large.place
        picture = read(place.source, str(place), self.tiling.max_pixels)
        return Ready(place, take(self.translator, picture), large.format, large.target)

    def write(self, ready: Ready, out: Unit) -> None:
        picture = give(self.translator, ready.taken, out)
        with _placing(ready.target) as temporary:
            write(picture, temporary, ready.format.name)

    def translate(self, large: Large, progress: Progress) -> Taken:
        """All of it, in tiles, beside temporary files in the folder of the translations unless TMPDIR names another."""
        self.out.mkdir(parents=True, exist_ok=True)
        scratch = Path(os.environ.get("TMPDIR") or self.out)
        told = partial(progress, str(large.place))
        with translated(self.translator, large.place, large.format.name, self.tiling, scratch, told) as done:
            with _placing(large.target) as temporary:
                write_regions(done.outline, done.read, temporary, large.format.name)
            return done.taken


@contextmanager
def _placing(target: Path) -> Iterator[Path]:
    """A temporary path that becomes the target."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            yield temporary
    except OSError as error:
        error.filename = str(target)  # not the temporary name, which tells nobody anything
        raise


def identity(path: Path) -> tuple[int, int] | None:
    """Of a file, as the file system has it."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
