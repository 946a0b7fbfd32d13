"""Images in folders: two folders, or one root with the well-known names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from i2i.data.reading import SUFFIXES, check_image, read_image
from i2i.data.source import Split
from i2i.errors import I2IError, Problem, suggest
from i2i.options import LocalPath


class ImageFiles:
    """Image files of one folder.

    Args:
        folder: where they lie.
        names: their paths relative to it, with forward slashes.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self.names = list(names)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def read(self, index: int) -> Image.Image:
        return read_image(self.folder / self.names[index])

    def check(self, index: int) -> tuple[int, int]:
        return check_image(self.folder / self.names[index])

    def digest(self) -> str:
        total = hashlib.sha256()
        with ThreadPoolExecutor() as pool:
            for name, content in zip(self.names, pool.map(self._digest, self.names), strict=True):
                total.update(name.encode("utf-8", "surrogateescape") + b"\0" + content)
        return total.hexdigest()

    def _digest(self, name: str) -> bytes:
        try:
            with (self.folder / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError:
            return b"unreadable"


def find_images(folder: str | Path, where: str) -> ImageFiles:
    """All image files below a folder, sorted by name; hidden ones are left out, linked folders are not entered.

    Raises I2IError, with `where` as the path in the recipe, if there is no such folder or no image in it.
    """
    if not str(folder):
        raise I2IError(Problem(where, "says no folder"))
    names: list[str] = []
    with _access(folder, where):
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise NotADirectoryError if path.exists() else FileNotFoundError
        for directory, folders, files in os.walk(path, onerror=_raise):
            folders[:] = [f for f in folders if not f.startswith(".")]
            images = (f for f in files if not f.startswith(".") and f.lower().endswith(SUFFIXES))
            names += [(Path(directory) / f).relative_to(path).as_posix() for f in images]
    if not names:
        raise I2IError(Problem(where, f"the folder {str(folder)!r} holds no image ({', '.join(SUFFIXES)})"))
    return ImageFiles(path, sorted(names))


def find_all(*folders: tuple[str | Path, str]) -> list[ImageFiles]:
    """`find_images` of each (folder, where); what is wrong with any of them is reported at once."""
    found: list[ImageFiles] = []
    problems: list[Problem] = []
    for folder, where in folders:
        try:
            found.append(find_images(folder, where))
        except I2IError as error:
            problems.extend(error.problems)
    if problems:
        raise I2IError(*problems)
    return found


SplitOf = Callable[[ImageFiles, ImageFiles], Split]


class Folders:
    """Two folders of images, one for each domain; nothing is paired.

    Args:
        a, b: folders to train on; images are found below them at any depth.
        test_a, test_b: held-out images, or neither.
    """

    def __init__(self, *, a: LocalPath = "", b: LocalPath = "", test_a: LocalPath = "", test_b: LocalPath = "") -> None:
        self._train, self._test = two_folders(a, b, test_a, test_b, Split)

    def train(self) -> Split:
        return self._train

    def test(self) -> Split | None:
        return self._test


def two_folders(a: str, b: str, test_a: str, test_b: str, split: SplitOf) -> tuple[Split, Split | None]:
    """Splits for training and test of a source with these four options. Raises I2IError."""
    wanted: list[tuple[str | Path, str]] = [(a, "data.source.a"), (b, "data.source.b")]
    if test_a or test_b:
        wanted += [(test_a, "data.source.test_a"), (test_b, "data.source.test_b")]
    found = find_all(*wanted)
    return split(*found[:2]), split(*found[2:]) if found[2:] else None


class Root:
    """One folder with trainA and trainB, and perhaps testA and testB (or valA and valB).

    Args:
        path: that folder.
    """

    def __init__(self, *, path: LocalPath = "") -> None:
        where = "data.source.path"
        inside = subfolders(path, where)
        missing = [name for name in ("trainA", "trainB") if name not in inside]
        if missing:
            raise I2IError(Problem(where, f"{path!r} holds no {' and no '.join(missing)}; it holds: {_listed(inside)}"))
        held_out = next((kind for kind in ("test", "val") if {f"{kind}A", f"{kind}B"} & set(inside)), None)
        names = ["trainA", "trainB"] + ([f"{held_out}A", f"{held_out}B"] if held_out else [])
        found = find_all(*((Path(path).expanduser() / name, where) for name in names))
        self._train = Split(found[0], found[1])
        self._test = Split(found[2], found[3]) if held_out else None

    def train(self) -> Split:
        return self._train

    def test(self) -> Split | None:
        return self._test


def subfolders(folder: str, where: str) -> list[str]:
    """Names of the folders in a folder, sorted. Raises I2IError if it is none."""
    if not folder:
        raise I2IError(Problem(where, "says no folder"))
    with _access(folder, where):
        return sorted(entry.name for entry in Path(folder).expanduser().iterdir() if entry.is_dir())


@contextmanager
def _access(folder: str | Path, where: str) -> Iterator[None]:
    """Turns what the file system says into a message about this folder."""
    given = repr(str(folder))
    try:
        yield
    except FileNotFoundError:
        message = f"there is no folder {given} (looked in {Path.cwd()}){_nearest(Path(folder))}"
        raise I2IError(Problem(where, message)) from None
    except NotADirectoryError:
        raise I2IError(Problem(where, f"{given} is a file, not a folder")) from None
    except OSError as error:
        raise I2IError(Problem(where, f"cannot read {error.filename or given}: {error.strerror}")) from error
    except RuntimeError as error:  # ~name of an unknown user
        raise I2IError(Problem(where, f"{given}: {error}")) from error


def _nearest(missing: Path) -> str:
    try:
        return suggest(missing.name, [p.name for p in missing.expanduser().parent.iterdir() if p.is_dir()])
    except OSError:
        return ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "") if names else "no folder at all"


def _raise(error: OSError) -> None:
    raise error
