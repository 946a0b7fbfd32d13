"""A transformer whose tokens are the pixels of a map."""

from __future__ import annotations

from torch import Tensor, nn


class Transformer(nn.Module):
    """Transformer blocks over the pixels of a map of any size, each of which knows its place.

    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", arXiv 2010.11929, equations 2 and 3: what is normalized
    goes into attention and into two linear layers with GELU, and both are added. Places are sines and cosines of row
    and column (Vaswani et al. 2017, section 3.5), so that there is no largest size; they are added to the map.

    Args:
        channels: of the map. Raises ValueError unless n_heads and 4 divide it.
        n_blocks: of attention and linear layers.
        n_heads: parts of the channels that attend on their own.

    Shape: (N, channels, H, W) to the same.
    """

    def __init__(self, channels: int, *, n_blocks: int, n_heads: int) -> None:
        from timm.models.vision_transformer import Block  # takes seconds to import

        super().__init__()
        if channels % n_heads or channels % 4:
            raise ValueError(f"{channels} channels of attention are no multiple of {n_heads} heads and of 4")
        self.blocks = nn.Sequential(*(Block(channels, n_heads, qkv_bias=True) for _ in range(n_blocks)))

    def forward(self, x: Tensor) -> Tensor:
        from timm.layers import build_sincos2d_pos_embed

        places = build_sincos2d_pos_embed([*x.shape[2:]], x.shape[1], device=x.device, dtype=x.dtype)  # (HW, C)
        tokens = x.flatten(2).mT + places  # (N, HW, C)
        out: Tensor = self.blocks(tokens).mT.reshape(x.shape)
        return out
