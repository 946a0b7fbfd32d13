"""Images in: sources, their preparation and cache, and batches whose order depends on the seed alone."""

from i2i.data.loading import Data, Preview
from i2i.data.opening import open_data
from i2i.data.source import Images, Source, Split
from i2i.data.table import DataOptions
from i2i.images import UnreadableImage

__all__ = ["Data", "DataOptions", "Images", "Preview", "Source", "Split", "UnreadableImage", "open_data"]
