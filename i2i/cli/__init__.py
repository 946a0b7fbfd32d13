"""The command line. Nothing here imports torch before a command needs it: `i2i --help` answers at once."""

# Commands register themselves with the application; `i2i --help` lists them in this order.
# isort: off
from i2i.cli import preparing, training, translating, evaluating, reporting  # noqa: F401
from i2i.cli import data_check, data_download, data_prepare  # noqa: F401
from i2i.cli import components, comparing, importing, plugins  # noqa: F401
from i2i.cli.app import app, main

__all__ = ["app", "main"]
