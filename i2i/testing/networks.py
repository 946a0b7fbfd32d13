"""What networks, normalizations, buffers and initializations promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

SIZES = ((64, 64), (64, 96), (71, 67))
"""A square, a rectangle and an odd size."""

Build = Callable[..., Any]


def _builds(*wired: int) -> Callable[[Build], Iterator[str]]:
    def builds(build: Build) -> Iterator[str]:
        """It builds with its options"""
        module = build(*wired)
        if not isinstance(module, nn.Module):
            yield f"gives a {type(module).__name__}, not a torch.nn.Module"

    return builds


def generator_maps_shapes(build: Build) -> Iterator[str]:
    """It keeps the size of images and changes their channels"""
    for n_in, n_out in ((3, 3), (1, 3)):
        module = build(n_in, n_out)
        for size in SIZES:
            images = _images(n_in, size, module)
            output = module(images)
            expected = (images.shape[0], n_out, *images.shape[2:])
            if not isinstance(output, Tensor) or output.shape != expected:
                yield f"gives {_shape(output)} for images of shape {_shape(images)}; expected is {expected}"
            elif not output.isfinite().all():
                yield f"gives values that are not finite for images of shape {_shape(images)}"


def discriminator_gives_maps(build: Build) -> Iterator[str]:
    """It gives a map of logits, or a list of maps"""
    for channels in (3, 1):
        module = build(channels)
        for size in SIZES:
            images = _images(channels, size, module)
            output = module(images)
            for logits in output if isinstance(output, list) and output else [output]:
                if not isinstance(logits, Tensor) or logits.dim() != 4 or len(logits) != len(images):
                    yield f"gives {_shape(logits)} for images of shape {_shape(images)}, not (2, C, H, W) or a list"
                elif not logits.isfinite().all():
                    yield f"gives logits that are not finite for images of shape {_shape(images)}"


def normalization_keeps_shapes(build: Build) -> Iterator[str]:
    """It keeps the shape of feature maps"""
    module = build(64)
    for size in ((16, 16), (8, 24), (7, 5)):
        maps = torch.randn(2, 64, *size)
        output = module(maps)
        if _shape(output) != _shape(maps):
            yield f"gives {_shape(output)} for feature maps of shape {_shape(maps)}; expected is the same"
        elif not output.isfinite().all():
            yield f"gives values that are not finite for feature maps of shape {_shape(maps)}"


def _trains(*wired: int) -> Callable[[Build], Iterator[str]]:
    def every_parameter_learns(build: Build) -> Iterator[str]:
        """Every trainable parameter gets a gradient"""
        module = build(*wired)
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return
        with torch.autocast("cpu", torch.bfloat16):
            output = module(_images(wired[0], SIZES[0], module))
        tensors = output if isinstance(output, list) else [output]
        total = torch.stack([(t.float() * torch.randn(t.shape)).sum() for t in tensors if t.requires_grad]).sum()
        torch.autograd.backward(total)
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                yield f"parameter {name!r} gets no gradient; is it used?"
            elif parameter.grad is not None and not parameter.grad.isfinite().all():
                yield f"parameter {name!r} gets a gradient that is not finite, under bf16 autocast"

    return every_parameter_learns


def _evaluates(*wired: int) -> Callable[[Build], Iterator[str]]:
    def evaluates_twice_alike(build: Build) -> Iterator[str]:
        """It gives the same twice in evaluation mode, also after its weights went through a state dict"""
        module = build(*wired).eval()
        images = _images(wired[0], SIZES[0], module)
        first = _seeded(module, images)
        if not _equal(first, _seeded(module, images)):
            yield "gives two outputs for one input in evaluation mode, under one seed"
        other = build(*wired).eval()
        other.load_state_dict(module.state_dict())
        if not _equal(first, _seeded(other, images)):
            yield "gives another output after load_state_dict; is something that matters neither parameter nor buffer?"

    return evaluates_twice_alike


def _lays_out(*wired: int) -> Callable[[Build], Iterator[str]]:
    def builds_without_memory(build: Build) -> Iterator[str]:
        """It can be built on the meta device and filled afterwards, as `i2i translate` does"""
        weights = build(*wired).state_dict()
        with torch.device("meta"):
            module = build(*wired)
        module.load_state_dict(weights, assign=True)
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.device.type == "meta":
                yield f"{name!r} is not in the state dict; use register_buffer with persistent=True"

    return builds_without_memory


def buffer_gives_images_back(build: Build) -> Iterator[str]:
    """It gives images of the shape it got, each of which it was shown, without gradient"""
    memory = build()
    shown: list[Tensor] = []
    for _ in range(40):
        images = torch.randn(4, 3, 2, 2, requires_grad=True)
        shown += images.detach()
        output = memory(images * 1.0)
        if _shape(output) != _shape(images):
            yield f"gives {_shape(output)} for images of shape {_shape(images)}; expected is the same"
            return
        if output.requires_grad:
            yield "gives images that carry a gradient"
            return
        if not all(any(torch.equal(image, old) for old in shown) for image in output):
            yield "gives an image that it was never shown"
            return


def buffer_restores_its_state(build: Build) -> Iterator[str]:
    """It goes on exactly after its buffers are restored"""
    memory, other = build(), build()
    for _ in range(30):
        memory(torch.randn(4, 3, 2, 2))
    for name, buffer in memory.named_buffers():  # assigned, as Trainer.load_state_dict does, since buffers grow
        module, _, leaf = name.rpartition(".")
        setattr(other.get_submodule(module), leaf, buffer.clone())
    images = [torch.randn(4, 3, 2, 2) for _ in range(10)]
    outputs = []
    for one in (memory, other):
        torch.manual_seed(1)
        outputs.append(torch.stack([one(batch) for batch in images]))
    if not torch.equal(*outputs):
        yield "goes on differently after its buffers are restored; keep its state in buffers, and draw from torch"


def initialization_fills_everything(build: Build) -> Iterator[str]:
    """It fills the weights of every layer"""
    network = nn.Sequential(
        nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ConvTranspose2d(16, 8, 3), nn.GroupNorm(2, 8), nn.Linear(8, 8)
    )
    fill = build()
    filled = []
    for _ in range(2):
        for parameter in network.parameters():
            nn.init.constant_(parameter, torch.nan)
        torch.manual_seed(1)
        fill(network)
        filled.append([parameter.detach().clone() for parameter in network.parameters()])
        for name, parameter in network.named_parameters():
            layer = type(network.get_submodule(name.split(".")[0])).__name__
            if not parameter.isfinite().all():
                yield f"leaves the {name.split('.')[1]} of {layer} unfilled, or fills it with what is not finite"
            elif parameter.dim() > 1 and parameter.std() == 0:
                yield f"fills the {name.split('.')[1]} of {layer} with one number, so that all channels learn the same"
        if any(not parameter.isfinite().all() for parameter in network.parameters()):
            return
    if not all(map(torch.equal, *filled)):
        yield "fills differently under one seed; draw from torch's generator alone"


def _images(channels: int, size: tuple[int, int], module: nn.Module) -> Tensor:
    """(2, channels, H, W) in [-1, 1], H and W enlarged to what the module declares as its `size_multiple`."""
    multiple = int(getattr(module, "size_multiple", 1))
    height, width = (-(-n // multiple) * multiple for n in size)
    return torch.rand(2, channels, height, width) * 2 - 1


def _seeded(module: nn.Module, images: Tensor) -> list[Tensor]:
    torch.manual_seed(1)
    with torch.no_grad():
        output = module(images)
    return output if isinstance(output, list) else [output]


def _equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(
        torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(one, other, strict=True)
    )


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


GENERATOR = (_builds(3, 3), generator_maps_shapes, _trains(3, 3), _evaluates(3, 3), _lays_out(3, 3))
DISCRIMINATOR = (_builds(3), discriminator_gives_maps, _trains(3), _evaluates(3), _lays_out(3))
NETWORK = (_builds(3, 8), _lays_out(3, 8))
NORMALIZATION = (_builds(64), normalization_keeps_shapes, _trains(64), _evaluates(64), _lays_out(64))
BUFFER = (_builds(), buffer_gives_images_back, buffer_restores_its_state)
INITIALIZATION = (initialization_fills_everything,)
