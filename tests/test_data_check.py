"""`i2i data check`: each thing that it finds, in sets made for it, and nothing in a set that is sound."""

import io
import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageDraw, ImageEnhance
from test_cli import i2i, mistake

from i2i import cli
from i2i.data import open_data
from i2i.data.source import Split
from i2i.data.table import DataOptions
from i2i.datasets.check import Training, check, of_folders, of_source
from i2i.datasets.check.facts import proposed
from i2i.datasets.check.findings import printable
from i2i.datasets.check.fingerprints import ALIKE, fingerprint, nearest
from i2i.datasets.check.looking import thumbnail
from i2i.errors import I2IError
from i2i.images import Picture

SIZE = (64, 48)


def drawing(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Discs on a coloured ground: no two of them alike."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 256, (4, 5, 3), np.uint8)
    image = Image.fromarray(ground).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for x, y, *colour in rng.integers(0, 256, (6, 5)).tolist():
        x, y, radius = x * size[0] // 256, y * size[1] // 256, size[1] // 8
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), tuple(colour))
    return image


@pytest.fixture
def folders(tmp_path) -> dict[str, Path]:
    """A sound set of photos and paintings, some of them held out."""
    found = {option: tmp_path / option for option in ("a", "b", "test_a", "test_b")}
    for number, folder in enumerate(found.values()):
        folder.mkdir()
        for i in range(6):
            drawing(100 * number + i).save(folder / f"{number} {i}.png")
    return found


def messages(folders: dict[str, Path], **options) -> dict[str, list[str]]:
    """What is found by level; with a recipe's [data] if there is any."""
    images = of_folders(folders)
    if options:
        options = {"load_size": 48, "crop_size": 32, "names": ("a", "b")} | options
        images = of_source(lambda: Fixed(folders), Training(DataOptions(**options)), {})
    found: dict[str, list[str]] = {"error": [], "warning": [], "note": []}
    for finding in check(images).findings:
        found[finding.level].append(" | ".join([finding.message, *(e.text for e in finding.examples), finding.advice]))
    found["note"] = [text for text in found["note"] if " has only " not in text]
    return found


class Fixed:
    """A source of folders."""

    def __init__(self, folders: dict[str, Path], **split) -> None:
        self.parts, self.split = {part.split + part.domain: part.images for part in of_folders(folders).parts}, split

    def train(self) -> Split:
        return Split(self.parts["traina"], self.parts["trainb"], **self.split)

    def test(self) -> Split | None:
        return Split(self.parts["testa"], self.parts["testb"]) if "testa" in self.parts else None


def test_nothing_is_found_in_a_sound_set(folders):
    assert messages(folders) == {"error": [], "warning": [], "note": []}


def test_what_cannot_be_read_is_told_with_its_reason(folders):
    whole = (folders["a"] / "0 1.png").read_bytes()
    (folders["a"] / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folders["b"] / "nothing.png").write_bytes(b"")
    first, second = messages(folders)["error"]
    assert re.match(r"cannot be read: 1 of 7 images of a \| cut\.png .+", first)
    assert re.match(r"cannot be read: 1 of 7 images of b \| nothing\.png .+", second)
    found = messages(folders, unreadable="skip")
    assert not found["error"] and len(found["warning"]) == 2


BREAKS = {
    "sound": lambda folder: None,
    "alpha": lambda folder: drawing(1).convert("RGBA").save(folder / "alpha.png"),
    "cut off": lambda folder: (folder / "cut.png").write_bytes((folder / "0 1.png").read_bytes()[:800]),
    "text": lambda folder: (folder / "text.jpg").write_text("no image"),
    "deep among others": lambda folder: tifffile.imwrite(folder / "deep.tif", np.ones((40, 40), np.uint16)),
    "five bands": lambda folder: tifffile.imwrite(folder / "bands.tif", np.ones((40, 40, 5), np.uint8)),
    "not a number": lambda folder: np.save(folder / "nan.npy", np.full((40, 40, 3), np.nan, np.float32)),
    "too small": lambda folder: drawing(1, (20, 20)).save(folder / "small.png"),
}


@pytest.mark.filterwarnings("ignore")  # of images that are left out
@pytest.mark.parametrize("preprocess", ["resize_and_crop", "crop"])
@pytest.mark.parametrize("unreadable", ["error", "skip"])
@pytest.mark.parametrize("broken", BREAKS)
def test_it_refuses_what_training_refuses(folders, broken, unreadable, preprocess):
    BREAKS[broken](folders["a"])
    options = DataOptions(load_size=48, crop_size=32, preprocess=preprocess, unreadable=unreadable, cache=False)
    report = check(of_source(lambda: Fixed(folders), Training(options), {}))
    try:
        data = open_data(options, Fixed(folders), paired=False, seed=0)
        for step in range(7):
            data.batches(step)
        refuses = False
    except I2IError:
        refuses = True
    assert report.refused == refuses


def with_masks(folders: dict[str, Path], size: tuple[int, int], **split) -> "Fixed":
    masks = folders["a"].parent / "masks"
    masks.mkdir()
    for file in folders["a"].iterdir():
        Image.new("L", size, 255).save(masks / file.name)
    extras = {"mask_a": of_folders({"a": masks}).parts[0].images}
    return Fixed({"a": folders["a"], "b": folders["b"]}, extras=extras, **split)


def with_damaged_mask(folders: dict[str, Path]) -> "Fixed":
    source = with_masks(folders, SIZE)
    (folders["a"].parent / "masks" / "0 3.png").write_bytes(b"")
    return source


def with_deep_held_out(folders: dict[str, Path]) -> "Fixed":
    for file in folders["test_b"].iterdir():
        file.unlink()
        tifffile.imwrite(file.with_suffix(".tif"), np.arange(48 * 64, dtype=np.uint16).reshape(48, 64))
    return Fixed(folders)


def with_two_sizes(folders: dict[str, Path]) -> "Fixed":
    drawing(1, (80, 60)).save(folders["b"] / "1 0.png")
    return Fixed({"a": folders["a"], "b": folders["b"]}, paired=True)


SETS = {
    "masks of their size": lambda folders: with_masks(folders, SIZE),
    "larger masks": lambda folders: with_masks(folders, (80, 60)),
    "masks smaller than the crop": lambda folders: with_masks(folders, (20, 20)),
    "a damaged mask": with_damaged_mask,
    "deep held-out images": with_deep_held_out,
    "two sizes": with_two_sizes,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("n_batches", [1, 2])
@pytest.mark.parametrize("preprocess", ["resize_and_crop", "crop", "none"])
@pytest.mark.parametrize("made", SETS)
def test_it_refuses_sets_that_training_refuses(folders, made, preprocess, n_batches, paired):
    source = SETS[made](folders)
    options = DataOptions(load_size=48, crop_size=32, preprocess=preprocess, cache=False)
    training = Training(options, paired=paired, n_batches=n_batches, multiple=16)
    try:
        open_data(options, source, paired=paired, n_batches=n_batches, multiple=16, seed=0)
        refuses = False
    except I2IError:
        refuses = True
    assert check(of_source(lambda: source, training, {})).refused == refuses


def test_sides_become_multiples_of_what_the_networks_need(folders):
    for file in (*folders["a"].iterdir(), *folders["b"].iterdir()):
        drawing(1, (65, 51)).save(file)
    given = ["cyclegan", f"--a={folders['a']}", f"--b={folders['b']}", "--set", "data.preprocess=none"]
    document = json.loads(i2i("data", "check", *given, "--json").out)
    assert document["parts"][0]["becomes"] == [64, 52]  # the generator halves twice


def test_equal_images_are_found_whatever_their_files(folders):
    pixels = Image.open(folders["a"] / "0 1.png")
    pixels.save(folders["a"] / "again.bmp")
    pixels.save(folders["test_a"] / "held out.tif")
    pixels.save(folders["b"] / "strange.png", compress_level=0)
    text = "\n".join(messages(folders)["warning"])
    assert "the same as another one: 1 of 7 images of a | 0 1.png = again.bmp" in text
    assert (
        "held out, and a training image of a as well: 1 of 7 images of a (test) | a (test): held out.tif = a:" in text
    )
    assert "an image of a as well: 1 of 7 images of b | b: strange.png = a:" in text
    assert text.startswith("held out")  # the worst comes first


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((32, 24), Image.Resampling.BICUBIC),
        lambda image: image.resize((100, 75), Image.Resampling.BICUBIC),
        lambda image: ImageEnhance.Brightness(image).enhance(1.05),
        lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    ],
    ids=["halved", "enlarged", "brighter", "paler"],
)
def test_versions_of_an_image_are_found(folders, change):
    image = Image.open(folders["a"] / "0 1.png")
    change(image).save(folders["test_a"] / "version.jpg", quality=85)
    (text,) = messages(folders)["warning"]
    assert text.startswith("held out, and almost like a training image of a: 1 of 7 images of a (test) | ")
    assert re.search(r"a \(test\): version\.jpg ≈ a: 0 1\.png \(9[89]\.\d %\)", text)


def print_of(image: Image.Image) -> np.ndarray:
    return fingerprint(thumbnail(Picture.of(image), (16, 16)))


def test_the_likeness_is_the_correlation_of_slopes():
    """By its definition: the share of what the lowest 8 frequencies of the thumbnails' slopes have in common."""
    thumbnails = [np.asarray(drawing(seed).resize((16, 16), Image.Resampling.BILINEAR), np.float64) for seed in (1, 2)]
    x = (np.arange(16) + 0.5) / 16
    products = {}
    for i, j in ((0, 0), (0, 1), (1, 1)):
        total = 0.0
        for u in range(8):
            for v in range(8):
                scale = (1 if u else 0.5) * (1 if v else 0.5) * 4 / 256 * (u * u + v * v)
                wave = np.cos(np.pi * u * x)[:, None, None] * np.cos(np.pi * v * x)[None, :, None]
                total += scale * float(((thumbnails[i] * wave).sum((0, 1)) * (thumbnails[j] * wave).sum((0, 1))).sum())
        products[i, j] = total
    likeness = products[0, 1] / np.sqrt(products[0, 0] * products[1, 1])
    assert print_of(drawing(1)) @ print_of(drawing(2)) == pytest.approx(likeness, abs=1e-5)


def test_the_threshold_tells_versions_from_other_drawings(engine):
    """On the embedded set: nearly all versions are found, and hardly any two drawings are taken for versions."""
    split = engine.registry.get("source", "fluent-emoji").factory(limit=80).train()
    images = [split.b.read(index) for index in range(len(split.b))]
    prints = np.stack([print_of(image) for image in images])
    for change in (
        lambda image: image.resize((32, 32), Image.Resampling.BICUBIC),
        lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    ):
        versions = np.stack([print_of(change(image)) for image in images])
        assert ((prints * versions).sum(1) > ALIKE).mean() > 0.95
    numbers = np.arange(len(images))
    likeness, _ = nearest(prints, prints, (numbers, numbers))
    assert (likeness > ALIKE).mean() < 0.05


def test_the_nearest_are_those_of_a_full_comparison(monkeypatch):
    monkeypatch.setattr("i2i.datasets.check.fingerprints._CELLS", 100)  # several blocks, the last one not full
    rng = np.random.default_rng(0)
    these, others = (rng.normal(size=(n, 8)).astype(np.float32) for n in (23, 17))
    kinds = rng.integers(0, 5, 23), rng.integers(0, 5, 17)
    products = np.where(kinds[0][:, None] == kinds[1], -1, these @ others.T)
    likeness, index = nearest(these, others, kinds)
    assert np.allclose(likeness, products.max(1)) and (index == products.argmax(1)).all()


@pytest.mark.slow
def test_many_images_are_compared_in_seconds():
    prints = np.random.default_rng(0).normal(size=(20_000, 192)).astype(np.float32)
    numbers = np.arange(len(prints))
    started = time.perf_counter()
    nearest(prints, prints, (numbers, numbers))
    assert time.perf_counter() - started < 20


def test_partners_of_a_pair_may_be_alike(folders):
    for i in range(6):
        ImageEnhance.Color(drawing(i)).enhance(0.9).save(folders["b"] / f"1 {i}.png")
    given = {option: folders[option] for option in ("a", "b")}
    for paired, n in ((False, 1), (True, 0)):
        images = of_source(lambda paired=paired: Fixed(given, paired=paired), Training(DataOptions()), {})
        found = [f.message for f in check(images).findings if f.message.startswith("almost like an image of a")]
        assert len(found) == n


def test_grey_and_colour_among_each_other(folders):
    drawing(50).convert("L").save(folders["a"] / "grey.png")
    drawing(51).convert("L").convert("RGB").save(folders["a"] / "grey too.jpg")
    (text,) = messages(folders)["note"]
    assert text.startswith("grey, the others in colour: 2 of 8 images of a | grey too.jpg | grey.png")
    made_grey = messages(folders, channels=(1, 3))["note"]
    assert any(text.startswith("in colour, and made grey as data.channels says: 6 of 8 images") for text in made_grey)


def test_empty_and_passed_over_files(folders):
    Image.new("RGB", SIZE, (10, 20, 30)).save(folders["a"] / "empty.png")
    (folders["b"] / "notes.txt").write_text("nothing")
    (folders["b"] / "photo.heic").write_text("nothing")
    found = messages(folders)
    assert found["note"] == ["files that are no images, beside those of b: 1 .txt | "]
    assert any(".heic" in text for text in found["warning"])
    assert any(text.startswith("one colour all over: 1 of 7 images of a | empty.png") for text in found["warning"])


def test_what_nobody_sees_counts_for_nothing(folders):
    drawn = drawing(70).convert("RGBA")
    drawn.putalpha(0)
    drawn.save(folders["a"] / "transparent.png")
    sign = Image.new("RGBA", SIZE, (0, 0, 0))
    sign.putalpha(drawing(71).convert("L"))
    sign.save(folders["a"] / "sign.png")
    (text,) = messages(folders)["warning"]
    assert text.startswith("one colour all over: 1 of 8 images of a | transparent.png")


def test_what_files_warn_of_is_told_once(folders, recwarn):
    for i in range(12):
        drawing(80 + i).save(folders["b"] / f"p{i:02}.jpg", icc_profile=b"no profile")
    (text,) = messages(folders)["warning"]
    assert text.startswith("read, but not without a warning: 12 images | ") and text.count(" profile is damaged") == 10
    assert not recwarn.list


def test_a_profile_cannot_move_the_cursor(folders):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    name = "sRGB built-in".encode("utf-16-be")
    assert name in profile
    hostile = profile.replace(name, "\x1b[2J<b>built!".encode("utf-16-be"))
    drawing(1).save(folders["a"] / "hostile.png", icc_profile=hostile)
    told = i2i("data", "check", f"--a={folders['a']}")
    assert "\x1b" not in told.out and r"\x1b[2J<b>built!" in told.out


def test_a_table_of_many_kinds_stays_short(folders):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for i in range(20):
        np.save(folders["a"] / f"{i}.npy", np.asarray(drawing(300 + i, (40 + i, 40))))
        profile = srgb.replace("built".encode("utf-16-be"), f"b{i:04}".encode("utf-16-be"))
        drawing(400 + i).save(folders["a"] / f"{i}.png", icc_profile=profile)
    told = i2i("data", "check", f"--a={folders['a']}").out
    assert "mode uint8: 20" in told and "14 others" in told and told.count("sRGB") == 6
    (part,) = json.loads(i2i("data", "check", f"--a={folders['a']}", "--json").out)["parts"]
    assert len(part["profiles"]) == 20


def test_versions_among_held_out_images_are_told(folders):
    drawing(200).resize((50, 40)).save(folders["test_a"] / "version.png")
    (text,) = messages(folders)["note"]
    assert text.startswith("almost like another one: 2 of 7 images of a (test) | ")


def test_sizes_that_are_enlarged_squeezed_or_too_small(folders):
    drawing(60, (24, 24)).save(folders["a"] / "small.png")
    drawing(61, (400, 100)).save(folders["a"] / "wide.png")
    notes = messages(folders, load_size=48)["note"]
    assert any(text.startswith("enlarged, up to 2.0 times: 1 of 8 images of a | small.png") for text in notes)
    squeezed = next(text for text in notes if text.startswith("squeezed to another shape, up to 4.0 times"))
    assert "| wide.png |" in squeezed
    (text,) = messages(folders, preprocess="crop")["error"]
    assert text.startswith("not as the recipe wants them: 1 of 8 images of a | small.png is 24x24 px")


def test_deep_images_and_their_range(folders):
    for option in ("a", "test_a"):
        for file in folders[option].iterdir():
            file.unlink()
        for i in range(4):
            values = np.random.default_rng(i).integers(0, 4096, (40, 40), np.uint16)
            values[:2, :2] = [[0, 0], [4095, 4095]]
            tifffile.imwrite(folders[option] / f"{i}{option}.tif", values)
    (note,) = messages(folders)["note"]
    assert re.match(
        r"a uses little of what uint16 holds.+ from 0 to 4095, .+ data\.range = \[\[0\.0, 4095\.0\], \"type\"\]", note
    )
    for i, values in enumerate(np.random.default_rng(9).normal(300, 20, (3, 40, 40)).astype(np.float32)):
        tifffile.imwrite(folders["b"] / f"float {i}.tif", values)
    assert any(text.startswith("float32, the others uint8: 3 of 9 images of b") for text in messages(folders)["error"])
    for file in folders["b"].glob("*.png"):
        file.unlink()
    errors = messages(folders, channels=1)["error"]
    assert any(text.startswith("b holds float32, which says nothing of its range") for text in errors)
    assert not any("nothing of its range" in text for text in messages(folders, channels=1, range="auto")["error"])


def test_values_of_all_bands_make_the_range(tmp_path):
    """512 * 512 * 7 values in equal steps of 448 = 64 * 7 would all be of the first band."""
    bands = np.arange(7, dtype=np.uint16) * 500
    noise = np.random.default_rng(0).integers(0, 100, (512, 512, 1), np.uint16)
    np.save(tmp_path / "bands.npy", bands + noise)
    (part,) = json.loads(i2i("data", "check", f"--a={tmp_path}", "--json").out)["parts"]
    low, high = np.percentile(bands + noise, [0.1, 99.9])
    assert part["values"] == pytest.approx([0, low, high, 3099], abs=5)


def test_one_range_is_proposed_for_both_domains(folders):
    for option, level in (("a", 100), ("b", 3000)):
        for file in folders[option].iterdir():
            file.unlink()
        for i in range(3):
            values = np.random.default_rng(i).normal(level, level / 20, (40, 40)).astype(np.float32)
            tifffile.imwrite(folders[option] / f"{i}{option}.tif", values)
    given = {option: folders[option] for option in ("a", "b")}
    errors = [text for text in messages(given, channels=1)["error"] if "nothing of its range" in text]
    proposals = {text.partition("Set data.range = ")[2] for text in errors}
    assert len(errors) == 2 and len(proposals) == 1 and '"type"' not in proposals.pop()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, 10, 240, 255), (0, 255)),
        ((5, 20, 4000, 4095), (0, 4095)),
        ((0.0, 0.01, 0.97, 1.0), (0, 1)),
        ((-1.0, -0.9, 0.9, 1.0), (-1, 1)),
        ((-1024.0, -998.0, 1503.0, 3071.0), (-1000, 1600)),
    ],
)
def test_a_proposed_range_is_round_and_holds_the_percentiles(values, expected):
    assert proposed(*values) == expected


def test_pairs_of_two_shapes_and_masks_that_mark_nothing(folders, tmp_path):
    given = {option: folders[option] for option in ("a", "b")}
    drawing(70, (48, 64)).save(given["b"] / "1 0.png")
    masks = tmp_path / "masks"
    masks.mkdir()
    for i, file in enumerate(sorted(given["a"].iterdir())):
        Image.new("L", SIZE if i else (10, 10), 255 * (i != 1)).save(masks / file.name)
    extras = {"mask_a": of_folders({"a": masks}).parts[0].images, "label_a": [0, 0, 0, 1, 1, 2]}
    images = of_source(lambda: Fixed(given, paired=True, extras=extras), Training(DataOptions()), {})
    report = check(images)
    found = {f.message: [e.text for e in f.examples] for f in report.findings}
    assert found["another shape than the partner of b: 1 of 6 images of a"] == ["0 0.png"]
    assert found["masks to look at: 2 of 6 images of a"] == [
        "0 0.png is 10x10 px, and its image 64x48",
        "0 1.png marks nothing: it is black all over",
    ]
    assert report.document()["parts"][0]["classes"] == {0: 3, 1: 2, 2: 1}


def test_a_set_with_itself_is_meant(folders):
    given = {"a": folders["a"], "b": folders["a"]}
    for paired, n in ((True, 0), (False, 1)):
        images = of_source(lambda paired=paired: Fixed(given, paired=paired), Training(DataOptions()), {})
        assert sum(f.message.startswith("an image of a as well") for f in check(images).findings) == n


def test_what_the_method_needs_and_the_source_does_not_give(folders):
    told = i2i("data", "check", "cycada", f"--a={folders['a']}", f"--b={folders['b']}")
    assert told.code == 1 and "label_a" in told.out
    told = i2i("data", "check", "pix2pix", "--set", "data.source.paired=false")
    assert told.code == 1 and "pairs" in told.out


def test_what_a_loss_needs_and_the_source_does_not_give(folders):
    told = i2i("data", "check", "cyclegan-masked", f"--a={folders['a']}", f"--b={folders['b']}")
    assert told.code == 1 and "gives no mask_a and no mask_b, which the recipe needs" in " ".join(told.out.split())


def test_a_source_that_refuses_is_looked_at_all_the_same(folders, tmp_path):
    (folders["a"] / "broken.png").write_bytes(b"")
    recipe = tmp_path / "pairs.json"
    source = {"name": "pairs", "a": str(folders["a"]), "b": str(folders["b"])}
    data = {"source": source, "load_size": 48, "crop_size": 32}
    recipe.write_text(json.dumps({"method": {"name": "pix2pix"}, "data": data}))
    told = i2i("data", "check", recipe)
    assert told.code == 1 and "have no partner" in told.out and "broken.png" in told.out


@pytest.mark.parametrize(
    ("a", "b", "titles"),
    [
        ("horses", "zebras", ["horses", "zebras"]),
        ("horses/train", "zebras/train", ["horses/train", "zebras/train"]),
        ("horses/train", "horses/train", ["a", "b"]),
    ],
)
def test_folders_are_told_apart(tmp_path, a, b, titles):
    for folder in (a, b):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        drawing(1).save(tmp_path / folder / "1.png")
    assert [part.title for part in of_folders({"a": tmp_path / a, "b": tmp_path / b}).parts] == titles


def test_the_command_as_it_is_typed(folders, tmp_path):
    given = [f"--{option.replace('_', '-')}={folder}" for option, folder in folders.items()]
    told = i2i("data", "check", *given)
    assert told.code == 0 and "nothing that training would refuse" in told.out
    (folders["b"] / "broken.jpg").write_bytes(b"no image")
    told = i2i("data", "check", *given, "--json")
    assert told.code == 1
    document = json.loads(told.out)
    assert [part["n_images"] for part in document["parts"]] == [6, 7, 6, 6]
    assert document["parts"][0]["median"] == list(SIZE) and document["findings"][0]["level"] == "error"
    assert document["estimate"] is None
    told = i2i("data", "check", f"--a={folders['a']}")
    assert told.code == 0  # one folder will do


def test_the_embedded_set(tmp_path):
    told = i2i("data", "check", "cyclegan", "--set", "data.source.limit=12", "--json")
    document = json.loads(told.out)
    assert told.code == 0
    assert [part["title"] for part in document["parts"]] == ["flat", "3d", "flat (test)", "3d (test)"]
    estimate = document["estimate"]
    assert estimate["memory"] == 4 * 12 * 64 * 64 * 3 and estimate["disk"] == 0 and estimate["n_images"] == 12


def test_the_cache_is_estimated(folders):
    options = DataOptions(load_size=48, crop_size=32, channels=(1, 3))
    images = of_source(lambda: Fixed(folders), Training(options), {})
    report = check(images)
    assert report.estimate is not None
    assert report.estimate.disk == 6 * (48 * 48 + 32 * 32) * (1 + 3)  # held-out images are kept as shown
    assert report.estimate.largest == 64 * 48 * 3 and report.estimate.seconds > 0


def test_the_page_shows_what_was_found(folders, tmp_path):
    name = '<script>alert(1)\x1b[31m\n&".png'
    Image.open(folders["a"] / "0 1.png").save(folders["a"] / name)
    page = tmp_path / "page.html"
    told = i2i("data", "check", f"--a={folders['a']}", f"--b={folders['b']}", "--html", page)
    assert told.code == 0 and "\x1b" not in told.out
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script&gt;" in text and "\x1b" not in text
    assert not re.search(r"(?:src|href)=\"(?!data:image/webp)", text) and "url(" not in text
    assert text.count("<img") == 2 + 13  # the two that are equal, and all of both parts


def test_the_page_stays_small(folders, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for i in range(70):
        Image.fromarray(rng.integers(0, 256, (150, 150, 3), np.uint8)).save(folders["a"] / f"noise {i}.bmp")
    page = tmp_path / "page.html"
    i2i("data", "check", f"--a={folders['a']}", "--html", page)
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") == 60 and len(text) < 5_000_000 / 4  # each of four parts may take that much
    monkeypatch.setattr("i2i.datasets.check.page.MAX_BYTES", 50_000)
    i2i("data", "check", f"--a={folders['a']}", "--html", page)
    assert len(page.read_text(encoding="utf-8")) < 100_000


def test_mistakes(folders, tmp_path):
    assert "--a" in mistake("data", "check")
    assert "no folder" in mistake("data", "check", "--a", tmp_path / "nowhere")
    assert "--set" in mistake("data", "check", f"--a={folders['a']}", "--set", "data.load_size=3")
    assert ".html" in mistake("data", "check", f"--a={folders['a']}", "--html", folders["a"] / "0 1.png")
    assert "no folder" in mistake("data", "check", f"--a={folders['a']}", "--html", tmp_path / "x" / "page.html")
    assert "cyclegan" in mistake("data", "check", "cyclegann")


def test_names_are_written_out():
    assert printable("straße 1.png") == "straße 1.png"
    assert printable("a\x1b[31m\n\udcff‮.png") == "a\\x1b[31m\\n\\udcff\\u202e.png"


def test_a_terminal_that_lacks_letters(folders, monkeypatch):
    drawing(0).save(folders["a"] / "żółw.png")
    told = io.BytesIO()
    with io.TextIOWrapper(told, encoding="cp1252") as stream:
        monkeypatch.setattr(sys, "argv", ["i2i", "data", "check", "--a", str(folders["a"])])
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        stream.flush()
        assert "?ó?w.png" in told.getvalue().decode("cp1252")
