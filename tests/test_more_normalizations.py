"""Further normalizations against their formulas; statistics over two processes against one with the whole batch."""

import json
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from test_distributed import torchrun
from torch import Tensor, multiprocessing, nn
from torch import distributed as dist

from i2i import checkpoint
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.run import Run

N, C, H, W = 4, 6, 5, 3


def build(engine: Engine, name: str) -> nn.Module:
    module: nn.Module = engine.registry.resolve("normalization", name, "norm")(C)
    with torch.no_grad():
        for parameter in module.parameters():  # one scale and one shift for each channel
            parameter.copy_(torch.arange(1, C + 1) / 4)
    return module.double()


def mean(x: Tensor, *over: int) -> Tensor:
    return x.mean(over, keepdim=True)


FORMULAS = {
    "instance_affine": lambda x: (x - mean(x, 2, 3)) / (mean((x - mean(x, 2, 3)) ** 2, 2, 3) + 1e-5).sqrt(),
    "pixel": lambda x: x / (mean(x**2, 1) + 1e-8).sqrt(),
    "timm_layer2d": lambda x: (x - mean(x, 1)) / (mean((x - mean(x, 1)) ** 2, 1) + 1e-6).sqrt(),
    "timm_rms2d": lambda x: x / (mean(x**2, 1) + 1e-6).sqrt(),
    "timm_simple2d": lambda x: x / (((x - mean(x, 1)) ** 2).sum(1, keepdim=True) / (C - 1) + 1e-6).sqrt(),
    "timm_filter_response": lambda x: x / (mean(x**2, 2, 3) + 1e-5).sqrt(),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(engine: Engine, name: str) -> None:
    norm = build(engine, name)
    x = 1 + 2 * torch.randn(N, C, H, W, dtype=torch.float64)
    expected = FORMULAS[name](x)
    weights = dict(norm.named_parameters())
    if "weight" in weights:
        expected = expected * (torch.arange(1, C + 1) / 4).reshape(1, C, 1, 1)
    if "bias" in weights:
        expected = expected + (torch.arange(1, C + 1) / 4).reshape(1, C, 1, 1)
    assert expected.min() < 0  # an activation after it would show
    torch.testing.assert_close(norm(x), expected, atol=1e-6, rtol=1e-6)  # timm's statistics are in float32
    torch.testing.assert_close(norm.eval()(x[:1]), expected[:1], atol=1e-6, rtol=1e-6)
    assert not list(norm.buffers())


def test_pixel_norm_of_half_precision(engine: Engine) -> None:
    """Squares of 3e4 do not fit into float16; zeros stay zeros."""
    x = torch.full((1, C, 1, 2), 3e4, dtype=torch.float16)
    x[..., 1] = 0
    expected = torch.tensor([1.0, 0.0], dtype=torch.float16).expand(1, C, 1, 2)
    torch.testing.assert_close(build(engine, "pixel")(x), expected)


def test_sync_batch_alone_is_batch_norm(engine: Engine) -> None:
    norm, batch = build(engine, "sync_batch"), build(engine, "batch")
    x = torch.randn(N, C, H, W, dtype=torch.float64)
    for _ in range(2):
        torch.testing.assert_close(norm(x), batch(x), rtol=0, atol=0)
    assert norm.state_dict().keys() == batch.state_dict().keys()
    torch.testing.assert_close(norm.eval()(x), batch.eval()(x), rtol=0, atol=0)


def two_moves(norm: nn.Module, x: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """What a normalization makes of two batches, the gradients of a mean over them, and its state."""
    x = x.clone().requires_grad_()
    norm(x.detach() ** 2)
    output = norm(x)
    (weights * output.pow(3)).mean().backward()
    gradients = {name: parameter.grad for name, parameter in norm.named_parameters()}
    return {"output": output.detach(), "x": x.grad, **gradients, **dict(norm.named_buffers())}


def images_and_weights() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, weights = torch.randn(2, N, C, H, W, dtype=torch.float64, generator=generator)
    return x + torch.arange(N).reshape(N, 1, 1, 1), weights


def one_of_two(rank: int, folder: Path) -> None:
    """A process with its half of the batch."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    norm = build(Engine(["i2i_plugins.normalizations"], entry_points=False), "sync_batch")
    found = two_moves(norm, *(t.chunk(2)[rank] for t in images_and_weights()))
    save_file({name: t.contiguous() for name, t in found.items()}, folder / f"{rank}.safetensors")
    dist.destroy_process_group()


def test_sync_batch_over_two_processes_is_batch_norm_over_both_halves(engine: Engine, tmp_path: Path) -> None:
    multiprocessing.spawn(one_of_two, (tmp_path,), nprocs=2)
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    expected = two_moves(build(engine, "batch"), *images_and_weights())
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
        torch.testing.assert_close(first[name], expected[name])
    torch.testing.assert_close(torch.cat([first["output"], second["output"]]), expected["output"])
    # as in training: gradients of the mean over a half, averaged over processes
    torch.testing.assert_close(torch.cat([first["x"], second["x"]]) / 2, expected["x"])
    for name in ("weight", "bias"):
        torch.testing.assert_close((first[name] + second[name]) / 2, expected[name])


def test_the_deviation_of_a_single_channel_is_refused(engine: Engine) -> None:
    with pytest.raises(I2IError, match="norm: 1 channel has no standard deviation"):
        engine.registry.resolve("normalization", "timm_simple2d", "norm")(1)


@pytest.mark.slow
def test_sync_batch_trains_in_two_processes_as_in_one(tmp_path: Path) -> None:
    """One step of plain SGD, with no pool: two processes with one image each, and one with two."""
    document = tiny.document(
        tmp_path, optim={"name": "momentum", "momentum": 0.0, "lr": 0.1}, pool="none", schedule={"n_steps": 1}
    )
    for network in ("generator", "discriminator"):
        document[network] |= {"norm": "sync_batch"}
    weights = []
    for n in (2, 1):
        document["data"] |= {"batch_size": 2 // n}
        (tmp_path / f"{n}.json").write_text(json.dumps(document))
        done = torchrun(tmp_path, n, f"{n}.json")
        assert done.returncode == 0, done.stderr
        folder = checkpoint.folder_of(Run(tmp_path / "runs" / str(n)).checkpoints, 1)
        weights.append(load_file(folder / "model.safetensors") | load_file(folder / "rank-0.safetensors"))
    statistics = [name for name in weights[0] if name.endswith("running_var")]
    assert len(statistics) > 10
    for name in (*statistics, *(n for n in weights[0] if n.endswith(("weight", "bias")))):
        torch.testing.assert_close(weights[0][name], weights[1][name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "shifts"), [("pixel", False), ("timm_rms2d", False), ("timm_layer2d", True)])
def test_a_bias_where_the_normalization_has_none(engine: Engine, name: str, shifts: bool) -> None:
    """A norm with a scale alone neither takes off a mean nor adds one: the convolution before it keeps its bias."""
    spec = {"name": "patchgan", "base_channels": 4, "norm": name}
    network = engine.registry.resolve("discriminator", spec, "discriminator")(3)
    biases = [layer.bias is None for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert biases == [False, shifts, shifts, shifts, False]
