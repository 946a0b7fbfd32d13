"""Images listed in a table, CSV or Parquet, with sets, masks and labels."""

from __future__ import annotations

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i_plugins.manifest.source import Manifest


@hookimpl
def register_sources() -> Factories:
    return {"manifest": Manifest}
