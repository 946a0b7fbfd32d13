"""Slots: places in a component where another component goes, and what is asked of it there.

An option annotated with one of these aliases is filled from the recipe by any registered component of that kind. Its
default is an ordinary callable, so that the component works without an engine:
`ResnetGenerator(3, 3, norm=nn.BatchNorm2d)`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

from torch import Tensor, nn

Logits = Tensor | list[Tensor]
"""What a discriminator gives: a map of scores, or several."""
Judge = Callable[[Tensor], Logits]
"""A discriminator, or something that shows images to one: that has a method `modules()` like a network's."""


def maps_of(logits: Logits) -> list[Tensor]:
    """A discriminator's maps, as a list also where there is one."""
    return logits if isinstance(logits, list) else [logits]


class PairLoss(Protocol):
    """How far a prediction is from its target."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Scalar, float32 or wider, of two tensors of one shape."""


class AdversarialLoss(Protocol):
    """Both sides of the game; it sees the discriminator and the images, so that penalties fit in as well.

    A method builds one for each discriminator. One that has a state is a module with buffers; one that differentiates
    twice, as gradient penalties do, says `differentiates_twice = True`.
    """

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        """What the generator lowers: scalar; gradients flow into `fake`."""

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        """What the discriminator lowers: scalar; `fake` carries no gradient."""


@runtime_checkable
class Encodes(Protocol):
    """A generator that shows what its layers make of images; a tap is a layer's place in it, from 0."""

    def encode(self, images: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """The outputs of these layers, (N, C, H, W) each, in their order; computes nothing beyond the last of them."""

    def feature_channels(self, taps: Sequence[int]) -> list[int]:
        """C of each. Raises ValueError for a tap that is no layer."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A component of `kind` goes here; what is built must satisfy the runtime-checkable Protocol `needs`."""

    kind: str
    needs: type | None = None


Generator = Annotated[Callable[..., nn.Module], Slot("generator")]
EncodingGenerator = Annotated[Callable[..., Encodes], Slot("generator", Encodes)]
Discriminator = Annotated[Callable[..., nn.Module], Slot("discriminator")]
Network = Annotated[Callable[..., nn.Module], Slot("network")]
Normalization = Annotated[Callable[..., nn.Module], Slot("normalization")]
Pairwise = Annotated[Callable[..., PairLoss], Slot("loss")]
Adversarial = Annotated[Callable[..., AdversarialLoss], Slot("adversarial_loss")]
Buffer = Annotated[Callable[..., nn.Module], Slot("buffer")]
Initialization = Annotated[Callable[..., Callable[[nn.Module], Any]], Slot("initialization")]
