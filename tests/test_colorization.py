"""Colorization: Lab against published values, and its terms against the paper's formulas."""

import pytest
import torch
from torch import nn

from i2i.errors import I2IError
from i2i.method import Batch
from i2i.reference.patchgan import PatchGAN
from i2i.trainer import Trainer, players_parameters
from i2i_plugins.colorization import Colorization, to_lab, to_rgb
from i2i_plugins.unet import UNet

LAB = {
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (255, 255, 255): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
}
"""The primaries of sRGB in CIE Lab under D65, as colour calculators have them."""


def generator(n_in, n_out):
    return UNet(n_in, n_out, base_channels=4, depth=5, dropout=0.0)


def discriminator(n_in):
    return PatchGAN(n_in, base_channels=4, n_layers=2)


def tiny(channels_a=1, **options):
    return Colorization(channels_a, 3, generator=generator, discriminator=discriminator, **options).double()


def images(channels, dtype=torch.float64):
    return torch.rand(2, channels, 32, 32, dtype=dtype) * 2 - 1


@pytest.mark.parametrize(("rgb", "lab"), LAB.items())
def test_lab_of_the_primaries(rgb, lab):
    pixel = (torch.tensor(rgb, dtype=torch.float64) / 127.5 - 1).reshape(1, 3, 1, 1)
    lightness, chroma = to_lab(pixel)
    found = torch.cat([(lightness + 1) * 50, chroma * 110], 1).flatten()
    torch.testing.assert_close(found, torch.tensor(lab, dtype=torch.float64), atol=0.05, rtol=0)


def test_lab_and_back():
    b = images(3)
    torch.testing.assert_close(to_rgb(*to_lab(b)), b, atol=1e-4, rtol=0)  # kornia's matrices have six digits


def test_lab_has_the_precision_of_float32_under_autocast():
    b = images(3, torch.float32)
    expected, back = to_lab(b), to_rgb(*to_lab(b))
    with torch.autocast("cpu", torch.bfloat16):
        for found, value in zip(to_lab(b), expected, strict=True):
            assert torch.equal(found, value)
        assert torch.equal(to_rgb(*expected), back)
        assert to_rgb(*(part.bfloat16() for part in expected)).dtype == torch.float32


def test_colours_that_no_screen_has_keep_their_gradient():
    lightness = torch.full((1, 1, 1, 1), 0.9)
    chroma = torch.tensor([1.2, -1.2]).reshape(1, 2, 1, 1).requires_grad_()
    rgb = to_rgb(lightness, chroma)
    assert rgb.abs().max() > 1
    (gradient,) = torch.autograd.grad(rgb.sum(), chroma)
    assert gradient.isfinite().all() and gradient.abs().min() > 0
    black = torch.zeros(1, 3, 4, 4).sub(1).requires_grad_()
    (gradient,) = torch.autograd.grad(sum(part.sum() for part in to_lab(black)), black)
    assert gradient.isfinite().all()


def lab(b):
    """CIE Lab of sRGB, written out; white is D65."""
    rgb = (b + 1) / 2
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = torch.tensor(
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]],
        dtype=b.dtype,
    )
    white = torch.tensor([0.95047, 1.0, 1.08883], dtype=b.dtype)
    ratio = torch.einsum("ij,njhw->nihw", xyz, linear) / white[:, None, None]
    x, y, z = torch.where(ratio > 0.008856, ratio ** (1 / 3), 7.787 * ratio + 16 / 116).unbind(1)
    return (116 * y - 16)[:, None] / 50 - 1, torch.stack([500 * (x - y), 200 * (y - z)], 1) / 110


def test_two_steps_agree_with_the_formulas():
    method = tiny()
    g, d = generator(1, 2).double(), discriminator(3).double()
    g.load_state_dict(method.colorizer.generator.state_dict())
    d.load_state_dict(method.objective.discriminator.state_dict())
    trainer = Trainer(method, {p: adam(own.values()) for p, own in players_parameters(method).items()})
    adam_g, adam_d = adam(g.parameters()), adam(d.parameters())
    log_s = nn.functional.logsigmoid
    for _ in range(2):
        b = images(3)
        lightness, chroma = lab(b)
        fake = g(lightness)
        real_says, fake_says = (d(torch.cat([lightness, ab], 1)) for ab in (chroma, fake.detach()))
        loss_d = -0.5 * log_s(real_says).mean() - 0.5 * log_s(-fake_says).mean()
        move(adam_d, loss_d)
        game = -log_s(d(torch.cat([lightness, fake], 1))).mean()
        distance = 100 * (fake - chroma).abs().mean()
        move(adam_g, game + distance)

        metrics = trainer.train_step([Batch(images(1), b)])
        for name, value in {"D": loss_d, "adversarial": game, "reconstruction": distance}.items():
            torch.testing.assert_close(metrics[f"loss.{name}"], value.detach(), atol=1e-9, rtol=0)
    for ours, theirs in ((method.colorizer.generator, g), (method.objective.discriminator, d)):
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, atol=1e-7, rtol=0)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


def move(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_published_images_are_rgb():
    b = images(3)
    _, update = tiny().play(Batch(images(1), b), 0)
    assert update.images.keys() == {"b", "fake_b"}
    torch.testing.assert_close(update.images["b"], b, atol=1e-4, rtol=0)
    assert update.images["fake_b"].shape == b.shape and update.images["fake_b"].requires_grad


@pytest.mark.parametrize("channels", [1, 3])
def test_a_translation_keeps_the_lightness(channels):
    method = tiny(channels)
    colorizer = method.translators()["ab"].eval()
    a = images(channels) * 0.4  # neither black nor white, so that a faint colour is one of RGB
    with torch.no_grad():
        given = colorizer(a)
    assert given.shape == (2, 3, 32, 32) and given.abs().max() <= 1
    expected = lab(a.expand(-1, 3, -1, -1))[0]
    inside = (given.abs() < 1).all(1, keepdim=True)
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(lab(given)[0][inside], expected[inside], atol=1e-3, rtol=0)
    assert colorizer.size_multiple == 32


@pytest.mark.parametrize(("channels_a", "channels_b"), [(1, 1), (2, 3)])
def test_channels(engine, channels_a, channels_b):
    with pytest.raises(I2IError, match="colours images of 1 or 3 channels by images of 3"):
        engine.registry.resolve("method", "colorization", "method")(channels_a, channels_b)
