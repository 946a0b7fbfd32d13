"""One step of a copy of a method, played to see what reaches each of its layers; nothing of the method changes."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2i.data.geometry import Sides
from i2i.measure import feature_maps
from i2i.method import Batch, Method
from i2i.receptive_field import NORMALIZATIONS

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the rehearsal is played with: sizes of the batch."""

    channels: tuple[int, int]
    batch_size: int = 1

    def batch(self, method: Method, sides: Sides, device: torch.device) -> Batch:
        """Grey images of this height and width, and the extras that the method needs."""
        n = self.batch_size * method.n_batches
        a, b = (torch.zeros(n, c, *sides) for c in self.channels)
        return Batch(a, b, made_up_extras(method.needs, n, sides)).map(lambda tensor: tensor.to(device))


def made_up_extras(names: Iterable[str], n: int, sides: Sides) -> dict[str, Tensor]:
    """Extras for n images that nobody has looked at: every mask is all ones, every label is 0."""
    return {
        name: torch.ones(n, 1, *sides) if name.startswith("mask") else torch.zeros(n, dtype=torch.long)
        for name in names
    }


@dataclass
class Rehearsal:
    """What was seen, by the layers' names in the method.

    Args:
        sides: height and width of the images, in px.
        inputs: shapes of the first tensor that entered a layer.
        outputs: shapes of the largest map that left it.
        error: what the step raised, if it did not end.
        failed_in: the layer that raised it.
    """

    sides: Sides
    inputs: dict[str, set[Shape]] = field(default_factory=dict)
    outputs: dict[str, set[Shape]] = field(default_factory=dict)
    error: Exception | None = None
    failed_in: str = ""


class Stage:
    """A place to rehearse a method: the meta device, which computes nothing, where the method can do without values.

    Normalizations pass images on as they are, so that none of them ends the step.
    """

    def __init__(self, method: Method, shown: Shown) -> None:
        self.shown = shown
        self._originals = {"cpu": method, "meta": copy.deepcopy(method).to("meta")}

    def play(self, *sides: Sides) -> Rehearsal:
        """`try_out`; for real if it fails on the meta device, where it may want values."""
        seen = self.try_out(*sides, on="meta")
        return self.try_out(*sides, on="cpu") if seen.error is not None else seen

    def try_out(self, *sides: Sides, on: Literal["meta", "cpu"]) -> Rehearsal:
        """One step after the other, each with images of that height and width, on that device."""
        device = torch.device(on)
        method = copy.deepcopy(self._originals[on]).to(device).train()
        seen = Rehearsal(sides[0])
        stack: list[str] = []
        for name, layer in method.named_modules():
            if isinstance(layer, NORMALIZATIONS):
                layer.forward = _pass_on
            if name:
                layer.register_forward_pre_hook(partial(_enter, seen, stack, name))
                layer.register_forward_hook(partial(_leave, seen, stack, name))
        with torch.random.fork_rng(devices=[]):
            try:
                for step, now in enumerate(sides):
                    seen.sides = now
                    for _ in method.play(self.shown.batch(method, now, device), step):
                        pass
            except Exception as error:  # a plugin may raise anything, and all of it is to be told
                seen.error, seen.failed_in = error, stack[-1] if stack else ""
        return seen


def _pass_on(images: Tensor, *others: Any, **named: Any) -> Tensor:
    return images


def _enter(seen: Rehearsal, stack: list[str], name: str, layer: nn.Module, args: tuple[Any, ...]) -> None:
    stack.append(name)
    for tensor in feature_maps(args)[:1]:
        seen.inputs.setdefault(name, set()).add(tuple(tensor.shape))


def _leave(seen: Rehearsal, stack: list[str], name: str, layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    stack.pop()
    if maps := feature_maps(output):
        seen.outputs.setdefault(name, set()).add(tuple(max(maps, key=lambda m: m.shape[2:].numel()).shape))
