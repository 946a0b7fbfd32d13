"""Image files: pictures of any depth and number of channels, read and written without loss. No torch in here."""

from i2i.images.headers import Header
from i2i.images.picture import Picture, Stored, UnreadableImage
from i2i.images.reading import header, read, read_pages
from i2i.images.writing import write

__all__ = ["Header", "Picture", "Stored", "UnreadableImage", "header", "read", "read_pages", "write"]
