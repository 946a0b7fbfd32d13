"""Checkpointed activations: less memory, the same training."""

import pytest
import torch

from i2i.activations import checkpoint_activations
from i2i.method import Batch
from i2i.optim import DEFAULTS, build
from i2i.trainer import Trainer, players_parameters

RESNET = {"base_channels": 4, "n_blocks": 2}
PATCHES = {"base_channels": 4, "n_layers": 1}
UNIT = {"base_channels": 4, "n_blocks": 1}
CYCLEGAN = {"name": "cyclegan", "generator": RESNET, "discriminator": PATCHES, "pool": {"size": 1}}


def trained(engine, spec, checkpointed, n_batches=1, size=16, **options):
    """A trainer after three steps, and what the last one told."""
    torch.manual_seed(0)
    method = engine.registry.resolve("method", spec, "method")(3, 3)
    if checkpointed:
        checkpoint_activations(method)
    trainer = Trainer(method, build(DEFAULTS, players_parameters(method)), **options)
    n = 2 * method.n_batches
    batches = [Batch(*(torch.rand(n, 3, size, size) * 2 - 1 for _ in "ab")) for _ in range(n_batches)]
    for _ in range(3):
        metrics = trainer.train_step(batches)
    return trainer, metrics


def same_bits(first, other):
    assert first.keys() == other.keys()
    for name, value in first.items():
        if isinstance(value, dict):
            same_bits(value, other[name])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, other[name]), name


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        (CYCLEGAN, {}),
        (CYCLEGAN, {"autocast": True}),
        (CYCLEGAN, {"n_batches": 2, "ema": 0.9}),
        ({**CYCLEGAN, "adversarial": {"name": "gradient_penalty", "loss": "wasserstein"}}, {}),  # differentiates twice
        (
            {**CYCLEGAN, "discriminator": {"name": "spectral", "discriminator": PATCHES}},
            {},
        ),  # its vectors move in each pass
        (  # recomputed twice from the same buffers: once for the penalty's gradient, once for that gradient's own
            {
                **CYCLEGAN,
                "discriminator": {"name": "spectral", "discriminator": PATCHES},
                "adversarial": {"name": "gradient_penalty", "loss": "wasserstein"},
            },
            {},
        ),
        ({**CYCLEGAN, "generator": {**RESNET, "norm": "batch"}, "discriminator_steps": 2}, {}),  # running statistics
        (  # dropout, and statistics
            {
                "name": "pix2pix",
                "generator": {"name": "unet", "depth": 4, "base_channels": 4},
                "discriminator": PATCHES,
            },
            {"autocast": True},
        ),
        ({"name": "cut", "generator": RESNET, "discriminator": PATCHES}, {}),  # through `encode` too
        ({"name": "unit", "code_channels": 8, "encoder": UNIT, "decoder": UNIT, "discriminator": PATCHES}, {}),
    ],
)
def test_the_training_is_the_same_to_the_last_bit(engine, spec, options):
    """Weights, buffers, states of optimizers, moving averages, losses, and what is drawn after them."""
    (plain, told), drawn = trained(engine, spec, False, **options), torch.rand(3)
    (checkpointed, told_again), drawn_again = trained(engine, spec, True, **options), torch.rand(3)
    same_bits(plain.state_dict(), checkpointed.state_dict())
    same_bits(told, told_again)
    same_bits({"drawn": drawn}, {"drawn": drawn_again})
