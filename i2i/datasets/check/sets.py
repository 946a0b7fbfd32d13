"""A set of images, opened to be looked at: folders, or the source of a recipe."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from i2i.data.folders import find_images
from i2i.data.opening import EXTRAS_FROM, PAIRS_FROM
from i2i.data.pixels import Preparation
from i2i.data.source import Images, Source, Split, called
from i2i.data.table import DataOptions
from i2i.datasets.check.findings import Example, Finding, Level, Place, counted, printable
from i2i.datasets.check.looking import Look, MaskLook, Progress, in_threads, look, look_at_mask
from i2i.errors import I2IError, Problem, collecting
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
        needs: extras that its method needs, such as `label_a`.
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
        asked = cls(recipe.data, getattr(learns, "paired", False), getattr(learns, "needs", ()))
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

        for index, (found, mask) in enumerate(in_threads(one, len(self.images))):
            if isinstance(found, Look):
                self.looks[index] = found
            else:
                self.unreadable[index] = found
            if isinstance(mask, MaskLook):
                self.mask_looks[index] = mask
            elif mask is not None and masks is not None:
                problem = Problem(mask.where, f"has the mask {masks.name(index)}, which {mask.message}")
                self.unreadable.setdefault(index, problem)
            progress(self.title, index + 1, len(self.images))


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


def of_folders(folders: Mapping[str, Path | None]) -> ImageSet:
    """The images of some folders, by their option: `a`, `b`, `test_a`, `test_b`. Raises I2IError."""
    problems: list[Problem] = []
    parts: list[Part] = []
    with hearing() as told:
        for option, folder in folders.items():
            with collecting(problems):
                if folder is not None:
                    split: Literal["train", "test"] = "test" if option.startswith("test") else "train"
                    domain: Literal["a", "b"] = "a" if option.endswith("a") else "b"
                    name = f"--{option.replace('_', '-')}"
                    trained_on = folders.get(domain) or folder
                    title = printable(trained_on.resolve().name)
                    parts.append(Part(split, domain, title, find_images(folder, name)))
    if problems:
        raise I2IError(*problems)
    return ImageSet(tuple(parts), warnings=tuple(told))


def of_source(make: Callable[[], Source], training: Training, folders: Mapping[str, Any]) -> ImageSet:
    """The images of a recipe's source.

    Args:
        make: makes the source.
        training: what the recipe makes of its images.
        folders: the source's options. If it refuses what it finds, the folders `a`, `b`, `test_a` and `test_b` among
            them are looked at as they are, so that all there is to say is said at once.

    Raises I2IError if there is nothing to look at.
    """
    problems: list[Problem] = []
    with hearing() as told:
        try:
            source = make()
            splits = {"train": source.train(), "test": source.test()}
        except I2IError as error:
            given = {option: Path(folders[option]) for option in ("a", "b", "test_a", "test_b") if folders.get(option)}
            if not given:
                raise
            try:
                found = of_folders(given)
            except I2IError:
                raise error from None
            parts, problems = list(found.parts), [*error.problems]
            told += found.warnings
        else:
            parts = [part for split, images in splits.items() if images for part in _parts(split, images)]
            problems = list(_missing(splits["train"], training))
    return ImageSet(tuple(_prepared(part, training) for part in parts), training, tuple(problems), tuple(told))


@contextmanager
def hearing() -> Iterator[list[str]]:
    """What is warned of in the block, by any thread, each text once."""
    heard: list[str] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield heard
    heard += dict.fromkeys(str(warning.message) for warning in told)


def _missing(split: Split | None, training: Training) -> Iterator[Problem]:
    """What the method needs and the source does not give."""
    if split is None:
        return
    if training.paired and not split.paired:
        message = "the method learns from pairs, and this source has none"
        yield Problem("data.source", f"{message}; {PAIRS_FROM}")
    if missing := sorted({*training.needs} - split.extras.keys()):
        message = f"gives no {' and no '.join(missing)}, which the method needs"
        yield Problem("data.source", f"{message}; {EXTRAS_FROM}")


def _parts(split: str, images: Split) -> Iterator[Part]:
    for domain, of_domain in (("a", images.a), ("b", images.b)):
        label, mask = (images.extras.get(f"{extra}_{domain}") for extra in ("label", "mask"))
        yield Part(
            "test" if split == "test" else "train",
            "a" if domain == "a" else "b",
            domain,
            of_domain,
            images.paired,
            None if label is None or isinstance(label, Images) else [int(value) for value in label],
            mask if isinstance(mask, Images) else None,
        )


def _prepared(part: Part, training: Training) -> Part:
    """The part, with what the recipe does with its images."""
    place, options = "ab".index(part.domain), training.options
    geometry = options.geometry(training.multiple)
    how = Preparation(options.intakes[place], geometry if part.split == "train" else geometry.shows)
    return replace(part, name=printable(options.names[place]), how=how)
