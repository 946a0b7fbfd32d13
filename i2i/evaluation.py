"""What a training shows of itself on the way: fixed samples, and the distance to held-out partners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from kornia.metrics import psnr
from torch import Tensor, nn

from i2i.data import Data, Preview
from i2i.method import Batch, Imagines, Method
from i2i.translate import Translator, evaluating


def _both(translators: Mapping[str, nn.Module]) -> dict[str, Translator]:
    return {direction: Translator(module) for direction, module in translators.items()}


def sample(translators: Mapping[str, nn.Module], preview: Preview, device: torch.device) -> dict[str, Tensor]:
    """The preview's images translated, and back, by the names that `Watcher.logged` gives; on the CPU."""
    networks = _both(translators)
    images: dict[str, Tensor] = {}
    for direction, network in networks.items():
        source, target = direction[0], direction[1]
        given: Tensor = getattr(preview, source)
        images[source] = given
        there = torch.cat([network(image[None].to(device)) for image in given])
        images[direction] = there.cpu()
        if direction[::-1] in networks:
            back = networks[direction[::-1]]
            images[direction + source] = torch.cat([back(image[None]) for image in there]).cpu()
        if preview.paired:
            images[f"true_{direction}"] = getattr(preview, target)
    return images


def imagined(method: Method, n: int) -> dict[str, Tensor]:
    """What a method makes from nothing, by the names that `Watcher.logged` gives; on the CPU, in evaluation mode."""
    if not isinstance(method, Imagines):
        return {}
    with torch.no_grad(), evaluating(method):
        return {f"new_{domain}": images.float().cpu() for domain, images in method.imagine(n).items()}


def paired_scores(translators: Mapping[str, nn.Module], data: Data, device: torch.device) -> dict[str, float]:
    """Mean L1, in [0, 1], and PSNR in dB over the test pairs, as `test.l1_ab`, `test.psnr_ab`, …; {} without pairs."""
    scores: dict[str, float] = {}
    for direction, network in _both(translators).items():
        scores |= _scores(direction, ((network(x.to(device)).cpu(), y) for x, y in _pairs(data, direction)))
    return scores


def untouched_scores(data: Data) -> dict[str, float]:
    """The same for the input as it is: what changing nothing scores; {} without pairs or with unequal channels."""
    if data.channels[0] != data.channels[1]:
        return {}
    return _scores("ab", _pairs(data, "ab")) | _scores("ba", _pairs(data, "ba"))


def _pairs(data: Data, direction: str) -> Iterator[tuple[Tensor, Tensor]]:
    batches: Iterator[Batch] = data.test_batches() or iter(())
    return ((getattr(b, direction[0]), getattr(b, direction[1])) for b in batches)


def _scores(direction: str, pairs: Iterator[tuple[Tensor, Tensor]]) -> dict[str, float]:
    l1: list[Tensor] = []
    decibel: list[Tensor] = []
    for output, target in pairs:
        output, target = (output + 1) / 2, (target + 1) / 2
        l1 += list((output - target).abs().mean((1, 2, 3)))
        decibel += [psnr(x, y, 1.0) for x, y in zip(output, target, strict=True)]
    if not l1:
        return {}
    return {
        f"test.l1_{direction}": torch.stack(l1).mean().item(),
        f"test.psnr_{direction}": torch.stack(decibel).mean().item(),
    }
