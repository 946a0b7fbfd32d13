"""The networks that metrics see images through: one copy of each, one pass over each batch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from i2i.errors import I2IError, Problem, suggest
from i2i.metric import Remembered
from i2i.options import LocalPath
from i2i.reference.losses import without_autocast
from i2i_plugins.timm_features.backbone import MODEL, SEEN, fill

DEFAULT = "efficientnet_lite0"
INCEPTION = "inception"

Weights = Literal["auto"] | LocalPath


class Features(NamedTuple):
    """What a network sees of N images.

    Args:
        pooled: (N, D), what its classifier is given.
        maps: (N, C, H, W) of each level, from the shallowest to the deepest; none from `inception`.
    """

    pooled: Tensor
    maps: list[Tensor]


@dataclass(frozen=True, slots=True)
class Known:
    """A network that goes by a name of its own here.

    Args:
        model: its name in timm.
        weights: `package` or `timm`, as of `Backbone`.
        size: of the images that it is shown, in px; 0 for the size that timm states.
    """

    model: str
    weights: str = "timm"
    size: int = 0


KNOWN = {
    DEFAULT: Known(MODEL, "package"),
    # made for 518 px, which take seconds each on a CPU; Stein et al. 2023 (arXiv 2306.04675) show it 224 in their code
    "dinov2": Known("vit_small_patch14_dinov2.lvd142m", size=224),
}


class Network:
    """A pretrained network that never learns. It is loaded when it first sees an image.

    Computed in float32, also under autocast, where the images are. The newest three batches are remembered, so that
    metrics which share it cost one pass. Calling it raises I2IError if it or its weights cannot be had, and ValueError
    for images of other than 3 channels, or 1, which is shown as three equal ones.

    Args:
        name: `efficientnet_lite0`, `inception`, `dinov2`, or one of `timm.list_models()`.
        weights: `auto`, its own; or a .safetensors file with timm's names.

    Shape: (N, C, H, W) in [-1, 1] to `Features`.
    """

    def __init__(self, name: str, weights: Weights) -> None:
        own = weights == "auto"
        if not own and name == INCEPTION:
            raise ValueError(f"{INCEPTION!r} is the published network with its own weights; weights = {weights!r} fit")
        if not own and not (weights.endswith(".safetensors") and Path(weights).is_file()):
            raise ValueError(f"weights {weights!r} are no .safetensors file that is there, nor 'auto'")
        if name == INCEPTION and find_spec("torch_fidelity") is None:
            raise ValueError(f"{INCEPTION!r} needs torch-fidelity; pip install 'i2i[fidelity]', or choose another")
        self.name = re.sub(r"[^a-z0-9]+", "_", (name if own else f"{name}_{Path(weights).stem}").lower()).strip("_")
        if name == INCEPTION:
            self._load: Callable[[], nn.Module] = Inception
        else:
            known = KNOWN.get(name, Known(name))
            self._load = partial(Timm, known.model, known.weights if own else weights, known.size)
        self._net: nn.Module | None = None
        self._remembered = Remembered(self._see, 3)

    def __call__(self, images: Tensor) -> Features:
        features: Any = self._remembered(images)
        return features

    def _see(self, images: Tensor) -> Any:
        if images.shape[1] not in (1, 3):
            raise ValueError(SEEN.format(images.shape[1]))
        if self._net is None:
            try:
                with torch.random.fork_rng(devices=()):  # weights are drawn before they are filled
                    self._net = self._load().requires_grad_(False).train(False)
            except ValueError as error:
                raise I2IError(Problem(f"network {self.name!r}", str(error))) from error
        with without_autocast(images):
            return self._net.to(images.device)(images.float().expand(-1, 3, -1, -1))


_networks: WeakValueDictionary[tuple[str, str], Network] = WeakValueDictionary()


def shared_network(name: str, weights: Weights) -> Network:
    """The same one for all metrics that ask for it, as long as one of them lives. Raises ValueError."""
    found = _networks.get((name, weights))
    if found is None:
        found = _networks[name, weights] = Network(name, weights)
    return found


class Timm(nn.Module):
    """A network of timm. Raises ValueError if it or its weights cannot be had.

    Images are resized as they are, not cropped, to the size that it was made for: bicubic with antialiasing, as Pillow
    does it, then clamped to [-1, 1].
    """

    center: Tensor
    scale: Tensor

    def __init__(self, model: str, weights: str, size: int) -> None:
        super().__init__()
        import timm  # takes seconds
        from timm.data import resolve_data_config

        if not timm.is_model(model):
            names = [*timm.list_models(), *KNOWN, INCEPTION]
            raise ValueError(f"timm has no model {model!r}{suggest(model, names)}")
        options = {"dynamic_img_size": True} if size else {}
        try:
            self.net = timm.create_model(model, pretrained=weights == "timm", num_classes=0, **options)
        except Exception as error:  # whatever a download raises
            raise ValueError(
                f"timm cannot give {model!r} with its weights: {error} It downloads them once; give others by "
                f'weights = "FILE.safetensors", or take {DEFAULT!r}, which comes with i2i'
            ) from error
        if not hasattr(self.net, "forward_intermediates"):
            raise ValueError(f"{model!r} does not show its feature maps; take another network")
        if weights != "timm":
            fill(self.net, weights)
        self.net.to(memory_format=torch.channels_last)  # twice as fast on a CPU
        config = resolve_data_config(model=self.net)
        self.size = (size, size) if size else config["input_size"][1:]
        # timm's are for [0, 1]: ((x + 1) / 2 - mean) / std
        self.register_buffer("center", 2 * torch.tensor(config["mean"]).reshape(-1, 1, 1) - 1)
        self.register_buffer("scale", 2 * torch.tensor(config["std"]).reshape(-1, 1, 1))

    def forward(self, images: Tensor) -> Features:
        shown = F.interpolate(images, self.size, mode="bicubic", antialias=True).clamp(-1, 1)
        normalized = ((shown - self.center) / self.scale).contiguous(memory_format=torch.channels_last)
        last, maps = self.net.forward_intermediates(normalized)
        return Features(self.net.forward_head(last, pre_logits=True), maps)


class Inception(nn.Module):
    """The network of the published FIDs, from torch-fidelity. Raises ValueError if its weights cannot be had.

    Images are rounded to 8 bits and resized to 299 px by its own bilinear resizing, that of TensorFlow 1.
    """

    def __init__(self) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

        try:
            # torch-fidelity would unpickle whatever lies there: first it is made sure that it holds tensors alone
            torch.hub.load_state_dict_from_url(URL_INCEPTION_V3, check_hash=True, weights_only=True)
            self.net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
        except Exception as error:  # whatever a download raises, or a damaged file
            folder = Path(torch.hub.get_dir(), "checkpoints")
            raise ValueError(
                f"its weights cannot be had: {error}. They are downloaded once, from {URL_INCEPTION_V3} to {folder}; "
                f"put the file there, or take {DEFAULT!r}, which comes with i2i"
            ) from error

    def forward(self, images: Tensor) -> Features:
        (pooled,) = self.net(((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))
        return Features(pooled, [])
