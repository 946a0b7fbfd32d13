"""The command data download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from i2i.cli.app import console, errors
from i2i.cli.data import data_app

if TYPE_CHECKING:
    from i2i.datasets.download import PublicSet
    from i2i.datasets.download.parts import RemoteFile


@data_app.command()
def download(
    name: Annotated[str | None, typer.Argument(help="The set; without one, all sets are listed.")] = None,
    to: Annotated[Path, typer.Option("--to", help="The folder in which NAME is made.")] = Path("datasets"),
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Keep what was downloaded.")] = False,
) -> None:
    """Download a well-known public set, verified and ready to train on; or list what there is."""
    from i2i.datasets.download import obtain, open_client, public_set, public_sets

    if name is None:
        return _list([*public_sets().values()], to)
    wanted = public_set(name)
    with _Terminal() as terminal, open_client() as client:
        target = obtain(wanted, to, client, terminal, keep_archive=keep_archive)
    console.print(Text(f"{target}: {_amount(wanted)}. In a recipe:\n\n[data]\n{wanted.recipe(target)}"), soft_wrap=True)


def _list(sets: list[PublicSet], to: Path) -> None:
    for found in sets:
        size = f"{'' if found.exact else 'up to '}{decimal(found.size)}"
        facts = [_amount(found), size, *(["verified by MD5"] if found.only_md5 else [])]
        console.print(Text.assemble((found.name, "bold"), f"  {', '.join(facts)}"))
        console.print(Padding(Text(f"{found.about} ({found.origin})"), (0, 0, 0, 2), expand=False))
        console.print(Text(f"  {found.recipe(to / found.name)}\n", style="dim"), soft_wrap=True)
    console.print("`i2i data download NAME` downloads a set. It is verified by SHA-256 where nothing else is said.")
    console.print("No archive states a licence: see whose images they are before you publish or sell anything.")


def _amount(found: PublicSet) -> str:
    kind = "pairs" if found.paired else "unpaired images"
    return f"{found.n_images:,} {kind}" if found.n_images else kind


class _Terminal:
    """Bars with rate and time left, and sentences between them."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=errors,
            disable=not errors.is_terminal,
        )
        self._tasks: dict[RemoteFile, TaskID] = {}

    def __enter__(self) -> _Terminal:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def progress(self, file: RemoteFile, done: int, size: int | None) -> None:
        if file not in self._tasks:
            if self._bars.disable:
                self.say(f"downloading {file.name}{f', {decimal(size)}' if size else ''}")
            # What an earlier download left counts as done, but not for the rate.
            self._tasks[file] = self._bars.add_task(file.name, total=None, completed=done)
        self._bars.update(self._tasks[file], completed=done, total=size)

    def say(self, text: str) -> None:
        errors.print(Text(text), soft_wrap=True)
