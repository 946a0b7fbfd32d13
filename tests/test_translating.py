"""Files through a translator: what comes out is what went in, but for what the network does; nothing is lost."""

import errno
import tracemalloc
import weakref
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import tiny
import torch
from identity import Identity
from PIL import Image, ImageCms
from torch import nn

from i2i.errors import I2IError
from i2i.images import Picture, Stored
from i2i.images.formats import FORMATS
from i2i.images.intake import Intake
from i2i.images.values import Range
from i2i.translate import Translator
from i2i.translating import Summary, find_inputs, through, translate_files
from i2i.translating.pictures import give, take, type_for


def identity(n_in=3, n_out=None, ranges=(None, None), **intake) -> Translator:
    n_out = n_in if n_out is None else n_out
    both = (Intake(n_in, ranges[0], **intake), Intake(n_out, ranges[1], **intake))
    return Translator(Identity(n_in, n_out), ("flat", "deep"), both)


def translated(translator: Translator, source: Path, out: Path, **options) -> Summary:
    places, _ = find_inputs([str(source)], out)
    summary = Summary(len(places))
    translate_files(translator, places, out, summary, **options)
    return summary


def noise(shape, dtype, seed=0):
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def tiff(path, pixels):
    photometric = "rgb" if pixels.shape[2:] in ((3,), (4,)) else "minisblack"
    tifffile.imwrite(path, pixels, photometric=photometric, planarconfig="contig" if pixels.ndim == 3 else None)


WRITE = {
    ".png": lambda path, pixels: path.write_bytes(imagecodecs.png_encode(pixels)),
    ".tif": tiff,
    ".bmp": lambda path, pixels: Image.fromarray(pixels).save(path),
    ".webp": lambda path, pixels: Image.fromarray(pixels).save(path, lossless=True, exact=True),
    ".npy": np.save,
}
READ = {
    ".png": lambda path: imagecodecs.png_decode(path.read_bytes()),
    ".tif": tifffile.imread,
    ".bmp": lambda path: np.asarray(Image.open(path)),
    ".webp": lambda path: np.asarray(Image.open(path)),
    ".npy": np.load,
}
CASES = [
    *((".png", dtype, n) for dtype in ("uint8", "uint16") for n in (1, 3, 4)),
    *((".tif", dtype, n) for dtype in ("uint8", "uint16", "int16") for n in (1, 3, 7)),
    *((".npy", dtype, n) for dtype in ("uint8", "uint16", "int16") for n in (1, 3, 7)),
    (".tif", "uint8", 4), (".tif", "uint16", 4), (".npy", "uint8", 4),
    (".bmp", "uint8", 1), (".bmp", "uint8", 3), (".webp", "uint8", 3), (".webp", "uint8", 4),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "dtype", "n"), CASES)
def test_what_a_network_leaves_alone_comes_out_to_the_last_bit(tmp_path, suffix, dtype, n):
    (tmp_path / "in").mkdir()
    pixels = noise((13, 21) if n == 1 else (13, 21, n), dtype)
    WRITE[suffix](tmp_path / "in" / f"x{suffix}", pixels)
    summary = translated(identity(n), tmp_path / "in", tmp_path / "out")
    assert (summary.written, summary.problems) == (1, [])
    found = READ[suffix](tmp_path / "out" / f"x{suffix}")
    assert found.dtype == pixels.dtype and found.shape == pixels.shape
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("height", [63, 64, 65, 130])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pictures_of_any_height(height, dtype):
    pixels = noise((height, 5, 3), dtype)
    (result,) = through(identity(), [Picture.of(pixels)])
    assert np.array_equal(result.pixels, pixels)


def test_large_pictures_need_little_more_memory_than_what_the_network_takes():
    translator, picture = identity(), Picture.of(noise((1024, 1024, 3), "uint8"))
    n_bytes = 4 * picture.pixels.size  # float32

    def peak(convert):
        tracemalloc.start()
        result = convert()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result, most

    taken, most = peak(lambda: take(translator, picture))
    assert n_bytes < most < 1.3 * n_bytes
    _, most = peak(lambda: give(translator, taken, taken.unit))
    assert most < 0.9 * n_bytes  # a byte a value, twice, and whether all are finite


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_floats_come_out_within_a_millionth_of_their_range(tmp_path, suffix, dtype):
    (tmp_path / "in").mkdir()
    low, high = -40.0, 900.0
    pixels = (noise((13, 21, 7), "float64") * (high - low) + low).astype(dtype)
    WRITE[suffix](tmp_path / "in" / f"x{suffix}", pixels)
    limits = Range(low, high)
    assert translated(identity(7, ranges=(limits, limits)), tmp_path / "in", tmp_path / "out").written == 1
    found = READ[suffix](tmp_path / "out" / f"x{suffix}")
    assert found.dtype == pixels.dtype
    step = np.spacing(np.abs(pixels)).astype(np.float64) if dtype == "float16" else 0
    assert (np.abs(found.astype(np.float64) - pixels) <= 1e-6 * (high - low) + step).all()


def test_every_picture_of_equal_size_goes_through_in_one_batch():
    translator = identity()
    pictures = [Picture.of(noise((8, 12, 3), "uint8", seed)) for seed in range(3)]
    results = through(translator, pictures)
    assert translator.module.batches == [(3, 3, 8, 12)]
    assert all(np.array_equal(r.pixels, p.pixels) for r, p in zip(results, pictures, strict=True))


def test_a_network_sees_images_as_in_training():
    """Channels first in memory too: with another layout, the last bits would differ, and it would be slower."""
    translator = identity()
    translator.module.register_forward_pre_hook(lambda module, inputs: layouts.append(inputs[0].is_contiguous()))
    layouts = []
    through(translator, [Picture.of(noise((8, 12, 3), "uint8")) for _ in range(2)])
    through(translator, [Picture.of(noise((8, 12, 3), "uint16"))])
    assert layouts == [True, True]


# types and ranges


@pytest.mark.parametrize(
    ("dtype", "taken", "given", "expected"),
    [
        ("uint8", None, None, "uint8"),
        ("uint8", (0, 255), (0, 255), "uint8"),
        ("uint8", (0, 1), (0, 1), "uint8"),  # a mask to a mask
        ("uint8", (0, 65535), (0, 65535), "uint16"),  # a file of 8 bits for a network of 16
        ("uint8", None, (0, 1), "float32"),  # which 8 bits would turn into black and white
        ("uint8", None, (0, 4095), "int16"),
        ("uint8", None, (0, 65535), "uint16"),
        ("uint8", None, (-1000, 3000), "int16"),
        ("uint8", None, (0, 100_000), "float32"),
        ("uint16", (0, 4095), (0, 255), "uint16"),
        ("float32", (0, 1), (0, 255), "float32"),
        ("float16", (0, 1), (0, 100_000), "float32"),
        ("float32", (0, 1), (0, 1e39), "float64"),
    ],
)
def test_the_type_of_a_translation_holds_its_range(dtype, taken, given, expected):
    taken, given = (limits and Range(*map(float, limits)) for limits in (taken, given))
    assert type_for(np.dtype(dtype), taken, given) == expected


def test_a_range_that_the_type_cannot_hold_gives_another_type_and_is_told(tmp_path):
    pixels = noise((9, 9, 3), "uint8")
    (tmp_path / "in").mkdir()
    for name in ("x", "y"):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{name}.png")
    translator = identity(3, 1, (None, Range(0.0, 10.0)))
    summary = translated(translator, tmp_path / "in", tmp_path / "out")
    found = tifffile.imread(tmp_path / "out" / "x.tif")
    assert found.dtype == np.float32 and np.allclose(found, pixels[:, :, 0] / 255 * 10, atol=1e-5)
    assert list(summary.notes(translator)) == [
        "2 written as TIFF: they were PNG",
        "2 written as float32: uint8 does not hold 0 to 10, the range of 'deep'",
    ]


def test_values_outside_the_range_are_clipped_and_counted(tmp_path):
    (tmp_path / "in").mkdir()
    pixels = np.array([[0, 50, 100], [150, 200, 250]], np.uint16)
    np.save(tmp_path / "in" / "x.npy", pixels)
    limits = Range(50.0, 200.0)
    translator = identity(1, ranges=(limits, limits))
    summary = translated(translator, tmp_path / "in", tmp_path / "out")
    assert np.array_equal(np.load(tmp_path / "out" / "x.npy"), pixels.clip(50, 200))
    (note,) = summary.notes(translator)
    assert "1 had 2 values outside 50 to 200, which were clipped" in note and "x.npy (2)" in note


def test_floats_without_a_range_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", noise((5, 5), "float32"))
    (problem,) = translated(identity(1), tmp_path / "x.npy", tmp_path / "out").problems
    assert "x.npy: holds float32" in str(problem) and "data.range" in str(problem)


def test_a_network_gone_astray_is_told():
    translator = identity()
    nn.init.constant_(translator.module.nothing, float("nan"))
    with pytest.raises(I2IError, match="not finite"):
        through(translator, [Picture.of(noise((4, 4, 3), "uint8"))])


# transparency, colours, pages


def on_white(rgba):
    share = rgba[..., 3:] / 255
    return rgba[..., :3] * share + 255 * (1 - share)


def test_an_alpha_comes_back_and_edges_do_not_get_paler(tmp_path):
    (tmp_path / "in").mkdir()
    rgba = noise((32, 32, 4), "uint8")
    rgba[:16, :, 3] = 255
    rgba[0, 0, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "in" / "x.png")
    translated(identity(), tmp_path / "in", tmp_path / "out")
    found = np.asarray(Image.open(tmp_path / "out" / "x.png"))
    assert np.array_equal(found[..., 3], rgba[..., 3])
    opaque = rgba[..., 3] == 255
    assert np.array_equal(found[opaque], rgba[opaque])
    assert np.abs(on_white(found) - on_white(rgba)).max() <= 1  # each is rounded once


@pytest.mark.parametrize(("n_out", "mode"), [(1, "LA"), (3, "RGBA"), (4, "RGBA"), (2, "LA")])
def test_channels_are_those_of_the_domain_translated_to(tmp_path, n_out, mode):
    (tmp_path / "in").mkdir()
    rgba = np.concatenate([noise((8, 8, 3), "uint8"), np.full((8, 8, 1), 255, np.uint8)], 2)
    Image.fromarray(rgba).save(tmp_path / "in" / "x.png")
    translated(identity(3, n_out), tmp_path / "in", tmp_path / "out")
    assert Image.open(tmp_path / "out" / "x.png").mode == mode


@pytest.mark.parametrize("srgb", [True, False])
def test_a_profile_stays_only_where_it_is_true(tmp_path, srgb):
    profile = imagecodecs.cms_profile("adobergb")
    pixels = noise((8, 8, 3), "uint8")
    image = Image.fromarray(pixels)
    image.save(tmp_path / "x.png", icc_profile=profile)
    translated(identity(srgb=srgb), tmp_path / "x.png", tmp_path / "out")
    found = Image.open(tmp_path / "out" / "x.png")
    if not srgb:
        assert found.info["icc_profile"] == profile and np.array_equal(found, pixels)
        return
    assert "icc_profile" not in found.info
    convert = ImageCms.profileToProfile
    with_profile = Image.open(tmp_path / "x.png")
    expected = convert(with_profile, BytesIO(with_profile.info["icc_profile"]), ImageCms.createProfile("sRGB"))
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected).astype(int)).max() <= 2


@pytest.mark.parametrize(
    ("pages", "shape", "n_in"), [(5, (8, 9, 3), 3), (5, (8, 9), 1), (3, (8, 9), 3), (3, (8, 9), 1), (2, (8, 9), 3)]
)
def test_pages_that_are_whole_inputs_are_translated_one_by_one(tmp_path, pages, shape, n_in):
    """Where all of them together are what the network takes, they are channels; grey ones also make colours."""
    stack = noise((pages, *shape), "uint16")
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for page in stack:
            file.write(page, photometric="rgb" if len(shape) == 3 else "minisblack", contiguous=False)
    translator = identity(n_in)
    summary = translated(translator, tmp_path / "x.tif", tmp_path / "out")
    assert summary.problems == []
    together = pages * (shape[2] if len(shape) == 3 else 1) == n_in
    assert translator.module.batches == [(1, n_in, 8, 9)] * (1 if together else pages)
    with tifffile.TiffFile(tmp_path / "out" / "x.tif") as file:
        found = [page.asarray() for page in file.pages]
    assert len(found) == pages
    for one, page in zip(found, stack, strict=True):
        expected = page if one.shape == page.shape else np.repeat(page[:, :, None], 3, 2)
        assert np.array_equal(one, expected)


# which files, and where they go


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names_of(images, out, becomes=FORMATS["png"]) -> dict[str, str]:
    """For each input its translation's name, both with forward slashes."""
    places, _ = find_inputs([str(i) for i in images], out)
    return {p.name.as_posix(): p.named(becomes).as_posix() for p in places}


def test_names_and_folders_are_kept(tmp_path):
    folder = touched(tmp_path / "in", "a.png", "B.PNG", "deep er/é.jpg", "deep er/still/x.tif", ".hidden.png", "n.txt")
    expected = {"a.png": "a.png", "B.PNG": "B.PNG", "deep er/é.jpg": "deep er/é.png"}
    assert names_of([folder], None) == expected | {"deep er/still/x.tif": "deep er/still/x.png"}


@pytest.mark.parametrize("names", ["x.jpg x.png", "x.jpg x.png x.jpg.png", "x.jpg x.bmp x.jpg.png x.jpg.bmp y.png",
                                   "X.jpg x.png", "x.jpg x.jpg.png", "x.jpeg x.jpg"])  # fmt: skip
@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_two_inputs_never_meet_in_one_output(tmp_path, names, format):
    found = names_of([touched(tmp_path / "in", *names.split())], None, FORMATS[format])
    assert len({name.lower() for name in found.values()}) == len(names.split())


def test_a_file_that_shares_its_stem_keeps_its_name_if_it_can(tmp_path):
    folder = touched(tmp_path / "in", "x.jpg", "x.png", "y.jpg")
    assert names_of([folder], None) == {"x.jpg": "x.jpg.png", "x.png": "x.png", "y.jpg": "y.png"}


def test_several_folders_files_and_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(touched(tmp_path, "day/1.png", "day/2.png", "night/1.png", "night/deep/3.png", "odd[1].png"))
    assert set(names_of(["day", "night"], None)) == {"day/1.png", "day/2.png", "night/1.png", "night/deep/3.png"}
    assert set(names_of(["day/1.png", "day/2.png"], None)) == {"1.png", "2.png"}
    assert set(names_of(["day/*.png"], None)) == {"1.png", "2.png"}
    assert set(names_of(["*/1.png"], None)) == {"day/1.png", "night/1.png"}
    assert set(names_of(["night/**/*.png"], None)) == {"1.png", "deep/3.png"}
    assert set(names_of(["day", "day/1.png", str(tmp_path / "day" / "2.png")], None)) == {"1.png", "2.png"}
    assert set(names_of(["odd[1].png"], None)) == {"odd[1].png"}
    assert set(names_of([tmp_path / "night" / "..", "day"], None)) >= {"day/1.png", "night/1.png"}


def test_a_pattern_that_the_shell_expands_may_meet_the_translations(tmp_path):
    """The command is the same when it runs again, and so are the names."""
    folder, out = touched(tmp_path, "in/a/x.png"), tmp_path / "in" / "out"
    for n_there in range(2):
        places, n_left_out = find_inputs(sorted(map(str, (folder / "in").iterdir())), out)
        assert [p.name.as_posix() for p in places] == ["x.png"] and n_left_out == n_there
        touched(out, *["x.png"] * (n_there + 1))
    with pytest.raises(I2IError, match="is the folder of the images"):
        find_inputs([str(out)], out)


def test_no_name_is_not_the_folder_that_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(touched(tmp_path, "x.png"))
    with pytest.raises(I2IError, match="there is no file or folder ''"):
        find_inputs([""], Path("out"))


def test_what_is_not_there_is_told_all_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(touched(tmp_path, "photos/x.png", "empty/readme.txt"))
    with pytest.raises(I2IError) as error:
        find_inputs(["photo", "*.jpg", "empty", "photos"], Path("photos"))
    first, second, third, fourth = map(str, error.value.problems)
    assert "there is no file or folder 'photo'" in first and "did you mean 'photos'?" in first
    assert second == "IMAGES: nothing matches '*.jpg'"
    assert "'empty' holds no image" in third
    assert fourth == "--out: 'photos' is the folder of the images; choose another one"


def test_translations_are_not_taken_for_images(tmp_path):
    folder = touched(tmp_path, "x.png", "out/x.png", "out/deep/y.png", "outer/z.png")
    places, n_left_out = find_inputs([str(folder)], folder / "out")
    assert {p.name.as_posix() for p in places} == {"x.png", "outer/z.png"} and n_left_out == 2


# what happens on the way


def test_bad_files_are_named_and_the_others_are_translated(tmp_path):
    folder = tiny.write_images(tmp_path / "in", 3)
    (folder / "text.png").write_text("hello")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:200])
    (folder / "empty.jpg").touch()
    np.save(folder / "seven.npy", noise((4, 4, 7), "uint8"))
    summary = translated(identity(), folder, tmp_path / "out")
    assert summary.written == 3
    assert sorted(Path(p.where).name for p in summary.problems) == ["cut.png", "empty.jpg", "seven.npy", "text.png"]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"0.png", "1.png", "2.png"}


def test_nothing_is_replaced_unasked_and_images_to_translate_never(tmp_path):
    folder = tiny.write_images(tmp_path / "in", 2)
    for overwrite, written in ((False, 2), (False, 0), (True, 2)):
        summary = translated(identity(), folder, tmp_path / "out", overwrite=overwrite)
        assert (summary.written, summary.present) == (written, 2 - written)
    before = (folder / "0.png").read_bytes()
    summary = translated(identity(), folder / "0.png", folder, overwrite=True)
    assert summary.written == 0 and "would replace the image" in str(summary.problems[0])
    places, _ = find_inputs([str(folder / "0.png"), str(folder / "1.png")], tmp_path)
    (tmp_path / "0.png").hardlink_to(folder / "1.png")
    translate_files(identity(), places, tmp_path, summary := Summary(2), overwrite=True)
    assert "would replace the image" in str(summary.problems[0])
    assert (folder / "0.png").read_bytes() == before


def test_what_is_there_is_not_decoded_again(tmp_path, monkeypatch):
    folder = tiny.write_images(tmp_path / "in", 2)
    translated(identity(), folder, tmp_path / "out")
    monkeypatch.setattr("i2i.translating.work.read", lambda *_: pytest.fail("was decoded"))
    assert translated(identity(), folder, tmp_path / "out").present == 2


def test_images_of_equal_size_are_translated_together(tmp_path):
    for i, size in enumerate([(8, 8), (12, 8), (8, 8), (12, 8), (8, 8), (9, 9)]):
        tiny.write_images(tmp_path / "in" / str(i), 1, size=size)
    translator = identity()
    assert translated(translator, tmp_path / "in", tmp_path / "out", batch_size=2).written == 6
    assert sorted(translator.module.batches) == [
        (1, 3, 8, 8), (1, 3, 9, 9), (2, 3, 8, 8), (2, 3, 8, 12)
    ]  # fmt: skip
    for i in range(6):
        before, after = (np.asarray(Image.open(tmp_path / f / str(i) / "0.png")) for f in ("in", "out"))
        assert np.array_equal(before, after)


class Small(Identity):
    """Has memory for one small image at a time."""

    def forward(self, images):
        if images.numel() > 3 * 16 * 16:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate …")
        return super().forward(images)


def test_where_memory_is_short_batches_are_taken_apart_and_large_images_named(tmp_path):
    tiny.write_images(tmp_path / "in" / "small", 3, size=(16, 16))
    tiny.write_images(tmp_path / "in" / "large", 1, size=(40, 40))
    summary = translated(Translator(Small(3, 3)), tmp_path / "in", tmp_path / "out", batch_size=4)
    assert summary.written == 3
    (problem,) = summary.problems
    assert problem.where == str(tmp_path / "in" / "large" / "0.png") and "too large for the memory" in problem.message


def test_what_is_too_large_gives_its_memory_back_before_the_next_is_tried(tmp_path):
    """A traceback would keep what the network had computed until then."""
    computed, kept = [], []

    class Full(Identity):
        def forward(self, images):
            kept.append(sum(there() is not None for there in computed))
            halfway = images * 2
            computed.append(weakref.ref(halfway))
            raise torch.OutOfMemoryError("CUDA out of memory")

    tiny.write_images(tmp_path / "in", 2)
    summary = translated(Translator(Full(3, 3)), tmp_path / "in", tmp_path / "out", batch_size=2)
    assert len(summary.problems) == 2
    assert kept == [0, 0, 0]  # two together, then each of them


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    folder = tiny.write_images(tmp_path / "in", 1)
    name = "猫" * 83 + "xx.png"
    assert len(name.encode()) == 255
    (folder / "0.png").rename(folder / name)
    assert translated(identity(), folder, tmp_path / "out").problems == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_an_interruption_leaves_whole_files_and_the_right_number(tmp_path):
    folder = tiny.write_images(tmp_path / "in", 12)
    done = []

    def advance():
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt

    places, _ = find_inputs([str(folder)], tmp_path / "out")
    summary = Summary(len(places))
    with pytest.raises(KeyboardInterrupt):
        translate_files(identity(), places, tmp_path / "out", summary, advance=advance)
    found = list((tmp_path / "out").iterdir())
    assert 3 <= summary.written == len(found) < 12
    for path in found:
        assert np.array_equal(Image.open(path), Image.open(folder / path.name))
    again = translated(identity(), folder, tmp_path / "out")
    assert (again.present, again.written) == (len(found), 12 - len(found))


def test_a_full_disk_ends_it_at_once(tmp_path, monkeypatch):
    folder = tiny.write_images(tmp_path / "in", 12)
    tried = []

    def full(picture, to, format):
        tried.append(to)
        to.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("i2i.translating.work.write", full)
    with pytest.raises(OSError, match="No space left") as error:
        translated(identity(), folder, tmp_path / "out")
    assert Path(error.value.filename).parent == tmp_path / "out"
    assert len(tried) < 12 and list((tmp_path / "out").iterdir()) == []


def test_a_format_that_cannot_hold_the_translation_is_told_for_each_file(tmp_path):
    np.save(tmp_path / "x.npy", noise((4, 4, 7), "uint8"))
    (problem,) = translated(identity(7), tmp_path / "x.npy", tmp_path / "out", format=FORMATS["png"]).problems
    assert "7 channels" in problem.message and problem.where.endswith("x.npy")


@pytest.mark.parametrize(("format", "name"), [("tiff", "0.tif"), ("jpeg", "0.jpg"), ("npy", "0.npy")])
def test_a_format_can_be_asked_for(tmp_path, format, name):
    folder = tiny.write_images(tmp_path / "in", 1)
    assert translated(identity(), folder, tmp_path / "out", format=FORMATS[format]).written == 1
    assert [p.name for p in (tmp_path / "out").iterdir()] == [name]


def test_metadata_stay(tmp_path):
    image = Image.fromarray(noise((8, 8, 3), "uint8"))
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    image.save(tmp_path / "x.jpg", dpi=(300, 300), exif=exif)
    translated(identity(), tmp_path / "x.jpg", tmp_path / "out")
    found = Image.open(tmp_path / "out" / "x.png")
    assert found.getexif()[0x010F] == "Maker" and round(found.info["dpi"][0]) == 300


def test_pictures_without_a_file_have_a_home_too():
    picture = Picture(noise((4, 4, 3), "uint8"), "rgb", stored=Stored("png", dpi=(72.0, 72.0)))
    (result,) = through(identity(3, 1), [picture])
    assert (result.colour, result.pixels.shape, result.stored.dpi) == ("grey", (4, 4, 1), (72.0, 72.0))
    assert torch.is_grad_enabled()
