"""A vision transformer from images to images."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from i2i.reference.init import Normal
from i2i.reference.normalization import InstanceNorm
from i2i.reference.resnet import conv_norm
from i2i.slots import Initialization, Normalization
from i2i_plugins.attention.transformer import Transformer


class VisionTransformer(nn.Module):
    """Vision transformer generator: patches, transformer blocks over all of them, and a decoder to pixels.

    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", arXiv 2010.11929, section 3.1, as the encoder. The decoder
    is the PUP of Zheng et al. 2021, "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with
    Transformers", arXiv 2012.15840: doublings and convolutions in turn, here with half the channels after each.
    Everything passes through the patches, so fine detail is kept less well than by generators that hand it across.

    Args:
        in_channels, out_channels: of the images.
        patch_size: px of a patch's side.
        width: channels of a patch. Raises ValueError unless patch_size, n_heads and 4 divide it.
        n_blocks: transformer blocks.
        n_heads: of attention.
        norm: in the decoder, after every convolution but the last.
        initialization: of all weights.

    Shape: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in (-1, 1); H and W are multiples of
        `size_multiple` = patch_size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        patch_size: Literal[2, 4, 8, 16, 32] = 8,
        width: Annotated[int, Ge(4)] = 192,
        n_blocks: Annotated[int, Ge(1)] = 6,
        n_heads: Annotated[int, Ge(1)] = 3,
        norm: Normalization = InstanceNorm,
        initialization: Initialization = Normal,
    ) -> None:
        from timm.layers import LayerNorm2d  # takes seconds to import

        super().__init__()
        if width % patch_size:
            raise ValueError(f"a width of {width} cannot be halved down to pixels of patches of {patch_size} px")
        self.size_multiple = patch_size
        n_doublings = patch_size.bit_length() - 1
        decoder: list[nn.Module] = []
        for n_in, n_out in pairwise(width >> i for i in range(n_doublings + 1)):
            decoder += [nn.Upsample(scale_factor=2), *conv_norm(n_in, n_out, norm, 3, padding=1), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(
            nn.Conv2d(in_channels, width, patch_size, patch_size),
            Transformer(width, n_blocks=n_blocks, n_heads=n_heads), LayerNorm2d(width),
            *decoder, nn.Conv2d(width // patch_size, out_channels, 3, padding=1), nn.Tanh(),
        )  # fmt: skip
        initialization()(self)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model(images)
        return out
