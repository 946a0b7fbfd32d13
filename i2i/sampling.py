"""What a training shows of itself on the way: fixed images, translated and back, and what is made from nothing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from i2i.data import Preview
from i2i.method import Imagines, Method
from i2i.translate import Translator, evaluating

NOISE = 2 / 255
"""Standard deviation of the noise of `aba_noised`, in [-1, 1]: one grey level of 8 bits."""


def sample(translators: Mapping[str, nn.Module], preview: Preview, device: torch.device) -> dict[str, Tensor]:
    """The preview's images translated, and back, by the names that `Watcher.logged` gives; on the CPU."""
    networks = {direction: Translator(module) for direction, module in translators.items()}
    images: dict[str, Tensor] = {}
    for direction, network in networks.items():
        source, target = direction[0], direction[1]
        given: Tensor = getattr(preview, source)
        images[source] = given
        there = torch.cat([network(image[None].to(device)) for image in given])
        images[direction] = there.cpu()
        if direction[::-1] in networks:
            back = networks[direction[::-1]]
            for name, translated in {"": there, "_noised": _noised(there)}.items():
                images[f"{direction}{source}{name}"] = torch.cat([back(image[None]) for image in translated]).cpu()
        if preview.paired:
            images[f"true_{direction}"] = getattr(preview, target)
    return images


def _noised(images: Tensor) -> Tensor:
    """Rounded to 8 bits, and a grey level of noise, always the same: what no eye sees, but a hidden message does."""
    levels = ((images.cpu() + 1) * 127.5).round() / 127.5 - 1
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (levels + NOISE * noise).clamp(-1, 1).to(images.device)


def imagined(method: Method, n: int) -> dict[str, Tensor]:
    """What a method makes from nothing, by the names that `Watcher.logged` gives; on the CPU, in evaluation mode."""
    if not isinstance(method, Imagines):
        return {}
    with torch.no_grad(), evaluating(method):
        return {f"new_{domain}": images.float().cpu() for domain, images in method.imagine(n).items()}
