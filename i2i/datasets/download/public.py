"""Well-known public sets of images: what there is, and how one gets onto the disk, whole or not at all.

`public.toml` is the table: mirrors, sizes, checksums and where these are on record.
"""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from i2i.datasets.download.archives import LIMITS, Limits, extract
from i2i.datasets.download.parts import Part, RemoteFile, check_space, set_aside
from i2i.datasets.download.transfer import Watch, fetch
from i2i.errors import I2IError, Problem, suggest
from i2i.locks import locked

if TYPE_CHECKING:
    from httpx2 import Client

SUFFIXES = {".jpg", ".jpeg", ".png"}
"""Of the images in these sets. Whatever else an archive holds is left out."""
CLUSTER = 4096
"""Bytes that a small file takes on the disk at least."""


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A set of the table.

    Args:
        name: what it is called here, and its folder.
        about: what it shows.
        origin: where its images are from.
        source: the recipe's source that reads it; its paths are below the set's folder.
        images: the number of images in each folder; 0 if it is not on record.
        remote: its files.
        top: the folder in the archive that becomes the set's folder; empty for files that are no archives.
        paired: a file shows a scene in both domains.
    """

    name: str
    about: str
    origin: str
    source: Mapping[str, str]
    images: Mapping[str, int]
    remote: tuple[RemoteFile, ...]
    top: str
    paired: bool

    @property
    def size(self) -> int:
        """Bytes to download, at most."""
        return sum(file.size for file in self.remote)

    @property
    def exact(self) -> bool:
        return all(file.exact for file in self.remote)

    @property
    def only_md5(self) -> list[str]:
        """The names of the files of which no SHA-256 is on record."""
        return [file.name for file in self.remote if file.algorithm == "md5"]

    @property
    def n_images(self) -> int:
        """All images, or 0 if some counts are not on record."""
        return sum(self.images.values()) if all(self.images.values()) else 0

    def recipe(self, folder: Path) -> str:
        """The lines of a recipe that trains on the set in this folder."""
        paths = {key: (folder / path).as_posix() for key, path in self.source.items() if key != "name"}
        options = {"name": self.source["name"], **paths}
        # A JSON string is a TOML string.
        return f"source = {{ {', '.join(f'{k} = {json.dumps(v, ensure_ascii=False)}' for k, v in options.items())} }}"

    def lacking(self, folder: Path) -> list[str]:
        """What the folder has too few images of; nothing if the set is complete."""
        return [
            f"{name} has {found:,} of {wanted:,} images" if wanted else f"{name} has no images"
            for name, wanted in self.images.items()
            if (found := sum(p.suffix.lower() in SUFFIXES for p in (folder / name).rglob("*"))) < max(1, wanted)
        ]


@cache
def public_sets() -> Mapping[str, PublicSet]:
    """All sets by their names, in the order of the table."""
    table = tomllib.loads(files("i2i.datasets.download").joinpath("public.toml").read_text(encoding="utf-8"))
    return {name: _read(name, entry) for name, entry in table.items()}


def public_set(name: str) -> PublicSet:
    """Raises I2IError for a name that is not in the table."""
    if name not in public_sets():
        raise I2IError(Problem(name, f"no such set{suggest(name, public_sets())}"))
    return public_sets()[name]


def _read(name: str, entry: Mapping[str, Any]) -> PublicSet:
    remote = []
    for file in entry["files"]:
        algorithm = "sha256" if "sha256" in file else "md5"
        found = RemoteFile(
            file["name"], tuple(file["urls"]), file["size"], algorithm, file[algorithm], file.get("exact", True)
        )
        remote.append(found)
    return PublicSet(
        name=name,
        about=entry["about"],
        origin=entry["origin"],
        source=entry["source"],
        images=entry["images"],
        remote=tuple(remote),
        top=entry.get("top", ""),
        paired=entry.get("paired", False),
    )


def obtain(wanted: PublicSet, folder: Path, client: Client, watch: Watch, *, keep_archive: bool = False) -> Path:
    """Downloads, verifies and unpacks a set into a folder of its name in `folder`, and returns that.

    A complete set is left as it is. One that lacks images is set aside when the new one is there. What is downloaded
    lies in `NAME.download` until then, and is gone on with the next time.

    Raises I2IError, among others if another process downloads the set, and OSError, which names a file or folder.
    """
    target, downloads = folder / wanted.name, folder / f"{wanted.name}.download"
    if os.path.lexists(target):
        if not (lacking := wanted.lacking(target)):
            watch.say(f"{target} is complete already")
            return target
        watch.say(f"{target} is not complete: {', '.join(lacking)}")
    folder.mkdir(parents=True, exist_ok=True)
    busy = Problem(str(target), "is being downloaded by another process")
    with locked(folder / f".{wanted.name}.lock", busy), _keeping(downloads, watch):
        check_space(folder, _space(wanted, downloads), wanted.name)
        if wanted.only_md5:
            watch.say(f"verified by MD5, since no SHA-256 is on record: {', '.join(wanted.only_md5)}")
        paths = {file.name: fetch(file, downloads, client, watch) for file in wanted.remote}
        with _building(target.with_name(f".{target.name}.unfinished")) as unfinished:
            _unpack(wanted, paths, unfinished, watch)
            if wrong := wanted.lacking(unfinished):
                what = f"is verified, and still not what i2i's table says, which must be wrong: {', '.join(wrong)}"
                raise I2IError(Problem(str(downloads), what))
            if os.path.lexists(target):
                watch.say(f"what was there is now {set_aside(target)}")
            unfinished.rename(target)
        if not keep_archive:
            for path in paths.values():
                path.unlink()
    return target


@contextmanager
def _keeping(downloads: Path, watch: Watch) -> Iterator[None]:
    """A folder for downloads. After a failure it is told what is kept there; if that is nothing, the folder is removed.

    A system's error that names no file gets the folder's name: a full disk does not say where it is.
    """
    downloads.mkdir(exist_ok=True)
    try:
        yield
    except BaseException as error:
        if any(downloads.iterdir()):
            watch.say(f"what has been downloaded is kept in {downloads}; the same command goes on from there")
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(downloads.parent)
        raise
    finally:
        with suppress(OSError):  # something is in it
            downloads.rmdir()


def _space(wanted: PublicSet, downloads: Path) -> int:
    """Bytes that are still needed: the rest of the download, and the images, which hardly shrink when packed."""
    here = sum((downloads / f.name).stat().st_size for f in wanted.remote if (downloads / f.name).exists())
    here += sum(Part(file, downloads / f"{file.name}.part").size for file in wanted.remote)
    return max(0, wanted.size - here) + wanted.size + CLUSTER * wanted.n_images


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone at the end unless it was renamed; what a killed run left of it is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(wanted: PublicSet, paths: Mapping[str, Path], folder: Path, watch: Watch) -> None:
    watch.say("unpacking")
    if not wanted.top:
        from i2i.datasets.download.digits import write_mnist_and_usps

        return write_mnist_and_usps(paths, folder)

    def place(path: PurePosixPath) -> PurePosixPath | None:
        top, *rest = path.parts
        asked = top == wanted.top and len(rest) > 1 and rest[0] in wanted.images and not path.name.startswith(".")
        return PurePosixPath(*rest) if asked and path.suffix.lower() in SUFFIXES else None

    known = Limits(n_entries=2 * wanted.n_images + 1000) if wanted.n_images else LIMITS
    for path in paths.values():
        done = extract(path, folder, place, replace(known, total=4 * wanted.size))
        if done.n_left_out:
            watch.say(f"files of {path.name} left out, since they are no images of the set: {done.n_left_out:,}")
