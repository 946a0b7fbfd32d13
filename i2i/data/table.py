"""The table [data] of a recipe, without its source."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Field, ValidationInfo, field_validator

from i2i.options import Options

Channels = Literal[1, 3]


class DataOptions(Options):
    """How images are prepared, in what batches they come, and what happens to those that cannot be read."""

    load_size: Annotated[int, Ge(1)] = 286
    """Every image is first resized to this square, in pixels (bicubic)."""
    crop_size: Annotated[int, Ge(1)] = Field(256, validate_default=True)
    """Side of the random square that is cut from it for training; test images are resized to it."""
    flip: bool = True
    """Mirror left and right, half of the time."""
    batch_size: Annotated[int, Ge(1)] = 1
    """Images of each domain in a batch, on each process."""
    channels: Channels | tuple[Channels, Channels] = 3
    """1 for greyscale, 3 for RGB; or one for each domain."""
    names: tuple[str, str] = ("a", "b")
    """What the domains are called."""
    n_workers: Annotated[int, Ge(0)] | None = None
    """Processes that prepare batches. Chosen by default: none if the pixels come from memory or from the cache, since
    they cost under a millisecond, else half of the processors, at most 4. It never changes the batches."""
    cache: bool = True
    """Keep the resized images on the disk, so that they are decoded once."""
    unreadable: Literal["error", "skip"] = "error"
    """Stop at images that cannot be read, or leave them out and say so."""

    @property
    def both_channels(self) -> tuple[int, int]:
        """Channels of domain a and of domain b."""
        return self.channels if isinstance(self.channels, tuple) else (self.channels, self.channels)

    @field_validator("crop_size")
    @classmethod
    def _fits(cls, crop_size: int, info: ValidationInfo) -> int:
        load_size = info.data.get("load_size", crop_size)
        if crop_size > load_size:
            raise ValueError(f"a crop of {crop_size} px does not fit into images of load_size = {load_size} px")
        return crop_size
