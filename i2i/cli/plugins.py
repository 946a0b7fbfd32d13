"""Commands for plugins: what is loaded, a new one, a check of one; and the schema of recipes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from i2i.cli.app import AsJson, Plugins, app, console, start_engine

plugin_app = typer.Typer(no_args_is_help=True, help="Write a new plugin, or check one.")
app.add_typer(plugin_app, name="plugin")


@app.command()
def plugins(context: typer.Context, as_json: AsJson = False, plugin: Plugins = None) -> None:
    """List the plugins that are loaded, and what each offers."""
    engine = start_engine(context, plugin)
    offers: dict[str, dict[str, list[str]]] = {name: {} for name in engine.plugins}
    for component in engine.components():
        offers[component.plugin].setdefault(component.kind.plural, []).append(component.name)
    if as_json:
        about = [
            {"name": p.name, "origin": p.origin, "version": p.version, "offers": offers[p.name]}
            for p in engine.plugins.values()
        ]
        typer.echo(json.dumps(about, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("plugin", "version", "from", "offers"):
        table.add_column(heading, overflow="fold")
    for p in engine.plugins.values():
        text = "; ".join(f"{kind.replace('_', ' ')}: {', '.join(names)}" for kind, names in offers[p.name].items())
        table.add_row(*map(escape, (p.name, p.version, p.origin, text or "nothing")))
    console.print(table)


@plugin_app.command("new")
def new_plugin(
    name: Annotated[str, typer.Argument(help="Of the component: my_discriminator.")],
    kind: Annotated[str, typer.Option(help="discriminator, generator, loss, …")],
    out: Annotated[Path, typer.Option(help="Where the folder i2i-NAME is made.")] = Path(),
) -> None:
    """Write a plugin that installs, trains and passes its tests, to be changed into yours."""
    from i2i.scaffold import write_plugin

    folder = write_plugin(name, kind, out)
    console.print(
        f"{folder} is ready; README.md says how to go on\ncheck it: i2i plugin check {shlex.quote(str(folder))}",
        soft_wrap=True,
        markup=False,
    )


@plugin_app.command("check")
def check_plugin(
    context: typer.Context,
    given: Annotated[str, typer.Argument(metavar="PATH_OR_MODULE", help="A file, a folder, a module or a plugin.")],
    plugin: Plugins = None,
) -> None:
    """Check every component of a plugin against the contract of its kind; exit code 2 if one fails."""
    from i2i.testing import plugins as testing

    sound = True
    for component, failures in testing.check_plugin(given, [*(context.obj or []), *(plugin or [])]):
        title = escape(f"{component.kind.name.replace('_', ' ')} {component.name}")
        if not failures:
            console.print(f"[green]ok[/]      {title}", soft_wrap=True)
        for failure in failures:
            where = escape(f"{failure.message}\n        {failure.place}")
            console.print(f"[red]failed[/]  {title}: {where}", soft_wrap=True)
        sound = sound and not failures
    if not sound:
        raise typer.Exit(2)


@app.command()
def schema(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A file, else the terminal.")] = None,
    plugin: Plugins = None,
) -> None:
    """Write the JSON Schema of recipes for everything that is installed, so that editors complete and check them."""
    from i2i.schema import recipe_schema

    text = json.dumps(recipe_schema(start_engine(context, plugin).registry), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    console.print(
        f"{out} is written; begin a recipe with the line\n#:schema {out.as_posix()}", soft_wrap=True, markup=False
    )
