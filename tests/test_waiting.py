"""A step waits for nothing: no number is read from the device but at a log."""

import tiny
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from i2i.device import to_device
from i2i.training import Training


class Reads(TorchDispatchMode):
    """Counts the numbers that Python asks a tensor for, each of which waits for all that the device was given."""

    n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_a_step_reads_nothing_from_the_device(engine, tmp_path):
    train = {"device": "cpu", "precision": "bf16", "ema": 0.9, "clip": 1.0, "accumulate": 2}
    found = tiny.recipe(tmp_path, engine, train=train, pool={"size": 0})  # a pool asks the processor's generator
    training = Training.build(found)
    for batches in training.data.loader(0, 3):
        with Reads() as reads:
            metrics = training.trainer.train_step(batches)
        assert reads.n == 0
    with Reads() as reads:
        assert float(metrics["loss.cycle_a"]) > 0
    assert reads.n == 1


def test_a_batch_that_is_there_stays_where_it_is():
    images = torch.zeros(1, 3, 4, 4)
    assert to_device(images, torch.device("cpu")) is images
