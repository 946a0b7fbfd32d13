"""The command line. Nothing here imports torch before a command needs it: `i2i --help` answers at once."""

from i2i.cli.app import app, main

__all__ = ["app", "main"]
