"""Weights, options and runs of pix2pix's and CUT's authors, read into translators and runs."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from i2i import checkpoint, layers
from i2i.errors import I2IError
from i2i.importer.flags import FLAGS, read_options
from i2i.importer.networks import read_discriminator, read_generator, read_projectors
from i2i.importer.recipe import recipe_of
from i2i.importer.runs import import_run, import_translator
from i2i.recipe import resolve
from i2i.translate import find_translator, load_translator


def save(path: Path, weights: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, path)
    return path


# The authors' networks, written from their architecture.


class Skip(nn.Module):
    """A level of the authors' U-Net; its first activation works in place."""

    def __init__(self, outer, inner, inside, norm, bias, dropout):
        super().__init__()
        down = nn.Conv2d(outer, inner, 4, 2, 1, bias=bias)
        if inside is None:
            up = [nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias), norm(outer)]
            self.model = nn.Sequential(nn.LeakyReLU(0.2, True), down, nn.ReLU(True), *up)
        else:
            up = [nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias), norm(outer)]
            up += [nn.Dropout(0.5)] if dropout else []
            self.model = nn.Sequential(nn.LeakyReLU(0.2, True), down, norm(inner), inside, nn.ReLU(True), *up)

    def forward(self, x):
        return torch.cat([x, self.model(x)], 1)


def authors_unet(norm, bias, dropout, n_in=3, n_out=1, ngf=4, depth=6):
    level = Skip(8 * ngf, 8 * ngf, None, norm, bias, dropout)
    for _ in range(depth - 5):
        level = Skip(8 * ngf, 8 * ngf, level, norm, bias, dropout)
    for outer, inner in ((4, 8), (2, 4), (1, 2)):
        level = Skip(outer * ngf, inner * ngf, level, norm, bias, False)
    outermost = nn.Module()
    outermost.model = nn.Sequential(
        nn.Conv2d(n_in, ngf, 4, 2, 1, bias=bias), level, nn.ReLU(True),
        nn.ConvTranspose2d(2 * ngf, n_out, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    module = nn.Module()
    module.model = outermost
    module.forward = lambda images: outermost.model(images)
    return module


class Blur(nn.Module):
    """The authors' Downsample with a filter of 3, or Upsample with one of 4."""

    def __init__(self, channels, row, up):
        super().__init__()
        row = torch.tensor(row)
        filt = row[:, None] * row[None, :]
        self.up = up
        filt = filt / filt.sum() * (4 if up else 1)
        self.register_buffer("filt", filt[None, None].repeat(channels, 1, 1, 1))

    def forward(self, x):
        if not self.up:
            return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=x.shape[1])
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        out = F.conv_transpose2d(x, self.filt, stride=2, padding=2, groups=x.shape[1])
        return out[:, :, 1:, 1:][:, :, :-1, :-1]


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(True), *again)

    def forward(self, x):
        return x + self.conv_block(x)


def wrapped(*modules):
    module = nn.Module()
    module.model = nn.Sequential(*modules)
    module.forward = lambda images: module.model(images)
    return module


def authors_resnet(ngf=4, n_blocks=5):
    def conv(n_in, n_out):
        return [nn.Conv2d(n_in, n_out, 3, 1, 1), nn.InstanceNorm2d(n_out), nn.ReLU(True)]

    down, up = ([1.0, 2.0, 1.0], False), ([1.0, 3.0, 3.0, 1.0], True)
    return wrapped(
        nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7), nn.InstanceNorm2d(ngf), nn.ReLU(True),
        *conv(ngf, 2 * ngf), Blur(2 * ngf, *down), *conv(2 * ngf, 4 * ngf), Blur(4 * ngf, *down),
        *(Block(4 * ngf) for _ in range(n_blocks)),
        Blur(4 * ngf, *up), *conv(4 * ngf, 2 * ngf), Blur(2 * ngf, *up), *conv(2 * ngf, ngf),
        nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh(),
    )  # fmt: skip


def authors_patchgan(n_in, blurred, ndf=4):
    def half(channels):
        return [Blur(channels, [1.0, 2.0, 1.0], False)] if blurred else []

    s = 1 if blurred else 2
    norm = nn.InstanceNorm2d if blurred else nn.BatchNorm2d
    modules = [nn.Conv2d(n_in, ndf, 4, s, 1), nn.LeakyReLU(0.2, True), *half(ndf)]
    for narrow, wide, stride in ((ndf, 2 * ndf, s), (2 * ndf, 4 * ndf, s), (4 * ndf, 8 * ndf, 1)):
        modules += [nn.Conv2d(narrow, wide, 4, stride, 1, bias=blurred), norm(wide), nn.LeakyReLU(0.2, True)]
        modules += half(wide) if wide < 8 * ndf else []
    return wrapped(*modules, nn.Conv2d(8 * ndf, 1, 4, 1, 1))


def authors_projectors(channels=(3, 8, 16, 16, 16), width=12):
    module = nn.Module()
    for place, n in enumerate(channels):
        module.add_module(f"mlp_{place}", nn.Sequential(nn.Linear(n, width), nn.ReLU(), nn.Linear(width, width)))
    return module


NORMS = {
    "batch": (nn.BatchNorm2d, False),
    "instance": (nn.InstanceNorm2d, True),
    "none": (lambda channels: nn.Identity(), False),
}


@pytest.mark.parametrize("depth", [5, 6, 7])
@pytest.mark.parametrize("norm", NORMS)
def test_unet(tmp_path, engine, norm, depth):
    theirs = authors_unet(*NORMS[norm], dropout=False, depth=depth)
    images = torch.rand(2, 3, 2**depth, 2**depth) * 2 - 1
    theirs(images)  # moves the running statistics away from their defaults
    network = read_generator(save(tmp_path / "latest_net_G.pth", theirs.state_dict()))
    assert network.spec["depth"] == depth and network.channels == (3, 1)
    assert network.spec["norm"] == {"batch": "current_batch"}.get(norm, norm)
    out = tmp_path / "photo2label.safetensors"
    import_translator(network.path, out, engine, evaluate=True)
    translator = load_translator(out, engine.registry, engine.plugins)
    assert translator.names == ("photo", "label")
    torch.testing.assert_close(translator(images), theirs.eval()(images), atol=1e-6, rtol=0)


def test_a_unet_with_batch_norm_translates_as_test_py_does(tmp_path, engine):
    theirs = authors_unet(*NORMS["batch"], dropout=True)
    path, out = save(tmp_path / "latest_net_G.pth", theirs.state_dict()), tmp_path / "ab.safetensors"
    assert any("--eval" in remark for remark in import_translator(path, out, engine))
    module = load_translator(out, engine.registry, engine.plugins).module
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        one, other = module(images), module(images)
        assert not torch.equal(one, other)  # dropout is on
        for dropout in [m for net in (module, theirs) for m in net.modules() if isinstance(m, nn.Dropout)]:
            dropout.p = 0.0
        torch.testing.assert_close(module(images), theirs.train()(images), atol=1e-6, rtol=0)


def test_antialiased_resnet(tmp_path, engine):
    theirs = authors_resnet()
    network = read_generator(save(tmp_path / "latest_net_G.pth", theirs.state_dict()))
    assert network.spec == {"name": "resnet_antialiased", "base_channels": 4, "n_blocks": 5, "norm": "instance"}
    ours, images = network.build(engine.registry), torch.rand(1, 3, 32, 40) * 2 - 1
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-6, rtol=0)
    seen = {}
    for tap in (0, 4, 8, 12, 16):
        theirs.model[tap].register_forward_hook(lambda _, __, out, tap=tap: seen.update({tap: out.clone()}))
    theirs(images)
    for found, tap in zip(ours.encode(images, [0, 4, 8, 12, 16]), seen, strict=True):
        torch.testing.assert_close(found, seen[tap], atol=1e-5, rtol=0)


@pytest.mark.parametrize("blurred", [True, False])
def test_patchgan(tmp_path, engine, blurred):
    theirs = authors_patchgan(6, blurred).eval()
    network = read_discriminator(save(tmp_path / "latest_net_D.pth", theirs.state_dict()))
    name, norm = ("patchgan_antialiased", "instance") if blurred else ("patchgan", "batch")
    assert network.spec == {"name": name, "base_channels": 4, "n_layers": 3, "norm": norm}
    images = torch.rand(1, 6, 64, 64)
    torch.testing.assert_close(network.build(engine.registry).eval()(images), theirs(images), atol=1e-6, rtol=0)


def test_projectors(tmp_path, engine):
    theirs = authors_projectors()
    networks = read_projectors(save(tmp_path / "latest_net_F.pth", theirs.state_dict()))
    assert list(networks) == [f"mlp_{place}" for place in range(5)]
    rows = torch.rand(7, 8)
    torch.testing.assert_close(networks["mlp_1"].build(engine.registry)(rows), theirs.get_submodule("mlp_1")(rows))


def half_blurred():
    weights = authors_resnet().state_dict()
    return {name: tensor for name, tensor in weights.items() if name not in ("model.7.filt", "model.11.filt")}


def headless_unet():
    weights = authors_unet(*NORMS["batch"], dropout=False).state_dict()
    del weights["model.model.3.weight"]
    return weights


@pytest.mark.parametrize(
    ("read", "weights", "message"),
    [
        (read_generator, half_blurred, "has 2 blur layers"),
        (read_generator, headless_unet, "is a U-Net generator without its last layer"),
        (read_generator, lambda: authors_projectors().state_dict(), "holds projectors of CUT"),
        (read_projectors, lambda: authors_resnet().state_dict(), "is a ResNet generator"),
        (read_discriminator, lambda: authors_unet(*NORMS["batch"], dropout=False).state_dict(), "is a U-Net generator"),
    ],
)
def test_anything_else_is_named(tmp_path, read, weights, message):
    with pytest.raises(I2IError, match=message):
        read(save(tmp_path / "net.pth", weights()))


# Their runs.


def write_options(folder: Path, **options: object) -> None:
    lines = [f"{name:>25}: {value}" for name, value in options.items()]
    text = "\n".join(["----------------- Options ---------------", *lines, "----------------- End -------------------"])
    (folder / "train_opt.txt").write_text(text + "\n")


PIX2PIX = {
    "model": "pix2pix", "dataset_mode": "aligned", "dataroot": "datasets/edges2shoes", "netG": "unet_256",
    "norm": "batch", "gan_mode": "vanilla", "lambda_L1": "50.0", "load_size": 72, "crop_size": 64, "gpu_ids": -1,
    "no_dropout": "False", "pool_size": 0,
}  # fmt: skip
CUT = {
    "model": "cut", "dataroot": "datasets/horse2zebra", "netG": "resnet_9blocks", "init_type": "xavier",
    "CUT_mode": "CUT", "lambda_NCE": "1.0", "nce_idt": "True", "netF_nc": 12, "num_patches": 64, "nce_T": "0.05",
    "load_size": 36, "crop_size": 32, "gpu_ids": -1, "display_id": "None", "pool_size": 0,
}  # fmt: skip


@pytest.fixture
def pix2pix_folder(tmp_path):
    folder = tmp_path / "checkpoints" / "edges2shoes"
    save(folder / "latest_net_G.pth", authors_unet(*NORMS["batch"], dropout=True, n_in=3, n_out=3).state_dict())
    save(folder / "latest_net_D.pth", authors_patchgan(6, blurred=False).state_dict())
    write_options(folder, **PIX2PIX)
    return folder


@pytest.fixture
def cut_folder(tmp_path):
    folder = tmp_path / "checkpoints" / "horse2zebra"
    save(folder / "latest_net_G.pth", authors_resnet().state_dict())
    save(folder / "latest_net_D.pth", authors_patchgan(3, blurred=True).state_dict())
    save(folder / "latest_net_F.pth", authors_projectors().state_dict())
    write_options(folder, **CUT)
    return folder


def recipe_from(folder, engine, **change):
    options = {name: flag.default for name, flag in FLAGS.items()}
    options |= {name: str(value) for name, value in {**(CUT if "horse" in folder.name else PIX2PIX), **change}.items()}
    networks = {"generator": read_generator(folder / "latest_net_G.pth")}
    if (folder / "latest_net_D.pth").is_file():
        networks["discriminator"] = read_discriminator(folder / "latest_net_D.pth")
    document, remarks = recipe_of(options, networks)
    return resolve(document, engine.registry, list(engine.plugins)).document(), remarks


def test_options_of_pix2pix(pix2pix_folder, engine):
    recipe, remarks = recipe_from(pix2pix_folder, engine)
    assert recipe["method"] == {"name": "pix2pix", "lambda_l1": 50.0} and recipe["adversarial"]["name"] == "vanilla"
    assert recipe["generator"]["name"] == "unet" and recipe["generator"]["dropout"] == 0.5
    assert recipe["discriminator"]["name"] == "patchgan" and recipe["discriminator"]["norm"]["name"] == "batch"
    assert recipe["data"]["source"]["name"] == "side_by_side" and recipe["data"]["source"]["left"] == "a"
    assert recipe["data"]["names"] == ["edges", "shoes"] and recipe["optim"]["betas"] == [0.5, 0.999]
    assert remarks == []


def test_options_of_cut(cut_folder, engine):
    recipe, remarks = recipe_from(cut_folder, engine)
    assert recipe["method"] == {
        "name": "cut", "lambda_gan": 1.0, "lambda_nce": 1.0, "lambda_identity": 1.0, "taps": [0, 4, 8, 12, 16],
        "n_patches": 64, "n_features": 12,
    }  # fmt: skip
    assert recipe["nce"] == {"name": "patch_nce", "temperature": 0.05} and recipe["adversarial"]["name"] == "lsgan"
    for slot, name in (("generator", "resnet_antialiased"), ("discriminator", "patchgan_antialiased")):
        assert recipe[slot]["name"] == name and recipe[slot]["initialization"] == {"name": "xavier", "gain": 0.02}
    assert recipe["data"]["source"]["name"] == "root" and remarks == []


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ({"direction": "BtoA"}, "data.source.left", "b"),
        ({"direction": "BtoA"}, "data.names", ["shoes", "edges"]),
        ({"phase": "val"}, "data.source.path", str(Path("datasets/edges2shoes/val").absolute())),
        ({"no_dropout": "True"}, "generator.dropout", 0.0),
        ({"gan_mode": "lsgan"}, "adversarial.name", "lsgan"),
        ({"gan_mode": "wgangp"}, "adversarial.name", "wasserstein"),  # the discriminator has batch norm
        ({"dataset_mode": "unaligned"}, "data.source.name", "root"),
        ({"beta1": "0.0", "beta2": "0.99"}, "optim.betas", [0.0, 0.99]),
    ],
)
def test_values_of_pix2pix(pix2pix_folder, engine, change, path, value):
    found, _ = recipe_from(pix2pix_folder, engine, **change)
    for key in path.split("."):
        found = found[key]
    assert found == value


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ({"nce_idt": "False"}, "method.lambda_identity", 0.0),
        ({"nce_idt": "False", "flip_equivariance": "True", "lambda_NCE": "10.0"}, "method.name", "fastcut"),
        ({"nce_idt": "False", "flip_equivariance": "True", "lambda_NCE": "10.0"}, "method.lambda_nce", 10.0),
        ({"gan_mode": "wgangp"}, "adversarial.name", "gradient_penalty"),
        ({"gan_mode": "wgangp"}, "adversarial.loss.name", "wasserstein"),
        ({"gan_mode": "nonsaturating"}, "adversarial.name", "vanilla"),
        ({"nce_layers": "0,4"}, "method.taps", [0, 4]),
    ],
)
def test_values_of_cut(cut_folder, engine, change, path, value):
    found, _ = recipe_from(cut_folder, engine, **change)
    for key in path.split("."):
        found = found[key]
    assert found == value


@pytest.mark.parametrize(
    ("change", "name", "norm"),
    [({}, "patchgan_antialiased", "batch"), ({"no_antialias": "True"}, "patchgan", "batch"),
     ({"netD": "pixel"}, "pixelgan", "batch")],
)  # fmt: skip
def test_discriminators_of_cut_by_the_options_alone(cut_folder, engine, change, name, norm):
    (cut_folder / "latest_net_D.pth").unlink()
    recipe, _ = recipe_from(cut_folder, engine, normD="batch", **change)
    assert recipe["discriminator"]["name"] == name and recipe["discriminator"]["norm"]["name"] == norm


def test_what_has_no_equivalent(cut_folder, engine):
    with pytest.raises(I2IError, match="netF: 'sample' has no equivalent"):
        recipe_from(cut_folder, engine, netF="sample")
    _, remarks = recipe_from(cut_folder, engine, flip_equivariance="True", pool_size=50)
    assert [remark.split()[0] for remark in remarks] == ["pool_size", "flip_equivariance"]


@pytest.mark.parametrize(
    ("file", "weights", "message"),
    [
        ("D", lambda: authors_patchgan(6, blurred=True), r"latest_net_D.pth: does not fit train_opt.txt"),
        ("F", lambda: authors_projectors((3, 8, 16, 16)), "holds no weights for contrast.projectors.mlp_4.0.weight"),
        ("F", lambda: authors_projectors((3, 8, 16, 16, 16, 16)), r"latest_net_F.pth: does not fit train_opt.txt"),
        ("F", lambda: authors_projectors((3, 8, 16, 16, 17)), r"latest_net_F.pth: does not fit train_opt.txt"),
    ],
)
def test_networks_that_are_not_of_these_options(cut_folder, engine, tmp_path, file, weights, message):
    save(cut_folder / f"latest_net_{file}.pth", weights().state_dict())
    with pytest.raises(I2IError, match=message):
        import_run(cut_folder, tmp_path / "run", engine)
    assert not (tmp_path / "run").exists()


def test_the_weight_of_the_oldest_pix2pix(pix2pix_folder):
    write_options(pix2pix_folder, model="pix2pix", lambda_A="25.0")
    assert read_options(pix2pix_folder / "train_opt.txt")["lambda_L1"] == "25.0"


@pytest.mark.parametrize("model", ["pix2pix_folder", "cut_folder"])
def test_a_folder_becomes_a_run(request, model, engine, tmp_path):
    folder = request.getfixturevalue(model)
    run, remarks = import_run(folder, tmp_path / "run", engine, evaluate=True)
    assert remarks == []
    state, _ = checkpoint.load_latest(run.checkpoints)
    places = {"G": "generator", "D": "discriminator", "F": "contrast.projectors"}
    for file in folder.glob("*.pth"):
        place = places[file.stem.removeprefix("latest_net_")]
        for name, value in torch.load(file, weights_only=True).items():
            saved = state["parameters"].get(f"{place}.{name}", state["buffers"].get(f"{place}.{name}"))
            assert torch.equal(saved, value)
    theirs = authors_unet(*NORMS["batch"], dropout=True, n_out=3) if "pix" in model else authors_resnet()
    theirs.load_state_dict(torch.load(folder / "latest_net_G.pth", weights_only=True))
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    translator = find_translator(run.folder, engine.registry, engine.plugins)
    torch.testing.assert_close(translator(images), theirs.eval()(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize("model", ["pix2pix_folder", "cut_folder"])
def test_a_folder_trains_on(request, model, engine, tmp_path):
    from i2i.loop import Loop
    from i2i.training import Training

    folder = request.getfixturevalue(model)
    settings = ["data.source={name='fluent-emoji', limit=2, paired=true}", "schedule.n_epochs=0", "data.n_workers=0"]
    run, _ = import_run(folder, tmp_path / "run", engine, settings=[*settings, "schedule.n_epochs_decay=1"])
    training = Training.build(resolve(layers.read(run.folder / "recipe.json"), engine.registry, list(engine.plugins)))
    loop = Loop(training, run, [], engine, lambda text: None)
    loop.resume()
    before = {name: p.detach().clone() for name, p in training.method.named_parameters()}
    loop.go()
    assert training.trainer.step == 2
    for player in training.method.players():
        assert any(not torch.equal(before[n], p) for n, p in training.trainer.parameters[player].items()), (
            f"{player} has not moved"
        )


@pytest.mark.parametrize(
    ("model", "source", "names"),
    [("pix2pix_folder", "pairs", ["edges", "shoes"]), ("cut_folder", "folders", ["horse", "zebra"])],
)
def test_two_folders_of_ones_own(request, model, source, names, engine, tmp_path):
    folder = request.getfixturevalue(model)
    run, _ = import_run(folder, tmp_path / "run", engine, folders=(tmp_path / "x", tmp_path / "y"))
    data = run.recipe["data"]
    assert (data["source"]["name"], data["source"]["a"], data["names"]) == (source, str(tmp_path / "x"), names)


def test_a_folder_with_generators_alone(cut_folder, engine, tmp_path):
    (cut_folder / "latest_net_F.pth").unlink()
    with pytest.raises(I2IError, match="holds no latest_net_F.pth"):
        import_run(cut_folder, tmp_path / "run", engine)
    (cut_folder / "latest_net_D.pth").unlink()
    _, remarks = import_run(cut_folder, tmp_path / "run", engine, settings=["discriminator.base_channels=4"])
    assert any("no discriminators" in remark for remark in remarks)
    (cut_folder / "latest_net_G.pth").unlink()
    with pytest.raises(I2IError, match="there is no latest_net_G.pth"):
        import_run(cut_folder, tmp_path / "other", engine)


def test_the_halves_of_a_pair_can_be_exchanged(tmp_path, engine):
    from PIL import Image

    Image.new("RGB", (8, 4), "white").save(tmp_path / "1.png")
    Image.new("RGB", (4, 4), "black").save(tmp_path / "half.png")
    both = Image.open(tmp_path / "1.png").copy()
    both.paste(Image.open(tmp_path / "half.png"), (0, 0))
    (tmp_path / "half.png").unlink()
    both.save(tmp_path / "1.png")
    for left, darkest in (("a", 0), ("b", 255)):
        spec = {"name": "side_by_side", "path": str(tmp_path), "left": left}
        train = engine.registry.resolve("source", spec, "data.source")().train()
        assert set(train.a.read(0).pixels.flat) == {darkest}
        assert set(train.b.read(0).pixels.flat) == {255 - darkest}
