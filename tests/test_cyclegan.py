"""The golden trace: six steps of the authors' own code, replayed through the real Trainer in float64."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from i2i.engine import Engine
from i2i.method import Batch
from i2i.optim import build
from i2i.trainer import Trainer, players_parameters

GOLDEN = Path(__file__).with_name("golden_cyclegan.safetensors")
NETS = {"G_ab": "generator_ab", "G_ba": "generator_ba", "D_a": "discriminator_a", "D_b": "discriminator_b"}


class ScriptedPool(nn.Module):
    """A pool that decides as the authors' did when the trace was recorded."""

    def __init__(self, decisions):
        super().__init__()
        self.decisions, self.images = list(decisions), []

    def forward(self, images):
        (decision,) = self.decisions[:1]
        del self.decisions[:1]
        if decision == "fill":
            self.images.append(images.clone())
        elif decision != "new":
            self.images[decision], images = images.clone(), self.images[decision]
        return images


def test_golden_trace():
    with safe_open(GOLDEN, "pt") as file:
        meta, trace = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    spec = {
        "name": "cyclegan",
        "generator": {"base_channels": 4, "n_blocks": 6},
        "discriminator": {"base_channels": 4},
        "pool": {"size": 2},
    }
    method = Engine(entry_points=False).registry.resolve("method", spec, "method")(3, 3).double()
    for net, name in NETS.items():
        prefix = f"init.{net}."
        weights = {k.removeprefix(prefix): v.double() for k, v in trace.items() if k.startswith(prefix)}
        getattr(method, name).load_state_dict(weights)
    decisions = json.loads(meta["pool_decisions"])
    method.pool_a = ScriptedPool(d for domain, d in decisions if domain == "a")
    method.pool_b = ScriptedPool(d for domain, d in decisions if domain == "b")
    optim = {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999]}
    trainer = Trainer(method, build(optim, players_parameters(method)))

    columns = meta["loss_columns"].split(",")
    for step in range(6):
        batch = Batch(trace[f"step{step:02}.a"].double(), trace[f"step{step:02}.b"].double())
        if step == 0:
            with torch.no_grad():
                images = next(method.play(batch, 0)).images
            for name in ("fake_a", "fake_b", "rec_a", "rec_b"):
                torch.testing.assert_close(images[name], trace[f"step00.{name}"], atol=1e-9, rtol=0)
        metrics = trainer.train_step([batch])
        ours = torch.stack([metrics[f"loss.{name}"] for name in columns])
        torch.testing.assert_close(ours, trace["losses"][step], atol=1e-9, rtol=0)

    assert not method.pool_a.decisions and not method.pool_b.decisions
    for net, name in NETS.items():
        for key, value in getattr(method, name).state_dict().items():
            torch.testing.assert_close(value, trace[f"final.{net}.{key}"], atol=1e-7, rtol=0)
