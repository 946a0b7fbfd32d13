"""Instance normalization against its formula, in every order of memory that images and gradients come in."""

import itertools

import pytest
import torch

from i2i.reference.normalization import InstanceNorm, instance_norm
from i2i_plugins.normalizations import AffineInstanceNorm

ORDERS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("n", "of_images", "of_gradient"), [*itertools.product((1, 2), ORDERS, ORDERS)])
def test_the_gradient_is_that_of_the_formula(affine, n, of_images, of_gradient):
    images, towards = torch.randn(2, n, 6, 4, 5, dtype=torch.float64)
    images = images.contiguous(memory_format=of_images).requires_grad_()
    norm = (AffineInstanceNorm if affine else InstanceNorm)(6).double()
    output = norm(images)
    (gradient,) = torch.autograd.grad(output, images, towards.contiguous(memory_format=of_gradient))

    centred = images - images.mean((2, 3), keepdim=True)
    formula = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    (expected,) = torch.autograd.grad((formula * towards).sum(), images)
    torch.testing.assert_close(output, formula)
    torch.testing.assert_close(gradient, expected)


def test_the_bits_are_torchs():
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        images, weight, bias = torch.randn(3, 8, 9, 7).to(dtype), torch.rand(8).to(dtype), torch.rand(8).to(dtype)
        assert torch.equal(instance_norm(images), torch.nn.functional.instance_norm(images))
        theirs = torch.nn.functional.instance_norm(images, weight=weight, bias=bias)
        assert torch.equal(instance_norm(images, weight, bias), theirs)
