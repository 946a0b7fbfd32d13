"""The application: options that stand before every command, and how mistakes are told."""

from __future__ import annotations

import errno
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from i2i import __version__
from i2i.errors import I2IError, Problem

if TYPE_CHECKING:
    from i2i.engine import Engine

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


class Commands(TyperGroup):
    """All commands. Ctrl-C is told here: typer would turn it into an exit code without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if _speaks():
                errors.print("interrupted")
            raise typer.Exit(130) from None


app = typer.Typer(cls=Commands, no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)

Plugins = Annotated[
    list[str] | None, typer.Option("-p", "--plugin", metavar="FILE_OR_MODULE", help="Load a plugin; may be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"i2i {__version__}")
        raise typer.Exit


@app.callback()
def start(
    context: typer.Context,
    plugin: Plugins = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Image-to-image translation from plugins: train, translate, compare."""
    context.obj = plugin or []


def start_engine(context: typer.Context, more: list[str] | None, only: list[str] | None = None) -> Engine:
    """An engine with the plugins given before and after the command, and of those installed perhaps only these."""
    from i2i.engine import Engine

    return Engine([*(context.obj or []), *(more or [])], only=only)


def check_plugins(environment: Mapping[str, Any], needed: Iterable[str], engine: Engine, command: str) -> None:
    """Raises I2IError that says what to type if plugins that a run needs are not loaded."""
    missing = [name for name in needed if name not in engine.plugins]
    if not missing:
        return
    known = environment.get("plugins", {})
    options = [f"-p {shlex.quote(known.get(name, {}).get('origin', name + '.py'))}" for name in missing]
    names = ", ".join(map(repr, missing))
    raise I2IError(f"this run needs the plugin {names}; type: i2i {' '.join(options)} {command}")


def warn_by(tell: Callable[[str], None]) -> None:
    """Shows Python's warnings as lines of the run."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        tell(f"warning: {message}")

    warnings.showwarning = show
    if not sys.warnoptions:
        warnings.simplefilter("default", UserWarning)


def tell(problems: Iterable[Problem]) -> None:
    """Prints what is wrong, a line for each."""
    for problem in problems:
        errors.print(f"[bold red]error:[/] {escape(str(problem))}", soft_wrap=True)


def _speaks() -> bool:
    """Of several processes the first one speaks for all."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def main() -> None:
    """Runs the command; a user's mistake is one message and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a file's name may hold what the terminal's encoding lacks
    try:
        app()
    except I2IError as error:
        if _speaks():
            tell(error.problems)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        from i2i.device import memory_is_full

        if not memory_is_full(error):
            raise
        advice = "a smaller data.crop_size, data.batch_size or generator.base_channels needs less"
        errors.print(f"[bold red]error:[/] the memory is full; {advice}", soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        if error.errno == errno.EPIPE:
            sys.exit(1)
        where = f"{error.filename}: " if error.filename else ""
        errors.print(f"[bold red]error:[/] {escape(where + (error.strerror or str(error)))}", soft_wrap=True)
        sys.exit(2)
