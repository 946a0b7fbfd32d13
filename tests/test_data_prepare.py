"""`i2i data prepare`: where things are written, what is held out, and what happens when something goes wrong."""

import errno
import hashlib
import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from test_cli import i2i, mistake
from test_docs import DOCS, commands, options, rows

from i2i.data.folders import find_images
from i2i.datasets.prepare import Halves, Outcome, making, prepare, sets
from i2i.errors import I2IError
from i2i.images import read

EVERY = ["edges", "grey", "lab", "low_resolution", "holes"]


def photo(path: Path, dtype="uint8", size=(40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.name.encode()))
    small = rng.integers(0, 256, (4, 5, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))
    if dtype == "uint8":
        Image.fromarray(pixels).save(path)
    elif dtype == "uint16":
        tifffile.imwrite(path, pixels.astype(np.uint16) * 257, photometric="rgb")
    else:
        tifffile.imwrite(path, (pixels / 255).astype(dtype), photometric="rgb")


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Twelve photos, some below folders; the working directory is the one they lie in."""
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        photo(tmp_path / f"photos/{number}.png")
    photo(tmp_path / "photos/trip/ä b.jpg")
    photo(tmp_path / "photos/trip/c.d.png")
    photo(tmp_path / "photos/deep/16.tif", "uint16")
    photo(tmp_path / "photos/deep/float.tif", "float32")
    return tmp_path / "photos"


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with a checksum, hidden ones too."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def make(photos: Path, out: Path, maker=None, halves=None) -> Outcome:
    outcome = Outcome()
    maker = maker or sets.low_resolution(2, "bicubic")
    prepare(find_images(photos, "PHOTOS"), out, maker, halves or Halves(), outcome)
    return outcome


def tables(told: str) -> dict:
    """What is printed to be put into a recipe."""
    return tomllib.loads(told.partition("with:")[2])


def open_source(engine, table: dict):
    return engine.registry.resolve("source", table, "data.source")()


@pytest.mark.parametrize("name", EVERY)
def test_a_set_of_pairs_is_read_by_the_lines_that_are_printed(photos, engine, name):
    before = contents(photos)
    told = i2i("data", "prepare", name, "photos", "-o", "a set", "--test-share", 0.4)
    assert told.code == 0, told.err
    assert contents(photos) == before
    data = tables(told.out)["data"]
    source = open_source(engine, data["source"])
    halves = {"train": source.train(), "test": source.test()}
    assert sum(len(split.a) for split in halves.values()) == 12 and all(len(split.a) for split in halves.values())
    assert f"12 of 12 images done, {len(halves['test'].a)} of them held out, in a set" in told.out
    channels = data.get("channels", [3, 3])
    for half, split in halves.items():
        assert split.paired and ("mask_a" in split.extras) == (name == "holes")
        for i in range(len(split.a)):
            a, b = split.a.read(i), split.b.read(i)
            assert a.size == b.size == (40, 30)
            assert [a.pixels.shape[2], b.pixels.shape[2]] == channels
            if name != "lab":
                original = photos / split.b.name(i).split("train/b/")[-1]
                assert (Path("a set") / half / "b" / split.b.name(i)).read_bytes() == original.read_bytes()
            if name in ("grey", "low_resolution", "holes"):
                assert a.pixels.dtype == b.pixels.dtype


def test_names_folders_and_depth_are_kept(photos):
    make(photos, Path("set"), halves=Halves(test_share=0))
    assert set(contents(Path("set/train/a"))) == {
        *(f"{number}.png" for number in range(8)),
        *("trip/ä b.png", "trip/c.d.png", "deep/16.tif", "deep/float.tif"),
    }
    assert contents(Path("set/train/b")) == contents(photos)
    assert tifffile.imread("set/train/a/deep/16.tif").dtype == np.uint16
    assert tifffile.imread("set/train/a/deep/float.tif").dtype == np.float32
    assert not Path("set/test").exists()


def test_deep_images_are_read_with_the_range_that_was_given_and_floats_with_one_that_is_measured(photos, engine):
    for _ in range(2):
        told = i2i("data", "prepare", "holes", "photos/deep", "-o", "1", "--range", 0, 0.9, "--test-share", 0)
        assert tables(told.out)["data"]["range"] == [[0.0, 0.9], [0.0, 0.9]]
    told = i2i("data", "prepare", "edges", "photos/deep", "-o", "2", "--test-share", 0)
    assert tables(told.out)["data"]["range"] == ["type", "auto"]


def test_the_parts_of_large_images_are_held_out_together(photos, engine):
    told = i2i("data", "prepare", "tiles", "photos", "-o", "set", "--size", 16, "--overlap", 4, "--test-share", 0.4)
    assert told.code == 0, told.err
    source = tables(told.out)["data"]["source"]
    assert source == {"name": "folders", "a": "set/train", "test_a": "set/test"}
    train, test = (find_images(source[key], key).names for key in ("a", "test_a"))
    assert len(train) + len(test) == 12 * 9
    assert not {name[:-14] for name in train} & {name[:-14] for name in test}
    assert [name for name in (*train, *test) if name.startswith("trip/c")] == [
        f"trip/c.d_y{y:05}_x{x:05}.png" for y in (0, 12, 14) for x in (0, 12, 24)
    ]


def test_pages_become_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stack = np.random.default_rng(0).integers(0, 65536, (3, 20, 30), np.uint16)
    (tmp_path / "stacks").mkdir()
    tifffile.imwrite("stacks/cells.tif", stack, photometric="minisblack")
    others = [np.zeros((5, 6), np.uint8), np.full((7, 4, 3), 9, np.uint16), np.ones((2, 2), np.float32)]
    with tifffile.TiffWriter("stacks/mixed.tif") as file:
        for page, colours in zip(others, ("minisblack", "rgb", "minisblack"), strict=True):
            file.write(page, photometric=colours, description=f"of {page.dtype}", metadata=None)
    photo(Path("stacks/single.png"))
    told = i2i("data", "prepare", "pages", "stacks", "-o", "set", "--test-share", 0)
    assert told.code == 0, told.err
    for number in range(3):
        page = read(Path(f"set/train/cells_{number:04}.tif"))
        assert np.array_equal(page.pixels[:, :, 0], stack[number]) and page.stored.pages == 1
        with tifffile.TiffFile(f"set/train/mixed_{number:04}.tif") as file:
            assert np.array_equal(file.asarray(), others[number]) and len(file.pages) == 1
            assert file.pages[0].description == f"of {others[number].dtype}"
    assert np.array_equal(
        np.asarray(Image.open("set/train/single_0000.png")), np.asarray(Image.open("stacks/single.png"))
    )


def test_two_folders_are_put_side_by_side(photos, engine):
    shutil.rmtree(photos / "deep")
    shutil.copytree(photos, "drawings")
    shutil.move("drawings/0.png", "drawings/0.bmp")
    told = i2i("data", "prepare", "pairs", "photos", "drawings", "-o", "set", "--test-share", 0.4)
    assert told.code == 0, told.err
    source = open_source(engine, tables(told.out)["data"]["source"])
    for split in (source.train(), source.test()):
        for i in range(len(split.a)):
            assert np.array_equal(split.a.read(i).pixels, split.b.read(i).pixels)


def test_missing_partners_are_told_before_anything_is_written(photos):
    (photos / "0.png").rename("1.png")
    told = mistake("data", "prepare", "pairs", "photos", ".", "-o", "set")
    assert "10 of 11 files have no partner in '.': 2.png, 3.png" in told
    assert "photos/1.png" in told and not Path("set").exists()


def test_halves_depend_on_the_name_and_the_seed_alone():
    names = [f"{number:05}" for number in range(4000)]
    held_out = {name for name in names if Halves(0.1).of(name) == "test"}
    assert abs(len(held_out) / 4000 - 0.1) < 0.02
    assert held_out == {name for name in reversed(names) if Halves(0.1, seed=0).of(name) == "test"}
    assert held_out < {name for name in names if Halves(0.2).of(name) == "test"}
    other = {name for name in names if Halves(0.1, seed=1).of(name) == "test"}
    assert len(held_out & other) < 0.03 * 4000
    assert {Halves(0).of(name) for name in names} == {"train"}
    assert all(Halves(0.5).of(f"\u00e4{name}") == Halves(0.5).of(f"a\u0308{name}") for name in names[:100])


def test_names_with_the_same_match_are_held_out_together():
    halves = Halves(0.3, group="^[^_]+")
    sides = {patient: {halves.of(f"p{patient}_{scan}") for scan in range(20)} for patient in range(100)}
    assert {len(side) for side in sides.values()} == {1}
    assert set().union(*sides.values()) == {"train", "test"}


def test_what_is_made_of_a_file_does_not_depend_on_the_others(photos):
    maker = sets.holes(0.25, "strokes", None)
    make(photos, Path("all"), maker)
    (photos / "0.png").unlink()
    make(photos, Path("some"), maker)
    everything, some = contents(Path("all")), contents(Path("some"))
    assert len(everything) - len(some) == 3
    assert some == {name: everything[name] for name in some}
    make(photos, Path("seed"), maker, Halves(seed=1))
    assert contents(Path("seed/train/mask_a")).items() - contents(Path("some/train/mask_a")).items()


def test_bad_files_are_told_and_the_others_made(photos):
    (photos / "0.png").write_bytes((photos / "1.png").read_bytes()[:300])
    (photos / "trip/2.png").write_text("no image")
    tifffile.imwrite(
        photos / "bands.tif", np.zeros((30, 40, 7), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    told = i2i("data", "prepare", "grey", "photos", "-o", "set")
    assert told.code == 1 and "11 of 14 images done" in told.out
    for name, why in (("0.png", "truncated"), ("trip/2.png", "no image"), ("bands.tif", "7 channels")):
        assert f"photos/{name}: " in told.err and why in told.err
    names = "".join(contents(Path("set")))
    assert "bands" not in names and "trip/2" not in names


@pytest.mark.parametrize("name", EVERY)
def test_a_second_call_makes_what_is_missing_and_keeps_the_rest(photos, name):
    command = "data", "prepare", name, "photos", "-o", "set", "--test-share", 0
    i2i(*command)
    made = contents(Path("set"))
    mark = Path("set/train/a/1.png")
    Path("set/train/a/0.png").unlink()
    (Path("set/train/b") / ("3.tif" if name == "lab" else "3.png")).unlink()
    Image.new("L", (40, 30)).save(mark)
    kept = mark.read_bytes()
    told = i2i(*command)
    assert told.code == 0 and "12 of 12 images done, 0 of them held out, in set; 10 of them had been made" in told.out
    assert mark.read_bytes() == kept
    assert i2i(*command, "--overwrite").code == 0
    assert contents(Path("set")) == made


def test_an_interrupted_call_leaves_whole_files_and_is_gone_on_with(photos, monkeypatch):
    done = []

    def advance():
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt

    outcome = Outcome()
    files, maker = find_images(photos, "PHOTOS"), sets.tiles(16, 0)
    with pytest.raises(KeyboardInterrupt):
        prepare(files, Path("set"), maker, Halves(), outcome, advance=advance)
    assert outcome.halves.total() == 3
    half_way = contents(Path("set"))
    assert not [name for name in half_way if name.endswith(".tmp")]
    make(photos, Path("whole"), maker)
    whole = contents(Path("whole"))
    assert half_way.items() <= whole.items()
    outcome = make(photos, Path("set"), maker)
    assert outcome.n_kept >= 3 and outcome.halves.total() == 12
    assert contents(Path("set")) == whole


def test_the_command_says_how_far_it_came_when_interrupted(photos, monkeypatch):
    def prepare(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("i2i.datasets.prepare.prepare", prepare)
    told = i2i("data", "prepare", "grey", "photos", "-o", "set")
    assert told.code == 130 and told.out == (
        "interrupted; the same command goes on: 0 of 12 images done, 0 of them held out, in set\n"
    )


def test_pieces_get_their_names_when_all_are_written_and_the_first_one_last(photos, monkeypatch):
    """So that a file of which not all pieces were written leaves none and is not taken for done."""
    replacing, named = making.replacing, []

    def replacing_all_but_one(path):
        if "3_y00014" in path.name:
            raise ValueError("stop")
        return replacing(path)

    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: named.append(to.name) or rename(self, to))
    monkeypatch.setattr(making, "replacing", replacing_all_but_one)
    outcome = make(photos, Path("set"), sets.tiles(16, 0))
    assert [str(problem) for problem in outcome.problems] == [f"{photos}/3.png: stop"]
    assert not [name for name in contents(Path("set")) if "/3" in name or "tmp" in name]
    assert [name for name in named if name.startswith("4_")][-1] == "4_y00000_x00000.png"


def test_a_full_disk_is_one_message(photos, monkeypatch):
    def write(picture, to, format):
        to.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(making, "write", write)
    told = mistake("data", "prepare", "grey", "photos", "-o", "set")
    assert told.count("error:") == 1 and "No space left on device" in told and "set/t" in told and ".tmp" not in told
    assert set(contents(Path("set"))) == {"prepared.json"}


def test_a_set_is_not_mixed_with_another_nor_with_what_it_is_made_of(photos):
    assert "lies in 'photos'" in mistake("data", "prepare", "grey", "photos", "-o", "photos/grey")
    assert "lies in 'photos'" in mistake("data", "prepare", "grey", "photos", "-o", "photos")
    assert "is not empty" in mistake("data", "prepare", "grey", "photos", "-o", ".")
    make(photos, Path("set"), sets.edges(1, 0.1, 0.2, None))
    before = contents(Path("set"))
    told = mistake("data", "prepare", "edges", "photos", "-o", "set", "--sigma", 2, "--seed", 1)
    assert "set: was made with seed = 0, not 1; sigma = 1, not 2.0; choose another folder" in told
    assert "made = 'edges', not 'grey'" in mistake("data", "prepare", "grey", "photos", "-o", "set")
    photo(Path("others/0.png"))
    assert "others" in mistake("data", "prepare", "edges", "others", "-o", "set")
    assert contents(Path("set")) == before
    (Path("set") / "prepared.json").write_text("{")
    assert "set/prepared.json: is damaged" in mistake("data", "prepare", "edges", "photos", "-o", "set")


def test_names_that_would_meet_are_refused_where_something_is_made_and_copied_where_not(photos):
    photo(photos / "0.bmp")
    told = mistake("data", "prepare", "grey", "photos", "-o", "set")
    assert "have the same name but for the suffix: 0.bmp and 0.png" in told and not Path("set").exists()
    told = i2i("data", "prepare", "split", "photos", "-o", "set", "--test-share", 0)
    assert told.code == 0 and contents(Path("set/train")) == contents(photos)
    assert json.loads(Path("set/prepared.json").read_text())["made"] == "split"


def test_what_is_wrong_with_options_is_told(photos):
    for words, expected in [
        (("edges", "photos", "--low", 0.3), "--low: is at most --high, which is 0.2, not 0.3"),
        (("holes", "photos", "--range", 5, 5), "--range: goes from dark to bright, not from 5 to 5"),
        (("grey", "photos", "--group", "("), "--group: '(' is no regular expression"),
        (("tiles", "photos", "--overlap", 512), "--overlap: is less than --size, which is 512, not 512"),
        (("grey", "photo"), "PHOTOS: there is no folder 'photo'"),
        (("holes", "photos", "--shape", "stars"), "'stars'"),
        (("grey", "photos", "--test-share", 1), "0.9"),
    ]:
        assert expected in mistake("data", "prepare", *words, "-o", "set")
    assert not Path("set").exists()


def test_it_is_said_if_chance_holds_none_out(photos):
    told = i2i("data", "prepare", "grey", "photos/trip", "-o", "set", "--test-share", 0.001)
    assert told.code == 0 and "none is held out" in told.out and "test_a" not in told.out


def test_floats_of_another_range_need_one(photos):
    tifffile.imwrite("photos/hot.tif", np.full((30, 40), 310.5, np.float32))
    with pytest.raises(I2IError):  # nothing else is wrong with it
        raise I2IError(*make(photos, Path("set"), sets.edges(1, 0.1, 0.2, None)).problems)
    outcome = make(photos, Path("set2"), sets.edges(1, 0.1, 0.2, (0, 500)))
    assert outcome.problems == []


def test_the_page_tells_every_command_with_the_options_of_its_own():
    every = {name.split()[-1]: options(command) for name, command in commands().items() if "data prepare" in name}
    shared = set.intersection(*every.values())
    told = {row["command"].strip("`"): set(re.findall(r"`(--[a-z]+)`", row["options"]))
            for row in rows((DOCS / "preparing.md").read_text(encoding="utf-8"))}  # fmt: skip
    assert told == {name: its - shared for name, its in every.items()}
