"""What losses promise: pair losses and both sides of an adversarial game."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Build = Callable[..., Any]

SIZE = 24
"""Pixels of test images; windowed losses such as SSIM need some."""


def pair_loss_gives_a_scalar(build: Build) -> Iterator[str]:
    """It gives a finite float32 scalar, for bf16 images too"""
    loss = build()
    prediction, target = _image(), _image()
    for dtype in (torch.float32, torch.bfloat16):
        yield from _scalar(loss(prediction.to(dtype), target.to(dtype)), torch.float32, f"of {dtype} images")
    with torch.autocast("cpu", torch.bfloat16):
        yield from _scalar(loss(prediction, target), torch.float32, "under bf16 autocast")


def pair_loss_is_least_at_equality(build: Build) -> Iterator[str]:
    """It is least where prediction and target are equal"""
    loss, target = build(), _image()
    least = float(loss(target, target))
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        other = float(loss(target + scale * torch.randn(target.shape), target))
        if other < least - 1e-6:
            yield f"is {least:.6g} where both are equal and only {other:.6g} a distance of {scale} away"
            return


def pair_loss_has_its_gradient(build: Build) -> Iterator[str]:
    """Its gradient agrees with finite differences in float64"""
    loss, target = build(), _image(torch.float64)
    yield from _gradient(lambda prediction: loss(prediction, target), _image(torch.float64))


def game_gives_scalars(build: Build) -> Iterator[str]:
    """Both forms give finite float32 scalars, for bf16 logits and lists of maps too"""
    game, judge = build(), Judge()
    real, fake = _image(), _image()
    for dtype in (torch.float32, torch.bfloat16):
        judge.to(dtype)
        for many in (False, True):
            maps = "a list of maps" if many else "a map"
            shown = judge.twice if many else judge
            of = f"with {maps} of {dtype} logits"
            fakes = fake.to(dtype).requires_grad_()
            yield from _scalar(game.for_generator(shown, real.to(dtype), fakes), torch.float32, f"for_generator {of}")
            loss = game.for_discriminator(shown, real.to(dtype), fake.to(dtype))
            yield from _scalar(loss, torch.float32, f"for_discriminator {of}")


def game_has_its_gradients(build: Build) -> Iterator[str]:
    """The gradients of both forms agree with finite differences in float64"""
    game, judge = build(), Judge().double()
    real, fake = _image(torch.float64), _image(torch.float64)
    yield from _gradient(lambda images: game.for_generator(judge, real, images), fake, "for_generator: ")

    def of_weights(scale: Tensor) -> Tensor:
        value: Tensor = game.for_discriminator(lambda images: scale * judge(images), real, fake)
        return value

    yield from _gradient(of_weights, torch.tensor([0.7], dtype=torch.float64), "for_discriminator: ")


def game_pulls_the_right_way(build: Build) -> Iterator[str]:
    """The discriminator learns to score real images above fakes, and the generator then raises the score of fakes"""
    game, judge = build(), Judge()
    real, fake = _image() * 0.1 + 0.5, _image() * 0.1 - 0.5
    before = _apart(judge, real, fake)
    optimizer = torch.optim.SGD(judge.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        game.for_discriminator(judge, real, fake).backward()
        optimizer.step()
    if not _apart(judge, real, fake) > before:
        yield "for_discriminator pulls the wrong way: descending it does not score real images above fakes"
        return
    images = fake.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(game.for_generator(judge, real, images), images)
    with torch.no_grad():
        step = 1e-2 * gradient / gradient.abs().max().clamp_min(1e-30)
        if not judge(images - step).mean() > judge(images).mean():
            yield "for_generator pulls the wrong way: descending it does not raise the score of fakes"


class Judge(nn.Module):
    """A discriminator of one 1x1 convolution, which scores bright images slightly higher."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 1, 1)
        for parameter in self.convolution.parameters():
            nn.init.constant_(parameter, 0.1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.convolution(images)
        return logits

    def twice(self, images: Tensor) -> list[Tensor]:
        """The logits at two sizes."""
        return [self(images), nn.functional.avg_pool2d(self(images), 2)]


def _apart(judge: Judge, real: Tensor, fake: Tensor) -> float:
    with torch.no_grad():
        return float(judge(real).mean() - judge(fake).mean())


def _image(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(2, 3, SIZE, SIZE, dtype=dtype) * 2 - 1


def _scalar(value: Any, dtype: torch.dtype, of: str) -> Iterator[str]:
    if not isinstance(value, Tensor) or value.dim():
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        yield f"gives {shape}, not a scalar tensor, {of}"
    elif value.dtype != dtype:
        yield f"gives {value.dtype}, not {dtype}, {of}; cast what comes in with .float() first"
    elif not value.isfinite():
        yield f"gives {float(value)} {of}"


def _gradient(f: Callable[[Tensor], Tensor], at: Tensor, where: str = "") -> Iterator[str]:
    """Compares the slope along random directions with central differences, both in float64."""

    def slope(direction: Tensor, epsilon: float = 1e-5) -> float:
        values = []
        for sign in (1, -1):
            torch.manual_seed(1)
            values.append(float(f(at + sign * epsilon * direction).detach()))
        return (values[0] - values[1]) / (2 * epsilon)

    torch.manual_seed(1)
    x = at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(f(x), x)
    for direction in torch.randn(3, *at.shape, dtype=at.dtype, generator=torch.Generator().manual_seed(2)):
        numeric, analytic = slope(direction), float((gradient * direction).sum())
        if abs(numeric - analytic) > 1e-3 * max(abs(numeric), abs(analytic)) + 1e-8:
            yield f"{where}has a gradient of {analytic:.4g} where finite differences give {numeric:.4g}, in float64"
            return


PAIR = (pair_loss_gives_a_scalar, pair_loss_is_least_at_equality, pair_loss_has_its_gradient)
ADVERSARIAL = (game_gives_scalars, game_has_its_gradients, game_pulls_the_right_way)
