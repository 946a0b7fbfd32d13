"""What a training shows of itself on the way: fixed images, translated and back, and what is made from nothing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from i2i.data import Preview
from i2i.method import Imagines, Method
from i2i.translate import Translator, evaluating


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
            for name, translated in {"": there, "_noised": noised(there)}.items():
                images[f"{direction}{source}{name}"] = torch.cat([back(image[None]) for image in translated]).cpu()
        if preview.paired:
            images[f"true_{direction}"] = getattr(preview, target)
    return images


def noised(images: Tensor, sigma: float = 1.0) -> Tensor:
    """Images in [-1, 1], rounded to 8 bits and noised by `sigma` grey levels: no eye sees it, a hidden message does.

    The noise is the same for all images of one shape, and at every call.
    """
    levels = ((images + 1) * 127.5).round() / 127.5 - 1
    noise = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(0))
    return (levels + sigma / 127.5 * noise.to(images.device)).clamp(-1, 1)


def imagined(method: Method, n: int) -> dict[str, Tensor]:
    """What a method makes from nothing, by the names that `Watcher.logged` gives; on the CPU, in evaluation mode."""
    if not isinstance(method, Imagines):
        return {}
    with torch.no_grad(), evaluating(method):
        return {f"new_{domain}": images.float().cpu() for domain, images in method.imagine(n).items()}
