"""Commands that look at components: list and show; and components side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from i2i.cli.app import AsJson, Plugins, app, console, start_engine

if TYPE_CHECKING:
    from i2i.compare import Measured
    from i2i.engine import Engine
    from i2i.manual import OptionPage, Page, SlotPage

Kind = Annotated[str, typer.Argument(help="discriminator, generators, loss, …")]


@app.command("list")
def list_components(
    context: typer.Context,
    kind: Annotated[str | None, typer.Argument(help="Only this kind: generators, losses, …")] = None,
    as_json: AsJson = False,
    plugin: Plugins = None,
) -> None:
    """List the components that a recipe can name, by kind."""
    from i2i.component import KINDS
    from i2i.manual import kinds_called

    kinds = kinds_called(kind) if kind else KINDS.values()
    registry = start_engine(context, plugin).registry
    found = {k: registry.components(k.name) for k in kinds}
    if as_json:
        entries = [
            {"kind": k.name, "name": registry.name_of(c), "summary": c.summary, "plugin": c.plugin}
            for k, components in found.items()
            for c in components
        ]
        typer.echo(json.dumps(entries, indent=2))
        return
    at_a_glance = kind is None and console.is_terminal  # a line each, but whoever reads a pipe gets whole sentences
    width = max((len(registry.name_of(c)) for components in found.values() for c in components), default=0)
    for k, components in found.items():
        if not components and kind is None:
            continue
        console.print(f"[bold]{k.plural.replace('_', ' ')}[/]")
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, min_width=width)
        table.add_column(ratio=1, no_wrap=at_a_glance, overflow="ellipsis" if at_a_glance else "fold")
        table.add_column(no_wrap=True, justify="right", style="dim")
        for c in components:
            table.add_row(escape(registry.name_of(c)), Text(c.summary), escape(c.plugin))
        console.print(Padding(table if components else Text("none"), (0, 0, 1, 2)))
    if at_a_glance:
        console.print("`i2i list KIND` prints whole sentences, `i2i show KIND NAME` everything", style="dim")


@app.command()
def show(
    context: typer.Context,
    kind: Kind,
    name: Annotated[str, typer.Argument(help="Its name, or plugin:name.")],
    as_json: AsJson = False,
    plugin: Plugins = None,
) -> None:
    """Show a component: what it is, its options and slots, where it comes from, and a recipe that uses it."""
    from i2i.manual import find, kinds_called, page

    kinds = kinds_called(kind)
    registry = start_engine(context, plugin).registry
    found = page(find(registry, kinds, name), registry)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _print_page(found)


def _print_page(found: Page) -> None:
    title = escape(f"{found.kind.replace('_', ' ')} {found.name}")
    console.print(f"[bold]{title}[/], plugin {escape(found.plugin)}")
    console.print(Text(f"{found.file}:{found.line}", style="dim", overflow="fold"), soft_wrap=True)
    for paragraph in found.paragraphs:
        console.print()
        console.print(Text(paragraph))
    _print_entries("options", [_option(option) for option in found.options])
    _print_entries("slots", [_slot(slot) for slot in found.slots])
    if found.example:
        console.print("\n[bold]in a recipe, with its defaults[/]")
        for line in found.example.splitlines():
            console.print(Text(f"  {line}".rstrip()), soft_wrap=True)


def _print_entries(heading: str, entries: list[tuple[str, ...]]) -> None:
    """Each a name, what it takes, and lines about it."""
    if entries:
        console.print(f"\n[bold]{heading}[/]")
    for name, takes, *lines in entries:
        console.print(Padding(Text.assemble((name, "bold"), ": ", takes), (0, 0, 0, 2)))
        for line in filter(None, lines):
            console.print(Padding(Text(line), (0, 0, 0, 6)))


def _option(option: OptionPage) -> tuple[str, ...]:
    return option.name, f"{option.type}, default {option.default}", option.about


def _slot(slot: SlotPage) -> tuple[str, ...]:
    takes = slot.kind.replace("_", " ") + ("s, one or more" if slot.repeated else "")
    if slot.needs:
        takes += f" that is {slot.needs}"
    others = ", ".join(name for name in slot.choices if name not in slot.default)
    return slot.name, f"{takes}, default {' and '.join(slot.default)}", slot.about, others and f"or: {others}"


def side_by_side(
    engine: Engine,
    kind: str,
    names: Sequence[str],
    settings: Sequence[str],
    size: int,
    channels: int,
    device: str,
    as_json: bool,
) -> None:
    """Prints components of a kind as they are: parameters, GMACs, receptive field, memory, time, and their options."""
    from i2i.compare import builders, measure, notes
    from i2i.device import pick_device
    from i2i.manual import kinds_called

    kinds, registry, where = kinds_called(kind), engine.registry, pick_device(device, "--device")
    with console.status("measuring"):
        measured = [
            measure(b, registry, size=size, channels=channels, device=where)
            for b in builders(registry, kinds, names, settings)
        ]
    if as_json:
        typer.echo(json.dumps([_as_json(m) for m in measured], indent=2))
        return
    _print_comparison(measured)
    console.print()
    for note in notes(measured, where):
        console.print(Text(note, style="dim"))


COLUMN = 18
"""Characters that a component's column wants; the labels take as much and a little more."""


def _print_comparison(measured: list[Measured]) -> None:
    """As many components side by side as can be read; the others follow in further tables."""
    from i2i.compare import rows

    lines = rows(measured)
    abreast = max(2, console.width // COLUMN - 1)
    for start in range(0, len(measured), abreast):
        if start:
            console.print()
        places = range(start, min(start + abreast, len(measured)))
        side = table("", *(measured[place].name for place in places))
        for row in lines:
            cells = [Text(f"{row.cells[n]} *", style="bold") if n in row.best else Text(row.cells[n]) for n in places]
            if any(cells):
                side.add_row(row.label, *cells)
        console.print(side)


def table(*headers: str) -> Table:
    """A table in which nothing is cut: what is too wide goes on in the next line."""
    columns = (Column(escape(header), overflow="fold") for header in headers)
    return Table(*columns, box=SIMPLE_HEAD, pad_edge=False, show_edge=False)


def _as_json(measured: Measured) -> dict[str, Any]:
    values = asdict(measured)
    timing = values.pop("timing") or {"forward": None, "backward": None}
    values |= {"receptive_field": values.pop("field"), "memory_bytes": values.pop("memory")}
    values |= {"forward_ms": timing["forward"], "backward_ms": timing["backward"]}
    return {key: value for key, value in values.items() if value is not None}
