"""A set of images, what was seen of it, and what a training asks of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeVar

from i2i.data.pixels import Preparation, in_order
from i2i.data.source import Images, called
from i2i.data.table import DataOptions
from i2i.datasets.check.findings import Example, Finding, Level, Place, counted
from i2i.datasets.check.looking import Look, MaskLook, Progress, look, look_at_mask
from i2i.errors import Problem
from i2i.images import UnreadableImage
from i2i.method import Method, size_multiple
from i2i.recipe import Recipe

N_SHOWN = 10
Found = TypeVar("Found")


@dataclass(frozen=True)
class Training:
    """What a recipe makes of a set, and asks of it.

    Args:
        options: how it prepares the images.
        paired: its method learns from pairs.
        needs: extras that it needs, such as `label_a`.
        multiple: what sides must be multiples of where nothing is cropped.
        n_batches: fresh batches that its method takes in a step.
    """

    options: DataOptions
    paired: bool = False
    needs: Collection[str] = ()
    multiple: int = 1
    n_batches: int = 1

    @classmethod
    def of(cls, recipe: Recipe) -> Training:
        """Builds the method only where sizes depend on it: its networks take a while. Raises I2IError."""
        learns = recipe.method.component.factory
        asked = cls(recipe.data, getattr(learns, "paired", False), {*getattr(learns, "needs", ())} | recipe.masks)
        if recipe.data.geometry().window is not None:
            return asked
        method: Method = recipe.method(*recipe.data.both_channels)
        return replace(asked, multiple=size_multiple(*method.translators().values()), n_batches=method.n_batches)


@dataclass
class Part:
    """The images of one domain, for training or held out, and what was seen of them.

    Args:
        split: `train`, or `test` for those held out.
        domain: `a` or `b`.
        name: of the domain.
        images: in the source's order.
        paired: one index is one scene in both domains.
        labels: of the images, or none.
        masks: of the images, or none.
        how: what training does with them; None: nobody has said yet.
        looks: by index, of those that could be read.
        unreadable: by index, why the others could not, or their masks.
        mask_looks: by index, of the masks that could be read.
    """

    split: Literal["train", "test"]
    domain: Literal["a", "b"]
    name: str
    images: Images
    paired: bool = False
    labels: Sequence[int] | None = None
    masks: Images | None = None
    how: Preparation | None = None
    looks: dict[int, Look] = field(default_factory=dict)
    unreadable: dict[int, Problem] = field(default_factory=dict)
    mask_looks: dict[int, MaskLook] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.name if self.split == "train" else f"{self.name} (test)"

    def look(self, n_values: int, progress: Progress) -> None:
        """Looks at every image, and at every mask; n_values: how many are kept of a deep image."""

        masks = self.masks

        def one(index: int) -> tuple[Look | Problem, MaskLook | Problem | None]:
            found = _tried(self.images, index, lambda: look(self.images, index, self.how, n_values))
            if masks is None:
                return found, None
            return found, _tried(masks, index, lambda: look_at_mask(masks, index, self.how))

        for index, (found, mask) in enumerate(in_order(one, len(self.images), partial(progress, self.title))):
            if isinstance(found, Look):
                self.looks[index] = found
            else:
                self.unreadable[index] = found
            if isinstance(mask, MaskLook):
                self.mask_looks[index] = mask
            elif mask is not None and masks is not None:
                problem = Problem(mask.where, f"has the mask {masks.name(index)}, which {mask.message}")
                self.unreadable.setdefault(index, problem)


def _tried(images: Images, index: int, task: Callable[[], Found]) -> Found | Problem:
    try:
        return task()
    except UnreadableImage as error:
        return error.problems[0]
    except (ValueError, OSError) as error:
        return Problem(called(images, index), str(error))


@dataclass(frozen=True)
class ImageSet:
    """All parts of a set, looked at.

    Args:
        training: what a recipe makes of it; None: nobody has said yet.
        problems: why the source does not give what the recipe says.
        warnings: what was warned of when it was opened.
        heard: what was warned of when the images were read.
    """

    parts: tuple[Part, ...]
    training: Training | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()

    @property
    def refuses(self) -> Level:
        """What an image that training cannot use is."""
        return "warning" if self.training is not None and self.training.options.unreadable == "skip" else "error"

    def name(self, place: Place) -> str:
        part, index = place
        return self.parts[part].images.name(index)

    def about(self, level: Level, what: str, advice: str, part: int, indices: Iterable[int]) -> Iterator[Finding]:
        """A finding about images of a part, if there are any."""
        yield from self.told(level, what, advice, part, [Example(self.name((part, i)), ((part, i),)) for i in indices])

    def told(
        self, level: Level, what: str, advice: str, part: int, examples: Sequence[Example], n: int | None = None
    ) -> Iterator[Finding]:
        """A finding with these examples, if there are any; n: of how many images of the part, if not one in each."""
        if examples:
            n, n_more = len(examples) if n is None else n, max(0, len(examples) - N_SHOWN)
            message = f"{what}: {n:,} of {counted(len(self.parts[part].images))} of {self.parts[part].title}"
            yield Finding(level, message, advice, tuple(examples[:N_SHOWN]), n_more)
