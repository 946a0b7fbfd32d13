"""i2i: image-to-image translation from plugins."""

from typing import TYPE_CHECKING, Any

from i2i.hookspecs import hookimpl

if TYPE_CHECKING:
    from i2i.inference import load

__version__ = "0.1.0"
__all__ = ["hookimpl", "load"]


def __getattr__(name: str) -> Any:
    """`load` when it is asked for: `import i2i` alone imports neither torch nor numpy."""
    if name == "load":
        from i2i.inference import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
