"""The losses of CycleGAN: least squares for the game, L1 for cycle and identity."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

from i2i.slots import Judge, Logits, maps_of


class L1:
    """Mean absolute difference (Zhu et al. 2017, equation 2).

    Shape: two tensors of one shape, compared in float32 or wider, to a scalar.
    """

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = at_least_float32(prediction, target)
        return F.l1_loss(prediction, target)


class LSGAN:
    """Least squares instead of the logarithm, with free targets (Mao et al. 2017, equation 2).

    L(D) = ½ E[(D(real) - real)²] + ½ E[(D(fake) - fake)²] and L(G) = E[(D(fake) - generator)²]. Without the paper's ½
    in L(G), as in the CycleGAN authors' code, which halves the discriminators' objective alone.

    Args:
        real, fake: the discriminator's targets; (1, -1) with generator 0 gives the Pearson chi-square divergence
            (section 3.2).
        generator: what the generator wants the discriminator to say.
        sigmoid: put logits through a sigmoid first; the gradient then vanishes far from the boundary.
    """

    def __init__(self, *, real: float = 1.0, fake: float = 0.0, generator: float = 1.0, sigmoid: bool = False) -> None:
        self.real, self.fake, self.generator = real, fake, generator
        self.sigmoid = sigmoid

    def for_generator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        return self._distance(discriminator(fake), self.generator)

    def for_discriminator(self, discriminator: Judge, real: Tensor, fake: Tensor) -> Tensor:
        on_real = self._distance(discriminator(real), self.real)
        return 0.5 * (on_real + self._distance(discriminator(fake), self.fake))

    def _distance(self, logits: Logits, target: float) -> Tensor:
        return mean_over_maps(logits, lambda m: (m.sigmoid() if self.sigmoid else m).sub(target).square().mean())


def mean_over_maps(logits: Logits, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The loss of a map of logits, in float32 or wider; of a list of maps, the mean of theirs."""
    return torch.stack([loss(*at_least_float32(m)) for m in maps_of(logits)]).mean()


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Half-precision tensors (from autocast) as float32, others as they are."""
    return tuple(t.float() if t.dtype in (torch.bfloat16, torch.float16) else t for t in tensors)


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """A block in which what happens on the tensor's device is not cast to half precision.

    Autocast does not know the meta device, where nothing is computed and methods are rehearsed.
    """
    return nullcontext() if tensor.is_meta else torch.autocast(tensor.device.type, enabled=False)
