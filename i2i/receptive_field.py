"""The receptive field of a network: how much of an image one of its outputs sees."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from i2i.measure import feature_maps

NORMALIZATIONS: tuple[type[nn.Module], ...] = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
"""Torch's normalization layers; batch and instance normalization share the first."""

LARGEST_PROBE = 512
_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus,
    nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softsign, nn.Tanhshrink,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """How much of an image one output sees.

    Args:
        pixels: side of the square in px, with normalizations taken out; None if it exceeds `LARGEST_PROBE`.
        coupled_by: class of a normalization whose statistics, in training, run over the whole image, so that every
            output depends a little on all pixels; None if there is none.
    """

    pixels: int | None
    coupled_by: str | None = None

    def __str__(self) -> str:
        return f"{self.pixels} px" if self.pixels is not None else f"> {LARGEST_PROBE} px"


def receptive_field(
    module: nn.Module, channels: int, *, normalizations: tuple[type[nn.Module], ...] = ()
) -> ReceptiveField:
    """The receptive field of the central output, from its gradient with respect to the image.

    Measured on a copy whose normalizations and activations are identities, whose max-pooling is average pooling and
    whose weights are positive, so that nothing cancels and nothing is dead; of a list of maps the largest counts. The
    probe grows until the field ends inside of it.

    Args:
        module: takes (1, channels, H, W).
        normalizations: further classes to take out, beside torch's own.

    Raises RuntimeError or ValueError if the module takes no probe of any size.
    """
    coupled: dict[str, bool] = {}
    failure: Exception | None = None
    field: ReceptiveField | None = None
    with torch.random.fork_rng(devices=[]):
        probe = _transparent(module, (*NORMALIZATIONS, *normalizations), coupled)
        size = 32
        while size < LARGEST_PROBE:
            size *= 2
            try:
                pixels = _extent(probe, channels, size)
            except (RuntimeError, ValueError) as error:  # too small for it, or not the size it is made for
                failure = error
                continue
            field = ReceptiveField(pixels, next((name for name, yes in coupled.items() if yes), None))
            if pixels is not None:
                break
    if field is None:
        assert failure is not None
        raise failure
    return field


def _extent(probe: nn.Module, channels: int, size: int) -> int | None:
    """Side of the region on which the central output depends; None if it reaches the border."""
    # Small values keep the activations that are called as functions in their linear part.
    images = torch.full((1, channels, size, size), 1e-3, dtype=torch.float64, requires_grad=True)
    maps = feature_maps(probe(images))
    scores = max(maps, key=lambda m: m.shape[2:].numel())
    score = scores[..., scores.shape[-2] // 2, scores.shape[-1] // 2].sum()
    seen = torch.autograd.grad(score, images)[0] != 0
    sides = [seen.any(dim).any(0).any(0).nonzero().flatten().tolist() for dim in (2, 3)]
    if any(side and (side[0] == 0 or side[-1] == size - 1) for side in sides):
        return None
    return max((side[-1] - side[0] + 1 for side in sides if side), default=0)


def _transparent(module: nn.Module, normalizations: tuple[type[nn.Module], ...], coupled: dict[str, bool]) -> nn.Module:
    """A copy on the CPU, in float64, that lets every gradient through; `coupled` is filled as it runs."""
    probe = copy.deepcopy(module).to("cpu", torch.float64).train()
    for layer in list(probe.modules()):
        if not isinstance(layer, normalizations):
            layer.training = False
        if is_parametrized(layer):
            shared = type(layer)  # with the original, which would lose its weights with it
            layer.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))
            for name in list(layer.parametrizations):  # type: ignore[arg-type]
                remove_parametrizations(layer, name)
    with torch.no_grad():
        for name, parameter in probe.named_parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
            parameter.uniform_(0.5, 1.5).div_(fan_in)
            if name.endswith("bias"):
                parameter.zero_()
    # A normalization made of others is the identity as a whole.
    inside = {m for layer in probe.modules() if isinstance(layer, normalizations) for m in list(layer.modules())[1:]}
    for layer in probe.modules():
        if layer not in inside and (forward := _stand_in(layer, normalizations, coupled)):
            layer.forward = forward
    return probe


def _stand_in(
    layer: nn.Module, normalizations: tuple[type[nn.Module], ...], coupled: dict[str, bool]
) -> Callable[..., Tensor] | None:
    """What the layer does in the probe, where that is not what it does anyway."""
    if isinstance(layer, normalizations):
        return _pass_on(layer, coupled)
    if isinstance(layer, _ACTIVATIONS):
        return lambda x: x
    if isinstance(layer, nn.MaxPool2d):
        pool = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)
        return lambda x: pool(x)
    if type(layer) in (nn.Conv2d, nn.ConvTranspose2d):
        return _boxed(layer)  # type: ignore[arg-type]
    return None


def _boxed(layer: nn.Conv2d | nn.ConvTranspose2d) -> Callable[..., Tensor]:
    """A convolution with equal weights, as one channel: it sees what the original sees, at a fraction of the cost."""
    shape = (layer.kernel_size, layer.stride, layer.padding)
    box: nn.Module
    if isinstance(layer, nn.ConvTranspose2d):
        box = nn.ConvTranspose2d(1, 1, *shape, layer.output_padding, bias=False, dilation=layer.dilation)  # type: ignore[arg-type]
    else:
        box = nn.Conv2d(1, 1, *shape, layer.dilation, bias=False, padding_mode=layer.padding_mode)  # type: ignore[arg-type]
    weight: Any = box.double().weight
    nn.init.constant_(weight, 1 / weight.numel())
    return lambda x, *_: box(x.mean(1, keepdim=True)).repeat(1, layer.out_channels, 1, 1)


def _pass_on(layer: nn.Module, coupled: dict[str, bool]) -> Callable[..., Tensor]:
    """The identity, which finds out once for each class whether the normalization would have coupled pixels."""
    name = type(layer).__name__

    def forward(x: Tensor, *others: Any, **named: Any) -> Tensor:
        if name not in coupled:
            coupled[name] = _couples(layer, x, others, named)
        return x

    return forward


def _couples(layer: nn.Module, x: Tensor, others: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm):  # these may see channels last
        return len(layer.normalized_shape) > 1
    if x.dim() != 4 or x.shape[2:].numel() == 1:
        return False
    trained = copy.deepcopy(layer)  # in training, unless it is a part of what is frozen
    del trained.forward  # the identity, an attribute of the instance
    noise = torch.rand_like(x).requires_grad_()
    out = trained(noise, *others, **named)
    row, column = x.shape[-2] // 2, x.shape[-1] // 2
    mix = (out[0, :, row, column] * torch.rand(out.shape[1], dtype=out.dtype)).sum()
    (grad,) = torch.autograd.grad(mix, noise)
    grad[:, :, row, column] = 0
    return bool(grad.any())
