"""Images larger than the memory that they may take: files in pieces, `i2i translate` in tiles, the same pixels."""

import dataclasses
import io
import itertools
import sys
import warnings
from pathlib import Path

import identity
import numpy as np
import pictures
import pytest
import tifffile
import tiny
import torch
from PIL import Image

import i2i
from i2i.cli.translating import _bytes
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.images import UnreadableImage, read, write
from i2i.images.headers import MAX_PIXELS
from i2i.images.raster import Raster
from i2i.images.regions import Regions
from i2i.images.writing import write_regions
from i2i.tiles.disk import check_space
from i2i.translate import Translator, find_translator
from i2i.translating import Place, Summary, Tiling, translate_files, translate_stream
from i2i.weights import save_translator

ALWAYS = Tiling(memory=3_000_000)
"""So little that whatever is larger than some pixels goes in tiles; enough for a tile."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Of a small generator with instance norm."""
    folder = tmp_path_factory.mktemp("weights")
    engine = Engine()
    recipe = tiny.recipe(folder, engine)
    path = folder / "ab.safetensors"
    torch.manual_seed(0)
    module = recipe.method(3, 3).translators()["ab"]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(4)  # as they are at first, all images come out grey
    save_translator(path, module, recipe=recipe, direction="ab", step=0)
    return path


@pytest.fixture(scope="module")
def translator(weights) -> Translator:
    engine = Engine()
    return find_translator(weights, engine.registry, engine.plugins)


@pytest.fixture(scope="module")
def same(tmp_path_factory) -> Path:
    """A run whose network changes nothing."""
    return identity.run(tmp_path_factory.mktemp("identity")).folder


def smooth(height, width, channels=3, dtype="uint8"):
    """(H, W, C) of waves, over the whole range of an integer type."""
    y, x, c = np.ogrid[:height, :width, :channels]
    waves = 0.5 + 0.25 * np.sin(y / 11 + c) + 0.25 * np.sin(x / 7 - 2 * c + y / 31)
    return waves.astype(dtype) if dtype == "float32" else np.rint(waves * np.iinfo(dtype).max).astype(dtype)


def translate(translator, folder, tiling, out, **options) -> Summary:
    paths = sorted(Path(folder).iterdir()) if Path(folder).is_dir() else [Path(folder)]
    summary = Summary(len(paths))
    places = [Place(path, Path(path.name)) for path in paths]
    translate_files(translator, places, Path(out), summary, tiling=tiling, **options)
    return summary


def layouts():
    types, compressions = ("uint8", "uint16", "float32"), (None, "zlib", "lzw")
    for dtype, compression, tile in itertools.product(types, compressions, (None, (16, 32))):
        for channels, planar, order in ((1, "contig", ">"), (3, "contig", "<"), (4, "separate", "<")):
            options = {"compression": compression, "predictor": bool(compression), "tile": tile, "byteorder": order}
            array = pictures.noise(37, 53, channels, dtype)
            if channels > 1:
                options["planarconfig"] = planar
            if channels == 4:
                array, options["extrasamples"] = np.moveaxis(array, 2, 0), ["unassalpha"]
            options["photometric"] = "rgb" if channels > 1 else "minisblack"
            yield pictures.tiff(array, rowsperstrip=None if tile else 7, **options)


def others():
    rgb, grey = pictures.noise(40, 50, 3), pictures.noise(40, 50, 1)
    palette = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype(np.uint16)
    yield pictures.tiff(rgb, photometric="rgb", compression="jpeg", tile=(16, 32))
    yield pictures.tiff(pictures.noise(40, 50, 4), photometric="separated", rowsperstrip=7)
    yield pictures.tiff(grey, photometric="miniswhite", rowsperstrip=7)
    yield pictures.tiff(grey, photometric="palette", colormap=palette, rowsperstrip=7)
    yield pictures.tiff(pictures.noise(40, 50, 4), photometric="rgb", extrasamples=["assocalpha"], rowsperstrip=7)
    yield pictures.tiff(grey > 128, rowsperstrip=7)
    yield pictures.tiff(rgb, photometric="rgb", bigtiff=True, compression="zlib")
    yield pictures.several(*[pictures.noise(40, 50, 3, seed=i) for i in range(3)])
    for options in ({"imagej": True}, {}, {"compression": "zlib"}):
        stack = io.BytesIO()
        tifffile.imwrite(stack, np.stack([pictures.noise(40, 50, 1, "uint16", i) for i in range(4)]), **options)
        yield stack.getvalue()
    for array in (pictures.noise(600, 5, 3), np.asfortranarray(rgb), rgb.astype(">u2"), rgb[:, :, :1]):
        yield pictures.npy(array)
        yield pictures.npz(x=array)
    yield from (pictures.saved(rgb, format) for format in ("PNG", "WEBP", "JPEG", "BMP"))
    yield pictures.saved(pictures.noise(300, 20, 4), "PNG")


@pytest.mark.parametrize("content", [*layouts(), *others()])
def test_regions_are_those_of_the_whole_picture(content, monkeypatch):
    for module in ("reading_tiff_segments", "reading_arrays"):
        monkeypatch.setattr(f"i2i.images.{module}._N_BYTES", 500)
    whole, regions = read(content), Regions(content, None)
    width, height = whole.size
    for rows, columns in ((slice(0, height), slice(0, width)), (slice(height // 3, height // 2), slice(2, width - 1))):
        region = regions.read(rows, columns)
        assert np.array_equal(region.samples, whole.samples[rows, columns])
        assert (region.colour, region.alpha is None) == (whole.colour, whole.alpha is None)
        assert region.stored == whole.stored
    regions.close()


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_regions_are_upright(orientation, tile):
    tags = [(274, 3, 1, orientation, False)]
    content = pictures.tiff(pictures.noise(37, 53), photometric="rgb", tile=tile, rowsperstrip=9, extratags=tags)
    whole, regions = read(content), Regions(content, None)
    assert np.array_equal(regions.read(slice(3, 30), slice(4, 31)).pixels, whole.pixels[3:30, 4:31])
    regions.close()


def test_what_a_sparse_file_leaves_out_is_black(monkeypatch):
    tiles = iter([np.full((16, 16), 7, np.uint8), None, None, np.full((16, 16), 9, np.uint8)])
    file = io.BytesIO()
    tifffile.imwrite(file, tiles, shape=(32, 32), dtype="uint8", tile=(16, 16), compression="zlib", metadata=None)
    regions = Regions(file.getvalue(), None)
    assert np.array_equal(regions.read(slice(0, 32), slice(0, 32)).pixels, read(file.getvalue()).pixels)
    regions.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pictures.tiff(smooth(64, 64), photometric="rgb", rowsperstrip=8)[:-500], "goes? beyond its end|truncated"),
        (pictures.npy(smooth(64, 64))[:-5], "holds fewer"),
        (pictures.npy(smooth(64, 64)) + b"0", "holds more"),
        (pictures.saved(smooth(64, 64), "PNG")[:-90], "damaged|truncated"),
        (pictures.tiff(np.where(np.indices((64, 64))[0] == 40, np.nan, 1).astype("float32")), "row 40, column 0"),
    ],
    ids=["tiff", "npy", "npy-more", "png", "nan"],
)
def test_damage_is_found_before_anything_is_computed(content, message, monkeypatch):
    monkeypatch.setattr("i2i.images.reading_tiff_segments._N_BYTES", 500)
    with pytest.raises(UnreadableImage, match=message):
        Regions(content, None)


@pytest.mark.parametrize("format", ["tiff", "png", "npy"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_written_in_bands_is_what_is_written_whole(format, dtype, channels, tmp_path):
    whole = read(pictures.tiff(smooth(150, 70, channels, dtype), extrasamples=[2] if channels == 4 else None,
                               photometric="rgb" if channels > 1 else "minisblack", resolution=(300, 300)))  # fmt: skip
    try:
        write(whole, tmp_path / "whole", format)
    except ValueError:
        with pytest.raises(ValueError, match="cannot hold"):
            write_regions(whole, lambda rows, columns: pytest.fail("was read"), tmp_path / "bands", format)
        return
    pixel = whole.pixels[:1, :1]
    alpha = None if whole.alpha is None else np.broadcast_to(whole.alpha[:1, :1], (150, 70))
    outline = dataclasses.replace(whole, pixels=np.broadcast_to(pixel, whole.pixels.shape), alpha=alpha)
    write_regions(outline, lambda rows, columns: whole.samples[rows, columns], tmp_path / "bands", format)
    one, other = read(tmp_path / "whole"), read(tmp_path / "bands")
    assert np.array_equal(one.samples, other.samples) and one.colour == other.colour
    assert one.stored.dpi == other.stored.dpi
    if format == "png":  # by other decoders too, which check what is in a chunk
        with Image.open(tmp_path / "bands") as image:
            image.load()


def test_the_file_of_a_raster_has_no_name_and_its_disk_is_asked_first(tmp_path, monkeypatch):
    raster = Raster(tmp_path, (1, 30, 20, 3), np.dtype("uint8"))
    raster.write(3, 4, np.full((5, 6, 3), 7, np.uint8))
    assert raster.read(slice(0, 30), slice(0, 20)).sum() == 5 * 6 * 3 * 7
    raster.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(
        I2IError, match=r"needs a temporary file of 844,424,930\.1 MB, and .* has [\d.,]+ MB left; .* TMPDIR"
    ):
        Raster(tmp_path, (1, 1 << 24, 1 << 24, 3), np.dtype("uint8"))


def test_tiles_give_what_the_whole_gives(translator, tmp_path):
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", smooth(203, 310), compression="zlib", photometric="rgb")
    Image.fromarray(smooth(301, 222)).save(tmp_path / "in" / "b.png")
    Image.fromarray(smooth(21, 18)).save(tmp_path / "in" / "small.png")
    np.save(tmp_path / "in" / "c.npy", smooth(240, 240))
    whole = translate(translator, tmp_path / "in", Tiling("never"), tmp_path / "whole")
    tiled = translate(translator, tmp_path / "in", ALWAYS, tmp_path / "tiled")
    assert (whole.written, whole.tiled) == (4, {}) and (tiled.written, tiled.tiled) == (4, {"exact": 3})
    for name in ("a.tif", "b.png", "c.npy", "small.png"):
        one, other = read(tmp_path / "whole" / name), read(tmp_path / "tiled" / name)
        apart = np.abs(one.pixels.astype(int) - other.pixels)
        assert apart.max() <= 1 and (apart > 0).mean() < 0.002  # where rounding to 8 bits meets that of float32
        assert one.pixels.std() > 10
    assert sorted(p.name for p in (tmp_path / "tiled").iterdir()) == ["a.tif", "b.png", "c.npy", "small.png"]


def test_images_too_thin_for_the_network_are_errors_of_their_own(translator, tmp_path):
    (tmp_path / "in").mkdir()
    for height, width in ((203, 3), (1, 310), (1, 1), (203, 310)):
        Image.fromarray(smooth(203, 310)[:height, :width]).save(tmp_path / "in" / f"{width}x{height}.png")
    told = translate(translator, tmp_path / "in", Tiling(memory=1_000_000), tmp_path / "out")
    assert (told.written, told.tiled) == (1, {"exact": 1})
    assert sorted(p.message for p in told.problems) == [
        f"{size} px is too small for this network; enlarge the image" for size in ("1x1", "310x1", "3x203")
    ]


def test_what_cannot_be_foreseen_goes_whole(translator, tmp_path):
    class Branching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, x):
            return x * self.scale if x.mean() > 2 else x

    Image.fromarray(smooth(203, 310)).save(tmp_path / "x.png")
    branching = dataclasses.replace(translator, module=Branching())
    told = translate(branching, tmp_path / "x.png", ALWAYS, tmp_path / "out")
    assert (told.written, told.tiled, told.problems) == (1, {}, [])


def test_a_header_that_says_the_size_of_a_planet(translator, tmp_path):
    np.lib.format.write_array_header_1_0(
        (tmp_path / "x.npy").open("wb"), {"descr": "|u1", "fortran_order": False, "shape": (10**9, 10**9, 3)}
    )
    told = translate(translator, tmp_path / "x.npy", Tiling(max_pixels=10**18), tmp_path / "out")
    assert [p.message.partition(" of ")[0] for p in told.problems] == ["needs a temporary file"]


class Sorted(torch.nn.Module):
    """Mixes the whole image."""

    def forward(self, x):
        return x.flatten(2).sort(2).values.view(x.shape)


def test_errors_of_tiles_name_what_is_at_fault(translator, tmp_path, monkeypatch):
    Image.fromarray(smooth(203, 310)).save(tmp_path / "x.png")

    def message(tiling=ALWAYS, module=translator.module):
        told = translate(dataclasses.replace(translator, module=module), tmp_path / "x.png", tiling, tmp_path / "out")
        (problem,) = told.problems
        assert problem.where == str(tmp_path / "x.png")
        return problem.message

    mixing = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), Sorted())
    assert "are there; in tiles, 1 (Sorted): its operator sort" in message(module=mixing)
    assert message(Tiling(memory=100)).startswith("100 B of memory are too little for a tile, which takes")
    monkeypatch.setattr("i2i.tiles.running.check_space", lambda folder, needed: check_space(folder, 1 << 60))
    assert message().startswith(f"{tmp_path / 'out'} has ")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    assert message().startswith(f"its temporary file in {tmp_path / 'none'} cannot be written: No such file")


def content_of(kind):
    if kind == "alpha":
        return pictures.tiff(smooth(150, 170, 4), photometric="rgb", extrasamples=["unassalpha"])
    if kind == "deep":
        return pictures.tiff(smooth(150, 170, 3, "uint16"), photometric="rgb", planarconfig="contig")
    if kind == "pages":
        return pictures.several(*[smooth(150, 170)[:, :, ::s] for s in (1, -1)])
    if kind == "profile":
        from PIL import ImageCms

        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        return pictures.saved(Image.fromarray(smooth(150, 170)), "PNG", icc_profile=profile)
    return pictures.saved(smooth(150, 170, 1)[:, :, 0], "PNG")


@pytest.mark.parametrize("kind", ["alpha", "deep", "pages", "profile", "grey"])
@pytest.mark.filterwarnings("ignore:.*colour profile")
def test_alpha_depth_pages_and_colours_are_those_of_the_whole(kind, same, tmp_path):
    engine = Engine([identity.__file__])
    translator = find_translator(same, engine.registry, engine.plugins)
    path = tmp_path / "x"
    path.write_bytes(content_of(kind))
    translate(translator, path, Tiling("never"), tmp_path / "whole")
    told = translate(translator, path, Tiling(memory=400_000), tmp_path / "tiled")
    assert told.tiled == {"exact": 1}, told.problems
    (one,), (other,) = ([*(tmp_path / name).iterdir()] for name in ("whole", "tiled"))
    assert one.name == other.name
    one, other = read(one), read(other)
    assert np.array_equal(one.samples, other.samples)
    assert (one.colour, one.stored.pages, one.stored.format) == (other.colour, other.stored.pages, other.stored.format)


def test_clipped_values_are_counted_once(tmp_path):
    run = identity.run(tmp_path / "run", range=[0, 200]).folder
    engine = Engine([identity.__file__])
    translator = find_translator(run, engine.registry, engine.plugins)
    Image.fromarray(smooth(150, 170)).save(tmp_path / "x.png")
    whole = translate(translator, tmp_path / "x.png", Tiling("never"), tmp_path / "whole")
    tiled = translate(translator, tmp_path / "x.png", Tiling(memory=400_000), tmp_path / "tiled")
    assert tiled.tiled and whole.clipped == tiled.clipped != {}


def test_a_stream_goes_in_tiles_too(translator):
    content, whole, tiled = pictures.saved(smooth(203, 310), "PNG"), io.BytesIO(), io.BytesIO()
    translate_stream(translator, Place(content, Path("stdin")), whole, tiling=Tiling("never"))
    summary = translate_stream(translator, Place(content, Path("stdin")), tiled, tiling=ALWAYS)
    assert summary.tiled == {"exact": 1} and not summary.problems
    one, other = read(whole.getvalue()), read(tiled.getvalue())
    assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 1


def test_progress_is_told_within_an_image(translator, tmp_path):
    Image.fromarray(smooth(203, 310)).save(tmp_path / "x.png")
    told = []
    translate(translator, tmp_path / "x.png", ALWAYS, tmp_path / "out", progress=lambda *now: told.append(now))
    names, done, totals = zip(*told, strict=True)
    assert {*names} == {str(tmp_path / "x.png")} and len(told) > 4
    assert list(done) == sorted(done) and done[-1] == pytest.approx(totals[-1])


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError(28, "No space left on device"), ValueError("is odd")])
def test_nothing_stays_behind(end, translator, tmp_path, monkeypatch):
    Image.fromarray(smooth(203, 310)).save(tmp_path / "x.png")

    def stop(*_, **__):
        raise end

    monkeypatch.setattr("i2i.translating.work.write_regions", stop)
    try:
        told = translate(translator, tmp_path / "x.png", ALWAYS, tmp_path / "out")
        assert [p.message for p in told.problems] == ["is odd"]
    except (KeyboardInterrupt, OSError) as error:
        assert error is end or isinstance(error, KeyboardInterrupt)
    assert not list((tmp_path / "out").iterdir())


def test_the_limit_of_pixels_can_be_raised_and_lowered(translator, tmp_path, monkeypatch):
    monkeypatch.setattr("i2i.images.headers.MAX_PIXELS", 1000)
    (tmp_path / "in").mkdir()
    for name, content in (
        ("a.tif", pictures.tiff(smooth(40, 50), photometric="rgb")),
        ("b.png", pictures.saved(smooth(40, 50), "PNG")),
        ("c.npy", pictures.npy(smooth(40, 50))),
    ):
        (tmp_path / "in" / name).write_bytes(content)  # fmt: skip
    told = translate(translator, tmp_path / "in", Tiling(), tmp_path / "out")
    assert len(told.problems) == 3 and all("--max-pixels" in problem.message for problem in told.problems)
    assert translate(translator, tmp_path / "in", Tiling(max_pixels=2000), tmp_path / "out").written == 3
    monkeypatch.setattr("i2i.images.headers.MAX_PIXELS", MAX_PIXELS)
    assert len(translate(translator, tmp_path / "in", Tiling(max_pixels=1999), tmp_path / "x").problems) == 3


def test_i2i_load_takes_arrays_that_do_not_fit(weights, monkeypatch):
    model, pixels = i2i.load(weights, precision="fp32"), smooth(203, 310)
    whole = model.translate(pixels)
    monkeypatch.setattr("i2i.translating.tiling.free_memory", lambda device: 4_000_000)
    tiled = model.translate(pixels)
    assert np.abs(whole.astype(int) - tiled).max() <= 1


@pytest.mark.parametrize(
    ("text", "n"), [("2GB", 2 * 10**9), ("1.5 GiB", 3 << 29), ("800mb", 8 * 10**8), ("5000", 5000)]
)
def test_an_amount_of_memory(text, n):
    assert _bytes(text) == n


@pytest.mark.parametrize(
    ("tiles", "cost"), [("thumbnail", "3 to 7 grey levels .* 145"), ("independent", "seams may show.* 218")]
)
def test_what_is_not_exact_says_what_it_costs(tiles, cost, translator, tmp_path):
    Image.fromarray(smooth(203, 310)).save(tmp_path / "x.png")
    with pytest.warns(UserWarning, match=cost):
        told = translate(translator, tmp_path / "x.png", Tiling(tiles, 3_000_000), tmp_path / "out")
    assert told.tiled == {tiles: 1} and read(tmp_path / "out" / "x.png").size == (310, 203)


def test_the_command_says_what_went_in_tiles(weights, tmp_path, monkeypatch, capsys):
    from i2i import cli

    (tmp_path / "in").mkdir()
    for name, size in (("large.png", (203, 310)), ("small.png", (20, 30))):
        Image.fromarray(smooth(*size)).save(tmp_path / "in" / name)

    def call(*more):
        monkeypatch.setattr(sys, "argv", ["i2i", "translate", str(weights), str(tmp_path / "in"), *more])
        with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, capsys.readouterr()

    code, told = call("-o", str(tmp_path / "out"), "--memory", "3MB", "--precision", "fp32")
    assert code == 0 and "1 in tiles, exactly: whole it would take too much memory" in told.out
    assert read(tmp_path / "out" / "large.png").pixels.std() > 10
    for options, message in (
        (["--tiles", "exakt"], "did you mean 'exact'"),
        (["--memory", "lots"], "'lots' is no amount of memory; write 2GB"),
        (["--tiles", "never", "--memory", "2GB"], "--tiles never makes none"),
    ):
        code, told = call("-o", str(tmp_path / "out"), *options)
        assert code == 2 and message in told.err.replace("\n", " ")
