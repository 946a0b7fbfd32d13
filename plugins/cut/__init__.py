"""CUT and its relatives: one generator, held to its input by contrast between patches."""

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i_plugins.cut.contrast import PatchProjector
from i2i_plugins.cut.methods import CUT, FastCUT, SinCUT


@hookimpl
def register_methods() -> Factories:
    return {"cut": CUT, "fastcut": FastCUT, "sincut": SinCUT}


@hookimpl
def register_networks() -> Factories:
    return {"patch_projector": PatchProjector}
