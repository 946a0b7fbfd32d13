"""Discriminators that look at images through a frozen network of timm."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from i2i.reference.init import Normal
from i2i.reference.resnet import needs_bias
from i2i.slots import Initialization, Normalization
from i2i_plugins.normalizations import BatchNorm
from i2i_plugins.spectral import normalize_spectrally
from i2i_plugins.timm_features.backbone import MODEL, FrozenFeatures, Layers, Weights


class Projected(nn.Module):
    """Frozen features, mixed at random over channels and scales, each level judged by a small network.

    Sauer et al. 2021, "Projected GANs Converge Faster", arXiv 2111.01007, section 3.2: EfficientNet-Lite features,
    cross-channel mixing (random 1x1 convolutions), cross-scale mixing (from the deepest level up: add, enlarge by two,
    random 1x1 convolution), and discriminators with as many halvings as bring all levels to one size. Only those learn;
    each of their weights is normalized spectrally. The authors train them with `diffaugment` around `hinge`.

    Args:
        in_channels: of the images: 3, or 1.
        model: of timm, see `timm.list_models()`; of those that take images of any size.
        layers: its levels; 0 has the largest maps.
        weights: `package` (comes with i2i), `timm` (downloads), `random`, or a .safetensors file.
        base_channels: of the first level after mixing, twice as many at each further one.
        norm: in the small networks.
        initialization: of the small networks; the mixing has torch's own.

    Shape: (N, in_channels, H, W) in [-1, 1] to a list of (N, 1, H / 32, W / 32) logits, one for each level.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        model: str = MODEL,
        layers: Layers = (1, 2, 3, 4),
        weights: Weights = "package",
        base_channels: Annotated[int, Ge(1)] = 64,
        norm: Normalization = BatchNorm,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        self.features = FrozenFeatures(in_channels, model, layers, weights)
        mixed = [base_channels * 2**i for i in range(len(layers))]
        projected = [mixed[0], *mixed[:-1]]
        self.mix_channels = nn.ModuleList(map(_mixing, self.features.channels, mixed))
        self.mix_scales = nn.ModuleList(map(_mixing, mixed, projected))
        self.judges = nn.ModuleList(_judge([n, *mixed[i:]], norm) for i, n in enumerate(projected))
        initialization()(self.judges)
        normalize_spectrally(self.judges)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [mix(level) for mix, level in zip(self.mix_channels, self.features(images), strict=True)]
        logits = []
        above = maps.pop()
        for mix, judge in reversed([*zip(self.mix_scales, self.judges, strict=True)]):
            # twice as large, or by one less where the level below has an odd size
            size = maps[-1].shape[-2:] if maps else [2 * n for n in above.shape[-2:]]
            level = mix(F.interpolate(above, size=size, mode="bilinear", align_corners=True))
            logits.append(judge(level))
            above = level + maps.pop() if maps else level
        return logits[::-1]


def _mixing(n_in: int, n_out: int) -> nn.Module:
    """A fixed random 1x1 convolution."""
    return nn.Conv2d(n_in, n_out, 1).requires_grad_(False)


def _judge(channels: list[int], norm: Normalization) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(channels):
        normalize = norm(n_out)
        convolution = nn.Conv2d(n_in, n_out, 4, 2, 1, bias=needs_bias(normalize))
        layers += [convolution, normalize, nn.LeakyReLU(0.2, inplace=True)]
    # The authors enlarge images to 224 px and end with 4x4 and no padding, to 4 x 4 logits; this takes any size.
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 3, 1, 1, bias=False))


class VisionAided(nn.Module):
    """A small network on each level of frozen features, to stand beside a discriminator that learns all.

    Kumari et al. 2022, "Ensembling Off-the-shelf Models for GAN Training", arXiv 2112.09130, section 3; the heads are
    those of the authors' code for several levels: 3x3 convolution, LeakyReLU(0.2), 1x1 convolution, normalized
    spectrally. `ensemble` puts it beside another discriminator, as in the paper.

    Args:
        in_channels: of the images: 3, or 1.
        model: of timm, see `timm.list_models()`; of those that take images of any size.
        layers: its levels; 0 has the largest maps.
        weights: `package` (comes with i2i), `timm` (downloads), `random`, or a .safetensors file.
        base_channels: between the two convolutions.
        initialization: of the heads.

    Shape: (N, in_channels, H, W) in [-1, 1] to a list of (N, 1, H', W') logits, as large as the maps of each level.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        model: str = MODEL,
        layers: Layers = (2, 3, 4),
        weights: Weights = "package",
        base_channels: Annotated[int, Ge(1)] = 256,
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        self.features = FrozenFeatures(in_channels, model, layers, weights)
        # The authors blur and halve between the two, since their maps are of 224 px and more; this takes any size.
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n, base_channels, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(base_channels, 1, 1))
            for n in self.features.channels
        )
        initialization()(self.heads)
        normalize_spectrally(self.heads)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [head(level) for head, level in zip(self.heads, self.features(images), strict=True)]
