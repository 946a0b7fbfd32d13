"""Images in folders: two folders, or one root with the well-known names."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from i2i.data.checksums import content_digest
from i2i.data.matching import Named, listed
from i2i.data.paths import accessing, subfolders
from i2i.data.source import Images, Split
from i2i.errors import I2IError, Problem, collecting
from i2i.images import Header, Picture, header, read
from i2i.images.formats import SUFFIXES
from i2i.options import LocalPath

FOREIGN = (
    ".3fr .arw .avi .avif .cr2 .cr3 .dcm .dds .dng .eps .exr .fits .hdr .heic .heif .hif .ico .j2k .jp2 "
    ".jpf .jpx .jxl .jxr .mhd .mkv .mov .mp4 .mrc .nef .nii .nrrd .orf .pam .pbm .pcx .pdf .pfm .pgm .pnm .ppm .psb "
    ".psd .qoi .raf .raw .rw2 .sr2 .svg .svs .tga .webm .wmv .xcf"
)
"""Suffixes of images and films in other formats than ours."""


class ImageFiles:
    """Image files of one folder.

    Args:
        folder: where they lie.
        names: their paths relative to it, with forward slashes.
        passed_over: how many other files lie there, by their suffix in lower case.
    """

    def __init__(self, folder: Path, names: Sequence[str], passed_over: Mapping[str, int] | None = None) -> None:
        self.folder = folder
        self.names = list(names)
        self.passed_over = dict(passed_over or {})

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def path(self, index: int) -> Path:
        return self.folder / self.names[index]

    def read(self, index: int) -> Picture:
        return read(self.path(index))

    def header(self, index: int) -> Header:
        return header(self.path(index))

    def digest(self) -> str:
        return content_digest(self.folder, self.names)


def find_images(folder: str | Path, where: str) -> ImageFiles:
    """All image files below a folder, sorted by name; hidden ones are left out, linked folders are not entered.

    Warns of those links, and of images in formats that are not read. Raises I2IError, with `where` as the path in the
    recipe, if there is no such folder or no image in it.
    """
    if not str(folder):
        raise I2IError(Problem(where, "says no folder"))
    names: list[str] = []
    others: Counter[str] = Counter()
    links: list[str] = []
    with accessing(folder, where, "folder"):
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise NotADirectoryError if path.exists() else FileNotFoundError
        for directory, folders, files in os.walk(path, onerror=_raise):
            folders[:] = [f for f in folders if not f.startswith(".")]
            inside = Path(directory).relative_to(path)
            links += [str(inside / f) for f in folders if (Path(directory) / f).is_symlink()]
            prefix = "" if inside == Path() else f"{inside.as_posix()}/"
            for file in (f for f in files if not f.startswith(".")):
                if file.lower().endswith(SUFFIXES):
                    names.append(prefix + file)
                else:
                    others[Path(file).suffix.lower()] += 1
    linked = f"linked folders, which are not entered: {listed(sorted(links))}"
    if not names:
        holds = " and ".join([_counted(others)] * bool(others) + [linked] * bool(links))
        message = f"the folder {str(folder)!r} holds no image ({', '.join(SUFFIXES)})"
        raise I2IError(Problem(where, f"{message}; it holds {holds}" if holds else message))
    if links:
        warnings.warn(f"{str(folder)!r} also holds {linked}", stacklevel=2)
    if foreign := {suffix: n for suffix, n in others.items() if suffix in FOREIGN.split()}:
        message = f"{str(folder)!r} also holds {_counted(foreign)}, which i2i does not read; convert them, to PNG say"
        warnings.warn(message, stacklevel=2)
    return ImageFiles(path, sorted(names), others)


def find_all(*folders: tuple[str | Path, str]) -> list[ImageFiles]:
    """`find_images` of each (folder, where); what is wrong with any of them is reported at once."""
    found: list[ImageFiles] = []
    problems: list[Problem] = []
    for folder, where in folders:
        with collecting(problems):
            found.append(find_images(folder, where))
    if problems:
        raise I2IError(*problems)
    return found


SplitOf = Callable[[ImageFiles, ImageFiles], Split]


class Folders:
    """Two folders of images, one for each domain; nothing is paired.

    Args:
        a, b: folders to train on; images are found below them at any depth.
        test_a, test_b: held-out images, or neither.
        mask_a, mask_b, test_mask_a, test_mask_b: folders of masks, each called as its image is; any suffix.
    """

    def __init__(
        self,
        *,
        a: LocalPath = "",
        b: LocalPath = "",
        test_a: LocalPath = "",
        test_b: LocalPath = "",
        mask_a: LocalPath = "",
        mask_b: LocalPath = "",
        test_mask_a: LocalPath = "",
        test_mask_b: LocalPath = "",
    ) -> None:
        masks = {"mask_a": mask_a, "mask_b": mask_b, "test_mask_a": test_mask_a, "test_mask_b": test_mask_b}
        self._train, self._test = two_folders(a, b, test_a, test_b, masks=masks)

    def train(self) -> Split:
        return self._train

    def test(self) -> Split | None:
        return self._test


def two_folders(
    a: str, b: str, test_a: str, test_b: str, split: SplitOf = Split, masks: Mapping[str, str] | None = None
) -> tuple[Split, Split | None]:
    """Splits for training and test of a source with these four options. Raises I2IError.

    Args:
        split: makes one of the files of both domains.
        masks: folders of masks by their option: `mask_a`, `test_mask_b`.
    """
    given = {option: folder for option, folder in (masks or {}).items() if folder}
    held_out = test_a or test_b or any(option.startswith("test_") for option in given)
    folders = {"a": a, "b": b, **({"test_a": test_a, "test_b": test_b} if held_out else {}), **given}
    files = find_all(*((folder, f"data.source.{option}") for option, folder in folders.items()))
    found = dict(zip(folders, files, strict=True))
    problems: list[Problem] = []
    splits: list[Split] = []
    for prefix in ("", "test_") if held_out else ("",):
        with collecting(problems):
            made = split(found[f"{prefix}a"], found[f"{prefix}b"])
            extras = {
                f"mask_{domain}": masks_of(images, found[option])
                for domain, images in (("a", made.a), ("b", made.b))
                if (option := f"{prefix}mask_{domain}") in found
            }
            splits.append(replace(made, extras={**made.extras, **extras}))
    if problems:
        raise I2IError(*problems)
    return splits[0], splits[1] if splits[1:] else None


def masks_of(images: Images, masks: ImageFiles) -> ImageFiles:
    """The mask of each image: the file of its name, whatever the suffix. Raises I2IError; masks of others may be there.

    Args:
        images: their names are paths relative to a folder, as those of the masks are.
        masks: files to choose from.
    """
    names = [images.name(index) for index in range(len(images))]
    wanted = Named.of(getattr(images, "folder", Path()), names)
    there = Named.of(masks.folder, masks.names)
    if problems := [*wanted.alone(there, "mask"), *wanted.twice(), *there.twice()]:
        raise I2IError(*problems)
    found = {name: there.names[key][0] for key, (name,) in wanted.names.items()}
    return ImageFiles(masks.folder, [found[name] for name in names])


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


def _counted(suffixes: Mapping[str, int]) -> str:
    """`9 .heic, 3 .psd`: the most frequent first, at most eight of them."""
    most = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{n} {suffix or 'without a suffix'}" for suffix, n in most[:8]]
    return ", ".join(shown) + (f" and {sum(n for _, n in most[8:])} others" if most[8:] else "")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "") if names else "no folder at all"


def _raise(error: OSError) -> None:
    raise error
