"""The sub-application `data`: sets of images, before anybody trains on them."""

from __future__ import annotations

import typer

from i2i.cli.app import app

data_app = typer.Typer(no_args_is_help=True, help="Look at sets of images, download them, make them.")
app.add_typer(data_app, name="data")
