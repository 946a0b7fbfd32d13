"""Sources of images: folders, pairs, the embedded set; what they find, and what they say about what is wrong."""

import errno
import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import document

from i2i.data import checksums, open_data
from i2i.data.folders import Folders, ImageFiles, Root
from i2i.data.table import DataOptions
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.images import formats
from i2i.options import validate
from i2i.recipe import resolve
from i2i.training import Training

PLUGINS = Path(__file__).parent.parent / "plugins"
SMALL = DataOptions(load_size=8, crop_size=8, n_workers=0)


def save(path, value=0, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def names(images):
    return [images.name(i) for i in range(len(images))]


@pytest.fixture(scope="module")
def registry():
    return Engine([PLUGINS / "pairs.py", PLUGINS / "fluent_emoji"], entry_points=False).registry


def source(registry, name, **options):
    return registry.resolve("source", {"name": name, **options}, "data.source")()


def problems(call):
    with pytest.raises(I2IError) as error:
        call()
    return [str(problem) for problem in error.value.problems]


def test_files_are_found_at_any_depth_sorted_without_hidden_ones(tmp_path):
    for name in ("b.PNG", "sub/a.jpeg", "a.webp", ".hidden.png", ".thumbs/c.png"):
        save(tmp_path / "a" / name)
    (tmp_path / "a/notes.txt").write_text("no image")
    save(tmp_path / "b/1.bmp")
    split = Folders(a=str(tmp_path / "a"), b=str(tmp_path / "b")).train()
    assert names(split.a) == ["a.webp", "b.PNG", "sub/a.jpeg"] and not split.paired
    assert split.a.read(0).size == split.a.header(0).size == (8, 8)


def test_files_of_every_format_lie_in_one_folder(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    (tmp_path / "a").mkdir()
    for suffix in formats.SUFFIXES:
        path = tmp_path / f"a/1{suffix.upper()}"
        if suffix in (".npy", ".npz"):
            with path.open("wb") as file:
                (np.save if suffix == ".npy" else np.savez)(file, pixels)
        else:
            Image.fromarray(pixels).save(path, {".jfif": "JPEG"}.get(suffix))
    images = Folders(a=str(tmp_path / "a"), b=str(tmp_path / "a")).train().a
    assert len(images) == len(formats.SUFFIXES)
    for index in range(len(images)):
        picture, header = images.read(index).with_channels(3), images.header(index)
        assert picture.pixels.shape == (4, 4, 3) and header.size == (4, 4) and header.channels == 3
        exact = formats.FORMATS[header.format].lossless and header.format not in ("gif", "webp")
        assert np.array_equal(picture.pixels, pixels) or not exact, images.name(index)


def test_what_is_wrong_with_folders_is_said_at_once(tmp_path):
    (tmp_path / "empty").mkdir()
    save(tmp_path / "photos/1.png")
    found = problems(lambda: Folders(a=str(tmp_path / "photo"), b=str(tmp_path / "empty")))
    assert found[0].startswith("data.source.a: there is no folder") and "did you mean 'photos'?" in found[0]
    assert found[1].startswith("data.source.b:") and "holds no image (.bmp," in found[1]
    good = str(tmp_path / "photos")
    assert problems(lambda: Folders(a=good)) == ["data.source.b: says no folder"]
    assert "is a file, not a folder" in problems(lambda: Folders(a=good, b=f"{good}/1.png"))[0]
    assert "there is no folder" in problems(lambda: Folders(a=f"{good}/1.png/x", b=good))[0]
    assert "~nobody-here" in problems(lambda: Folders(a="~nobody-here", b=good))[0]
    assert problems(lambda: Folders(a=good, b=good, test_a=good)) == ["data.source.test_b: says no folder"]


def test_a_folder_without_permission(tmp_path, monkeypatch):
    save(tmp_path / "a/1.png")
    save(tmp_path / "b/1.png")

    def scandir(path, really=os.scandir):
        if Path(path).name == "a":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return really(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (message,) = problems(lambda: Folders(a=str(tmp_path / "a"), b=str(tmp_path / "b")))
    assert message == f"data.source.a: cannot read {tmp_path / 'a'}: Permission denied"


@pytest.mark.parametrize("held_out", ["test", "val", ""])
def test_root(tmp_path, held_out):
    for name in ("trainA", "trainB", *((f"{held_out}A", f"{held_out}B") if held_out else ())):
        save(tmp_path / name / f"{name}.png")
    found = Root(path=str(tmp_path))
    assert names(found.train().a) == ["trainA.png"] and names(found.train().b) == ["trainB.png"]
    assert (found.test() is None) is (not held_out)
    if held_out:
        assert names(found.test().b) == [f"{held_out}B.png"]


def test_root_says_what_it_holds(tmp_path):
    save(tmp_path / "trainA/1.png")
    (tmp_path / "horses").mkdir()
    (message,) = problems(lambda: Root(path=str(tmp_path)))
    assert message.startswith("data.source.path:") and message.endswith("holds no trainB; it holds: horses, trainA")
    assert "there is no folder" in problems(lambda: Root(path=str(tmp_path / "gone")))[0]
    assert problems(lambda: Root()) == ["data.source.path: says no folder"]


def test_digest_is_of_names_and_contents(tmp_path):
    save(tmp_path / "a/1.png", 1)
    save(tmp_path / "b/1.png", 1)
    digests = Folders(a=str(tmp_path / "a"), b=str(tmp_path / "b")).train()
    assert digests.a.digest() == digests.b.digest()
    save(tmp_path / "b/1.png", 2)
    assert digests.a.digest() != digests.b.digest()
    (tmp_path / "a/1.png").rename(tmp_path / "a/2.png")
    changed = Folders(a=str(tmp_path / "a"), b=str(tmp_path / "b")).train().a
    save(tmp_path / "a/1.png", 1)
    (tmp_path / "a/2.png").unlink()
    assert changed.digest() != digests.a.digest()


def test_all_unreadable_files_are_named_at_once(tmp_path):
    for i in range(14):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / f"a/{i:02}.png").write_text("broken")
    save(tmp_path / "b/1.png")
    found = problems(
        lambda: open_data(SMALL, Folders(a=str(tmp_path / "a"), b=str(tmp_path / "b")), paired=False, seed=0)
    )
    assert len(found) == 11 and "09.png: is no image" in found[9] and found[10].startswith("and 4 more images")


def test_crop_larger_than_load_size_is_an_option_error():
    for table in ({"load_size": 64}, {"load_size": 64, "crop_size": 65}):
        found = []
        validate(DataOptions, table, "data", found)
        (message,) = map(str, found)
        assert message.startswith("data.crop_size: a crop of") and message.endswith("load_size = 64 px")
    assert validate(DataOptions, {"load_size": 64, "crop_size": 64, "channels": [1, 3]}, "data", found).channels == (
        1,
        3,
    )


def test_pairs_by_name(tmp_path, registry):
    for name in ("x/2.png", "1.png"):
        save(tmp_path / "a" / name)
    for name in ("x/2.jpg", "1.webp"):
        save(tmp_path / "b" / name)
    split = source(registry, "pairs", a=str(tmp_path / "a"), b=str(tmp_path / "b")).train()
    assert split.paired and names(split.a) == ["1.png", "x/2.png"] and names(split.b) == ["1.webp", "x/2.jpg"]


def test_pairs_name_the_files_without_a_partner(tmp_path, registry):
    for name in ("a/1.png", "a/2.png", "b/2.png", "b/3.png", "b/2.jpg"):
        save(tmp_path / name)
    found = problems(lambda: source(registry, "pairs", a=str(tmp_path / "a"), b=str(tmp_path / "b")))
    assert any("1 of 2 files have no partner" in m and m.endswith(": 1.png") for m in found)
    assert any("1 of 3 files have no partner" in m and m.endswith(": 3.png") for m in found)
    assert any(m.endswith("have the same name but for the suffix: 2.jpg and 2.png") for m in found)


def test_pairs_whose_names_have_other_endings(tmp_path, registry):
    for name in ("a/berlin/1_photo.png", "a/ulm/2_photo.png", "b/berlin/1_map_colour.png", "b/ulm/2_map_colour.png"):
        save(tmp_path / name)
    save(tmp_path / "b/berlin/1_map_ids.png")
    folders = {"a": str(tmp_path / "a"), "b": str(tmp_path / "b")}
    found = problems(lambda: source(registry, "pairs", **folders))
    assert found[-1] == 'data.source: with pattern_a = "*_photo", pattern_b = "*_map_colour" there would be 2 pairs'
    split = source(registry, "pairs", **folders, pattern_a="*_photo", pattern_b="*_map_colour").train()
    assert names(split.a) == ["berlin/1_photo.png", "ulm/2_photo.png"]
    assert names(split.b) == ["berlin/1_map_colour.png", "ulm/2_map_colour.png"]
    found = problems(lambda: source(registry, "pairs", **folders, pattern_a="*_fake"))
    assert found[0].startswith("data.source.pattern_a: no name in") and "is like '*_fake'" in found[0]
    for wrong in ("_photo", "*_*", "x/*"):
        (message,) = problems(lambda w=wrong: source(registry, "pairs", **folders, pattern_a=w))
        assert message == f"data.source.pattern_a: a pattern has one * and no folder, not {wrong!r}"


def test_pairs_in_one_folder(tmp_path, registry):
    for name in ("real_1.png", "fake_1.png", "real_2.png", "fake_2.png"):
        save(tmp_path / name)
    both = {"a": str(tmp_path), "b": str(tmp_path), "pattern_a": "real_*", "pattern_b": "fake_*"}
    split = source(registry, "pairs", **both).train()
    assert names(split.a) == ["real_1.png", "real_2.png"] and names(split.b) == ["fake_1.png", "fake_2.png"]


def test_pairs_whose_names_have_nothing_in_common(tmp_path, registry):
    for name in ("a/one.png", "b/eins.png"):
        save(tmp_path / name)
    found = problems(lambda: source(registry, "pairs", a=str(tmp_path / "a"), b=str(tmp_path / "b")))
    assert found[-1].startswith("data.source: the source `manifest` reads pairs of any names")


def test_names_from_macos_match_the_same_names_from_elsewhere(tmp_path, registry):
    composed, decomposed = "Zür ich/\u00e9t\u00e9 1.png", "Zu\u0308r ich/e\u0301te\u0301 1.jpg"
    save(tmp_path / "a" / composed)
    save(tmp_path / "b" / decomposed)
    split = source(registry, "pairs", a=str(tmp_path / "a"), b=str(tmp_path / "b")).train()
    assert names(split.a) == [composed] and names(split.b) == [decomposed]
    assert split.b.read(0).size == (8, 8)


@pytest.mark.parametrize("kind", ["folders", "pairs"])
def test_masks_are_called_as_their_images_are(tmp_path, registry, kind):
    for i in (1, 2):
        save(tmp_path / f"a/x/{i}.jpg", i)
        save(tmp_path / f"b/x/{i}.png", i)
        save(tmp_path / f"masks/x/{i}.png", 100 * i)
    save(tmp_path / "masks/x/3.png")
    folders = {name: str(tmp_path / name) for name in "ab"}
    split = source(registry, kind, **folders, mask_b=str(tmp_path / "masks")).train()
    assert split.extras.keys() == {"mask_b"} and names(split.extras["mask_b"]) == ["x/1.png", "x/2.png"]
    data = open_data(SMALL, source(registry, kind, **folders, mask_b=str(tmp_path / "masks")), paired=False, seed=0)
    shown = {round(float(b.b[0, 0, 0, 0] + 1) * 127.5): b.extras["mask_b"] for i in (0, 1) for b in data.batches(i)}
    assert {value: round(float(mask.mean()) * 255) for value, mask in shown.items()} == {1: 100, 2: 200}
    save(tmp_path / "a/x/4.jpg")
    save(tmp_path / "b/x/4.png")
    (message,) = problems(lambda: source(registry, kind, **folders, mask_b=str(tmp_path / "masks")))
    assert message.startswith(f"{tmp_path / 'b'}: 1 of 3 files have no mask in") and message.endswith(": x/4.png")
    (message,) = problems(lambda: source(registry, kind, **folders, test_mask_a=str(tmp_path / "masks")))[:1]
    assert message == "data.source.test_a: says no folder"


def test_images_in_other_formats_are_told_of(tmp_path):
    for name in ("1.png", "2.HEIC", "3.heic", "4.psd", "notes.txt", ".5.psd"):
        save(tmp_path / "a/1.png")
        (tmp_path / "a" / name).touch()
    save(tmp_path / "b/1.png")
    with pytest.warns(UserWarning, match="also holds 2 .heic, 1 .psd, which i2i does not read") as told:
        split = Folders(a=str(tmp_path / "a"), b=str(tmp_path / "b")).train()
    assert len(told) == 1 and split.a.passed_over == {".heic": 2, ".psd": 1, ".txt": 1} and not split.b.passed_over
    (tmp_path / "c").mkdir()
    (tmp_path / "c/1.heic").touch()
    (message,) = problems(lambda: Folders(a=str(tmp_path / "c"), b=str(tmp_path / "b")))
    assert "holds no image (.bmp," in message and message.endswith("; it holds 1 .heic")


def test_linked_folders_are_told_of(tmp_path):
    save(tmp_path / "photos/1.png")
    save(tmp_path / "a/1.png")
    for place in ("a/linked", "b/linked"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).symlink_to(tmp_path / "photos", target_is_directory=True)
    (message,) = problems(lambda: Folders(a=str(tmp_path / "photos"), b=str(tmp_path / "b")))
    assert message.endswith("; it holds linked folders, which are not entered: linked")
    with pytest.warns(UserWarning, match="also holds linked folders, which are not entered: linked$"):
        split = Folders(a=str(tmp_path / "a"), b=str(tmp_path / "b/linked")).train()
    assert names(split.a) == names(split.b) == ["1.png"]


def test_checksums_are_remembered_until_a_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "cache"))
    for i in range(3):
        save(tmp_path / f"a/{i}.png", i)
    files = ImageFiles(tmp_path / "a", ["0.png", "1.png", "2.png"])
    first = files.digest()
    assert not (tmp_path / "cache").exists()  # the files are too young to be known by their times
    monkeypatch.setattr(checksums, "SETTLED", -60)
    assert files.digest() == first
    (kept,) = (tmp_path / "cache/digests").iterdir()
    kept.write_text("f" * 64)
    assert files.digest() == "f" * 64  # so it was not computed again
    stat = (tmp_path / "a/1.png").stat()
    save(tmp_path / "a/1.png", 7)
    os.utime(tmp_path / "a/1.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as rsync and cp -p do
    assert files.digest() not in (first, "f" * 64)
    kept.write_text("half")
    save(tmp_path / "a/1.png", 1)
    assert files.digest() == first
    monkeypatch.setenv("I2I_CACHE", str(tmp_path / "a/1.png"))
    assert files.digest() == first  # a folder that cannot be made costs nothing but time


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    save(tmp_path / "a/1.png")
    os.mkfifo(tmp_path / "a/2.png")
    (tmp_path / "a/3.png").symlink_to("/dev/zero")
    data = Folders(a=str(tmp_path / "a"), b=str(tmp_path / "a"))
    found = problems(lambda: open_data(SMALL, data, paired=False, seed=0))
    assert found == [f"{tmp_path / 'a' / name}: is a pipe or a device, not a file" for name in ("2.png", "3.png")]


def test_names_that_are_not_utf_8(tmp_path):
    found = document(tmp_path)
    try:
        save(tmp_path / os.fsdecode(b"a/1 \xff.png"))
    except OSError:
        pytest.skip("the file system has no such names")
    engine = Engine(entry_points=False)
    built = Training.build(resolve(found, engine.registry, list(engine.plugins)))
    assert os.fsdecode(b"1 \xff.png") in names(built.source.train().a)
    assert len(built.conditions()["images of a"]) == 64


def test_side_by_side(tmp_path, registry):
    whole = np.zeros((4, 8, 3), np.uint8)
    whole[:, 4:] = 200
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        Image.fromarray(whole).save(tmp_path / name / "1.png")
    both = source(registry, "side_by_side", path=str(tmp_path))
    split = both.train()
    assert split.paired and split.a.read(0).pixels.max() == 0 and split.b.read(0).pixels.min() == 200
    assert split.a.read(0).size == split.a.header(0).size == (4, 4)
    assert split.a.digest() != split.b.digest() and both.test().paired
    assert source(registry, "side_by_side", path=str(tmp_path / "train")).test() is None
    data = open_data(SMALL, both, paired=True, seed=0)
    (batch,) = data.batches(0)
    assert batch.a.max() == -1 and batch.b.min() == batch.b.max()


def test_an_odd_width_is_refused(tmp_path, registry):
    save(tmp_path / "1.png", size=(7, 4))
    odd = source(registry, "side_by_side", path=str(tmp_path))
    for cache in (True, False):
        options = DataOptions(load_size=8, crop_size=8, cache=cache)
        (message,) = problems(lambda o=options: open_data(o, odd, paired=True, seed=0))
        assert "7 px wide, which cannot be halved" in message


def test_fluent_emoji(registry):
    emoji = source(registry, "fluent-emoji")
    train, test = emoji.train(), emoji.test()
    sizes = {"a": len(train.a), "b": len(train.b), "test": len(test.a)}
    assert sizes == {"a": 543, "b": 460, "test": 170} and len(test.b) == 170
    assert test.paired and not train.paired and names(test.a) == names(test.b)
    sets = [set(names(images)) for images in (train.a, train.b, test.a)]
    assert [len(s) for s in sets] == [543, 460, 170] and not (
        sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2]
    )
    assert train.a.read(0).size == (64, 64) and train.a.read(0).mode == "RGB"
    corners = np.stack([np.asarray(test.a.read(i))[0, 0] for i in range(170)])
    assert np.median(corners) == 255  # drawn on white


def test_fluent_emoji_is_small_and_carries_its_licence():
    folder = PLUGINS / "fluent_emoji"
    files = [p for p in folder.iterdir() if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 3_000_000
    assert "Copyright (c) Microsoft Corporation" in (folder / "LICENSE.txt").read_text(encoding="utf-8")
    assert set(json.loads((folder / "index.json").read_text(encoding="utf-8"))["tiles"]) == {
        p.stem for p in folder.glob("*.webp")
    }


def test_fluent_emoji_limit_and_pairs_match(registry):
    emoji = source(registry, "fluent-emoji", limit=20)
    data = open_data(DataOptions(load_size=64, crop_size=64, flip=False), emoji, paired=False, seed=0)
    assert data.n_images == (20, 20)
    shown = data.look("ab", range(20))
    distances = (shown["a"][:, None] - shown["b"][None]).abs().mean((2, 3, 4))
    assert (distances.argmin(1) == np.arange(20)).sum() >= 18  # the nearest 3D drawing is the true partner


@pytest.mark.parametrize("limit", [1, 100, 300, 460, 500, 10_000])
def test_fluent_emoji_are_evenly_spaced_at_any_limit(registry, limit):
    whole, some = source(registry, "fluent-emoji").train(), source(registry, "fluent-emoji", limit=limit).train()
    for kept, images in ((some.a, whole.a), (some.b, whole.b)):
        places = [names(images).index(name) for name in names(kept)]
        assert len(kept) == min(limit, len(images))
        gaps = {after - before for before, after in pairwise([*places, len(images)])}
        assert max(gaps) - min(gaps) <= 1 and places[0] == 0


def test_the_source_of_the_documentation_works(tmp_path):
    text = (PLUGINS.parent / "docs/data.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    (tmp_path / "colours.py").write_text(code, encoding="utf-8")
    colours = source(Engine([tmp_path / "colours.py"], entry_points=False).registry, "colours")
    (batch,) = open_data(SMALL, colours, paired=False, seed=0).batches(0)
    assert batch.a[0, :, 0, 0].tolist() == [1, -1, -1] and batch.b[0, :, 0, 0].tolist() == [-1, -1, 1]


def test_the_documentation_names_every_source_and_option(engine):
    text = (PLUGINS.parent / "docs/data.md").read_text(encoding="utf-8")
    for component in engine.registry.components("source"):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{component.name}` |")]
        options = [info.alias for info in component.options.model_fields.values()]
        assert [part.strip() for part in row.split("|")][3] == ", ".join(f"`{option}`" for option in options)
    assert all(f"{option} = " in text or f"`{option}`" in text for option in DataOptions.model_fields)
