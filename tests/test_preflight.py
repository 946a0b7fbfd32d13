"""Checks before the first step: what they find is what a real step would run into, and they change nothing."""

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from i2i import hookimpl
from i2i.engine import Engine
from i2i.errors import I2IError, Problem
from i2i.forecast import Forecast
from i2i.method import Batch, Method, Update
from i2i.preflight import Finding, examine, shortage
from i2i.recipe import resolve
from i2i.registry import Builder
from i2i.rehearsal import Shown, Stage


def cyclegan(engine: Engine, **discriminator: object) -> Builder:
    spec = {
        "name": "cyclegan",
        "generator": {"base_channels": 2, "n_blocks": 1},
        "discriminator": {"base_channels": 2, **discriminator},
    }
    return engine.registry.resolve("method", spec, "method")


class One(Method):
    """A translator whose game is `self.moves`, to be set."""

    needs = frozenset()

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def players(self) -> dict[str, list[nn.Module]]:
        return {"one": [self.network]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.network}

    def play(self, batch: Batch, step: int) -> Iterator[Update]:
        yield Update("one", {"l2": self.network(batch.a).square().mean()})


def errors(findings: list[Finding]) -> list[Finding]:
    return [f for f in findings if f.level == "error"]


def test_nothing_to_find(engine: Engine) -> None:
    assert examine(cyclegan(engine)(3, 3), crop_size=72, channels=(3, 3)) == []
    assert examine(cyclegan(engine, name="pixelgan")(3, 3), crop_size=16, channels=(3, 3)) == []


@pytest.mark.parametrize(("size", "fitting"), [(250, "248 or 252"), (3, "4"), (73, "72 or 76")])
def test_sizes_that_the_generator_cannot_divide(engine: Engine, size: int, fitting: str) -> None:
    (finding,) = examine(cyclegan(engine)(3, 3), crop_size=size, channels=(3, 3))
    assert (finding.level, finding.where) == ("error", "data.crop_size")
    assert finding.message == f"generator_ab and generator_ba need a multiple of 4, not {size}: {fitting}"


def test_multiple_of_a_module_inside() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    network[0].size_multiple, network[1].size_multiple = 6, 4
    (finding,) = examine(One(network), crop_size=16, channels=(3, 3))
    assert "multiple of 12, not 16: 12 or 24" in finding.message


def test_least_size_is_the_least(engine: Engine) -> None:
    """24 px become 12, 6, 3, 2 and 1 in the discriminator, and its last norm sees 2 x 2; 20 px become 10, 5, 2, 1."""
    method = cyclegan(engine)(3, 3)
    for size in (12, 16, 20):
        found = errors(examine(method, crop_size=size, channels=(3, 3)))
        assert found[0].where == "data.crop_size"
        assert f"images of {size} px are too small" in found[0].message and "at least 24 px" in found[0].message
        assert "discriminator_b.model." in found[0].message
        batch = Batch(torch.zeros(1, 3, size, size), torch.zeros(1, 3, size, size))
        with pytest.raises((RuntimeError, ValueError)):
            list(method.play(batch, 0))
    assert not errors(examine(method, crop_size=24, channels=(3, 3)))
    list(method.play(Batch(torch.zeros(1, 3, 24, 24), torch.zeros(1, 3, 24, 24)), 0))


@pytest.mark.parametrize("adversarial", ["gradient_penalty", "r1", "ada"])
def test_least_size_where_losses_look_at_values(engine: Engine, adversarial: str) -> None:
    """R1 counts its calls and ADA its hits, so that neither can be played on the meta device."""
    spec = {"name": "cyclegan", "generator": {"base_channels": 2, "n_blocks": 1}, "discriminator": {"base_channels": 2}}
    method = engine.registry.resolve("method", {**spec, "adversarial": adversarial}, "method")(3, 3)
    found = errors(examine(method, crop_size=20, channels=(3, 3)))
    assert "images of 20 px are too small" in found[0].message and "at least 24 px" in found[0].message


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "cut", "generator": {"base_channels": 2, "n_blocks": 5}},
        {"name": "cyclegan", "generator": {"base_channels": 2}, "adversarial": "gradient_penalty", "cycle": "ssim"},
        {"name": "colorization", "generator": {"base_channels": 2, "depth": 4}},
    ],
    ids=["cut", "penalty", "colorization"],
)
def test_a_rehearsal_costs_nothing(engine: Engine, spec: dict[str, object]) -> None:
    """Also of what is kept out of autocast, which does not know the meta device."""
    channels = (1, 3) if spec["name"] == "colorization" else (3, 3)
    method = engine.registry.resolve("method", {**spec, "discriminator": {"base_channels": 2}}, "method")(*channels)
    assert Stage(method, Shown(channels)).try_out((64, 64), on="meta").error is None


def test_instance_norm_below_4_px(engine: Engine) -> None:
    """n_layers = 2 at 16 px: the norms see 16 -> 8 -> 4 px, then 4 - 1 = 3."""
    found = examine(cyclegan(engine, n_layers=2)(3, 3), crop_size=16, channels=(3, 3))
    small = [f for f in found if "maps" in f.message]
    assert [(f.level, f.where) for f in small] == [("warning", "discriminator_b.model.6")]
    assert "InstanceNorm sees maps of 3 x 3" in small[0].message
    assert "the same in discriminator_a.model.6" in small[0].message
    batch_norm = examine(cyclegan(engine, n_layers=2, norm="batch")(3, 3), crop_size=16, channels=(3, 3))
    assert not [f for f in batch_norm if "maps" in f.message]


@pytest.mark.parametrize(
    ("norm", "batch_size", "single"),
    [
        (nn.InstanceNorm2d(8), 4, True),
        (nn.BatchNorm2d(8), 1, True),
        (nn.BatchNorm2d(8), 2, False),
        (nn.GroupNorm(8, 8), 4, True),
        (nn.GroupNorm(4, 8), 1, False),
    ],
)
def test_normalization_of_single_values(norm: nn.Module, batch_size: int, single: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.MaxPool2d(16), norm)
    method = One(network)
    found = examine(method, crop_size=16, channels=(3, 3), batch_size=batch_size)
    if not single:
        assert found == []
        return
    (finding,) = found
    assert (finding.level, finding.where) == ("error", "network.2")
    assert f"{type(norm).__name__} sees maps of 1 x 1" in finding.message
    assert "crops of at least 32 px" in finding.message


def test_vectors_are_single_values() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.InstanceNorm1d(8))
    (finding,) = examine(One(network), crop_size=16, channels=(3, 3))
    assert finding.where == "network.2" and "sees vectors" in finding.message


@pytest.mark.parametrize(
    ("n_layers", "fewer"), [(1, ""), (2, "n_layers = 1 sees 16 px"), (3, "n_layers = 1 sees 16 px")]
)
def test_patches_larger_than_the_crop(engine: Engine, n_layers: int, fewer: str) -> None:
    builder = cyclegan(engine, n_layers=n_layers)
    found = examine(builder(3, 3), crop_size=32, channels=(3, 3), builder=builder)
    fields = [f for f in found if "each score sees" in f.message]
    if n_layers == 1:
        assert not fields
        return
    (finding,) = fields
    assert (finding.level, finding.where) == ("warning", "discriminator_a")
    assert f"{ {2: 34, 3: 70}[n_layers] } px, more than a crop of 32 px" in finding.message
    assert finding.message.endswith(f"; discriminator.{fewer}")
    assert examine(builder(3, 3), crop_size=72, channels=(3, 3), builder=builder) == []


def test_a_discriminator_with_one_score_is_meant_to_see_everything() -> None:
    class Judged(One):
        def __init__(self) -> None:
            super().__init__(nn.Conv2d(3, 3, 1))
            self.judge = nn.Sequential(nn.Conv2d(3, 1, 3), nn.AdaptiveAvgPool2d(1))

        def players(self) -> dict[str, list[nn.Module]]:
            return {"one": [self.network], "judge": [self.judge]}

        def play(self, batch: Batch, step: int) -> Iterator[Update]:
            yield Update("one", {"g": self.judge(self.network(batch.a)).mean()})

    assert examine(Judged(), crop_size=16, channels=(3, 3)) == []


def test_nothing_changes(engine: Engine) -> None:
    method = cyclegan(engine)(3, 3).eval()
    with torch.no_grad():
        method.pool_a(torch.rand(2, 3, 32, 32))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    assert before["pool_a.images"].shape == (2, 3, 32, 32)
    state = torch.get_rng_state()
    assert examine(method, crop_size=16, channels=(3, 3))
    examine(method, crop_size=32, channels=(3, 3), builder=cyclegan(engine))
    assert torch.equal(torch.get_rng_state(), state)
    after = method.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m.training for m in method.modules())


def test_methods_that_look_at_values() -> None:
    """They cannot be played on the meta device, and are played for real."""

    class Looking(One):
        def play(self, batch: Batch, step: int) -> Iterator[Update]:
            yield Update("one", {"g": self.network(batch.a).mean() * batch.a.mean().item()})

    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.InstanceNorm2d(4))
    (finding,) = examine(Looking(network), crop_size=6, channels=(3, 3))
    assert (finding.level, finding.where) == ("warning", "network.1")


def test_what_a_method_raises() -> None:
    class Broken(One):
        def play(self, batch: Batch, step: int) -> Iterator[Update]:
            self.network(batch.a)
            raise KeyError("label")
            yield

    class Refusing(One):
        def play(self, batch: Batch, step: int) -> Iterator[Update]:
            raise I2IError(Problem("method.weight", "is not to be"), "and more")
            yield

    network = nn.Conv2d(3, 3, 1)
    (finding,) = examine(Broken(network), crop_size=8, channels=(3, 3))
    assert finding == Finding("error", "method", "a step with images of 8 px fails: KeyError: 'label'")
    first, second = examine(Refusing(network), crop_size=8, channels=(3, 3))
    assert first == Finding("error", "method.weight", "is not to be") and second.message == "and more"


def test_methods_that_need_extras() -> None:
    class Labelled(One):
        needs = frozenset({"label_a"})

        def play(self, batch: Batch, step: int) -> Iterator[Update]:
            label = batch.extras["label_a"].float()[:, None, None, None]
            yield Update("one", {"g": self.network(batch.a + label).mean()})

    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(8), nn.InstanceNorm2d(4))
    (finding,) = examine(Labelled(network), crop_size=8, channels=(3, 3))
    assert finding.where == "network.2"


def test_several_batches_per_step(engine: Engine) -> None:
    spec = {"name": "cyclegan", "discriminator_steps": 3, "lambda_identity": 0}
    spec |= {"generator": {"base_channels": 2, "n_blocks": 1}, "discriminator": {"base_channels": 2, "n_layers": 1}}
    method = engine.registry.resolve("method", spec, "method")(3, 1)
    assert examine(method, crop_size=16, channels=(3, 1), batch_size=2) == []


def test_normalizations_of_plugins_are_taken_out_of_receptive_fields() -> None:
    class Centred(nn.Module):
        """Subtracts each channel's mean."""

        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, images: Tensor) -> Tensor:
            return images - images.mean((2, 3), keepdim=True)

    plugin = ModuleType("centred")
    plugin.register_normalizations = hookimpl(lambda: {"centred": Centred}, specname="register_normalizations")
    builder = cyclegan(Engine([plugin], entry_points=False), norm="centred", n_layers=2)
    method = builder(3, 3)
    assert [f.where for f in examine(method, crop_size=64, channels=(3, 3))] == ["discriminator_a"]
    assert examine(method, crop_size=64, channels=(3, 3), builder=builder) == []


def test_memory_that_is_not_there_is_told_with_what_needs_less(engine: Engine) -> None:
    step = Forecast({"one": 1}, 1.0, weights=10**8, optimizers=2 * 10**8, activations=4 * 10**9)
    assert step.growth > 4.2e9
    data = {"source": {"name": "folders"}, "batch_size": 4}
    recipe = resolve({"method": "cyclegan", "data": data, "train": {"accumulate": 2}}, engine.registry)
    assert shortage(step, step.growth, recipe) == []
    (finding,) = shortage(step, 10**9, recipe)
    assert finding.level == "warning"
    assert finding.message == (
        "training takes about 4.64 GB of memory, and 1 GB are free; less need a smaller data.crop_size, "
        "data.batch_size = 1 with train.accumulate = 8, train.checkpoint_activations = true"
    )
    train = {"checkpoint_activations": True}
    recipe = resolve({"method": "cyclegan", "data": {"source": "folders"}, "train": train}, engine.registry)
    (finding,) = shortage(step, 10**9, recipe)
    assert finding.message.endswith("; less need a smaller data.crop_size")
