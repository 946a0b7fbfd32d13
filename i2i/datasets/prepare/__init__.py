"""Sets made out of a folder of images: pairs of photos and what is computed of them, pages, tiles, a split in two."""

from i2i.datasets.prepare.making import Halves, Maker, Outcome, prepare
from i2i.datasets.prepare.proposal import recipe_lines

__all__ = ["Halves", "Maker", "Outcome", "prepare", "recipe_lines"]
