"""Which images a command means, and where the translation of each one goes."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from i2i.data.folders import find_images
from i2i.errors import I2IError, Problem, collecting
from i2i.images.formats import Format
from i2i.images.headers import MAX_BYTES

STDIN = "stdin"


@dataclass(frozen=True, slots=True)
class Place:
    """An image, and how its translation will be called.

    Args:
        source: its file, or its bytes if it came by stdin.
        name: its own, with the folders that are kept.
        alone: no other image is called so but for the suffix.
        plain: no translation can be called as another one's image is.
    """

    source: Path | bytes
    name: Path
    alone: bool = True
    plain: bool = True

    def __str__(self) -> str:
        return STDIN if isinstance(self.source, bytes) else str(self.source)

    def named(self, format: Format) -> Path:
        """The translation's name in that format: the same, with another suffix, or with one more."""
        if self.plain and self.name.suffix.lower() in format.suffixes:
            return self.name
        suffix = format.suffixes[0]
        return self.name.with_suffix(suffix) if self.plain and self.alone else Path(f"{self.name}{suffix}")


def find_inputs(images: Sequence[str], out: Path | None) -> tuple[list[Place], int]:
    """The images that files, folders and patterns mean, each once; and how many in `out` were left out.

    `-` means the one that comes by stdin, and stands alone.

    Folders are kept from the deepest one on that holds all that was given: a folder's content stays as it is in there,
    and the content of two folders does not mix. Folders are not searched in `out`, where translations lie.

    Raises I2IError for whatever is not there.
    """
    found: dict[str, Path] = {}
    out_is_given = False
    tops: list[str] = []
    problems: list[Problem] = []
    n_left_out = 0
    inside_out = os.path.join(os.path.abspath(out), "") if out else None  # noqa: PTH100, PTH118 (keeps the slash)
    if "-" in images:
        return [Place(sys.stdin.buffer.read(MAX_BYTES + 1), Path(STDIN))], 0
    for path in (path for given in images for path in _meant(given, problems)):
        if not path.is_dir():
            tops.append(_absolute(path.parent))
            found.setdefault(_absolute(path), path)
            continue
        if out and _absolute(path) == _absolute(out):  # the shell's in/* meets in/out when the command runs again
            out_is_given = True
            with suppress(I2IError):
                n_left_out += len(find_images(path, "IMAGES"))
            continue
        tops.append(_absolute(path))
        with collecting(problems):
            files = [path / name for name in find_images(path, "IMAGES").names]
            kept = [f for f in files if not (inside_out and _absolute(f).startswith(inside_out))]
            if not kept:
                raise I2IError(Problem("IMAGES", f"the folder {str(path)!r} holds no image but those in {str(out)!r}"))
            n_left_out += len(files) - len(kept)
            found |= {_absolute(f): found.get(_absolute(f), f) for f in kept}
    if out_is_given and not found:
        problems.append(Problem("--out", f"{str(out)!r} is the folder of the images; choose another one"))
    if problems:
        raise I2IError(*problems)
    try:
        base = os.path.commonpath(tops) if tops else ""
    except ValueError:  # Windows
        raise I2IError(Problem("IMAGES", "lie on several drives; translate each drive by itself")) from None
    return _places({Path(where).relative_to(base): path for where, path in found.items()}), n_left_out


def _places(sources: dict[Path, Path]) -> list[Place]:
    """Where names differ in their suffix alone they keep it; where that would not do, all get a suffix more."""
    stems = Counter(_key(name.with_suffix("")) for name in sources)
    names = set(map(_key, sources))
    plain = names.isdisjoint(stems)  # x.jpg and x.jpg.png: the first one's translation might be called as the second
    return [Place(path, name, stems[_key(name.with_suffix(""))] == 1, plain) for name, path in sources.items()]


def _key(name: Path) -> str:
    return name.as_posix().casefold()  # on some systems X.png and x.png are one file


def _meant(given: str, problems: list[Problem]) -> Iterable[Path]:
    """What is called so; else, of a pattern, what it matches."""
    path = Path(given).expanduser()
    if given and os.path.lexists(path):  # Path("") is the folder that one is in
        return [path]
    if glob.has_magic(given):
        if matches := sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207 (which knows no absolute patterns)
            return map(Path, matches)
        problems.append(Problem("IMAGES", f"nothing matches {given!r}"))
    else:
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = "".join(f"; did you mean {name!r}?" for name in get_close_matches(path.name, beside, 1))
        message = f"there is no file or folder {given!r} (looked in {Path.cwd()}){near}"
        problems.append(Problem("IMAGES", message))
    return []


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 (which takes `..` out)
