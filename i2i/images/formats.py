"""The file formats that are read and written, as a table: messages, documentation and both readers go by it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Args:
        name: as in `Stored.format`.
        suffixes: in lower case, with the dot; the first is given to new files.
        types: of pixels that it holds.
        lossless: what was written is read again to the last bit.
        writes: whether `write` can.
    """

    name: str
    suffixes: tuple[str, ...]
    types: tuple[str, ...] = ("uint8",)
    lossless: bool = True
    writes: bool = True
    about: str = ""
