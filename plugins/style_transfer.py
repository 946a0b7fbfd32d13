"""Style transfer by one pass of a generator: what a shows, painted like b."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from annotated_types import Ge
from torch import nn

from i2i import hookimpl
from i2i.hookspecs import Factories
from i2i.method import Batch, Method, Update
from i2i.reference.resnet import ResnetGenerator
from i2i.slots import Generator, Pairwise
from i2i_plugins.pair_losses import TotalVariation
from i2i_plugins.timm_features.losses import Perceptual, Style

Weight = Annotated[float, Ge(0)]


class StyleTransfer(Method):
    """One generator that keeps what a shows and takes the textures of b; no discriminator.

    Gatys et al. 2016, "Image Style Transfer Using Convolutional Neural Networks": equation 7 is the objective, a
    distance between features (equation 1) and one between Gram matrices (equations 3 to 5). They optimize one image; a
    network that learns it for all images is that of Johnson et al. 2016, "Perceptual Losses for Real-Time Style
    Transfer and Super-Resolution", arXiv 1603.08155, section 3, who add the total variation. Their domain b is one
    image; with several, each batch is painted like the images of b in it.

    Args:
        channels_a, channels_b: of the images of each domain.
        lambda_content, lambda_style: alpha and beta (Gatys et al., equation 7). The defaults are for the default
            features; those of other networks are of other sizes.
        lambda_variation: weight of the total variation (Johnson et al., section 3.2).
        generator: from a to b.
        content: distance of a translation and its input.
        style: distance of a translation and an image of b, wherever things are in it.
        variation: roughness of a translation.
    """

    translates_with = frozenset({"generator"})

    def __init__(
        self,
        channels_a: int,
        channels_b: int,
        *,
        lambda_content: Weight = 1.0,
        lambda_style: Weight = 0.02,
        lambda_variation: Weight = 10.0,
        generator: Generator = ResnetGenerator,
        content: Pairwise = Perceptual,
        style: Pairwise = Style,
        variation: Pairwise = TotalVariation,
    ) -> None:
        super().__init__()
        self.lambda_content, self.lambda_style = lambda_content, lambda_style
        self.lambda_variation = lambda_variation
        self.generator = generator(channels_a, channels_b)
        self.content, self.style, self.variation = content(), style(), variation()

    def players(self) -> dict[str, list[nn.Module]]:
        return {"generator": [self.generator]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.generator}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        a, b = batch.a, batch.b
        fake_b = self.generator(a)
        losses = {
            "content": self.lambda_content * self.content(fake_b, a),
            "style": self.lambda_style * self.style(fake_b, b),
            "variation": self.lambda_variation * self.variation(fake_b, b),
        }
        yield Update("generator", losses, {"a": a, "b": b, "fake_b": fake_b})


@hookimpl
def register_methods() -> Factories:
    return {"style_transfer": StyleTransfer}
