"""What a run will take is told before its first step, and is what it then takes."""

import json
import subprocess
import sys

import pytest
import tiny
import torch
from torch import nn

from i2i.activations import checkpoint_activations
from i2i.estimate import Estimate, estimate, lines
from i2i.forecast import CODE, OVERHEAD, Forecast, forecast
from i2i.memory import _left_by_groups, free_memory, held, peak_held
from i2i.method import Method, Update
from i2i.optim import DEFAULTS, build
from i2i.rehearsal import Shown
from i2i.trainer import ExtraTerm, Trainer, players_parameters
from i2i.training import Training

CPU = torch.device("cpu")


class One(Method):
    """A translator that is moved by its mean; it reads a value if told so."""

    def __init__(self, network, reads=None):
        super().__init__()
        self.network, self.reads = network, reads

    def players(self):
        return {"one": [self.network]}

    def translators(self):
        return {"ab": self.network}

    def play(self, batch, step):
        made = self.network(batch.a)
        if self.reads:
            self.reads(made)
        yield Update("one", {"g": made.mean()})


def trainer(network, reads=None, **options):
    method = One(network, reads)
    return Trainer(method, build({**DEFAULTS, "lr": 0.0}, players_parameters(method)), **options)


def test_a_step_is_counted():
    """A 1x1 convolution forward, and its weights' gradient: twice H x W x Cin x Cout. Adam holds two more copies."""
    player = trainer(nn.Conv2d(256, 512, 1, bias=False))
    found = forecast(player, Shown((256, 256)), (8, 8))
    weights, made = 4 * 256 * 512, 4 * 512 * 8 * 8
    assert found.parameters == {"one": 256 * 512}
    assert found.gmacs == 2 * 8 * 8 * 256 * 512 / 1e9
    assert found.weights == weights
    assert 2 * weights <= found.optimizers <= 2 * weights + 64  # and a counter of steps
    assert weights + made <= found.activations <= 3 * weights + 4 * made  # Adam may need scratch space
    assert found.growth == round(OVERHEAD * (found.optimizers + found.activations)) + CODE
    twice = forecast(player, Shown((256, 256)), (8, 8), n_batches=2)
    assert twice.gmacs == 2 * found.gmacs


@pytest.mark.parametrize("reads", [None, lambda made: float(made.mean().detach()), lambda made: made[made > 0].sum()])
def test_nothing_changes_by_foreseeing(reads):
    """Whether values are not read, read, or decide on a shape, which takes a copy with values."""
    player = trainer(nn.Conv2d(3, 8, 3, padding=1), reads, ema=0.9, autocast=True)
    before = {name: value.clone() for name, value in player.method.state_dict().items()}
    state = torch.get_rng_state()
    found = forecast(player, Shown((3, 3)), (16, 16))
    assert found.gmacs == 2 * 16 * 16 * 3 * 8 * 9 / 1e9
    assert player.step == 0 and not player.optimizers["one"].state
    assert all(torch.equal(value, before[name]) for name, value in player.method.state_dict().items())
    assert all(p.grad is None for p in player.method.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_averages_and_extra_losses_are_foreseen_without_values():
    """The weights that these hold are no part of the method."""

    class Published(One):
        def play(self, batch, step):
            for update in super().play(batch, step):
                yield Update("one", update.losses, {"a": batch.a})

    class Weighted(nn.Conv2d):
        def forward(self, a):
            return super().forward(a).mean()

    kinds = []
    method = Published(nn.Conv2d(3, 8, 3), lambda made: kinds.append(type(made).__name__))
    terms = [ExtraTerm("extra", Weighted(3, 2, 3), 1.0, ("a",), "one")]
    player = Trainer(method, build(DEFAULTS, players_parameters(method)), ema=0.9, terms=terms)
    forecast(player, Shown((3, 3)), (16, 16))
    assert kinds == ["FakeTensor", "FakeTensor"]


def test_what_breaks_a_step_breaks_the_forecast():
    def fails(made):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        forecast(trainer(nn.Conv2d(3, 8, 3), fails), Shown((3, 3)), (16, 16))


def test_checkpointed_activations_take_less(engine):
    spec = {"name": "cyclegan", "generator": {"base_channels": 8, "n_blocks": 3}}
    spec["discriminator"] = {"base_channels": 8, "n_layers": 2}
    found = []
    for checkpointed in (False, True):
        method = engine.registry.resolve("method", spec, "method")(3, 3)
        if checkpointed:
            checkpoint_activations(method)
        player = Trainer(method, build(DEFAULTS, players_parameters(method)))
        found.append(forecast(player, Shown((3, 3)), (64, 64)))
    plain, less = found
    assert less.activations < 0.5 * plain.activations
    assert 1.2 * plain.gmacs < less.gmacs < 1.4 * plain.gmacs  # each pass once more, of three that it takes both ways


def test_a_run_is_timed(engine, tmp_path):
    training = Training.build(tiny.recipe(tmp_path, engine))
    step = forecast(training.trainer, Shown((3, 3)), (16, 16))
    found = estimate(training, step)
    assert training.trainer.step == 3
    assert found.seconds == 4 * found.seconds_per_step > 0 and found.steps_per_epoch == 7
    assert found.peak >= held() > 50e6


def test_an_estimate_in_words():
    step = Forecast({"generators": 1234}, 56.78, weights=10**8, optimizers=2 * 10**8, activations=10**9)
    assert dict(lines(Estimate(step, 2_500_000_000, 0.25, 40_000, 1000.0))) == {
        "parameters of the generators": "1,234",
        "GMACs per step": "56.8",
        "memory": "2.5 GB at the peak (weights 100 MB, optimizers 200 MB, activations and gradients 1 GB)",
        "time": "4 min per epoch, 2 h 47 min in all: 40,000 steps of 0.25 s",
    }


def test_the_peak_stays_when_memory_is_given_back():
    before = peak_held()
    size = max(before - held(), 0) + 2**27
    block = torch.ones(size, dtype=torch.uint8)  # ones: pages that nobody wrote to take nothing
    risen = peak_held()
    del block
    assert risen >= before + 2**26
    assert peak_held() >= risen - 2**22  # the system counts pages in lots
    assert free_memory(CPU) > 0


def test_groups_limit_what_is_free(tmp_path):
    """As containers and batch systems set it: the group's own limit, that of a group above it, or none."""
    own, root = tmp_path / "cgroup", tmp_path / "root"
    job = root / "batch" / "job"
    job.mkdir(parents=True)
    own.write_text("1:cpu:/x\n0::/batch/job\n")
    assert _left_by_groups(root, own) == []
    for folder, limit, used in ((job, "max", 5), (root / "batch", "1000", 400)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
    (root / "batch" / "memory.stat").write_text("anon 10\ninactive_file 100\n")
    assert _left_by_groups(root, own) == [1000 - 400 + 100]
    own.unlink()
    assert _left_by_groups(root, own) == []


TRUTH = """
import json, sys
from i2i.engine import Engine
from i2i.forecast import forecast
from i2i.memory import held, peak_held
from i2i.recipe import resolve
from i2i.rehearsal import Shown
from i2i.training import Training

engine = Engine(entry_points=False)
document, foreseen = json.loads(sys.argv[1]), sys.argv[2] == "foreseen"
training = Training.build(resolve(document, engine.registry))
if foreseen:
    print(forecast(training.trainer, Shown((3, 3), 2), training.data.size, 1).growth)
else:
    before = held()
    for _ in range(5):
        training.trainer.train_step(training.data.batches(0))
    print(peak_held() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_was_foreseen_is_taken(tmp_path, precision):
    """Within a quarter, by what a fresh process that trains grows by at its peak, as `top` would show it."""
    document = tiny.document(tmp_path, generator={"base_channels": 32, "n_blocks": 2})
    document["data"] |= {"load_size": 64, "crop_size": 64, "batch_size": 2}
    document["train"] |= {"precision": precision}
    foreseen, taken = (
        int(
            subprocess.run(
                [sys.executable, "-c", TRUTH, json.dumps(document), what], capture_output=True, check=True
            ).stdout
        )
        for what in ("foreseen", "taken")
    )
    assert foreseen == pytest.approx(taken, rel=0.25)
