"""Folders of images through a translator: decode, translate, write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from i2i.data.folders import find_images
from i2i.device import memory_is_full
from i2i.errors import I2IError, Problem
from i2i.files import replacing
from i2i.images import Picture, read
from i2i.translate import Translator
from i2i.watch.samples import to_pil


def list_images(images: Path) -> list[tuple[Path, Path]]:
    """Each image file with its place in the output: one file, or all in a folder. Raises I2IError if there is none.

    Names and folders are kept, as PNG; where two inputs would meet, they keep their suffix: `x.jpg.png`.
    """
    if images.is_file():
        return [(images, Path(images.name).with_suffix(".png"))]
    found = find_images(images, "IMAGES")
    short = [Path(name).with_suffix(".png") for name in found.names]
    whole = [Path(f"{name}.png") for name in found.names]
    meeting = _repeated(short)
    places = [w if _key(s) in meeting else s for s, w in zip(short, whole, strict=True)]
    if _repeated(places):  # x.jpg, x.png and x.jpg.png: only the whole names tell them apart
        places = whole
    return [(images / name, place) for name, place in zip(found.names, places, strict=True)]


def _repeated(places: Iterable[Path]) -> set[str]:
    return {key for key, n in Counter(map(_key, places)).items() if n > 1}


def _key(place: Path) -> str:
    return place.as_posix().casefold()  # on some systems X.png and x.png are one file


def translate_files(
    translator: Translator,
    files: Sequence[tuple[Path, Path]],
    out: Path,
    device: torch.device,
    *,
    overwrite: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> tuple[int, list[Problem]]:
    """Translates files one by one into `out`; goes on after one that cannot be read.

    Returns:
        How many were written, and what was wrong with the others.
    """
    translator.module.to(device)
    done, problems = 0, []
    for source, place in files:
        target = out / place
        try:
            if target.exists() and not overwrite:
                raise I2IError(Problem(str(target), "is there already; --overwrite replaces it"))
            if target.resolve() == source.resolve():
                raise I2IError(Problem(str(target), "is the input itself; choose another folder with -o"))
            result = to_pil(translator(_tensor(read(source), translator.channels[0]).to(device))[0])
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                result.save(temporary, "PNG")
            done += 1
        except I2IError as error:
            problems += [
                p if str(source) in str(p) or p.where == str(target) else Problem(str(source), p.message)
                for p in error.problems
            ]
        except (MemoryError, RuntimeError) as error:
            if not memory_is_full(error):
                raise
            problems.append(Problem(str(source), "is too large for the memory of this machine; make it smaller"))
        advance()
    return done, problems


def _tensor(picture: Picture, channels: int) -> torch.Tensor:
    """(1, C, H, W) float32 in [-1, 1]."""
    pixels = np.ascontiguousarray(picture.with_channels(channels).pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
