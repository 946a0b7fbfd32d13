"""Metrics without a network: against formulas in float64, other implementations, and planted cases."""

from io import BytesIO

import kornia.metrics
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from i2i import reference
from i2i.metric import Translation
from i2i_plugins.image_metrics import register_metrics
from i2i_plugins.image_metrics.cycles import compressed, noised, rounded

METRICS = {**reference.register_metrics(), **register_metrics()}
PAIRED = ("l1", "psnr", "ssim", "ms_ssim")
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2


def images(seed: int, n: int = 2, channels: int = 3, size=(24, 32)) -> torch.Tensor:
    """Soft colours under some noise, in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    colours = F.interpolate(torch.rand(n, channels, 4, 4, generator=generator), size=size, mode="bicubic").clamp(0, 1)
    return (0.8 * colours + 0.2 * torch.rand(n, channels, *size, generator=generator)) * 2 - 1


def of_pair(name: str, output: torch.Tensor, partner: torch.Tensor, **options) -> torch.Tensor:
    return METRICS[name](**options).values(Translation(output, output, partner))


def of_cycle(name: str, source, there, back, **options) -> torch.Tensor:
    return METRICS[name](**options).values(Translation(source, there(source), back=back))


def unit(x: torch.Tensor) -> np.ndarray:
    """In [0, 1], float64."""
    return (x.double().numpy() + 1) / 2


def close(found, expected, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance, atol=1e-6)


def test_l1_and_psnr_are_their_formulas():
    x, y = images(1), images(2)
    close(of_pair("l1", x, y), np.abs(unit(x) - unit(y)).mean((1, 2, 3)))
    close(of_pair("psnr", x, y), 10 * np.log10(1 / np.square(unit(x) - unit(y)).mean((1, 2, 3))))
    for i in range(2):
        theirs = peak_signal_noise_ratio((x[i] + 1) / 2, (y[i] + 1) / 2, data_range=1.0)
        close(of_pair("psnr", x, y)[i], theirs)


def test_psnr_of_equal_images_is_finite():
    x = images(1)
    y = x.clone()
    y[1] += 2e-3
    assert of_pair("psnr", x, y)[0] == 100 and 55 < of_pair("psnr", x, y)[1] < 65


def windows(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean SSIM and mean contrast-structure of two planes by Wang et al. 2004, equations 13 to 16, window by window."""
    taps = np.exp(-np.square(np.arange(-5, 6)) / (2 * 1.5**2))
    weights = np.outer(taps, taps) / np.outer(taps, taps).sum()
    c1, c2 = 0.01**2, 0.03**2
    ssim, structure = [], []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
            var_p, var_q = (weights * (p - mean_p) ** 2).sum(), (weights * (q - mean_q) ** 2).sum()
            cov = (weights * (p - mean_p) * (q - mean_q)).sum()
            structure.append((2 * cov + c2) / (var_p + var_q + c2))
            ssim.append(structure[-1] * (2 * mean_p * mean_q + c1) / (mean_p**2 + mean_q**2 + c1))
    return float(np.mean(ssim)), float(np.mean(structure))


def test_ssim_is_its_formula():
    x = images(1)
    y = (x + 0.3 * images(2)).clamp(-1, 1)
    expected = [
        np.mean([windows(p, q)[0] for p, q in zip(*planes, strict=True)])
        for planes in zip(unit(x), unit(y), strict=True)
    ]
    close(of_pair("ssim", x, y), expected, 1e-4)
    kornias = kornia.metrics.ssim((x + 1) / 2, (y + 1) / 2, 11, padding="valid").mean((1, 2, 3))
    close(of_pair("ssim", x, y), kornias, 1e-4)
    _, theirs = structural_similarity_index_measure(
        (x + 1) / 2, (y + 1) / 2, data_range=1.0, reduction="none", return_full_image=True
    )
    close(of_pair("ssim", x, y), theirs[..., 5:-5, 5:-5].mean((1, 2, 3)), 1e-4)
    close(of_pair("ssim", x, x), [1, 1])


@pytest.mark.parametrize(("n_scales", "side"), [(5, 176), (3, 64), (2, 23)])
def test_ms_ssim_is_a_product_over_scales(n_scales, side):
    x = images(1, size=(side, side + 8))
    y = (x + 0.3 * images(2, size=(side, side + 8))).clamp(-1, 1)
    p, q, expected = (x + 1) / 2, (y + 1) / 2, 1
    for i, weight in enumerate(WEIGHTS[:n_scales]):
        settings = {"data_range": 1.0, "reduction": "none"}
        _, value = structural_similarity_index_measure(p, q, **settings, return_contrast_sensitivity=True)
        if i == n_scales - 1:
            _, whole = structural_similarity_index_measure(p, q, **settings, return_full_image=True)
            value = whole[..., 5:-5, 5:-5].mean((1, 2, 3))
        expected = expected * value ** (weight / sum(WEIGHTS[:n_scales]))
        p, q = F.avg_pool2d(p, 2), F.avg_pool2d(q, 2)
    found = of_pair("ms_ssim", x, y, n_scales=n_scales)
    close(found, expected, 1e-4)
    assert found.min() > 0.1 and found.max() < 0.99
    close(of_pair("ms_ssim", x, x, n_scales=n_scales), [1, 1])
    assert (of_pair("ms_ssim", x, -x, n_scales=n_scales) == 0).all()  # contrasts that are opposed count as 0


@pytest.mark.parametrize(("name", "size", "options", "message"), [
    ("ssim", (10, 40), {}, r"images of 40 x 10 px are too small: it needs 11 px each way$"),
    ("ms_ssim", (64, 64), {}, "64 x 64 px are too small: it needs 176 px each way; n_scales = 3 would do"),
    ("ms_ssim", (16, 16), {"n_scales": 2}, "it needs 22 px each way$"),
])  # fmt: skip
def test_what_is_too_small_is_told(name, size, options, message):
    with pytest.raises(ValueError, match=message):
        of_pair(name, images(1, size=size), images(2, size=size), **options)


@pytest.mark.parametrize("name", PAIRED)
def test_unlike_images_are_told(name):
    with pytest.raises(ValueError, match="the images have 3 and 1 channels"):
        of_pair(name, images(1), images(2, channels=1))
    with pytest.raises(ValueError, match="the images have 32 x 24 and 24 x 24 px"):
        of_pair(name, images(1), images(2, size=(24, 24)))


def test_cycle_is_its_formula():
    x = images(1)
    found = of_cycle("cycle", x, lambda images: images.flip(1), lambda images: 0.5 * images.flip(1))
    close(found, np.abs(unit(x) - unit(0.5 * x)).mean((1, 2, 3)))


def test_rounded_is_what_a_file_holds():
    x = images(1) * 1.02
    levels = np.clip(np.rint((x.double().numpy() + 1) * 127.5), 0, 255).astype(np.uint8)
    close(rounded(x), levels / 127.5 - 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_compressed_is_pillows_jpeg(channels):
    x = images(1, channels=channels)
    for image, found in zip(x, compressed(x, 60), strict=True):
        pixels = np.rint((image.double().numpy() + 1) * 127.5).astype(np.uint8)
        file = BytesIO()
        picture = Image.merge("RGB", [*map(Image.fromarray, pixels)]) if channels == 3 else Image.fromarray(pixels[0])
        picture.save(file, "JPEG", quality=60, subsampling="4:4:4")
        decoded = np.asarray(Image.open(file)).reshape(24, 32, channels).transpose(2, 0, 1)
        close(found, decoded / 127.5 - 1)


def test_noise_has_its_strength_and_is_always_the_same():
    x = images(1, n=3, size=(64, 64)) * 0.5  # so that nothing is clipped
    noise = (noised(x, 2.0) - rounded(x)) * 127.5
    assert abs(noise.std() - 2) < 0.05 and abs(noise.mean()) < 0.05
    torch.testing.assert_close(noise[0], noise[2], atol=1e-3, rtol=0)
    assert torch.equal(noised(x[1:2], 2.0), noised(x, 2.0)[1:2])
    assert torch.equal(noised(x, 0.0), rounded(x))
    assert noised(images(1).sign(), 9.0).abs().max() <= 1


DISTURBANCES = ("hidden_information", "hidden_information_quantized", "hidden_information_jpeg")
HALF_LEVEL = 2 / 512  # of [-1, 1]; one half of a grey level of 8 bits is 2 / 510
GREY = 128 / 127.5 - 1


def hide(x: torch.Tensor) -> torch.Tensor:
    """Grey, with the image in detail of less than half a grey level."""
    return GREY + HALF_LEVEL * x


def reveal(y: torch.Tensor) -> torch.Tensor:
    return ((y - GREY) / HALF_LEVEL).clamp(-1, 1)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_what_is_hidden_is_found(name):
    x = images(3, size=(64, 64))
    assert of_cycle("cycle", x, hide, reveal).max() < 1e-4
    assert of_cycle(name, x, hide, reveal).min() > 0.1
    honest = of_cycle(name, x, lambda images: -images, lambda images: -images)
    assert honest.abs().max() < 0.02
    assert of_cycle("hidden_information_quantized", x, lambda images: -images, lambda images: -images).max() < 1 / 510


def test_what_was_hidden_and_rounded_away_is_all_of_it():
    x = images(3)
    found = of_cycle("hidden_information_quantized", x, hide, reveal)  # grey comes back as black and white's middle
    close(found, np.abs(unit(x) - 0.5).mean((1, 2, 3)), 1e-3)


def test_a_translation_that_is_bad_anyway_hides_nothing():
    x = images(3)
    for name in DISTURBANCES:
        found = of_cycle(name, x, lambda images: images, lambda images: torch.full_like(images, 0.5))
        close(found, [0, 0])


def test_jpeg_takes_grey_and_rgb_alone():
    x = images(1, channels=5)
    with pytest.raises(ValueError, match="a JPEG has 1 or 3 channels, and the images have 5"):
        of_cycle("hidden_information_jpeg", x, torch.clone, torch.clone)
    assert of_cycle("hidden_information", x, torch.clone, torch.clone).max() < 0.01


def flat(*colours: tuple[float, float, float]) -> torch.Tensor:
    """(1, 3, 8, 8): equal stripes of colours given in [0, 1]."""
    stripes = [torch.tensor(c)[:, None, None].expand(3, 8, 8 // len(colours)) for c in colours]
    return torch.cat(stripes, 2)[None] * 2 - 1


RED, GREEN, BLACK, WHITE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0,) * 3, (1.0,) * 3
LAB = {RED: (53.2408, 80.0925, 67.2032), GREEN: (87.7347, -86.1827, 83.1793), BLACK: (0, 0, 0), WHITE: (100, 0, 0)}
"""Of sRGB's primaries under D65: Lindbloom's calculator, brucelindbloom.com."""


@pytest.mark.parametrize(("before", "after"), [
    ([BLACK], [WHITE]),
    ([RED], [GREEN]),
    ([RED, GREEN], [BLACK]),
    ([RED, GREEN], [GREEN, RED]),
])  # fmt: skip
def test_colour_shift_is_the_distance_of_mean_colours(before, after):
    means = [np.mean([LAB[colour] for colour in colours], 0) for colours in (before, after)]
    found = METRICS["colour_shift"]().values(Translation(flat(*before), flat(*after)))
    np.testing.assert_allclose(found, [np.linalg.norm(means[1] - means[0])], atol=0.1)


def test_change_and_what_cannot_be_compared():
    x, y = images(1), images(2)
    close(METRICS["change"]().values(Translation(x, y)), np.abs(unit(x) - unit(y)).mean((1, 2, 3)))
    grey = Translation(x, images(2, channels=1))
    with pytest.raises(ValueError, match="3 channels, and the domains have 3 and 1"):
        METRICS["colour_shift"]().values(grey)
    with pytest.raises(ValueError, match="the images have 1 and 3 channels"):
        METRICS["change"]().values(grey)


def share(image: np.ndarray) -> float:
    """Of the energy above half of Nyquist's frequency, wave by wave, in float64; (C, H, W)."""
    _, height, width = image.shape
    y, x = np.arange(height), np.arange(width)
    window = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in (height, width)))
    fine = total = 0.0
    for plane in image:
        waves = (plane - (plane * window).sum() / window.sum()) * window
        for u in range(-(height // 2), height - height // 2):
            for v in range(-(width // 2), width - width // 2):
                wave = np.exp(-2j * np.pi * (u * y[:, None] / height + v * x / width))
                energy = abs((waves * wave).sum()) ** 2
                total += energy
                fine += energy * ((u / height) ** 2 + (v / width) ** 2 > 1 / 16)
    return fine / total


def test_high_frequency_is_its_formula():
    x = images(1, size=(8, 11))
    close(METRICS["high_frequency"]().features(x)[:, 0], [share(image) for image in x.double().numpy()], 1e-4)


def test_high_frequency_of_known_waves():
    metric = METRICS["high_frequency"]()
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    waves = [
        torch.sin(x * 2 * torch.pi / 16),
        torch.sin((x + y) / 2 * 2 * torch.pi / 2.5),
        (-1) ** (x + y),
        0 * x + 0.3,
    ]
    shares = metric.features(torch.stack(waves)[:, None])[:, 0]
    close(shares, [0, 1, 1, 0], 1e-4)
    noise = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    # noise has as much of every wave; those of a quarter of a cycle or less fill a disc of the unit square
    assert abs(metric.features(noise).mean() - (1 - torch.pi / 16)) < 0.01


def test_high_frequency_tells_checkerboards_and_blur():
    metric, real = METRICS["high_frequency"](), images(1, n=8, size=(64, 64))
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    outputs = {"same": real, "checkered": real + 0.2 * (-1) ** (x + y), "blurred": F.avg_pool2d(real, 3, 1, 1)}
    found = {name: metric.statistic(metric.features(given), metric.features(real)) for name, given in outputs.items()}
    assert found["same"] == 1 and found["checkered"] > 1.5 and found["blurred"] < 0.3
    with pytest.raises(ValueError, match="no waves shorter than 4 px"):
        metric.statistic(metric.features(real), metric.features(torch.zeros_like(real)))
    with pytest.raises(ValueError, match="images of 40 x 7 px are too small: it needs 8 px"):
        metric.features(images(1, size=(7, 40)))
