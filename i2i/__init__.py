"""i2i: image-to-image translation from plugins."""

from i2i.hookspecs import hookimpl

__version__ = "0.1.0"
__all__ = ["hookimpl"]
