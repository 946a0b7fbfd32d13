"""The ResNet generator of CycleGAN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from i2i.reference.init import Normal
from i2i.reference.normalization import InstanceNorm
from i2i.reference.to_image import ToImage
from i2i.slots import Initialization, Normalization

Upsample = Literal["transposed", "nearest", "bilinear", "pixel_shuffle"]


def needs_bias(norm: nn.Module) -> bool:
    """Whether the convolution before `norm` keeps its bias: unless the norm has a shift of its own, a bias.

    As in the authors' code for instance and batch normalization; the bias before an affine-free instance norm has a
    true gradient of zero, and is kept so that their weights load.
    """
    return all(name.rpartition(".")[2] != "bias" for name, _ in norm.named_parameters())


class ResidualBlock(nn.Module):
    """x + (pad, conv, norm, ReLU, pad, conv, norm)(x), by reflection (Zhu et al. 2017, appendix 7.2: `Rk`)."""

    def __init__(self, channels: int, norm: Normalization) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), *conv_norm(channels, channels, norm, 3), nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1), *conv_norm(channels, channels, norm, 3),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv_block(x)
        return out


class ResnetGenerator(nn.Module):
    """c7s1-64, d128, d256, R256 x n, u128, u64, c7s1-3 and tanh, padded by reflection.

    Zhu et al. 2017, appendix 7.2, after Johnson et al. 2016. Weights have the names of the authors' code
    (`model.1.weight`, `model.10.conv_block.1.weight`, …) with the default upsampling.

    Args:
        in_channels, out_channels: of the images.
        base_channels: of the first layer; 64 in the paper.
        n_blocks: residual blocks; 9 from 256 px on, 6 for 128 px.
        norm: after every convolution but the last.
        upsample: `transposed` convolution as in the paper; `nearest` or `bilinear` interpolation and a convolution,
            or `pixel_shuffle`, leave no checkerboard (Odena et al. 2016; Shi et al. 2016).
        initialization: of all weights.

    Shape: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in (-1, 1); H and W are multiples of
        `size_multiple` and at least 8.
    """

    size_multiple = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        base_channels: Annotated[int, Ge(1)] = 64,
        n_blocks: Annotated[int, Ge(0)] = 9,
        norm: Normalization = InstanceNorm,
        upsample: Upsample = "transposed",
        initialization: Initialization = Normal,
    ) -> None:
        super().__init__()
        blocks = (ResidualBlock(4 * base_channels, norm) for _ in range(n_blocks))
        self.model = resnet_layers(in_channels, out_channels, base_channels, blocks, norm, upsample)
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model(images)
        return out

    def encode(self, images: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """The outputs of these layers of `model` (see `i2i.slots.Encodes`)."""
        return outputs_of(self.model, images, taps)

    def feature_channels(self, taps: Sequence[int]) -> list[int]:
        """Their channels. Raises ValueError for a tap that is no layer."""
        return channels_of(self.model, taps)


def resnet_layers(
    n_in: int, n_out: int, c: int, blocks: Iterable[nn.Module], norm: Normalization, upsample: Upsample
) -> nn.Sequential:
    """c7s1-c, two halvings, `blocks` from 4c channels to 4c, two doublings, c7s1-n_out and tanh."""
    return nn.Sequential(
        nn.ReflectionPad2d(3), *conv_norm(n_in, c, norm, 7), nn.ReLU(inplace=True),
        *conv_norm(c, 2 * c, norm, 3, stride=2, padding=1), nn.ReLU(inplace=True),
        *conv_norm(2 * c, 4 * c, norm, 3, stride=2, padding=1), nn.ReLU(inplace=True),
        *blocks,
        *_up(4 * c, 2 * c, norm, upsample), nn.ReLU(inplace=True),
        *_up(2 * c, c, norm, upsample), nn.ReLU(inplace=True),
        nn.ReflectionPad2d(3), ToImage(c, n_out, 7), nn.Tanh(),
    )  # fmt: skip


def outputs_of(model: nn.Sequential, images: Tensor, taps: Sequence[int]) -> list[Tensor]:
    """The outputs of some layers, by their places in `model`, in the order of `taps`; stops after the last of them."""
    outputs: dict[int, Tensor] = {}
    for place, layer in enumerate(model[: max(taps) + 1]):
        images = layer(images)
        if place in taps:
            outputs[place] = images.clone()  # a ReLU in place may follow, if need be behind a norm that does nothing
    return [outputs[tap] for tap in taps]


def channels_of(model: nn.Sequential, taps: Sequence[int]) -> list[int]:
    """Channels of the outputs of some layers of convolutions. Raises ValueError for a tap that is no layer."""
    channels: list[int] = []
    for layer in model:
        convolutions = [m for m in layer.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
        channels.append(convolutions[-1].out_channels if convolutions else channels[-1] if channels else 0)
        if isinstance(layer, nn.PixelShuffle):
            channels[-1] //= layer.upscale_factor**2
    first = next(m for m in model.modules() if isinstance(m, nn.Conv2d)).in_channels
    for tap in taps:
        if not 0 <= tap < len(channels):
            raise ValueError(f"there is no layer {tap}; the generator has {len(channels)}, from 0")
    return [channels[tap] or first for tap in taps]


def conv_norm(
    n_in: int, n_out: int, norm: Normalization, size: int, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """A convolution and its normalization; a bias where the normalization has none."""
    normalize = norm(n_out)
    return [nn.Conv2d(n_in, n_out, size, stride, padding, bias=needs_bias(normalize)), normalize]


def _up(n_in: int, n_out: int, norm: Normalization, upsample: Upsample) -> list[nn.Module]:
    normalize = norm(n_out)
    bias = needs_bias(normalize)
    if upsample == "transposed":
        return [nn.ConvTranspose2d(n_in, n_out, 3, 2, 1, output_padding=1, bias=bias), normalize]
    if upsample == "pixel_shuffle":
        return [nn.ReflectionPad2d(1), nn.Conv2d(n_in, 4 * n_out, 3, bias=bias), nn.PixelShuffle(2), normalize]
    enlarge = nn.Upsample(scale_factor=2, mode=upsample)
    return [enlarge, nn.ReflectionPad2d(1), nn.Conv2d(n_in, n_out, 3, bias=bias), normalize]
