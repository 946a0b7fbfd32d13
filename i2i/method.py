"""What a training method is: it yields updates in the paper's order, and the trainer does the rest."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from i2i.slots import AdversarialLoss, Logits, maps_of


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of both domains.

    Args:
        a, b: (N, C, H, W), float, in [-1, 1]; the same scene at the same index if the method is paired.
        extras: tensors of N rows that belong to the images, such as `label_a` or `mask_b`.
    """

    a: Tensor
    b: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def split(self, n: int) -> list[Batch]:
        """n batches of equal size, in order."""
        parts = {name: t.chunk(n) for name, t in {"a": self.a, "b": self.b, **self.extras}.items()}
        return [Batch(parts["a"][i], parts["b"][i], {name: parts[name][i] for name in self.extras}) for i in range(n)]

    def map(self, f: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with `f` applied to every tensor."""
        return Batch(f(self.a), f(self.b), {name: f(t) for name, t in self.extras.items()})


@dataclass(frozen=True, slots=True)
class Update:
    """One move of the game: these players lower the sum of these losses.

    Args:
        players: one name, or several, of `Method.players`.
        losses: scalars, already weighted, by the name that logs show.
        images: named images (N, C, H, W) with their gradients: for `[[extra_loss]]` terms.
        scores: scalars that are reported and not optimized.
    """

    players: str | tuple[str, ...]
    losses: Mapping[str, Tensor]
    images: Mapping[str, Tensor] = field(default_factory=dict)
    scores: Mapping[str, Tensor] = field(default_factory=dict)


class Method(nn.Module, ABC):
    """A training method; its constructor is the grammar of its recipes.

    The constructor takes (channels_a, channels_b, *, options), where an option may be a slot. Networks are attributes.
    Whatever must survive a step is a parameter or a buffer.
    """

    paired: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset()
    """Names of the extras that a batch must have."""
    translates_with: ClassVar[frozenset[str] | None] = None
    """Slots that its translators are made of; None for all. Where it only translates, the others get nothing."""
    n_batches: int = 1
    """Fresh batches per step: the loader gives N x n_batches images, `play` splits them."""

    @abstractmethod
    def players(self) -> dict[str, list[nn.Module]]:
        """Who learns: the modules of each player. Each player has an optimizer; no parameter has two players."""

    @abstractmethod
    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        """The moves of one step, in order. The trainer steps the players' optimizers before it asks for the next."""

    @abstractmethod
    def translators(self) -> dict[str, nn.Module]:
        """What is kept for inference: a module from images to images for each direction, `ab` and `ba`."""


@runtime_checkable
class Imagines(Protocol):
    """A method that makes images from nothing; its samples show them, beside translations if it has any."""

    def imagine(self, n: int) -> dict[str, Tensor]:
        """n images of domain `a`, of `b` or of both, (n, C, H, W) in [-1, 1], always the same for the same weights."""


class Scored:
    """A discriminator that remembers the mean logit it gave to each tensor, for an update's scores.

    Pass it to an adversarial loss in place of the discriminator; `mean(images)` is then D(images) on average, without
    a second pass. It is absent for images that the loss changed before it showed them.
    """

    def __init__(self, discriminator: nn.Module) -> None:
        self.discriminator = discriminator
        self._means: dict[int, Tensor] = {}

    def __call__(self, images: Tensor) -> Logits:
        logits: Logits = self.discriminator(images)
        maps = maps_of(logits)
        total = sum((m.detach().float().mean() for m in maps), start=maps[0].new_zeros(()))
        self._means[id(images)] = total / len(maps)
        return logits

    def modules(self) -> Iterator[nn.Module]:
        """The discriminator and everything inside it."""
        return self.discriminator.modules()

    def means(self, **images: Tensor) -> dict[str, Tensor]:
        """The mean logit of each of these tensors that was shown, by the given names."""
        return {name: self._means[id(t)] for name, t in images.items() if id(t) in self._means}


def judged(adversarial: AdversarialLoss, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Update:
    """The move of a single discriminator, the player `discriminator`; no gradient flows into the fake."""
    judge, shown = Scored(discriminator), fake.detach()
    loss = adversarial.for_discriminator(judge, real, shown)
    return Update("discriminator", {"D": loss}, scores=judge.means(D_real=real, D_fake=shown))


class Conditioned(nn.Module):
    """A discriminator that sees images beside what they were made from: D(condition, images), as channels.

    Pass it to an adversarial loss in place of the discriminator. What the loss makes of the images, such as the
    interpolates of a gradient penalty, is made of the images alone; the condition stays as it is.

    Args:
        discriminator: of the condition's channels and those of the images.
        condition: (N, C, H, W), one for each image.
    """

    def __init__(self, discriminator: nn.Module, condition: Tensor) -> None:
        super().__init__()
        self.discriminator, self.condition = discriminator, condition

    def forward(self, images: Tensor) -> Logits:
        logits: Logits = self.discriminator(torch.cat([self.condition, images], dim=1))
        return logits


def together(network: nn.Module, *batches: Tensor) -> list[Tensor]:
    """What the network makes of each batch (N, C, H, W), in one pass where that is the same.

    One large batch keeps a processor busier than several small ones. The batches go one by one if their sizes differ,
    or if the network mixes the samples of a batch.
    """
    if mixes_samples(network) or len({batch.shape[1:] for batch in batches}) > 1:
        return [network(batch) for batch in batches]
    out: Tensor = network(torch.cat(batches))
    return list(torch.split(out, [len(batch) for batch in batches]))


def mixes_samples(network: nn.Module) -> bool:
    """Whether a sample's output depends on the rest of its batch.

    So it does behind batch normalization in training, and behind any module that declares `mixes_samples = True`.
    """
    return any(
        (isinstance(part, _BatchNorm) and (part.training or part.running_mean is None))
        or bool(getattr(part, "mixes_samples", False))
        for part in network.modules()
    )  # fmt: skip


def size_multiple(*modules: nn.Module) -> int:
    """What height and width must be multiples of: of every `size_multiple` that a module or a part of it declares."""
    return math.lcm(*(int(getattr(part, "size_multiple", 1)) for module in modules for part in module.modules()))
