"""The table [data] of a recipe, without its source."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from PIL import ImageColor
from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from i2i.data.geometry import Geometry, Interpolation, Preprocess
from i2i.images.intake import Intake
from i2i.images.values import MOST, Range
from i2i.options import Options

Channels = Annotated[int, Ge(1), Le(1024)]
Side = Annotated[int, Ge(1), Le(32768)]
Size = Side | tuple[Side, Side]
RangeOption = Literal["type", "auto"] | tuple[float, float]
RangeOptions = RangeOption | tuple[RangeOption, RangeOption]
Percentile = Annotated[float, Ge(0), Le(100)]


class DataOptions(Options):
    """How images are prepared, in what batches they come, and what happens to those that cannot be read."""

    model_config = ConfigDict(use_attribute_docstrings=True)  # editors show them

    preprocess: Preprocess = "resize_and_crop"
    """How images become the size that is trained on, by the names of the pix2pix authors' code."""
    load_size: Size = 286
    """What images are resized to, in px, before they are cropped: a square, or [height, width]; for `scale_width` and
    `scale_shorter` the length of that side."""
    crop_size: Size = Field(256, validate_default=True)
    """The window that is cut at random for training, in px: a square, or [height, width]. Test images become it too."""
    interpolation: Interpolation = "bicubic"
    """How images are resized; when they shrink, over all the pixels that become one."""
    flip: bool = True
    """Mirror left and right, half of the time."""
    batch_size: Annotated[int, Ge(1)] = 1
    """Images of each domain in a batch, on each process."""
    channels: Channels | tuple[Channels, Channels] = 3
    """1 for greyscale, 3 for RGB, any number for other bands; or one for each domain."""
    range: RangeOptions = "type"
    """The values that become -1 and 1: `[low, high]`, all that the integer type of the files holds (`type`), or what
    the training images hold (`auto`, which is measured once and recorded); or one for each domain."""
    range_percentiles: tuple[Percentile, Percentile] = (0.0, 100.0)
    """Where `auto` takes low and high; what lies outside is clipped."""
    background: str = "white"
    """What transparent images are put on: a colour by its CSS name or as #rrggbb."""
    colours: Literal["srgb", "as_stored"] = "srgb"
    """Convert colours to sRGB where a file's profile says that they are others, or take its numbers as they are."""
    names: tuple[str, str] = ("a", "b")
    """What the domains are called."""
    n_workers: Annotated[int, Ge(0)] | None = None
    """Processes that prepare batches. Chosen by default: none if the pixels come from memory or from the cache and no
    augmentation is asked for, since they cost under a millisecond, else half of the processors, at most 4. It never
    changes the batches."""
    cache: bool = True
    """Keep the resized images on the disk, so that they are decoded once."""
    unreadable: Literal["error", "skip"] = "error"
    """Stop at images that cannot be read, or leave them out and say so."""

    @property
    def both_channels(self) -> tuple[int, int]:
        """Channels of domain a and of domain b."""
        return self.channels if isinstance(self.channels, tuple) else (self.channels, self.channels)

    @property
    def both_ranges(self) -> tuple[RangeOption, RangeOption]:
        """`range` of domain a and of domain b."""
        return _both(self.range)

    @property
    def intakes(self) -> tuple[Intake, Intake]:
        """What domain a and domain b take; a range that is still to be measured is not there yet."""
        red, green, blue = ImageColor.getrgb(self.background)[:3]
        a, b = (
            Intake(
                channels,
                None if isinstance(limits, str) else Range(*limits),
                (red, green, blue),
                self.colours == "srgb",
            )
            for channels, limits in zip(self.both_channels, self.both_ranges, strict=True)
        )
        return a, b

    @property
    def size_key(self) -> str:
        """What the size of the images that are trained on is set by, as messages name it."""
        if self.geometry().window is not None:
            return "data.crop_size"
        return "data.preprocess" if self.preprocess == "none" else "data.load_size"

    def geometry(self, multiple: int = 1) -> Geometry:
        """The way to the size that is trained on, where nothing is cropped a multiple of `multiple`."""
        load, crop = ((s, s) if isinstance(s, int) else s for s in (self.load_size, self.crop_size))
        return Geometry(self.preprocess, load, crop, self.interpolation, multiple)

    @field_validator("load_size")
    @classmethod
    def _one_side(cls, load_size: Size, info: ValidationInfo) -> Size:
        preprocess = info.data.get("preprocess", "")
        if preprocess.startswith("scale") and not isinstance(load_size, int):
            raise ValueError(f"is one number for preprocess = {preprocess!r}, the length of the side that is scaled")
        return load_size

    @field_validator("crop_size")
    @classmethod
    def _fits(cls, crop_size: Size, info: ValidationInfo) -> Size:
        """A crop that no image could hold is told here; whether an image of the set is too small, when it is seen."""
        preprocess, load_size = info.data.get("preprocess"), info.data.get("load_size", crop_size)
        (height, width), (high, wide) = ((s, s) if isinstance(s, int) else s for s in (crop_size, load_size))
        least = {
            "resize_and_crop": height <= high and width <= wide,
            "scale_width_and_crop": width <= wide,
            "scale_shorter_and_crop": min(height, width) <= wide,
        }
        if not least.get(str(preprocess), True):
            raise ValueError(
                f"a crop of {shown(crop_size)} px does not fit into images of load_size = {shown(load_size)} px"
            )
        return crop_size

    @field_validator("range", mode="before")
    @classmethod
    def _is_range(cls, value: Any) -> Any:
        """In words of its own: pydantic would go through every member of the union."""

        def one(part: Any) -> Any:
            if isinstance(part, list | tuple) and [type(n) in (int, float) for n in part] == [True, True]:
                return (float(part[0]), float(part[1])) if all(abs(n) <= MOST for n in part) else None
            return part if part in ("type", "auto") else None

        pair = [one(part) for part in value] if isinstance(value, list | tuple) and len(value) == 2 else [None]
        found = one(value) or (tuple(pair) if all(pair) else None)
        if not found:
            raise ValueError(f'is "type", "auto", [low, high], or a list of two of these, not {json.dumps(value)}')
        return found

    @field_validator("range")
    @classmethod
    def _rises(cls, value: RangeOptions) -> RangeOptions:
        for part in _both(value):
            if not isinstance(part, str) and not part[0] < part[1]:
                raise ValueError(f"goes from low to high, not from {part[0]} to {part[1]}")
        return value

    @field_validator("range_percentiles")
    @classmethod
    def _rise(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError(f"go from low to high, not from {value[0]} to {value[1]}")
        return value

    @field_validator("background")
    @classmethod
    def _is_colour(cls, value: str) -> str:
        try:
            if max(ImageColor.getrgb(value)) > 255:
                raise ValueError
        except ValueError:
            raise ValueError(f"{value!r} is no colour; white, black or #8899aa") from None
        return value


def _both(value: RangeOptions) -> tuple[RangeOption, RangeOption]:
    """One for each domain, from one for both or one for each."""
    if isinstance(value, str) or isinstance(value[0], float | int):
        both: Any = (value, value)
    else:
        both = value
    return both[0], both[1]


def shown(size: Size) -> str:
    """A size as users write it: `256`, or `[256, 512]`."""
    return str(size) if isinstance(size, int) else str(list(size))
