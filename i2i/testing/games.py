"""What methods promise: a step that moves every player and nobody else, through the real Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from i2i.errors import I2IError
from i2i.method import Batch, Method, Update
from i2i.rehearsal import made_up_extras
from i2i.trainer import Trainer, players_parameters

Build = Callable[..., Any]

SIZE = 32
"""Pixels of test images, enlarged to what the translators declare as their `size_multiple`."""


def method_builds(build: Build) -> Iterator[str]:
    """It builds for two domains of three channels"""
    method = build(3, 3)
    if not isinstance(method, Method):
        yield f"gives a {type(method).__name__}, not a subclass of i2i.method.Method"


def method_steps(build: Build) -> Iterator[str]:
    """One step moves every player and nobody else"""
    method: Method = build(3, 3)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    trainer = _trainer(method)
    found: list[str] = []
    method.play = _watched(method, found)  # type: ignore[method-assign, assignment]
    try:
        metrics = trainer.train_step([_batch(method)])
    except Exception as error:
        if not found and not isinstance(error, I2IError):
            raise
        found += [problem.message for problem in error.problems] if isinstance(error, I2IError) else []
        metrics = {}
    yield from dict.fromkeys(found)
    for name, value in metrics.items():
        if not value.isfinite():
            yield f"{name} is {float(value)} in the first step"
    if not metrics:
        return
    moved = {name for name, p in method.named_parameters() if not torch.equal(p, before[name])}
    for player, parameters in trainer.parameters.items():
        if not moved & parameters.keys():
            yield f"player {player!r} does not move in a step"
        moved -= parameters.keys()
    if moved:
        yield f"parameter {min(moved)!r} moves and belongs to no player"


def method_translates(build: Build) -> Iterator[str]:
    """Its translators map images of one domain to those of the other"""
    method: Method = build(3, 3)
    translators = method.translators()
    if unknown := translators.keys() - {"ab", "ba"}:
        yield f"has a translator {min(unknown)!r}; the names are 'ab' and 'ba'"
    own = {id(module) for module in method.modules()}
    for direction, module in translators.items():
        images = torch.rand(1, 3, *(_size(module),) * 2) * 2 - 1
        with torch.no_grad():
            output = module.eval()(images)
        if not isinstance(output, Tensor) or output.shape != images.shape:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            yield f"translator {direction!r} gives {shape} for images of shape {tuple(images.shape)}"
        if id(module) not in own:
            yield f"translator {direction!r} is no module of the method; keep it as an attribute"


def method_goes_on_exactly(build: Build) -> Iterator[str]:
    """A step after its state is restored is the same to the last bit"""
    method: Method = build(3, 3)
    trainer, batch = _trainer(method), _batch(method)
    trainer.train_step([batch])
    state = {key: _copied(value) for key, value in trainer.state_dict().items()}
    torch.manual_seed(1)
    trainer.train_step([batch])
    other = _trainer(build(3, 3))
    other.load_state_dict(state)
    torch.manual_seed(1)
    other.train_step([batch])
    again = dict(other.method.named_parameters())
    for name, parameter in trainer.method.named_parameters():
        if not torch.equal(parameter, again[name]):
            yield f"goes on differently after its state is restored ({name!r}); keep what a step needs in buffers"
            return


def method_lays_out(build: Build) -> Iterator[str]:
    """It can be built on the meta device, as `i2i translate` does"""
    with torch.device("meta"):
        build(3, 3)
    yield from ()


def _watched(method: Method, found: list[str]) -> Callable[[Batch, int], Iterator[Update]]:
    """`play` that notes what it leaves changed at each yield."""
    play = type(method).play

    def watched(batch: Batch, step: int) -> Iterator[Update]:
        moves = play(method, batch, step)
        while True:
            before, versions = _torch_state(), _versions(method)
            update = next(moves, None)
            for name, value in _torch_state().items():
                if value != before[name]:
                    found.append(f"leaves torch's {name} changed to {value} at a yield; end the block before it")
            if versions != _versions(method):
                found.append("changes its own parameters; optimizers step when it yields")
            if update is None:
                return
            if not isinstance(update, Update):
                found.append(f"yields a {type(update).__name__}, not an Update")
                return
            for name, image in update.images.items():
                if not isinstance(image, Tensor) or image.dim() != 4:
                    found.append(f"publishes {name!r} among its images, which is no tensor (N, C, H, W)")
            yield update

    return watched


def _torch_state() -> dict[str, Any]:
    return {
        "grad mode": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "default dtype": torch.get_default_dtype(),
        "inference mode": torch.is_inference_mode_enabled(),
    }


def _versions(method: Method) -> list[int]:
    return [parameter._version for parameter in method.parameters()]


def _trainer(method: Method) -> Trainer:
    players = players_parameters(method)
    return Trainer(method, {p: torch.optim.Adam(own.values(), lr=1e-3) for p, own in players.items()})


def _batch(method: Method) -> Batch:
    """Random images, two for each of the step's batches, and the extras that the method needs."""
    n = 2 * method.n_batches
    size = max((_size(module) for module in method.translators().values()), default=SIZE)
    a, b = (torch.rand(n, 3, size, size) * 2 - 1 for _ in range(2))
    return Batch(a, b, made_up_extras(method.needs, n, size))


def _size(module: nn.Module) -> int:
    multiple = int(getattr(module, "size_multiple", 1))
    return -(-SIZE // multiple) * multiple


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copied(inner) for inner in value]
    return value.detach().clone() if isinstance(value, Tensor) else value


METHOD = (method_builds, method_steps, method_translates, method_goes_on_exactly, method_lays_out)
