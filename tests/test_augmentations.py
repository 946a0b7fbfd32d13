"""Augmentations against numpy, Pillow and torchvision, and against formulas of where each pixel comes from."""

import colorsys
import itertools
import math
import types
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from PIL import Image

from i2i import hookimpl
from i2i.data.augment import Augment
from i2i.data.opening import open_data
from i2i.data.source import Split
from i2i.data.table import DataOptions
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.images.values import Range
from i2i.method import Batch
from i2i.placed import AugmentOptions, augment, read_list
from i2i_plugins.augmentations import (
    Affine,
    ColourJitter,
    QuarterTurn,
    RandomResizedCrop,
    horizontal_flip,
    rotation,
    vertical_flip,
)
from i2i_plugins.augmentations.colour import CHANGES, grey
from i2i_plugins.augmentations.geometry import Motion, moved

ALL = {
    "horizontal_flip": {},
    "vertical_flip": {},
    "quarter_turn": {},
    "rotation": {"degrees": 180.0},
    "affine": {"degrees": 45.0, "translate": [0.5, 0.5], "scale": [0.3, 3.0], "shear": 30.0},
    "random_resized_crop": {"scale": [0.1, 1.0], "ratio": [0.5, 2.0]},
    "colour_jitter": {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.5},
}
STILL = Motion(((1.0, 0.0), (0.0, 1.0)))
every_augmentation = pytest.mark.parametrize("name", ALL)
both_types = pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])


class Highest:
    """In place of a generator: always the upper end."""

    def uniform(self, low: float, high: float) -> float:
        return high


def noise(*shape: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    values = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    return values if dtype == torch.uint8 else values / 255


def smooth(height: int, width: int) -> torch.Tensor:
    """(3, H, W) float32 in [0, 1]."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.sin(x / 9 + y / 14), torch.cos(x / 12 - y / 10), torch.sin(y / 8)]) / 2 + 0.5


def test_every_component_is_tried_here(engine: Engine) -> None:
    assert {c.name for c in engine.registry.components("augmentation") if c.plugin == "augmentations"} == ALL.keys()


# Flips and quarter turns


@both_types
def test_flips_are_slices_backwards(dtype):
    image = noise(3, 5, 8, dtype=dtype)
    across, down = horizontal_flip(), vertical_flip()
    assert np.array_equal(across.image(image, True), image.numpy()[:, :, ::-1])
    assert np.array_equal(down.image(image, True), image.numpy()[:, ::-1])
    for flip in (across, down):
        assert torch.equal(flip.image(flip.image(image, True), True), image)
        assert torch.equal(flip.mask(image[:1], True), flip.image(image, True)[:1])
        assert torch.equal(flip.image(image, False), image)


@both_types
def test_quarter_turns_are_numpys(dtype):
    image = noise(3, 8, 8, dtype=dtype)
    for turns in range(4):
        expected = np.rot90(image.numpy(), turns, (1, 2))
        assert np.array_equal(QuarterTurn().image(image, turns), expected)
        assert np.array_equal(QuarterTurn().mask(image[:1], turns), expected[:1])


def test_a_rectangle_is_turned_upside_down_or_not_at_all():
    image = noise(3, 5, 8)
    for turns, expected in zip(range(4), (image, image, image.flip(1, 2), image.flip(1, 2)), strict=True):
        assert torch.equal(QuarterTurn().image(image, turns), expected)


@pytest.mark.parametrize(("augmentation", "n"), [(horizontal_flip(), 2), (vertical_flip(), 2), (QuarterTurn(), 4)])
def test_all_ends_are_as_likely(augmentation, n):
    rng = np.random.default_rng(0)
    drawn = [int(augmentation.draw(rng)) for _ in range(4000)]
    counts = np.bincount(drawn, minlength=n)
    assert len(counts) == n and np.abs(counts - 4000 / n).max() < 4 * math.sqrt(4000 / n)


# Motions


@both_types
@pytest.mark.parametrize("size", [(64, 64), (20, 31), (33, 33), (1, 5), (7, 1)])
def test_a_motion_by_nothing_is_the_identity_to_the_bit(size, dtype):
    image = noise(3, *size, dtype=dtype)
    for augmentation in (Affine(degrees=0, translate=(0, 0), scale=(1, 1), shear=0), RandomResizedCrop(scale=(1, 1))):
        drawn = augmentation.draw(np.random.default_rng(0))
        assert torch.equal(augmentation.image(image, drawn), image)
        assert torch.equal(augmentation.mask(image[:1], drawn), image[:1])


@both_types
@pytest.mark.parametrize("size", [64, 20, 33])
def test_a_rotation_by_90_degrees_is_a_quarter_turn_to_the_bit(size, dtype):
    image, turn = noise(3, size, size, dtype=dtype), rotation(degrees=90)
    expected = np.rot90(image.numpy(), 1, (1, 2))
    assert np.array_equal(turn.image(image, turn.draw(Highest())), expected)
    assert np.array_equal(turn.mask(image[:1], turn.draw(Highest())), expected[:1])


@pytest.mark.parametrize(
    ("options", "source_x", "source_y"),
    [
        ({"degrees": 30.0}, lambda x, y: x * 3**0.5 / 2 - y / 2, lambda x, y: x / 2 + y * 3**0.5 / 2),
        ({"translate": (0.25, 0.125)}, lambda x, y: x - 20, lambda x, y: y - 8),
        ({"scale": (1.0, 2.0)}, lambda x, y: x / 2, lambda x, y: y / 2),
        ({"shear": 45.0}, lambda x, y: x + y, lambda x, y: y),
        ({"degrees": 90.0, "shear": 45.0}, lambda x, y: x - y, lambda x, y: x),
        ({"degrees": 90.0, "translate": (0.25, 0.125)}, lambda x, y: -(y - 8), lambda x, y: x - 20),
    ],
)
def test_each_pixel_comes_from_where_the_formula_says(options, source_x, source_y):
    """On ramps bilinear interpolation is exact, so that a value is a place; from the centre, in px."""
    height, width = 64, 80
    down, across = torch.meshgrid(torch.arange(height) - 31.5, torch.arange(width) - 39.5, indexing="ij")
    affine = Affine(**{"degrees": 0.0, "translate": (0.0, 0.0), "scale": (1.0, 1.0), "shear": 0.0, **options})
    found = affine.image(torch.stack([across, down]).to(torch.float32), affine.draw(Highest()))
    expected = torch.stack([source_x(across, down), source_y(across, down)])
    inside = (expected[0].abs() <= 39.5) & (expected[1].abs() <= 31.5)
    assert inside.sum() > 1000
    assert (found - expected)[:, inside].abs().max() < 1 / 256  # places are rounded to 1/256 px


def test_an_affine_motion_is_torchvisions_inside():
    """Its angles turn to the right, and it has another grid; on a smooth image this is below a hundredth."""
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    image = smooth(96, 120)
    affine = Affine(degrees=20.0, translate=(0.05, 0.1), scale=(0.9, 1.2), shear=12.0)
    found = affine.image(image, affine.draw(Highest()))
    expected = functional.affine(
        image, -20.0, [6, 9.6], 1.2, [12.0, 0.0], interpolation=functional.InterpolationMode.BILINEAR
    )
    assert (found - expected)[:, 20:-20, 20:-20].abs().max() < 0.01
    assert (found - image).abs().max() > 0.5


def interpolated(pixels: np.ndarray, motion: Motion) -> np.ndarray:
    """Bilinear interpolation at places of 1/256 px in whole numbers, the image reflected at its edges."""
    _, height, width = pixels.shape
    y, x = np.arange(height)[:, None] - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    x, y = x - motion.shift[0] * width, y - motion.shift[1] * height
    taps = []
    for (by_x, by_y), length in zip(motion.matrix, (width, height), strict=True):
        place = np.rint(256 * by_x * x) + np.rint(256 * (by_y * y + (length - 1) / 2))
        place, part = np.divmod(place.astype(np.int64), 256)
        ends = [np.where((end := at % (2 * length)) < length, end, 2 * length - 1 - end) for at in (place, place + 1)]
        taps.append(((ends[0], 256 - part), (ends[1], part)))
    across, down = taps
    total = sum(pixels[:, i, j].astype(np.int64) * (u * v) for (i, u), (j, v) in itertools.product(down, across))
    whole, rest = np.divmod(total, 65536)
    return whole + (rest > 32768) + ((rest == 32768) & (whole % 2 == 1))  # half to even


@pytest.mark.parametrize(
    ("augmentation", "size"),
    [
        (Affine(degrees=180, translate=(0.5, 0.5), scale=(0.2, 3), shear=40), (64, 64)),
        (Affine(degrees=180, translate=(0.5, 0.5), scale=(0.2, 3), shear=40), (32, 128)),
        (RandomResizedCrop(), (64, 64)),
        (RandomResizedCrop(), (20, 31)),
        (RandomResizedCrop(scale=(0.1, 0.5)), (33, 100)),
    ],
)
def test_8_bits_are_interpolated_as_in_whole_numbers(augmentation, size):
    """So there is no rounding in which processors could differ."""
    image, rng = noise(3, *size), np.random.default_rng(1)
    for _ in range(5):
        drawn = augmentation.draw(rng)
        assert np.array_equal(augmentation.image(image, drawn), interpolated(image.numpy(), drawn))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(64, 64), (20, 31)])
def test_reflection_comes_in_from_outside(size, mode):
    image = noise(3, *size)
    right = moved(image, Motion(STILL.matrix, (4 / size[1], 0.0)), mode)
    assert torch.equal(right[:, :, 4:], image[:, :, :-4])
    assert torch.equal(right[:, :, :4], image[:, :, :4].flip(2))
    for _ in range(20):
        far = Affine(degrees=180, translate=(1, 1), scale=(0.05, 0.1)).draw(np.random.default_rng(2))
        assert torch.equal(moved(torch.full_like(image, 200), far, mode), torch.full_like(image, 200))
    assert set(moved(image, far, "nearest").unique().tolist()) <= set(image.unique().tolist())


def test_a_mask_keeps_its_values():
    mask = (noise(1, 40, 40) > 127).to(torch.uint8) * 255
    for augmentation in (Affine(), rotation(), RandomResizedCrop()):
        drawn = augmentation.draw(np.random.default_rng(0))
        assert set(augmentation.mask(mask, drawn).unique().tolist()) == {0, 255}
        assert len(augmentation.image(mask, drawn).unique()) > 10


def test_a_crop_is_pillows():
    """Pillow resizes the same box, also of parts of pixels."""
    pixels = noise(3, 48, 64)
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    crop, rng = RandomResizedCrop(scale=(0.2, 0.9), ratio=(0.6, 1.5)), np.random.default_rng(0)
    for _ in range(5):
        drawn = crop.draw(rng)
        (width, _), (_, height) = drawn.matrix
        middle_x, middle_y = 0.5 - width * drawn.shift[0], 0.5 - height * drawn.shift[1]
        left, top = 64 * (middle_x - width / 2), 48 * (middle_y - height / 2)
        box = (left, top, left + 64 * width, top + 48 * height)
        expected = np.asarray(image.resize((64, 48), Image.Resampling.BILINEAR, box)).transpose(2, 0, 1)
        difference = np.abs(crop.image(pixels, drawn).numpy().astype(int) - expected)
        assert difference.max() <= 3 and difference.mean() < 0.5  # a place is rounded to 1/256 px, of 255 levels


def test_a_crop_is_a_part_of_the_asked_size():
    crop, rng = RandomResizedCrop(scale=(0.3, 1.0), ratio=(0.5, 2.0)), np.random.default_rng(0)
    areas, ratios = [], []
    for _ in range(500):
        drawn = crop.draw(rng)
        (width, _), (_, height) = drawn.matrix
        assert width <= 1 + 1e-9 and height <= 1 + 1e-9
        assert all(abs(s * part) <= (1 - part) / 2 + 1e-9 for s, part in zip(drawn.shift, (width, height), strict=True))
        areas.append(width * height)
        ratios.append(width / height)
    assert 0.3 <= min(areas) < 0.35 and 0.95 < max(areas) <= 1
    assert 0.5 <= min(ratios) < 0.6 and 1.6 < max(ratios) <= 2


def test_motions_are_drawn_from_what_was_asked():
    affine, rng = Affine(degrees=20, translate=(0.1, 0.3), scale=(0.5, 2), shear=0), np.random.default_rng(0)
    drawn = [affine.draw(rng) for _ in range(2000)]
    angles = [math.degrees(math.atan2(m.matrix[1][0], m.matrix[1][1])) for m in drawn]
    sizes = [1 / math.hypot(*m.matrix[1]) for m in drawn]
    for values, low, high in (
        (angles, -20, 20),
        (sizes, 0.5, 2),
        ([m.shift[0] for m in drawn], -0.1, 0.1),
        ([m.shift[1] for m in drawn], -0.3, 0.3),
    ):
        assert low - 1e-9 <= min(values) and max(values) <= high + 1e-9
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=(high - low) / 40)
        assert np.std(values) == pytest.approx((high - low) / 12**0.5, rel=0.05)


# Colours


@pytest.mark.parametrize(("name", "amounts"), [
    ("brightness", (0.0, 0.7, 1.6)), ("contrast", (0.0, 0.7, 1.6)), ("saturation", (0.0, 0.7, 1.6)),
    ("hue", (-0.5, -0.1, 0.0, 0.3)),
])  # fmt: skip
def test_colours_change_as_torchvisions(name, amounts):
    """Its greys are of weights with four digits."""
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    image = noise(3, 24, 32, dtype=torch.float32)
    image[:, 0] = 0.5  # a grey row, which has no hue
    for amount in amounts:
        expected = getattr(functional, f"adjust_{name}")(image, amount)
        assert (CHANGES[name](image, amount) - expected).abs().max() < 3e-4


def test_a_hue_is_turned_as_by_colorsys():
    image = noise(3, 8, 8, dtype=torch.float32)
    for turn in (-0.4, 0.25, 0.5):
        found = CHANGES["hue"](image, turn).flatten(1).T
        for before, after in zip(image.flatten(1).T.tolist(), found.tolist(), strict=True):
            h, s, v = colorsys.rgb_to_hsv(*before)
            assert after == pytest.approx(colorsys.hsv_to_rgb((h + turn) % 1, s, v), abs=1e-5)


@pytest.mark.parametrize("channels", [1, 5])
def test_bands_have_brightness_and_contrast_alone(channels):
    image = noise(channels, 16, 16, dtype=torch.float32)
    jitter = ColourJitter()
    assert torch.equal(jitter.image(image, [("saturation", 0.0), ("hue", 0.5)]), image)
    values = image.double().numpy()
    assert jitter.image(image, [("brightness", 1.5)]).numpy() == pytest.approx(np.clip(values * 1.5, 0, 1))
    expected = np.clip(values.mean() + 1.5 * (values - values.mean()), 0, 1)
    assert jitter.image(image, [("contrast", 1.5)]).numpy() == pytest.approx(expected, abs=1e-6)
    assert grey(image).numpy() == pytest.approx(values.mean(0, keepdims=True))


def test_8_bits_are_rounded_once():
    image, drawn = noise(3, 16, 16), [("contrast", 1.3), ("hue", 0.1), ("brightness", 0.8), ("saturation", 1.2)]
    exact = 255 * ColourJitter().image(image / 255, drawn)
    assert (ColourJitter().image(image, drawn) - exact).abs().max() <= 0.5 + 1e-3
    assert torch.equal(ColourJitter().image(image, [("brightness", 1.0)]), image)
    assert torch.equal(ColourJitter().mask(image[:1], drawn), image[:1])


def test_colours_are_drawn_from_what_was_asked_in_any_order():
    rng = np.random.default_rng(0)
    jitter = ColourJitter(brightness=0.3, contrast=2.0, saturation=0.0, hue=0.1)
    drawn = [jitter.draw(rng) for _ in range(300)]
    assert {tuple(name for name, _ in one) for one in drawn} == {
        *itertools.permutations(("brightness", "contrast", "hue"))
    }
    for name, low, high in (("brightness", 0.7, 1.3), ("contrast", 0, 3), ("hue", -0.1, 0.1)):
        amounts = [dict(one)[name] for one in drawn]
        assert low <= min(amounts) < low + (high - low) / 20 and high - (high - low) / 20 < max(amounts) <= high


# All of them, and their place in a training


@every_augmentation
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_neither_threads_nor_processes_change_anything(engine, name, channels):
    build = engine.registry.resolve("augmentation", {"name": name, **ALL[name]}, "augment.0")
    there, here = build(), ForkingPickler.loads(ForkingPickler.dumps(build()))  # as it goes to a loader's process
    for dtype in (torch.uint8, torch.float32):
        image, results = noise(channels, 96, 160, dtype=dtype), []
        for augmentation, n_threads in ((there, 1), (here, 2)):
            rng = np.random.default_rng(0)
            torch.set_num_threads(n_threads)
            try:
                results.append([augmentation.image(image, augmentation.draw(rng)) for _ in range(5)])
            finally:
                torch.set_num_threads(1)
        assert all(map(torch.equal, *results))
        assert any(not torch.equal(one, image) for one in results[0])


@every_augmentation
def test_a_mirrored_view_is_an_image_too(engine, name):
    augmentation, rng = engine.registry.resolve("augmentation", name, "augment.0")(), np.random.default_rng(0)
    image = noise(3, 32, 32)
    view = image.permute(0, 2, 1)[:, 4:28, 2:30]
    for drawn in (augmentation.draw(rng) for _ in range(5)):
        assert torch.equal(augmentation.image(view, drawn), augmentation.image(view.contiguous(), drawn))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "rotation", "degrees": 200}, "augment.0.degrees"),
        ({"name": "affine", "scale": [1.2, 0.8]}, r"augment.0: scale = \[1.2, 0.8\]: the smaller number comes first"),
        ({"name": "random_resized_crop", "scale": [0.9, 0.5]}, "the smaller number comes first"),
        ({"name": "random_resized_crop", "ratio": [1.1, 1.2]}, "augment.0.ratio"),
        ({"name": "colour_jitter", "hue": 0.6}, "augment.0.hue"),
        ({"name": "colour_jitter", "brigthness": 0.6}, "did you mean 'brightness'"),
    ],
)
def test_a_mistake_is_told(engine, table, message):
    with pytest.raises(I2IError, match=message):
        engine.registry.resolve("augmentation", table, "augment.0")()


class Grey:
    """An augmentation of one channel."""

    def draw(self, rng: np.random.Generator) -> None: ...

    def image(self, pixels: torch.Tensor, drawn: None) -> torch.Tensor:
        if len(pixels) != 1:
            raise ValueError(f"changes images of 1 channel, not of {len(pixels)}")
        return pixels

    def mask(self, mask: torch.Tensor, drawn: None) -> torch.Tensor:
        return mask


class Cut(Grey):
    """An augmentation that loses a row."""

    def image(self, pixels: torch.Tensor, drawn: None) -> torch.Tensor:
        return pixels[:, 1:]


class Empty:
    """An augmentation without any method."""


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": "grey"}, "augment.0: changes images of 1 channel, not of 3"),
        ({"name": "grey", "domain": "a"}, ""),
        ({"name": "cut"}, r"augment.0: image\(\) gives torch.uint8 of shape \(1, 15, 16\) for .*"),
        ({"name": "empty"}, "'empty' cannot stand here: it is no Augmentation, it lacks draw, image, mask"),
    ],
)
def test_what_cannot_change_the_images_is_told_at_the_start(table, message):
    plugin = types.ModuleType("mine")
    offers = {"grey": Grey, "cut": Cut, "empty": Empty}
    plugin.register_augmentations = hookimpl(lambda: offers, specname="register_augmentations")
    registry = Engine([plugin], entry_points=False).registry
    found = read_list({"augment": [table]}, "augment", "augmentation", AugmentOptions, registry, [])
    if not message:
        assert augment(found[0], (1, 3)).domain == "a"
    else:
        with pytest.raises(I2IError, match=message):
            augment(found[0], (1, 3))


class Noises:
    """Images of noise, from memory."""

    in_memory = True

    def __len__(self) -> int:
        return 4

    def name(self, index: int) -> str:
        return f"{index}.png"

    def read(self, index: int) -> Image.Image:
        return Image.fromarray(np.random.default_rng(index).integers(0, 256, (32, 32), np.uint8))

    def digest(self) -> str:
        return "noises"


class Twins:
    """Pairs of equal images, with the image itself for a mask."""

    def train(self) -> Split:
        return Split(Noises(), Noises(), paired=True, extras={"mask_b": Noises()})

    def test(self) -> None: ...


def seen(*augment: Augment) -> Batch:
    """400 images of each domain, as training sees them."""
    options = DataOptions(load_size=32, crop_size=32, flip=False, batch_size=400, channels=1, n_workers=0)
    (batch,) = open_data(options, Twins(), paired=True, augment=augment, seed=0).batches(0)
    return batch


class Broken(Grey):
    """An augmentation that does not promise what others do, with larger images."""

    def __init__(self, how: str) -> None:
        self.how = how

    def image(self, pixels: torch.Tensor, drawn: None) -> torch.Tensor:
        if self.how == "writes":
            return pixels.fill_(0)
        return {"type": pixels.double(), "shape": pixels[:, :30], "array": pixels.numpy()}.get(self.how, pixels)

    def mask(self, mask: torch.Tensor, drawn: None) -> torch.Tensor:
        return mask[:, 1:] if self.how == "mask" else mask


@pytest.mark.parametrize("n_workers", [0, 1])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("type", r"augment: Broken.image\(\) gives torch.float64 of shape \(1, 32, 32\) for torch.uint8"),
        ("shape", r"augment: Broken.image\(\) gives torch.uint8 of shape \(1, 30, 32\)"),
        ("array", r"augment: Broken.image\(\) gives a ndarray, not a tensor"),
        ("mask", r"augment: Broken.mask\(\) gives torch.uint8 of shape \(1, 31, 32\)"),
    ],
)
def test_a_broken_promise_ends_the_training_with_one_sentence(how, message, n_workers):
    options = DataOptions(load_size=32, crop_size=32, flip=False, channels=1, n_workers=n_workers)
    data = open_data(options, Twins(), paired=True, augment=[Augment(Broken(how))], seed=0)
    with pytest.raises(I2IError, match=f"^{message}"):
        next(data.loader(0, 1))


def test_what_is_not_finite_is_no_image():
    infinite = types.SimpleNamespace(draw=lambda rng: None, image=lambda pixels, drawn: pixels / 0, mask=None)
    with pytest.raises(I2IError, match="not finite"):
        Augment(infinite)({"a": np.ones((1, 4, 4), np.float32)}, "a", Range(0.0, 1.0), np.random.default_rng(0))


def test_images_in_memory_stay_what_an_augmentation_writes_to():
    options = DataOptions(load_size=32, crop_size=32, flip=False, channels=1, n_workers=0, batch_size=4)
    data = open_data(options, Twins(), paired=True, augment=[Augment(Broken("writes"), domain="a")], seed=0)
    (batch,) = data.batches(0)
    assert (batch.a == -1).all()
    assert not (data.preview().a == -1).all() and not (batch.extras["mask_b"] == 0).all()


def changed(images: torch.Tensor, others: torch.Tensor) -> list[bool]:
    return [not torch.equal(one, other) for one, other in zip(images, others, strict=True)]


@pytest.mark.filterwarnings("error")
def test_pairs_share_what_is_drawn_unless_told_otherwise():
    plain, shared, own = seen(), seen(Augment(QuarterTurn())), seen(Augment(QuarterTurn(), shared=False))
    assert not any(changed(plain.a, plain.b)) and not any(changed(shared.a, shared.b))
    assert sum(changed(shared.a, plain.a)) == pytest.approx(300, abs=40)
    assert sum(changed(own.a, own.b)) == pytest.approx(300, abs=40)
    for batch in (shared, own):
        assert ((batch.extras["mask_b"] * 2 - 1) - batch.b).abs().max() < 1e-5  # a mask goes with its own image


def test_one_domain_alone_is_changed():
    plain, found = seen(), seen(Augment(QuarterTurn(), domain="a"))
    assert sum(changed(found.a, plain.a)) == pytest.approx(300, abs=40)
    assert not any(changed(found.b, plain.b))


def test_the_probability_is_that_of_a_change():
    plain, found = seen(), seen(Augment(ColourJitter(), probability=0.3))
    assert sum(changed(found.a, plain.a)) == pytest.approx(120, abs=40)


def test_augmentations_follow_each_other():
    turns, jitter = Augment(QuarterTurn()), Augment(ColourJitter(contrast=0.0, saturation=0.0))
    both, turned = seen(turns, jitter), seen(turns)
    dark, light = both.a / 2 + 0.5, turned.a / 2 + 0.5
    inside = (dark < 1).float()
    factor = (inside * dark).sum((1, 2, 3)) / (inside * light).sum((1, 2, 3))  # brightness alone, of the turned image
    assert (dark - (factor.view(-1, 1, 1, 1) * light).clamp(0, 1)).abs().max() < 1 / 255
    assert factor.min() < 0.85 and factor.max() > 1.15


def test_16_bits_keep_their_depth():
    values = np.random.default_rng(0).integers(0, 65536, (1, 32, 32)).astype(np.uint16)
    limits, rng = Range(0.0, 65535.0), np.random.default_rng(0)
    still = Augment(Affine(degrees=0.0, translate=(0.0, 0.0), scale=(1.0, 1.0), shear=0.0))
    assert np.array_equal(still({"a": values}, "a", limits, rng)["a"], values)
    turned = Augment(rotation(degrees=45.0))({"a": values}, "a", limits, rng)["a"]
    assert turned.dtype == np.uint16 and len(np.unique(turned)) > 900
