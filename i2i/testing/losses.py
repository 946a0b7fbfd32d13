"""What losses promise: pair losses and both sides of an adversarial game."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.func import functional_call

from i2i.testing.modules import Build, bound, lays_out, repeats_itself, restore

SIZE = 24
"""Pixels of test images; windowed losses such as SSIM need some."""
N_CALLS = 32
"""In which a penalty that is applied now and then shows itself."""


def pair_loss_gives_a_scalar(build: Build) -> Iterator[str]:
    """It gives a finite float32 scalar, for bf16 images too"""
    loss = build()
    prediction, target = _image(), _image()
    for dtype in (torch.float32, torch.bfloat16):
        yield from _scalar(loss(prediction.to(dtype), target.to(dtype)), torch.float32, f"of {dtype} images")
    with torch.autocast("cpu", torch.bfloat16):
        yield from _scalar(loss(prediction, target), torch.float32, "under bf16 autocast")


def pair_loss_is_least_at_equality(build: Build) -> Iterator[str]:
    """It is least where prediction and target are equal, or declares least_at_equality = False"""
    loss, target = build(), _image()
    if not getattr(loss, "least_at_equality", True):
        return
    least = float(loss(target, target))
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        other = float(loss(target + scale * torch.randn(target.shape), target))
        if other < least - 1e-6:
            yield f"is {least:.6g} where both are equal and only {other:.6g} a distance of {scale} away"
            return


def pair_loss_has_its_gradient(build: Build) -> Iterator[str]:
    """Its gradient agrees with finite differences in float64"""
    loss, target = _double(build()), _image(torch.float64)
    yield from _gradient(lambda prediction: loss(prediction, target), _image(torch.float64))


def game_gives_scalars(build: Build) -> Iterator[str]:
    """Both forms give finite float32 scalars, for bf16 logits and lists of maps too"""
    game = build()
    real = _image()
    for dtype in (torch.float32, torch.bfloat16):  # of fakes and logits; real images stay float32 under autocast
        for judge, maps in ((Judge(), "a map"), (TwoSizes(), "a list of maps")):
            of = f"with {maps} of {dtype} logits"
            fake = _image(dtype)
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                loss = game.for_generator(judge, real, fake.clone().requires_grad_())
                yield from _scalar(loss, torch.float32, f"for_generator {of}")
                yield from _scalar(game.for_discriminator(judge, real, fake), torch.float32, f"for_discriminator {of}")


def game_has_its_gradients(build: Build) -> Iterator[str]:
    """The gradients of both forms agree with finite differences in float64"""
    game, kept, judge = _double(build()), _double(build()), Judge().double()
    real, fake = _image(torch.float64), _image(torch.float64)

    def of_images(images: Tensor) -> Tensor:
        restore(game, kept)
        value: Tensor = game.for_generator(judge, real, images)
        return value

    def of_weights(weights: Tensor) -> Tensor:
        restore(game, kept)
        value: Tensor = game.for_discriminator(_Weighted(judge, weights), real, fake)
        return value

    yield from _gradient(of_images, fake, "for_generator: ")
    yield from _gradient(of_weights, judge.colour.weight.detach(), "for_discriminator: ")


def game_pulls_the_right_way(build: Build) -> Iterator[str]:
    """The discriminator is to score real images above fakes, the generator to raise the score of fakes"""
    right, wrong = Judge(), Judge()
    wrong.load_state_dict(right.state_dict())
    real, fake = _image() * 0.1 + 0.5, _image() * 0.1 - 0.5
    with torch.no_grad():
        for parameter in wrong.score.parameters():
            parameter.neg_()
    losses = []
    for judge in (right, wrong):  # the same but for the sign, so that penalties on gradients are too
        torch.manual_seed(1)
        losses.append(build().for_discriminator(judge, real, fake).item())
    if not losses[0] < losses[1]:
        yield (
            f"for_discriminator pulls the wrong way: {losses[0]:.4g} for a discriminator that scores real images above "
            f"fakes, {losses[1]:.4g} for one that scores them below"
        )
    images = fake.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(build().for_generator(right, real, images), images)
    with torch.no_grad():
        step = 1e-2 * gradient / gradient.abs().max().clamp_min(1e-30)
        if not right(images - step).mean() > right(images).mean():
            yield "for_generator pulls the wrong way: descending it does not raise the score of fakes"


def game_differentiates_as_it_declares(build: Build) -> Iterator[str]:
    """It declares differentiates_twice = True if it takes gradients of gradients, and only then"""
    game, judge = build(), Judge()
    twice = any(_is_of_second_order(game.for_discriminator(judge, _image(), _image())) for _ in range(N_CALLS))
    twice |= _is_of_second_order(game.for_generator(judge, _image(), _image().requires_grad_()))
    declared = bool(getattr(game, "differentiates_twice", False))
    if twice and not declared:
        yield "takes the gradient of a gradient without saying so; set differentiates_twice = True on the class"
    if declared and not twice:
        yield f"declares differentiates_twice = True, but takes no gradient of a gradient in {N_CALLS} calls"


def game_restores_its_state(build: Build) -> Iterator[str]:
    """It goes on exactly after its state is restored"""
    game, other, judge = build(), build(), Judge()
    images = [_image() for _ in range(10)]
    for real in images[:5]:
        game.for_discriminator(judge, real, -real)
    restore(other, game)
    found = []
    for one in (game, other):
        torch.manual_seed(1)
        found.append([one.for_discriminator(judge, real, -real).detach() for real in images])
        found[-1] += [one.for_generator(judge, real, -real).detach() for real in images]
    if not all(map(torch.equal, *found)):
        yield "goes on differently after its state is restored; make it a module, and keep its state in buffers"


class Judge(nn.Module):
    """A discriminator that scores bright images higher, pixel by pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.colour, self.activation, self.score = nn.Conv2d(3, 4, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 1)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, 0.1, 0.3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.score(self.activation(self.colour(images)))
        return logits


class TwoSizes(nn.Module):
    """A discriminator that gives its logits at two sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = Judge()

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.judge(images), nn.functional.avg_pool2d(self.judge(images), 2)]


class _Weighted:
    """A judge with other weights in its first layer."""

    def __init__(self, judge: Judge, weights: Tensor) -> None:
        self.judge, self.weights = judge, weights
        self.modules = judge.modules

    def __call__(self, images: Tensor) -> Tensor:
        logits: Tensor = functional_call(self.judge, {"colour.weight": self.weights}, (images,))
        return logits


def _is_of_second_order(loss: Tensor) -> bool:
    """Whether a node of its graph is a gradient's own gradient."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return any("BackwardBackward" in node.name() for node in seen)


def _image(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(2, 3, SIZE, SIZE, dtype=dtype) * 2 - 1


def _double(loss: Any) -> Any:
    return loss.double() if isinstance(loss, nn.Module) else loss


def _scalar(value: Any, dtype: torch.dtype, of: str) -> Iterator[str]:
    if not isinstance(value, Tensor) or value.dim():
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        yield f"gives {shape}, not a scalar tensor, {of}"
    elif value.dtype != dtype:
        yield f"gives {value.dtype}, not {dtype}, {of}; cast what comes in with .float() first"
    elif not value.isfinite():
        yield f"gives {float(value)} {of}"


def _gradient(f: Callable[[Tensor], Tensor], at: Tensor, where: str = "") -> Iterator[str]:
    """Along a random direction, then by torch's gradcheck for a few of the numbers; for all it would take minutes."""

    def scaled(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        return at.numel() * f(x)  # losses are means: derivatives of about 1

    def of_few(values: Tensor) -> Tensor:
        x = at.clone()
        x[..., :2, :2] = values
        return scaled(x)

    x = at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(scaled(x), x)
    direction = torch.randn(at.shape, dtype=at.dtype)
    there, back = (scaled(at + sign * 1e-6 * direction).item() for sign in (1, -1))
    numeric, analytic = (there - back) / 2e-6, (gradient * direction).sum().item()
    if abs(numeric - analytic) > 1e-3 * max(abs(numeric), abs(analytic)) + 1e-5:
        yield f"{where}has a slope of {analytic:.4g} where finite differences give {numeric:.4g}, in float64"
    elif not gradcheck(of_few, at[..., :2, :2].clone().requires_grad_(), raise_exception=False):
        yield f"{where}has a gradient that torch.autograd.gradcheck refuses, in float64"


PAIR = (
    pair_loss_gives_a_scalar,
    pair_loss_is_least_at_equality,
    pair_loss_has_its_gradient,
    *bound((repeats_itself, lays_out), lambda module: (_image(), _image())),
)
ADVERSARIAL = (
    game_gives_scalars,
    game_has_its_gradients,
    game_pulls_the_right_way,
    game_differentiates_as_it_declares,
    game_restores_its_state,
    *bound((lays_out,), lambda module: None),
)
