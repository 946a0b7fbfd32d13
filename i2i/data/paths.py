"""Paths that a recipe names: what is there, and one clear message about what is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from i2i.errors import I2IError, Problem, suggest


def find_file(file: str, where: str) -> Path:
    """A file that is there. Raises I2IError, with `where` as the path in the recipe."""
    if not file:
        raise I2IError(Problem(where, "says no file"))
    with accessing(file, where, "file"):
        path = Path(file).expanduser()
        if not path.is_file():
            raise IsADirectoryError if path.exists() else FileNotFoundError
    return path


def subfolders(folder: str, where: str) -> list[str]:
    """Names of the folders in a folder, sorted. Raises I2IError if it is none."""
    if not folder:
        raise I2IError(Problem(where, "says no folder"))
    with accessing(folder, where, "folder"):
        return sorted(entry.name for entry in Path(folder).expanduser().iterdir() if entry.is_dir())


@contextmanager
def accessing(given: str | Path, where: str, what: Literal["file", "folder"]) -> Iterator[None]:
    """Turns what the file system says into a message about this file or folder."""
    shown = repr(str(given))
    try:
        yield
    except FileNotFoundError:
        message = f"there is no {what} {shown} (looked in {Path.cwd()}){_nearest(Path(given), what)}"
        raise I2IError(Problem(where, message)) from None
    except (NotADirectoryError, IsADirectoryError):
        kinds = ("a file", "a folder") if what == "folder" else ("a folder", "a file")
        raise I2IError(Problem(where, f"{shown} is {kinds[0]}, not {kinds[1]}")) from None
    except OSError as error:
        raise I2IError(Problem(where, f"cannot read {error.filename or shown}: {error.strerror}")) from error
    except (RuntimeError, ValueError) as error:  # ~name of an unknown user; a zero byte
        raise I2IError(Problem(where, f"{shown}: {error}")) from error


def _nearest(missing: Path, what: Literal["file", "folder"]) -> str:
    try:
        beside = list(missing.expanduser().parent.iterdir())
        return suggest(missing.name, [p.name for p in beside if p.is_dir() == (what == "folder")])
    except OSError:
        return ""
