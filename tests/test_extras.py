"""Labels and masks: they belong to the image shown, whatever the workers, ranks, crops and broken files."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from i2i.data import DataOptions, Split, UnreadableImage, open_data
from i2i.data.source import Images
from i2i.errors import I2IError, Problem
from i2i.method import Batch
from i2i.reference.cyclegan import CycleGAN
from i2i.rehearsal import made_up_extras
from i2i.trainer import ExtraTerm, Trainer, players_parameters

SIDE = 12


class Noise:
    """Images of noise, no two alike; `grey` gives their first channel alone."""

    def __init__(self, n, seed=0, grey=False, broken=()):
        self.pixels = np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8)
        self.grey, self.broken = grey, set(broken)

    def __len__(self):
        return len(self.pixels)

    def name(self, index):
        return f"{'mask' if self.grey else 'image'} {index}"

    def read(self, index):
        if index in self.broken:
            raise UnreadableImage(Problem(self.name(index), "is broken"))
        return Image.fromarray(self.pixels[index, :, :, 0] if self.grey else self.pixels[index])

    def digest(self):
        return f"{self.pixels.tobytes().hex()} {self.grey} {sorted(self.broken)}"


class Given:
    """A source of these splits."""

    def __init__(self, train, test=None):
        self.splits = train, test

    def train(self):
        return self.splits[0]

    def test(self):
        return self.splits[1]


def annotated(n_a=9, n_b=7, paired=False, broken=(), broken_masks=()):
    """Labels are 10 + the index; masks are the first channels of their images."""
    a, b = Noise(n_a, broken=broken), Noise(n_b, seed=1)
    masks = {"mask_a": Noise(n_a, grey=True, broken=broken_masks), "mask_b": Noise(n_b, seed=1, grey=True)}
    return Split(a, b, paired, {"label_a": list(range(10, 10 + n_a)), "label_b": list(range(10, 10 + n_b)), **masks})


def opened(split, paired=False, test=None, needs=(), n_batches=1, n_micro_batches=1, rank=0, world_size=1, **options):
    table = {"load_size": SIDE, "crop_size": 9, "batch_size": 2, "n_workers": 0, "cache": False, **options}
    counts = {"n_batches": n_batches, "n_micro_batches": n_micro_batches, "rank": rank, "world_size": world_size}
    return open_data(DataOptions(**table), Given(split, test), paired=paired, needs=needs, seed=3, **counts)


def assert_they_belong(batch, split):
    """Each image is a crop of the one that its label says, and its mask is the same crop of its first channel."""
    for images, domain, source in ((batch.a, "a", split.a), (batch.b, "b", split.b)):
        labels, masks = batch.extras[f"label_{domain}"], batch.extras[f"mask_{domain}"]
        assert labels.dtype == torch.int64 and labels.shape == (len(images),)
        assert masks.dtype == torch.float32 and masks.shape == (len(images), 1, *images.shape[2:])
        torch.testing.assert_close(masks, (images[:, :1] + 1) / 2, rtol=0, atol=1e-6)
        for image, label in zip(images, labels, strict=True):
            whole = source.pixels[int(label) - 10].transpose(2, 0, 1)
            shown = ((image + 1) * 127.5).round().byte().numpy()
            height, width = shown.shape[1:]
            corners = [(y, x) for y in range(SIDE - height + 1) for x in range(SIDE - width + 1)]
            crops = [whole[:, y : y + height, x : x + width] for y, x in corners]
            assert any(np.array_equal(shown, c) or np.array_equal(shown, c[:, :, ::-1]) for c in crops)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("n_workers", [0, 2])
@pytest.mark.parametrize("paired", [False, True])
def test_labels_and_masks_belong_to_the_images_shown(n_workers, paired, cache):
    split = annotated(n_b=9, paired=paired)
    data = opened(split, paired, n_workers=n_workers, cache=cache, n_batches=2, n_micro_batches=2)
    for batches in data.loader(0, 4):
        assert [len(batch.a) for batch in batches] == [4, 4]
        for batch in (part for whole in batches for part in whole.split(2)):
            assert_they_belong(batch, split)
            assert torch.equal(batch.extras["label_a"], batch.extras["label_b"]) or not paired


def test_the_images_are_those_that_come_without_extras():
    split = annotated()
    plain, rich = opened(Split(split.a, split.b)), opened(split)
    for step in range(8):
        (one,), (other,) = plain.batches(step), rich.batches(step)
        assert one.extras == {} and torch.equal(one.a, other.a) and torch.equal(one.b, other.b)


def test_two_processes_see_together_what_one_sees():
    split = annotated()
    one = opened(split, batch_size=4)
    two = [opened(split, rank=rank, world_size=2) for rank in (0, 1)]
    for step in range(4):
        (whole,), (left,), (right,) = one.batches(step), *(data.batches(step) for data in two)
        for name, values in whole.extras.items():
            assert torch.equal(values, torch.cat([left.extras[name], right.extras[name]]))


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("what", ["broken", "broken_masks"])
def test_an_image_is_left_out_with_its_mask(what, cache):
    split = annotated(**{what: {2, 5}})
    name = "mask" if what == "broken_masks" else "image"
    with pytest.raises(I2IError, match=f"{name} [25]: is broken"):
        list(opened(split, cache=cache).loader(0, 9))
    with pytest.warns(UserWarning, match=f"{name} [25]: is broken"):
        data = opened(split, cache=cache, unreadable="skip")
        batches = [data.batches(step)[0] for step in range(9)]
    for batch in batches:
        assert_they_belong(batch, split)
    assert {12, 15}.isdisjoint(torch.cat([batch.extras["label_a"] for batch in batches]).tolist())


def test_masks_are_resized_as_their_images():
    split = annotated()
    (batch,) = opened(split, load_size=7, crop_size=6).batches(0)
    torch.testing.assert_close(batch.extras["mask_a"], (batch.a[:, :1] + 1) / 2, rtol=0, atol=1e-6)
    assert batch.extras["mask_b"].min() >= 0 and batch.extras["mask_b"].max() <= 1


def test_what_does_not_fit_is_said():
    a, b = Noise(3), Noise(4)
    with pytest.raises(I2IError) as error:
        extras = {"a": [0, 1, 2], "label_b": [0, 1, 2], "label_a": [0, 0.5, 1], "box_b": 4 * [[0, 1]]}
        opened(Split(a, b, extras=extras))
    assert [str(problem) for problem in error.value.problems] == [
        "data.source: gives an extra 'a'; the name of an extra ends in _a or _b",
        "data.source: has 3 of 'label_b' for 4 images of b",
        "data.source: gives a 'label_a' that is neither an integer for each image nor images",
        "data.source: gives a 'box_b' that is neither an integer for each image nor images",
    ]
    with pytest.raises(I2IError, match="gives no label_a and no mask_b, which the recipe needs; `manifest`, `arrays`"):
        opened(Split(a, b), needs={"mask_b", "label_a"})
    assert opened(Split(a, b, extras={"label_a": [0, 1, 2]}), needs={"label_a"}).n_images == (3, 4)
    assert isinstance(a, Images) and not isinstance([0, 1], Images)


def test_a_batch_splits_and_moves_with_its_extras():
    batch = Batch(torch.zeros(4, 3, 2, 2), torch.zeros(4, 3, 2, 2), {"label_a": torch.arange(4)})
    assert [part.extras["label_a"].tolist() for part in batch.split(2)] == [[0, 1], [2, 3]]
    assert batch.map(lambda t: t + 1).extras["label_a"].tolist() == [1, 2, 3, 4]


def test_cyclegan_publishes_masks():
    method = CycleGAN(3, 3, generator=Tint, discriminator=Judge)
    batch = Batch(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), made_up_extras({"mask_a", "label_a"}, 2, (4, 4)))
    game = next(method.play(batch, 0))
    assert torch.equal(game.images["mask_a"], batch.extras["mask_a"]) and "label_a" not in game.images
    trainer = Trainer(
        method,
        {p: torch.optim.SGD(own.values(), lr=0.1) for p, own in players_parameters(method).items()},
        terms=[ExtraTerm("inside", mean_inside, 2.0, ("rec_a", "a", "mask_a"), "generators")],
    )
    empty = Batch(batch.a, batch.b, {"mask_a": torch.zeros(2, 1, 4, 4)})
    assert trainer.train_step([empty])["loss.inside"] == 0 < trainer.train_step([batch])["loss.inside"]


class Tint(nn.Conv2d):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 1)


class Judge(nn.Conv2d):
    def __init__(self, in_channels):
        super().__init__(in_channels, 1, 1)


def mean_inside(prediction, target, mask):
    return (mask * (prediction - target)).abs().mean()


def test_made_up_extras():
    made = made_up_extras({"mask_b", "label_a"}, 3, (8, 8))
    assert torch.equal(made["mask_b"], torch.ones(3, 1, 8, 8)) and torch.equal(made["label_a"], torch.zeros(3).long())
