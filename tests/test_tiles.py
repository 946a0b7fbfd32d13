"""Tiles: what goes through a network piece by piece is what goes through it whole."""

from collections import Counter

import pytest
import torch
from test_components import SMALL, everything
from torch import nn
from torch.nn import functional as F

from i2i.errors import I2IError
from i2i.measure import peak_memory
from i2i.reference.resnet import ResnetGenerator
from i2i.tiles import check, translate, whole_image_memory
from i2i.tiles import sources as tile_sources
from i2i.tiles.disk import Stored
from i2i.tiles.running import Run
from i2i.tiles.tracing import trace
from i2i.translate import Translator


class Image:
    """A tensor as a source."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.channels, self.height, self.width = pixels.shape[1:]

    def read(self, rows, columns):
        assert 0 <= rows.start < rows.stop <= self.height and 0 <= columns.start < columns.stop <= self.width
        return self.pixels[:, :, rows, columns]


class Canvas:
    """A tensor as a sink, which takes each pixel once, in order."""

    def __init__(self, channels, height, width):
        self.pixels = torch.full((1, channels, height, width), torch.nan, dtype=torch.float64)
        self.places = []

    def write(self, rows, columns, values):
        assert self.pixels[:, :, rows, columns].isnan().all()
        self.pixels[:, :, rows, columns] = values
        self.places.append((rows.start, columns.start))


def tiled(network, image, **options):
    """The translation by tiles, and where these began."""

    canvas = Canvas(3, *image.shape[2:])
    translate(network, Image(image), canvas, **options)
    assert canvas.places == sorted(canvas.places)
    return canvas.pixels, canvas.places


def random(network, height, width, channels=3, seed=0):
    """Noise, of the type of the network."""
    dtype = next(network.parameters()).dtype
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, height, width, generator=generator, dtype=dtype) * 2 - 1


class Chain(nn.Module):
    """A convolution, something, and three channels of the size of the image."""

    def __init__(self, middle, n_out=4, scale=1.0):
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 4, 3, padding=1), middle, nn.Conv2d(n_out, 3, 1)

    def forward(self, x):
        y = self.last(self.middle(self.first(x)))
        return y if y.shape[2:] == x.shape[2:] else F.interpolate(y, size=x.shape[2:])


class Do(nn.Module):
    """A function as a module."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.parts)


def squeezed(x, down, up):
    return x * up(down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


OPERATORS = {
    "conv_stride": nn.Conv2d(4, 4, 3, stride=2, padding=1),
    "conv_stride_3": nn.Conv2d(4, 4, (5, 2), stride=(3, 2), padding=(2, 0)),
    "conv_dilated": nn.Conv2d(4, 4, 3, padding=4, dilation=4),
    "conv_same": nn.Conv2d(4, 4, 4, padding="same"),
    "conv_grouped": nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
    "conv_wide_padding": nn.Conv2d(4, 4, 3, padding=5),
    "transposed": nn.ConvTranspose2d(4, 4, 3, 2, 1, output_padding=1),
    "transposed_4": nn.ConvTranspose2d(4, 4, 4, 2, 1),
    "transposed_gaps": nn.ConvTranspose2d(4, 4, 1, 3, output_padding=2),
    "transposed_dilated": nn.ConvTranspose2d(4, 4, 3, 2, 2, dilation=3, groups=2),
    "max_pool": nn.MaxPool2d(3, 2, 1),
    "max_pool_ceil": nn.MaxPool2d(2, 2, ceil_mode=True),
    "avg_pool": nn.AvgPool2d(3, 2, 1),
    "avg_pool_uncounted": nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "reflect": nn.ReflectionPad2d((3, 1, 2, 5)),
    "replicate": nn.ReplicationPad2d((3, 1, 2, 5)),
    "zero": nn.ZeroPad2d((3, 1, 2, 5)),
    "constant": nn.ConstantPad2d(2, 1.5),
    "crop": nn.ZeroPad2d((-1, -2, -3, 0)),
    "nearest": nn.Upsample(scale_factor=2),
    "nearest_odd": nn.Upsample(scale_factor=1.7),
    "nearest_exact": nn.Upsample(scale_factor=1.7, mode="nearest-exact"),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear_down": nn.Upsample(scale_factor=0.4, mode="bilinear"),
    "bilinear_corners": nn.Upsample(size=(90, 70), mode="bilinear", align_corners=True),
    "bicubic": nn.Upsample(scale_factor=1.5, mode="bicubic"),
    "pixel_shuffle": nn.Sequential(nn.Conv2d(4, 16, 1), nn.PixelShuffle(2)),
    "pixel_unshuffle": nn.Sequential(Do(lambda x: x[:, :, :-1, 1:]), nn.PixelUnshuffle(2), nn.Conv2d(16, 4, 1)),
    "slice": Do(lambda x: x[:, :, 2:-3:2, 5:]),
    "instance_norm": nn.InstanceNorm2d(4, affine=True),
    "group_norm": nn.GroupNorm(2, 4),
    "batch_norm": nn.BatchNorm2d(4),
    "current_batch": Do(lambda x: F.batch_norm(x, None, None, training=True)),
    "squeeze": Do(squeezed, nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)),
    "pool_to_one": Do(lambda x: x * F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, 1)),
    "amax": Do(lambda x: x - x.amax((2, 3), keepdim=True) + x.flatten(2).mean(2)[:, :, None, None]),
    "moments": Do(lambda x: x / x.std((1, 2, 3), keepdim=True) + x.var((-1, -2)).sum() + x.sum() / x.numel()),
    "layer_norm": Do(lambda x, norm: norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.LayerNorm(4)),
    "linear": Do(lambda x, line: line(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.Linear(4, 4)),
    "glu": nn.Sequential(nn.Conv2d(4, 8, 1), nn.GLU(1)),
    "chunk": Do(lambda x: torch.cat([*reversed(x.chunk(2, 1))], 1) * x.softmax(1)),
    "shuffle": nn.ChannelShuffle(2),
    "shuffle_by_view": Do(lambda x: x.view(1, 2, 2, *x.shape[2:]).transpose(1, 2).reshape(x.shape)),
    "in_place": nn.Sequential(nn.ReLU(inplace=True), nn.LeakyReLU(0.2, inplace=True), nn.Hardtanh(inplace=True)),
    "in_place_twice": Do(lambda x: x.mul_(2) + x.relu_() + x),
    "prelu": nn.PReLU(4),
    "skip": Do(
        lambda x, down, up: torch.cat([x[:, :2], up(down(x))], 1),
        nn.Conv2d(4, 4, 4, 2, 1),
        nn.ConvTranspose2d(4, 2, 4, 2, 1, output_padding=1),
    ),
    "places": Do(lambda x: x + torch.linspace(0, 1, x.shape[3], dtype=x.dtype)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator(name):
    torch.manual_seed(0)
    network = Chain(OPERATORS[name]).double().eval()
    image = random(network, 45, 53)
    got, places = tiled(network, image, memory=60_000)
    assert len(places) > 3
    assert (got - network(image).detach()).abs().max() < 1e-10


MIXING = {"unet_attention", "vit"}
"""Generators that attend to the whole image."""


def generators():
    """Every generator, the default with every normalization, and with every way to enlarge."""
    for component, registry in (p.values for p in everything()):
        small = {"name": "resnet", "base_channels": 8, "n_blocks": 1}
        if component.kind.name == "normalization":
            norm = {"name": "group", "groups": 4} if component.name == "group" else component.name
            yield pytest.param(registry, {**small, "norm": norm}, id=f"norm-{component.name}")
        elif component.kind.name == "generator":
            yield pytest.param(registry, {"name": component.name, **SMALL.get(component.name, {})}, id=component.name)
        if component.name == "resnet":
            for upsample in ("nearest", "bilinear", "pixel_shuffle"):
                yield pytest.param(registry, {**small, "upsample": upsample}, id=f"upsample-{upsample}")


def built(registry, options):
    """A generator with statistics of training that are not those of the images."""
    if options["name"] == "unet":
        options = {**options, "dropout": 0.0}  # what it drops at inference is another choice of pixels
    torch.manual_seed(0)
    network = registry.resolve("generator", options, "generator")(3, 3).eval()
    for part in network.modules():
        if isinstance(getattr(part, "running_var", None), torch.Tensor):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize(("registry", "options"), list(generators()))
def test_each_generator(registry, options):
    network = built(registry, options)
    if options["name"] in MIXING:
        with pytest.raises(I2IError, match=r"\((Transformer|Attention)\).* takes images whole, not in tiles"):
            check(network, 3)
        return
    check(network, 3)
    image = random(network, 150, 93)
    got, _ = tiled(network, image, memory=whole_image_memory(network, 3, 150, 93) // 2)
    assert (got - Translator(network)(image)).abs().max() < 1e-4


def resnet(**options):
    torch.manual_seed(0)
    options = {"base_channels": 8, "n_blocks": 2, **options}
    return ResnetGenerator(3, 3, **options).eval()


def run_of(network, image, folder, memory):
    """The passes of a network over an image whose size is a multiple of the network's."""

    def read(box):
        (top, bottom), (left, right) = box
        return image[:, :, top:bottom, left:right]

    return Run(trace(network, *image.shape[1:]), read, memory, folder, torch.float32)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 70), (77, 11), (101, 64), (64, 103)])
def test_sizes(height, width):
    network = resnet(n_blocks=1)
    image = random(network, height, width)
    got, _ = tiled(network, image, memory=max(20_000, whole_image_memory(network, 3, height, width) // 2))
    assert (got - Translator(network)(image)).abs().max() < 1e-4


@pytest.mark.parametrize("mode", ["exact", "thumbnail", "independent"])
def test_too_small(mode):
    with pytest.raises(I2IError, match="3x2 px is too small for this network; enlarge the image"):
        tiled(resnet(), random(resnet(), 2, 3), mode=mode)


def test_no_seams():
    """The largest step across borders of tiles is that of the whole image's translation."""
    network = resnet()
    image = F.interpolate(random(network, 8, 8), size=(160, 120), mode="bilinear")
    got, places = tiled(network, image, memory=600_000)
    expected = Translator(network)(image)
    for axis, borders in ((2, {row for row, _ in places} - {0}), (3, {column for _, column in places} - {0})):
        for border in borders:
            got_step, step = (one.diff(dim=axis).select(axis, border - 1).abs().max() for one in (got, expected))
            assert abs(got_step - step) < 1e-5
    assert len(places) >= 4


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_given_statistics_are_those_of_one_pass(norm):
    """An image below the size of the thumbnail is its own thumbnail, so that one pass is exact."""
    network = resnet() if norm == "instance" else resnet(norm=nn.BatchNorm2d)
    image = random(network, 96, 128)
    got, places = tiled(network, image, mode="thumbnail", memory=900_000)
    assert len(places) > 1
    assert (got - Translator(network)(image)).abs().max() < 1e-4


def test_thumbnail_is_reduced_by_area(monkeypatch):
    image = random(resnet(), 601, 527)
    monkeypatch.setattr(tile_sources, "BAND", 100 * 527)
    small = tile_sources.Reduced(Image(image), 100 * 100)
    assert small.factor == 2  # by the side that shall keep 256 px
    assert (small.height, small.width) == (301, 264)
    assert torch.allclose(small.pixels[0, :, 7, 9], image[0, :, 14:16, 18:20].mean((1, 2)))
    assert torch.allclose(small.pixels[0, :, 300, 263], image[0, :, 600, 526])


def test_independent_tiles_are_translated_by_themselves():
    """Each tile is what the network makes of it and its surroundings; without statistics that is the whole image's."""
    plain = resnet(norm=nn.BatchNorm2d)
    image = random(plain, 96, 64)
    got, _ = tiled(plain, image, mode="independent", memory=500_000)
    assert (got - Translator(plain)(image)).abs().max() < 1e-4
    normal = resnet()
    got, places = tiled(normal, image, mode="independent", memory=500_000)
    assert len(places) > 1
    assert (got - Translator(normal)(image)).abs().max() > 1e-3


def test_no_layer_is_computed_twice(monkeypatch, tmp_path):
    """Convolutions before a normalization give as many pixels as there are, and the last one too."""
    network = resnet()
    run = run_of(network, random(network, 128, 96), tmp_path, memory=400_000)
    counts: Counter[int] = Counter()
    for name in ("conv2d", "conv_transpose2d"):
        original = getattr(F, name)

        def counted(x, weight, *args, original=original):
            out = original(x, weight, *args)
            counts[weight.data_ptr()] += out.shape[2] * out.shape[3]
            return out

        monkeypatch.setattr(F, name, counted)
    run(lambda box, values: None, lambda done: None)
    monkeypatch.undo()
    assert all(down * across > 1 for down, across in run.grids[:3])
    pixels = {}
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda m, _, out: pixels.update({m.weight.data_ptr(): out.shape[2:].numel()}))
    network(random(network, 128, 96))
    assert pixels.keys() == counts.keys()
    # Transposed convolutions give some rows at the border of a tile that are cut off.
    transposed = {layer.weight.data_ptr() for layer in network.modules() if isinstance(layer, nn.ConvTranspose2d)}
    assert all(counts[key] == pixels[key] for key in pixels.keys() - transposed)
    assert all(pixels[key] < counts[key] < 1.3 * pixels[key] for key in transposed)


def test_memory_stays_below_the_limit(tmp_path):
    network = resnet(base_channels=16)
    whole = whole_image_memory(network, 3, 512, 384)
    run = run_of(network, random(network, 512, 384), tmp_path, memory=whole // 4)
    peak = peak_memory(lambda: run(lambda box, values: None, lambda done: None), torch.device("cpu"))
    assert whole > 25e6
    assert peak < whole // 4


def test_whole_image_memory():
    network = resnet()
    image = random(network, 64, 48)
    with torch.no_grad():
        peak = peak_memory(lambda: network(image), torch.device("cpu"))
    assert whole_image_memory(network, 3, 61, 45) == pytest.approx(peak + image.nbytes, rel=0.1)


def test_what_a_pass_takes_is_not_told_of_what_cannot_be_laid_out():
    with pytest.raises(I2IError, match="image: 3x200 px is too small for this network; enlarge the image"):
        whole_image_memory(resnet(), 3, 200, 3)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), Branching())
    with pytest.raises(I2IError, match="the network: what it takes cannot be told without running it: "):
        whole_image_memory(network, 3, 64, 64)


def test_what_is_dropped_does_not_depend_on_tiles():
    network = Chain(Do(lambda x: F.dropout(x, 0.3, training=True))).double().eval()
    image = random(network, 60, 70)
    whole, _ = tiled(network, image)
    pieces, places = tiled(network, image, memory=100_000)
    assert len(places) > 1
    assert torch.allclose(whole, pieces, atol=1e-12)
    ones = nn.Sequential(nn.Conv2d(3, 3, 1), Do(lambda x: F.dropout(x * 0 + 1, 0.3, training=True)))
    kept, _ = tiled(ones.eval(), random(ones, 200, 200))
    assert (kept == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert kept.max() == pytest.approx(1 / 0.7)


def test_bf16():
    network = resnet()
    image = random(network, 96, 64)
    got, _ = tiled(network, image, dtype=torch.bfloat16, memory=600_000)
    with torch.autocast("cpu", torch.bfloat16):
        expected = Translator(network)(image)
    whole = Translator(network)(image)
    error, usual = ((one - whole).abs().mean() for one in (got, expected))
    assert error < 1.5 * usual < 0.05


def test_random_state_and_modes_stay():
    network = resnet().train()
    state = torch.get_rng_state()
    tiled(network, random(network, 32, 32))
    assert torch.equal(state, torch.get_rng_state())
    assert all(part.training for part in network.modules())


def test_progress():
    network, told = resnet(), []
    tiled(network, random(network, 64, 64), memory=500_000, advance=lambda done, total: told.append((done, total)))
    done = [d for d, _ in told]
    assert done == sorted(done)
    assert told[-1][0] == pytest.approx(told[-1][1])


class Attention(nn.Module):
    def forward(self, x):
        tokens = x.flatten(2).mT
        return F.scaled_dot_product_attention(tokens, tokens, tokens).mT.reshape(x.shape)


@pytest.mark.parametrize(
    "part",
    [
        Attention(),
        Do(lambda x: x.softmax(3)),
        Do(lambda x: x.cumsum(2)),
        Do(lambda x: x - x.mean(3, keepdim=True)),
        Do(lambda x: x.flip(3)),
        Do(lambda x: x.roll(1, 2)),
        Do(lambda x: x.transpose(2, 3).reshape(x.shape) + x),
        Do(lambda x: torch.einsum("bchw,bdhw->bcd", x, x).mean() + x),
        Do(lambda x: F.pad(x, (1, 1, 1, 1), mode="circular")),
        Do(lambda x: F.grid_sample(x, F.affine_grid(torch.eye(2, 3)[None], list(x.shape), align_corners=False))),
        Do(lambda x: F.adaptive_avg_pool2d(x, 4)),
        Do(lambda x: F.fold(F.unfold(x, 2), x.shape[2:], 2)),
    ],
)
def test_what_mixes_the_whole_image_is_refused(part):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(part), nn.Conv2d(4, 3, 1))
    with pytest.raises(
        I2IError, match=r"^1\.0 \(\w+\): its operator \w+ .*; this network takes images whole, not in tiles"
    ):
        check(network, 3)


class Branching(nn.Module):
    def forward(self, x):
        return x + 1 if x.mean() > 0 else x


def test_what_cannot_be_taken_apart_is_refused():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), Branching())
    with pytest.raises(I2IError, match="the network: cannot be taken apart into its operators"):
        check(network, 3)


def test_a_disk_without_room(monkeypatch, tmp_path):
    network = resnet()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))  # bytes
    with pytest.raises(I2IError, match=r"scratch: \S+ has 1 kB free, and exact tiles keep \d+ kB there; choose"):
        tiled(network, random(network, 64, 64), scratch=tmp_path)
    tiled(network, random(network, 64, 64), scratch=tmp_path, mode="independent")
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(I2IError, match="scratch: .*none cannot be used: No such file or directory"):
        tiled(resnet(), random(resnet(), 64, 64), scratch=tmp_path / "none")


def test_too_little_memory():
    with pytest.raises(I2IError, match=r"memory: 100 B of memory are too little for a tile, which takes [\d.]+ kB"):
        tiled(resnet(), random(resnet(), 64, 64), memory=100)


@pytest.mark.parametrize("axes", [(-2, -1), (-3, -2)])
def test_maps_on_disk(axes, tmp_path):
    shape = (1, 5, 17, 23) if axes == (-2, -1) else (1, 17, 23, 5)
    values = torch.randn(shape).bfloat16()

    def piece(box):
        return values.narrow(axes[0], box[0][0], box[0][1] - box[0][0]).narrow(
            axes[1], box[1][0], box[1][1] - box[1][0]
        )

    with Stored(shape, axes, torch.bfloat16, tmp_path) as stored:
        for box in (((0, 6), (0, 23)), ((6, 17), (0, 9)), ((6, 17), (9, 23))):
            stored.write(box, piece(box))
        assert [*tmp_path.iterdir()] == []  # the file has no name
        for box in (((0, 17), (0, 23)), ((3, 9), (2, 20)), ((16, 17), (22, 23))):
            assert torch.equal(stored.read(box), piece(box))


@pytest.mark.parametrize("name", ["unit", "colorization"])
def test_translators_of_methods(name):
    """Networks that methods put together: UNIT's encoder and decoder, the colours around a generator."""
    options = {
        "name": name,
        **(SMALL[name] if name == "unit" else {"generator": {"name": "resnet", "base_channels": 4}}),
    }
    (registry,) = {id(p.values[1]): p.values[1] for p in everything()}.values()
    torch.manual_seed(0)
    network = registry.resolve("method", options, "method")(3, 3).translators()["ab"].eval()
    image = random(network, 70, 53)
    got, places = tiled(network, image, memory=whole_image_memory(network, 3, 70, 53) // 5)
    assert len(places) > 1
    assert (got - Translator(network)(image)).abs().max() < 1e-4
