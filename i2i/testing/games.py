"""What methods promise: a step that moves every player and nobody else, through the real Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from i2i.component import KINDS, describe
from i2i.errors import I2IError
from i2i.method import Batch, Imagines, Method, Update, size_multiple
from i2i.registry import Builder
from i2i.rehearsal import made_up_extras
from i2i.trainer import Trainer, players_parameters
from i2i.translate import evaluating

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
    still = {id(p) for name, p in method.named_parameters() if torch.equal(p, before[name])}
    for player, modules in method.players().items():
        for module in modules:
            own = {id(p) for p in module.parameters() if p.requires_grad}
            if own and own <= still:
                yield f"{_name(module, method)} of player {player!r} does not move in a step"
    owned = {id(p) for own in trainer.parameters.values() for p in own.values()}
    for name, parameter in method.named_parameters():
        if id(parameter) not in owned | still:
            yield f"parameter {name!r} moves and belongs to no player"
            return


def method_translates(build: Build) -> Iterator[str]:
    """Its translators map images of one domain to those of the other"""
    for channels in ({"a": 3, "b": 3}, {"a": 3, "b": 1}):
        try:
            method: Method = build(*channels.values())
        except (ValueError, I2IError):
            if channels["a"] == channels["b"]:
                raise
            return  # it says that it needs equal channels
        translators = method.translators()
        if unknown := translators.keys() - {"ab", "ba"}:
            yield f"has a translator {min(unknown)!r}; the names are 'ab' and 'ba'"
            return
        own = {id(module) for module in method.modules()}
        for direction, module in translators.items():
            source, target = direction[0], direction[1]
            images = torch.rand(1, channels[source], *(_size(module),) * 2) * 2 - 1
            with torch.no_grad():
                output = module.eval()(images)
            if not isinstance(output, Tensor) or output.shape != (1, channels[target], *images.shape[2:]):
                shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                yield f"translator {direction!r} gives {shape} for images of shape {tuple(images.shape)}"
            if id(module) not in own:
                yield f"translator {direction!r} is no module of the method; keep it as an attribute"


def method_goes_on_exactly(build: Build) -> Iterator[str]:
    """Steps after its state is restored are the same to the last bit"""
    trainer, other = _trainer(build(3, 3)), _trainer(build(3, 3))
    batches = [_batch(trainer.method) for _ in range(4)]
    for batch in batches[:2]:
        trainer.train_step([batch])
    other.load_state_dict({key: _copied(value) for key, value in trainer.state_dict().items()})
    for one in (trainer, other):
        torch.manual_seed(1)
        for batch in batches[2:]:
            one.train_step([batch])
    again = {**dict(other.method.named_parameters()), **dict(other.method.named_buffers())}
    for name, tensor in (*trainer.method.named_parameters(), *trainer.method.named_buffers()):
        if not torch.equal(tensor, again[name]):
            yield f"goes on differently after its state is restored ({name!r}); keep what a step needs in buffers"
            return


def method_imagines(build: Build) -> Iterator[str]:
    """If it has imagine(), that gives the images it promises, the same for the same weights"""
    method: Method = build(3, 3)
    if not isinstance(method, Imagines):
        return
    first = _imagined(method, 1)
    if not first or first.keys() - {"a", "b"}:
        yield f"imagine() gives images of {', '.join(map(repr, first)) or 'nothing'}; the names are 'a' and 'b'"
    for domain, images in first.items():
        if images.dim() != 4 or images.shape[:2] != (2, 3):
            yield f"imagine(2) gives {tuple(images.shape)} for domain {domain!r}; expected is (2, 3, H, W)"
        elif not (images.abs() <= 1).all():
            yield f"imagine() gives images of domain {domain!r} beyond [-1, 1]"
    other: Method = build(3, 3)
    other.load_state_dict(method.state_dict())
    for again, when in ((_imagined(method, 2), "the second time"), (_imagined(other, 3), "after load_state_dict")):
        if any(not torch.equal(images, again[domain]) for domain, images in first.items()):
            yield f"imagine() gives other images {when}; keep the noise that it starts from in a buffer"
            return


def method_lays_out(build: Any) -> Iterator[str]:
    """It can be built on the meta device, with nothing in the slots that its translators do without"""
    if not isinstance(build, Builder):
        build = Builder(describe(KINDS["method"], "method", build.func, "check"), build.keywords, "method")
    with torch.device("meta"):
        whole, light = build(3, 3).translators(), build.translating()(3, 3).translators()
    for direction, module in whole.items():
        if lost := module.state_dict().keys() - light[direction].state_dict().keys():
            yield f"translator {direction!r} has {min(lost)!r} from a slot that `translates_with` does not name"


def _imagined(method: Any, seed: int) -> dict[str, Tensor]:
    """Two images of each domain, as a run's samples show them: in evaluation mode."""
    torch.manual_seed(seed)
    with torch.no_grad(), evaluating(method):
        images: dict[str, Tensor] = method.imagine(2)
    return images


def _name(module: nn.Module, method: Method) -> str:
    return next((repr(name) for name, m in method.named_modules() if m is module), f"a {type(module).__name__}")


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
    sizes = [_size(module) for module in method.translators().values()]
    sizes += [images.shape[-1] for images in _imagined(method, 0).values()] if isinstance(method, Imagines) else []
    size = max(sizes, default=SIZE)
    a, b = (torch.rand(n, 3, size, size) * 2 - 1 for _ in range(2))
    return Batch(a, b, made_up_extras(method.needs, n, (size, size)))


def _size(module: nn.Module) -> int:
    multiple = size_multiple(module)
    return -(-SIZE // multiple) * multiple


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copied(inner) for inner in value]
    return value.detach().clone() if isinstance(value, Tensor) else value


METHOD = (
    method_builds,
    method_steps,
    method_translates,
    method_imagines,
    method_goes_on_exactly,
    method_lays_out,
)
