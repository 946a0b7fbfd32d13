"""The last convolution of a generator: a plain one, computed for blocks of outputs."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from i2i.reference.resnet import ResnetGenerator
from i2i.reference.to_image import ToImage


@pytest.mark.parametrize(("height", "width"), [(10, 12), (8, 8), (9, 12), (10, 7)])
@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_outputs_and_gradients_are_those_of_the_plain_convolution(channels, height, width):
    layer = ToImage(6, channels, 7).double()
    plain = nn.Conv2d(6, channels, 7).double()
    plain.load_state_dict(layer.state_dict())
    images = [torch.randn(2, 6, height, width, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    with torch.no_grad():
        images[1].copy_(images[0])
    one, other = layer(images[0]), plain(images[1])
    torch.testing.assert_close(one, other, atol=1e-12, rtol=0)
    towards = torch.randn_like(one)
    one.backward(towards), other.backward(towards)
    torch.testing.assert_close(images[0].grad, images[1].grad, atol=1e-12, rtol=0)
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad, atol=1e-11, rtol=0)
    torch.testing.assert_close(layer.bias.grad, plain.bias.grad, atol=1e-11, rtol=0)


def test_the_generators_last_layer_is_one_and_its_graph_is_exported_plain(monkeypatch):
    calls = []
    monkeypatch.setattr(F, "pixel_shuffle", lambda x, factor: calls.append(factor) or torch.pixel_shuffle(x, factor))
    generator = ResnetGenerator(3, 3, base_channels=4, n_blocks=0)
    generator(torch.zeros(1, 3, 16, 16))
    assert calls == [2]
    exported = torch.export.export(generator.eval(), (torch.zeros(1, 3, 16, 16),))
    assert not [node for node in exported.graph.nodes if "pixel_shuffle" in str(node.target)]
