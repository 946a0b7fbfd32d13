"""Pictures, and files of them, through a translator: same size, same type of pixels, same kind of file."""

from i2i.translating.files import translate_files, translate_stream
from i2i.translating.pictures import through
from i2i.translating.places import Place, find_inputs
from i2i.translating.summary import Summary
from i2i.translating.tiling import TILES, Tiling

__all__ = ["TILES", "Place", "Summary", "Tiling", "find_inputs", "through", "translate_files", "translate_stream"]
