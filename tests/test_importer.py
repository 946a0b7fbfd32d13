"""Weights and options of the CycleGAN authors' code, read into translators and runs."""

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from i2i.errors import I2IError
from i2i.importer.flags import FLAGS, read_options
from i2i.importer.networks import read_discriminator, read_generator
from i2i.importer.recipe import recipe_of
from i2i.importer.runs import import_run, import_translator
from i2i.layers import merge, parse_setting
from i2i.recipe import resolve
from i2i.reference.patchgan import PatchGAN
from i2i.reference.resnet import ResnetGenerator
from i2i.translate import find_translator, load_translator

GOLDEN = Path(__file__).with_name("golden_cyclegan.safetensors")
MIGRATING = Path(__file__).parent.parent / "docs" / "migrating.md"
NETS = {"G_A": "G_ab", "G_B": "G_ba", "D_A": "D_b", "D_B": "D_a"}

TRAIN_OPT = """----------------- Options ---------------
               batch_size: 2                             	[default: 1]
                    beta1: 0.5                           
                crop_size: 32                            	[default: 256]
                 dataroot: ./datasets/horse2zebra        	[default: None]
                direction: AtoB                          
                 gan_mode: lsgan                         
                  gpu_ids: -1                            	[default: 0]
                  isTrain: True                          	[default: None]
                 lambda_A: 12.0                          	[default: 10.0]
                 lambda_B: 10.0                          
                load_size: 36                            	[default: 286]
                    model: cycle_gan                     
                 n_epochs: 3                             	[default: 100]
           n_epochs_decay: 4                             	[default: 100]
               print_freq: 10                            	[default: 100]
               preprocess: resize_and_crop               
           serial_batches: True                          	[default: False]
                   suffix:                               
----------------- End -------------------
"""


def golden(net: str) -> dict[str, torch.Tensor]:
    """The authors' weights of one network of the golden trace, under their names."""
    prefix = f"init.{NETS[net]}."
    with safe_open(GOLDEN, "pt") as file:
        return {k.removeprefix(prefix): file.get_tensor(k) for k in file.keys() if k.startswith(prefix)}  # noqa: SIM118


def save(path: Path, weights: object, **options: object) -> Path:
    torch.save(weights, path, **options)
    return path


@pytest.fixture
def authors_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints" / "horse2zebra"
    folder.mkdir(parents=True)
    for net in NETS:
        save(folder / f"latest_net_{net}.pth", golden(net))
    (folder / "train_opt.txt").write_text(TRAIN_OPT)
    return folder


@pytest.mark.parametrize("zip_file", [True, False])
def test_generator_of_the_authors(tmp_path, engine, zip_file):
    path = save(tmp_path / "latest_net_G_A.pth", golden("G_A"), _use_new_zipfile_serialization=zip_file)
    network = read_generator(path)
    assert network.spec == {"name": "resnet", "base_channels": 4, "n_blocks": 6, "norm": "instance"}
    assert network.channels == (3, 3) and not network.dropout
    expected = ResnetGenerator(3, 3, base_channels=4, n_blocks=6)
    expected.load_state_dict(golden("G_A"))
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    assert torch.equal(network.build(engine.registry)(images), expected(images))


def test_prefixes_and_old_statistics_are_dropped(tmp_path, engine):
    weights = {f"module.{name}": tensor for name, tensor in golden("G_A").items()}
    for norm in ("model.2", "model.10.conv_block.2"):
        weights |= {f"module.{norm}.{name}": torch.ones(4) for name in ("running_mean", "running_var")}
        weights[f"module.{norm}.num_batches_tracked"] = torch.tensor(7)
    network = read_generator(save(tmp_path / "old.pth", weights))
    assert network.weights.keys() == golden("G_A").keys()
    network.build(engine.registry)


def authors_resnet(norm, dropout: bool, bias: bool) -> nn.Module:
    """The authors' ResNet generator with 4 channels and 2 blocks, written from their architecture."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            layers = [nn.ReflectionPad2d(1), nn.Conv2d(16, 16, 3, bias=bias), norm(16), nn.ReLU()]
            layers += [nn.Dropout(0.5)] if dropout else []
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(16, 16, 3, bias=bias), norm(16)]
            self.conv_block = nn.Sequential(*layers)

        def forward(self, x):
            return x + self.conv_block(x)

    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, 4, 7, bias=bias), norm(4), nn.ReLU()]
    layers += [nn.Conv2d(4, 8, 3, 2, 1, bias=bias), norm(8), nn.ReLU()]
    layers += [nn.Conv2d(8, 16, 3, 2, 1, bias=bias), norm(16), nn.ReLU(), Block(), Block()]
    layers += [nn.ConvTranspose2d(16, 8, 3, 2, 1, 1, bias=bias), norm(8), nn.ReLU()]
    layers += [nn.ConvTranspose2d(8, 4, 3, 2, 1, 1, bias=bias), norm(4), nn.ReLU()]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(4, 3, 7), nn.Tanh()]
    module = nn.Module()
    module.model = nn.Sequential(*layers)
    return module


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_every_variant_gives_what_the_authors_give(tmp_path, engine, norm, dropout):
    layer = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d, "none": lambda channels: nn.Identity()}[norm]
    theirs = authors_resnet(layer, dropout, bias=norm == "instance")
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    theirs.model(images)  # moves the running statistics away from their defaults
    network = read_generator(save(tmp_path / "net.pth", theirs.state_dict()))
    assert network.spec["norm"] == norm and network.dropout is dropout
    ours = network.build(engine.registry).eval()
    torch.testing.assert_close(ours(images), theirs.eval().model(images), atol=1e-6, rtol=0)


def test_batch_norm_of_before_counters(tmp_path, engine):
    weights = authors_resnet(nn.BatchNorm2d, False, bias=False).state_dict()
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
    read_generator(save(tmp_path / "net.pth", weights)).build(engine.registry)


@pytest.mark.parametrize("n_layers", [1, 3, 4])
def test_patchgan(tmp_path, engine, n_layers):
    expected = PatchGAN(3, base_channels=4, n_layers=n_layers)
    network = read_discriminator(save(tmp_path / "net.pth", expected.state_dict()))
    assert network.spec == {"name": "patchgan", "base_channels": 4, "n_layers": n_layers, "norm": "instance"}
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(network.build(engine.registry)(images), expected(images))


def test_pixelgan(tmp_path, engine):
    expected = engine.registry.resolve("discriminator", {"name": "pixelgan", "base_channels": 4, "norm": "batch"}, "")(
        3
    )
    network = read_discriminator(save(tmp_path / "net.pth", expected.state_dict()))
    assert network.spec == {"name": "pixelgan", "base_channels": 4, "norm": "batch"}
    network.build(engine.registry)


class RunsCode:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("code", r"wants to run code \(print\)"),
        ("whole", r"wants to run code \(.*ResnetGenerator\)"),
        ("cut", "is cut off"),
        ("old_cut", "is cut off"),
        ("text", "is text"),
        ("empty", "is empty"),
        ("image", "cannot be read as weights"),
        ("nested", "holds 'state_dict', a dict"),
        ("list", "holds a list without tensors"),
        ("unet", "is a U-Net generator"),
        ("discriminator", "is a PatchGAN discriminator"),
        ("other", "holds unknown weights: layer.weight"),
        ("absent", "there is no such file"),
    ],
)
def test_anything_else_is_named(tmp_path, capfd, name, message):
    path = tmp_path / f"{name}.pth"
    generator = ResnetGenerator(3, 3, base_channels=4, n_blocks=1)
    save(tmp_path / "whole.pth", generator)
    save(tmp_path / "code.pth", {"model.1.weight": RunsCode()})
    save(tmp_path / "new.pth", generator.state_dict())
    save(tmp_path / "old.pth", generator.state_dict(), _use_new_zipfile_serialization=False)
    (tmp_path / "cut.pth").write_bytes((tmp_path / "new.pth").read_bytes()[:2000])
    (tmp_path / "old_cut.pth").write_bytes((tmp_path / "old.pth").read_bytes()[:2000])
    (tmp_path / "text.pth").write_text("<html>404</html>")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "image.pth").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    save(tmp_path / "nested.pth", {"state_dict": dict(generator.state_dict())})
    save(tmp_path / "list.pth", [1, 2])
    save(tmp_path / "unet.pth", {"model.model.0.weight": torch.zeros(4, 3, 4, 4)})
    save(tmp_path / "discriminator.pth", PatchGAN(3, base_channels=4).state_dict())
    save(tmp_path / "other.pth", {"layer.weight": torch.zeros(2, 2)})
    with pytest.raises(I2IError, match=message) as caught:
        read_generator(path)
    assert str(path) in str(caught.value)
    assert "code ran" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("model.10.conv_block.5.bias"), "holds no 'model.10.conv_block.5.bias'"),
        (lambda w: w.update({"model.99.weight": torch.zeros(3)}), "holds 'model.99.weight'"),
        (
            lambda w: w.update({"model.4.weight": torch.zeros(9, 4, 3, 3)}),
            r"has shape \(9, 4, 3, 3\), not \(8, 4, 3, 3\)",
        ),
    ],
)
def test_weights_that_nearly_fit_are_refused(tmp_path, engine, change, message):
    weights = golden("G_A")
    change(weights)
    network = read_generator(save(tmp_path / "net.pth", weights))
    with pytest.raises(I2IError, match=message):
        network.build(engine.registry)


@pytest.mark.parametrize(("to", "n_in", "n_out"), [("b", 3, 1), ("a", 3, 1), ("b", 3, 3)])
def test_a_file_becomes_a_translator(tmp_path, engine, to, n_in, n_out):
    generator = ResnetGenerator(n_in, n_out, base_channels=4, n_blocks=1)
    out = tmp_path / "horse2zebra.safetensors"
    import_translator(save(tmp_path / "latest_net_G.pth", generator.state_dict()), out, engine, to=to)
    translator = load_translator(out, engine.registry, engine.plugins)
    assert translator.names == ("horse", "zebra")
    assert [intake.channels for intake in translator.intakes] == [n_in, n_out]
    images = torch.rand(1, n_in, 32, 32)
    torch.testing.assert_close(translator(images), generator.eval()(images), atol=1e-6, rtol=0)
    with pytest.raises(I2IError, match="is there already"):
        import_translator(tmp_path / "latest_net_G.pth", out, engine)


def test_a_generator_of_what_is_no_image_is_refused(tmp_path, engine):
    path = save(tmp_path / "latest_net_G.pth", ResnetGenerator(1, 2, base_channels=4, n_blocks=1).state_dict())
    with pytest.raises(I2IError, match="latest_net_G.pth: makes 2 channels of 1; images have 1 or 3"):
        import_translator(path, tmp_path / "x2y.safetensors", engine)


def test_options_of_old_versions(tmp_path):
    path = tmp_path / "opt.txt"
    lines = ["loadSize: 143", "fineSize: 128", "niter: 5", "identity: 0.25", "no_lsgan: True", "lr_policy: lambda"]
    path.write_text(
        "------------ Options -------------\n" + "\n".join(lines) + "\n-------------- End ----------------\n"
    )
    options = read_options(path)
    assert (options["load_size"], options["crop_size"], options["n_epochs"]) == ("143", "128", "5")
    assert (options["lambda_identity"], options["gan_mode"], options["lr_policy"]) == ("0.25", "vanilla", "linear")
    path.write_text("no options here")
    with pytest.raises(I2IError, match="is no list of options"):
        read_options(path)


def test_options_become_a_recipe(authors_folder, engine):
    networks = {"generator_ab": read_generator(authors_folder / "latest_net_G_A.pth")}
    document, remarks = recipe_of(read_options(authors_folder / "train_opt.txt"), networks)
    recipe = resolve(document, engine.registry, list(engine.plugins)).document()
    assert recipe["method"] == {
        "name": "cyclegan", "lambda_cycle": [12.0, 10.0], "lambda_identity": 0.5, "discriminator_steps": 1,
    }  # fmt: skip
    assert recipe["data"]["source"] == {"name": "root", "path": str(Path("datasets/horse2zebra").absolute())}
    assert (recipe["data"]["load_size"], recipe["data"]["crop_size"], recipe["data"]["batch_size"]) == (36, 32, 2)
    assert recipe["data"]["names"] == ["horse", "zebra"]
    assert recipe["schedule"] == {"name": "linear", "n_epochs": 3, "n_epochs_decay": 4}
    assert recipe["train"]["device"] == "cpu" and recipe["train"]["log_every"] == 5  # 10 images, 2 in a batch
    assert recipe["pool"] == {"name": "image_pool", "size": 50}
    assert len(remarks) == 1 and remarks[0].startswith("serial_batches = True is left out")


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ({"direction": "BtoA"}, "data.source.a", str(Path("datasets/horse2zebra/trainB").absolute())),
        ({"direction": "BtoA"}, "data.names", ["zebra", "horse"]),
        ({"phase": "val"}, "data.source.b", str(Path("datasets/horse2zebra/valB").absolute())),
        ({"gan_mode": "vanilla"}, "adversarial.name", "vanilla"),
        ({"no_flip": "True"}, "data.flip", False),
        ({"preprocess": "scale_width"}, "data.preprocess", "scale_width"),
        ({"preprocess": "zoom"}, "data.preprocess", "resize_and_crop"),  # a remark says so
        ({"init_type": "xavier", "init_gain": "0.1"}, "generator.initialization", {"name": "xavier", "gain": 0.1}),
        ({"init_type": "kaiming"}, "discriminator.initialization", {"name": "kaiming"}),
        ({"netD": "pixel", "ndf": "8"}, "discriminator.base_channels", 8),
        ({"netD": "n_layers", "n_layers_D": "2"}, "discriminator.n_layers", 2),
        ({"norm": "sync_batch"}, "discriminator.norm.name", "batch"),
        ({"norm": "syncbatch"}, "discriminator.norm.name", "batch"),
        ({"lr": "0.001", "beta1": "0.9"}, "optim.betas", [0.9, 0.999]),
        ({"num_threads": "2"}, "data.n_workers", 2),
        ({"lr_policy": "cosine"}, "schedule.name", "cosine"),
    ],
)
def test_values_of_options(authors_folder, engine, change, path, value):
    networks = {"generator_ab": read_generator(authors_folder / "latest_net_G_A.pth")}
    options = read_options(authors_folder / "train_opt.txt") | change
    found = resolve(recipe_of(options, networks)[0], engine.registry, list(engine.plugins)).document()
    for key in path.split("."):
        found = found[key]
    assert found == value


@pytest.mark.parametrize("change", [{"model": "sincut"}, {"gan_mode": "hinge"}])
def test_what_has_no_equivalent_is_refused(authors_folder, change):
    networks = {"generator_ab": read_generator(authors_folder / "latest_net_G_A.pth")}
    with pytest.raises(I2IError, match=next(iter(change.values()))):
        recipe_of(read_options(authors_folder / "train_opt.txt") | change, networks)


@pytest.mark.parametrize("with_discriminators", [True, False])
def test_a_folder_becomes_a_run(authors_folder, engine, tmp_path, with_discriminators):
    from i2i import checkpoint

    if not with_discriminators:
        for net in ("D_A", "D_B"):
            (authors_folder / f"latest_net_{net}.pth").unlink()
    rng = torch.get_rng_state()
    settings = ["discriminator.base_channels=4"] if not with_discriminators else []
    run, remarks = import_run(authors_folder, tmp_path / "runs" / "zebras", engine, settings=settings)
    assert torch.equal(rng, torch.get_rng_state())
    assert run.folder == tmp_path / "runs" / "zebras"
    assert any("no discriminators" in remark for remark in remarks) is not with_discriminators
    state, _ = checkpoint.load_latest(run.checkpoints)
    ours = {"G_A": "generator_ab", "G_B": "generator_ba", "D_A": "discriminator_b", "D_B": "discriminator_a"}
    for net, name in ours.items():
        if net.startswith("G") or with_discriminators:
            for key, value in golden(net).items():
                assert torch.equal(state["parameters"][f"{name}.{key}"], value)
    images = torch.rand(1, 3, 30, 34)
    for to, net in (("zebra", "G_A"), ("horse", "G_B")):
        expected = ResnetGenerator(3, 3, base_channels=4, n_blocks=6).eval()
        expected.load_state_dict(golden(net))
        translator = find_translator(run.folder, engine.registry, engine.plugins, to=to)
        padded = nn.functional.pad(images, (0, 2, 0, 2), mode="reflect")
        torch.testing.assert_close(translator(images), expected(padded)[..., :30, :34], atol=1e-6, rtol=0)


def test_a_folder_trains_on(authors_folder, engine, tmp_path):
    from PIL import Image

    from i2i import layers
    from i2i.loop import Loop
    from i2i.training import Training

    for domain in "ab":
        (tmp_path / domain).mkdir()
        for i in range(2):
            noise = torch.randint(256, (40, 40, 3), dtype=torch.uint8)
            Image.fromarray(noise.numpy()).save(tmp_path / domain / f"{i}.png")
    source = f"{{name = 'folders', a = '{(tmp_path / 'a').as_posix()}', b = '{(tmp_path / 'b').as_posix()}'}}"
    settings = [f"data.source={source}", "schedule.n_epochs=0", "schedule.n_epochs_decay=1", "data.n_workers=0"]
    run, _ = import_run(authors_folder, tmp_path / "zebras", engine, settings=settings)
    document = layers.read(run.folder / "recipe.json")
    training = Training.build(resolve(document, engine.registry, list(engine.plugins)))
    loop = Loop(training, run, [], engine, lambda text: None)
    loop.resume()
    assert torch.equal(training.method.generator_ab.state_dict()["model.1.weight"], golden("G_A")["model.1.weight"])
    loop.go()
    assert training.trainer.step == 1
    assert not torch.equal(training.method.generator_ab.state_dict()["model.1.weight"], golden("G_A")["model.1.weight"])


def test_an_epoch_that_is_not_there(authors_folder, engine, tmp_path):
    with pytest.raises(I2IError, match=r"no 5_net_G_A.pth.*there is: latest"):
        import_run(authors_folder, tmp_path / "run", engine, epoch="5")
    (authors_folder / "latest_net_G_B.pth").unlink()
    with pytest.raises(I2IError, match=r"holds no latest_net_G_B.pth"):
        import_run(authors_folder, tmp_path / "run", engine)
    assert not (tmp_path / "run").exists()


def test_settings_cannot_change_the_networks(authors_folder, engine, tmp_path):
    with pytest.raises(I2IError, match=r"G_A.pth: does not fit train_opt.txt with --set generator.n_blocks=4"):
        import_run(authors_folder, tmp_path / "run", engine, settings=["generator.n_blocks=4"])
    assert not (tmp_path / "run").exists()


def recipe_keys(table, prefix=""):
    for key, value in table.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from recipe_keys(value, f"{prefix}{key}.")


def test_every_flag_is_documented_and_every_key_exists(engine):
    rows = re.findall(r"^\| `--(\w+)` \| (.*?) \| (.*?) \|$", MIGRATING.read_text(encoding="utf-8"), re.MULTILINE)
    expected = [
        (name, ", ".join(f"`{target}`" for target in flag.becomes) or "none", flag.note) for name, flag in FLAGS.items()
    ]
    assert rows == expected
    known: set[str] = set()
    settings = ("data.source=folders", "data.source=root", "data.source=side_by_side", "schedule=step")
    for method in ("cyclegan", "pix2pix", "cut", "sincut"):
        document = {"method": method, "data": {"source": "folders"}}
        for setting in settings:
            layered = merge(document, parse_setting(setting, document))
            known |= set(recipe_keys(resolve(layered, engine.registry).document()))
    keys = {target for flag in FLAGS.values() for target in flag.becomes if not target.startswith("i2i ")}
    assert keys <= known
    assert all(flag.note for flag in FLAGS.values() if not flag.becomes), "a flag without equivalent says why"


def test_every_command_named_exists():
    import typer

    from i2i.cli import app

    commands = typer.main.get_command(app).commands
    for target in {t for flag in FLAGS.values() for t in flag.becomes if t.startswith("i2i ")}:
        _, command, *option = target.split()
        options = {o for p in commands[command].params for o in p.opts}
        assert set(option) <= options, target
