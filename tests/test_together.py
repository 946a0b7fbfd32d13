"""Several batches through one network: one pass where that is the same."""

import pytest
import torch
from torch import nn

from i2i.method import mixes_samples, together


class Counting(nn.Module):
    """Counts its passes."""

    def __init__(self, *layers):
        super().__init__()
        self.layers, self.sizes = nn.Sequential(*layers), []

    def forward(self, images):
        self.sizes.append(len(images))
        return self.layers(images)


def images(n, size=8):
    return torch.randn(n, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(n))


def layers(norm):
    torch.manual_seed(0)
    return Counting(nn.Conv2d(3, 4, 3), norm, nn.ReLU()).double()


def test_batches_of_one_size_go_in_one_pass_with_the_same_outputs_and_gradients():
    one, other = layers(nn.InstanceNorm2d(4)), layers(nn.InstanceNorm2d(4))
    outputs, apart = together(one, images(2), images(1)), [other(images(2)), other(images(1))]
    assert one.sizes == [3] and other.sizes == [2, 1]
    for a, b in zip(outputs, apart, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
    for found in (outputs, apart):
        sum(out.square().sum() * (1 + i) for i, out in enumerate(found)).backward()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-10, rtol=0)


def test_other_sizes_go_one_by_one():
    network = layers(nn.InstanceNorm2d(4))
    assert [len(out) for out in together(network, images(2), images(1, size=9))] == [2, 1]
    assert network.sizes == [2, 1]


def test_a_network_that_mixes_samples_sees_each_batch_as_it_is():
    network = layers(nn.BatchNorm2d(4))
    first, _ = together(network, images(2), images(3))
    torch.testing.assert_close(first, layers(nn.BatchNorm2d(4))(images(2)), atol=0, rtol=0)
    assert network.sizes == [2, 3]


class Declares(nn.Identity):
    mixes_samples = True


@pytest.mark.parametrize(
    ("module", "mixes"),
    [
        (nn.BatchNorm2d(2), True),
        (nn.BatchNorm2d(2).eval(), False),
        (nn.BatchNorm2d(2, track_running_stats=False).eval(), True),
        (nn.GroupNorm(1, 2), False),
        (nn.Sequential(nn.Identity(), Declares()), True),
    ],
)
def test_who_mixes_samples(module, mixes):
    assert mixes_samples(module) is mixes
