"""Folders as classes: which label an image gets, and what is said about folders that do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2i.data import DataOptions, open_data
from i2i.errors import I2IError
from i2i_plugins.fluent_emoji import FluentEmoji
from i2i_plugins.labelled_folders import LabelledFolders

PLUGINS = Path(__file__).parent.parent / "plugins"


@pytest.fixture
def folder(tmp_path):
    """`save("a/cat/1.png")` makes an image; `folder.a` is the path to give."""

    class Folder:
        def save(self, *names):
            for name in names:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (len(name), 0, 0)).save(tmp_path / name)
            return self

        def source(self, *options):
            return LabelledFolders(**{option: str(tmp_path / option) for option in options})

        def problems(self, *options):
            with pytest.raises(I2IError) as error:
                self.source(*options)
            return [str(problem) for problem in error.value.problems]

    return Folder()


def labels(split, domain):
    images = {"a": split.a, "b": split.b}[domain]
    return dict(zip((images.name(i) for i in range(len(images))), split.extras[f"label_{domain}"], strict=True))


def test_classes_are_the_folders_of_a_in_order(folder):
    folder.save("a/dog/x/1.png", "a/cat/1.png", "a/cat/2.png", "b/1.png", "b/sub/2.png")
    split = folder.source("a", "b").train()
    assert labels(split, "a") == {"cat/1.png": 0, "cat/2.png": 0, "dog/x/1.png": 1}
    assert split.extras.keys() == {"label_a"} and not split.paired  # `sub` is no class, so b has none
    assert folder.source("a", "b").test() is None


def test_b_and_the_test_images_have_labels_where_their_folders_are_classes(folder):
    folder.save("a/cat/1.png", "a/dog/1.png", "a/hen/1.png", "b/hen/1.png", "b/dog/1.png")
    folder.save("test_a/dog/1.png", "test_b/9.png")
    source = folder.source("a", "b", "test_a", "test_b")
    assert labels(source.train(), "b") == {"dog/1.png": 1, "hen/1.png": 2}
    assert labels(source.test(), "a") == {"dog/1.png": 1} and source.test().extras.keys() == {"label_a"}


def test_labels_reach_the_batches(folder):
    source = folder.save("a/cat/1.png", "a/dog/22.png", "b/1.png").source("a", "b")
    options = DataOptions(load_size=8, crop_size=8, batch_size=2, n_workers=0)
    (batch,) = open_data(options, source, paired=False, needs={"label_a"}, seed=0).batches(0)
    red = ((batch.a[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    assert dict(zip(batch.extras["label_a"].tolist(), red, strict=True)) == {0: 11, 1: 12}


def test_what_does_not_fit_is_said(folder):
    folder.save("flat/1.png", "a/cat/1.png", "a/dog/1.png", "b/dog/1.png", "b/cats/1.png", "b/2.png")
    (message,) = [p for p in folder.problems("a", "test_a", "test_b", "b") if "test_a" in p]
    assert "there is no folder" in message
    first, second = folder.problems("a", "b")
    assert first == "data.source.b: the folder 'cats' is no class of a; did you mean 'cat'? (there is: cat, dog)"
    assert second == "data.source.b: 1 of 3 images lie in no class's folder: 2.png"
    folder.save(*(f"a/{i:02}.png" for i in range(13)))
    (message,) = folder.problems("a", "b")
    assert message.startswith("data.source.a: 13 of 15 images lie in no class's folder: 00.png, 01.png")
    assert message.endswith("09.png and 3 more")


def test_a_without_subfolders(folder):
    folder.save("a/1.png", "b/1.png")
    (message,) = folder.problems("a", "b")
    assert message.startswith("data.source.a:") and message.endswith(
        "holds no subfolder with images; each would be a class"
    )


def test_the_held_out_images_have_the_classes_of_the_training(folder):
    folder.save("a/cat/1.png", "b/1.png", "test_a/cow/1.png", "test_b/1.png")
    (message,) = folder.problems("a", "b", "test_a", "test_b")
    assert message == "data.source.test_a: the folder 'cow' is no class of a (there is: cat)"


def test_categories_of_the_embedded_emoji():
    index = json.loads((PLUGINS / "fluent_emoji/index.json").read_text(encoding="utf-8"))
    food, smileys = (next(i for i, c in enumerate(index["categories"]) if word in c) for word in ("Food", "Smileys"))
    found = {}
    for split in (FluentEmoji(labels=True).train(), FluentEmoji(labels=True).test()):
        for domain in "ab":
            found |= labels(split, domain)
    assert len(index["categories"]) == 8 and set(found.values()) == set(range(8))
    assert {found[f"{name}.png"] for name in ("pizza", "avocado", "doughnut")} == {food}
    assert {found[f"{name}.png"] for name in ("grinning", "sob")} == {smileys}
    few = FluentEmoji(limit=7, labels=True).train()
    assert labels(few, "a").items() <= found.items() and len(few.extras["label_a"]) == 7
    assert FluentEmoji().train().extras == {}


def test_masks_of_the_embedded_emoji_show_what_is_not_paper():
    split = FluentEmoji(limit=9, masks=True).test()
    for images, masks in ((split.a, split.extras["mask_a"]), (split.b, split.extras["mask_b"])):
        assert masks.digest() != images.digest() and masks.in_memory
        for index in range(9):
            pixels, mask = np.asarray(images.read(index)), np.asarray(masks.read(index))
            assert np.array_equal(mask == 255, (pixels < 250).any(2)) and set(np.unique(mask)) == {0, 255}
