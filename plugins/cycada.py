"""CyCADA: domain adaptation by a CycleGAN that keeps what a classifier sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from i2i import hookimpl
from i2i.errors import I2IError, Problem
from i2i.hookspecs import Factories
from i2i.method import Batch, Method, Update
from i2i.reference.cyclegan import CycleGAN, Weight
from i2i.reference.image_pool import ImagePool
from i2i.reference.losses import L1, LSGAN, at_least_float32
from i2i.reference.patchgan import PatchGAN
from i2i.reference.resnet import ResnetGenerator
from i2i.slots import Adversarial, Buffer, Discriminator, Generator, Network, Pairwise
from i2i_plugins.classifiers import LeNet


class CyCADA(Method):
    """CycleGAN whose translations keep their class, and a classifier of b that learns from labels of a.

    Hoffman et al. 2018, "CyCADA: Cycle-Consistent Adversarial Domain Adaptation", arXiv 1711.03213, section 3: the
    source a has labels, the target b needs none. To CycleGAN's terms (equations 2 and 3) comes semantic consistency
    (equation 4): a source classifier sees a translated image as it sees the original. A target classifier learns the
    source's labels on translated images (the task loss of equation 1). Left out is the adversarial game between the
    two classifiers' features, which the authors play afterwards, without translating anything.

    The order of moves is the authors' code's: generators, discriminators, source classifier. The target classifier,
    which they train afterwards, moves last. If b has labels too, they are not learnt from but score it.

    Args:
        channels_a, channels_b: of the images of each domain; they must be equal, since one classifier sees both.
        n_classes: labels are 0 to n_classes - 1.
        lambda_cycle, lambda_identity: as in CycleGAN.
        lambda_semantic: weight of both terms of equation 4.
        trusted_below: they count in steps in which the source classifier's loss on its labels is below this.
        generator, discriminator, adversarial, cycle, identity, pool: as in CycleGAN.
        classifier: one for each domain, from images to (N, n_classes) logits.
    """

    needs = frozenset({"label_a"})
    translates_with = frozenset({"generator"})

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        n_classes: Annotated[int, Ge(2)] = 10,
        lambda_cycle: Weight | tuple[Weight, Weight] = 10.0,
        lambda_identity: Weight = 0.5,
        lambda_semantic: Weight = 1.0,
        trusted_below: Annotated[float, Gt(0)] = 1.0,
        generator: Generator = ResnetGenerator,
        discriminator: Discriminator = PatchGAN,
        adversarial: Adversarial = LSGAN,
        cycle: Pairwise = L1,
        identity: Pairwise = L1,
        pool: Buffer = ImagePool,
        classifier: Network = LeNet,
    ) -> None:
        super().__init__()
        if channels_a != channels_b:
            raise ValueError(
                f"one classifier sees both domains, so their channels are equal, not {channels_a} and {channels_b}"
            )
        self.n_classes, self.lambda_semantic, self.trusted_below = n_classes, lambda_semantic, trusted_below
        self.cyclegan = CycleGAN(
            channels_a,
            channels_b,
            lambda_cycle=lambda_cycle,
            lambda_identity=lambda_identity,
            generator=generator,
            discriminator=discriminator,
            adversarial=adversarial,
            cycle=cycle,
            identity=identity,
            pool=pool,
        )
        self.source_classifier = classifier(channels_a, n_classes)
        self.target_classifier = classifier(channels_b, n_classes)

    def players(self) -> dict[str, list[nn.Module]]:
        return {
            **self.cyclegan.players(),
            "source_classifier": [self.source_classifier],
            "target_classifier": [self.target_classifier],
        }

    def translators(self) -> dict[str, nn.Module]:
        return self.cyclegan.translators()

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        label_a = batch.extras["label_a"]
        moves = self.cyclegan.play(batch, step)
        game = next(moves)
        fake_a, fake_b = game.images["fake_a"], game.images["fake_b"]

        seen_a = self.source_classifier(batch.a)
        with torch.no_grad():
            seen_b = self.source_classifier(batch.b)
        task_source = self._task(seen_a, label_a)
        # The paper's classifier is trained beforehand. As in the authors' code, it learns along here and is not heard
        # before it knows its own domain: by its loss on this batch, where they keep the step before's. Where their code
        # has true labels for a, these are equation 4's predictions. Their factor 2 of one game is in no equation.
        heard = task_source.detach() < self.trusted_below
        semantic = {
            "semantic_a": self.lambda_semantic * self._task(self.source_classifier(fake_b), seen_a.argmax(1)) * heard,
            "semantic_b": self.lambda_semantic * self._task(self.source_classifier(fake_a), seen_b.argmax(1)) * heard,
        }
        yield Update(game.players, {**game.losses, **semantic}, game.images)
        yield from moves

        yield Update(
            "source_classifier", {"task_source": task_source}, scores={"accuracy_a": accuracy(seen_a, label_a)}
        )

        translated = self.target_classifier(fake_b.detach())
        scores = {"accuracy_fake_b": accuracy(translated, label_a)}
        if "label_b" in batch.extras:
            with torch.no_grad():
                scores["accuracy_b"] = accuracy(self.target_classifier(batch.b), batch.extras["label_b"])
        yield Update("target_classifier", {"task_target": self._task(translated, label_a)}, scores=scores)

    def _task(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy (equation 1)."""
        (logits,) = at_least_float32(logits)
        try:
            return F.cross_entropy(logits, labels)
        except IndexError:  # told on a CPU alone: looking at labels elsewhere would wait for the device
            message = f"is {self.n_classes}, but a batch has labels from {int(labels.min())} to {int(labels.max())}"
            raise I2IError(Problem("method.n_classes", f"{message}; they count from 0")) from None


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of images whose largest logit is their label's."""
    return (logits.argmax(1) == labels).float().mean()


@hookimpl
def register_methods() -> Factories:
    return {"cycada": CyCADA}
