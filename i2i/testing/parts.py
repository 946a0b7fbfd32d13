"""What buffers and initializations promise."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from i2i.testing.modules import Build, bound, builds, lays_out, restore


def buffer_gives_images_back(build: Build) -> Iterator[str]:
    """It gives images of the shape it got, each of which it was shown, without gradient"""
    memory = build()
    shown: list[Tensor] = []
    for _ in range(40):
        images = torch.randn(4, 3, 2, 2, requires_grad=True)
        shown += images.detach()
        output = memory(images * 1.0)
        if not isinstance(output, Tensor) or output.shape != images.shape:
            given = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
            yield f"gives {given} for images of shape {tuple(images.shape)}; expected is the same"
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
    restore(other, memory)
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


BUFFER = (
    *bound((builds, lays_out), lambda module: None),
    buffer_gives_images_back,
    buffer_restores_its_state,
)
INITIALIZATION = (initialization_fills_everything,)
