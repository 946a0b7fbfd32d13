"""Weights name the plugins that they need; a translator is loaded with these, and without what only training needs."""

import subprocess
import sys
from functools import partial

import identity
import pytest
import tiny
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import i2i
from i2i import checkpoint, hookimpl
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.recipe import resolve
from i2i.run import Run
from i2i.testing.games import method_lays_out
from i2i.translate import find_translator
from i2i.weights import described, needed_plugins, save_translator

built: list[torch.device] = []


class Heavy(torch.nn.Conv2d):
    """A discriminator that notes where it is built."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels, 1, 1)
        built.append(self.weight.device)


@hookimpl
def register_discriminators():
    return {"heavy": Heavy}


def run_of(folder, engine, **tables) -> Run:
    """A run as if it had been trained: recipe, weights and a checkpoint."""
    document = tiny.document(folder, **tables)
    if tables.get("method", {}).get("name", "cyclegan") != "cyclegan":
        del document["pool"]
    recipe = resolve(document, engine.registry, list(engine.plugins))
    run = Run.create(folder / "runs", "run")
    run.write_about(recipe.document(), {})
    method = recipe.method(*recipe.data.both_channels)
    for direction, module in method.translators().items():
        save_translator(run.weights(direction), module, recipe=recipe, direction=direction, step=0)
    state = {"step": 0, "optimizers": {}, "average": {}, "rng": {}}
    state |= {"parameters": dict(method.named_parameters()), "buffers": dict(method.named_buffers())}
    checkpoint.save(run.checkpoints, state, {}, keep=2)
    return run


UNET = {"name": "unet", "base_channels": 2, "depth": 2}
ENSEMBLE = {"name": "ensemble", "members": ["patchgan", "pixelgan"]}


@pytest.fixture(scope="module")
def unet(engine, tmp_path_factory):
    """Whose generator, discriminators and metric come from four plugins."""
    tables = {"generator": UNET, "discriminator": ENSEMBLE, "eval": {"metrics": ["ssim"]}}
    return run_of(tmp_path_factory.mktemp("unet"), engine, **tables)


def test_weights_name_the_plugins_that_translating_needs(unet):
    assert set(unet.requires) == {"unet", "ensemble", "pixelgan", "image_metrics"}
    for source in (unet.weights("ab"), unet.weights("ba"), unet.folder):
        assert needed_plugins(source) == ["unet"]
    with safe_open(unet.weights("ab"), "pt") as file:
        assert '"plugins": ["unet"]' in file.metadata()["i2i"]


@pytest.mark.parametrize("at", ["latest", "0"])
def test_the_same_translator_whatever_else_is_loaded(unet, engine, at):
    few = Engine(only=needed_plugins(unet.folder, at))
    assert list(few.plugins) == ["reference", "unet"]
    images = torch.rand(1, 3, 16, 16)
    expected = find_translator(unet.folder, engine.registry, engine.plugins, to="a", at=at)(images)
    assert torch.equal(find_translator(unet.folder, few.registry, few.plugins, to="a", at=at)(images), expected)


def test_older_files_are_read_with_the_plugins_of_their_recipe(unet, tmp_path):
    with safe_open(unet.weights("ab"), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        about = file.metadata()["i2i"]
    path = tmp_path / "old.safetensors"
    save_file(tensors, path, {"i2i": about.replace('"plugins": ["unet"], ', "")})
    assert "plugins" not in described(path) and needed_plugins(path) == sorted(unet.requires)
    save_file(tensors, path, {"i2i": about.replace('"plugins"', '"x"').replace('"requires"', '"y"')})
    assert needed_plugins(path) is None  # all are loaded


def test_a_run_without_weights_needs_what_its_recipe_needs(unet, tmp_path):
    run = Run.create(tmp_path, "run")
    run.write_about(unet.recipe, {})
    assert needed_plugins(run.folder) == sorted(unet.requires)
    run.weights("ab").write_text("damaged")  # of which find_translator tells
    assert needed_plugins(run.folder) == sorted(unet.requires)
    with pytest.raises(I2IError, match="ab.safetensors: is no safetensors file, or is damaged"):
        i2i.load(run.folder)


def test_what_is_needed_and_absent_is_told(unet, tmp_path, monkeypatch):
    monkeypatch.setenv("I2I_DISABLE_PLUGINS", "pixelgan,image_metrics")
    i2i.load(unet.folder)
    monkeypatch.setenv("I2I_DISABLE_PLUGINS", "unet")
    for source in (unet.folder, unet.weights("ab")):
        with pytest.raises(I2IError, match="requires: plugin 'unet' is not loaded; add -p unet.py, or install it"):
            i2i.load(source)


def test_one_plugin_needs_no_list(tmp_path):
    run = identity.run(tmp_path)
    for plugin in (identity, identity.__file__):
        i2i.load(run.folder, plugins=plugin)


def test_what_is_no_weights_file_is_told(tmp_path):
    (tmp_path / "latest_net_G.pth").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(I2IError, match="is no safetensors file, .*; `i2i import` reads those of CycleGAN's"):
        i2i.load(tmp_path / "latest_net_G.pth")
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", {"i2i": '{"recipe": [], "direction": "", "names": 0}'})
    with pytest.raises(I2IError, match="says nothing of its recipe"):
        i2i.load(tmp_path / "x.safetensors")


def test_an_engine_of_few_plugins():
    assert list(Engine(only=[]).plugins) == ["reference"]
    assert list(Engine(only=["pixelgan", "nowhere"]).plugins) == ["reference", "pixelgan"]
    assert list(Engine([identity], only=[]).plugins) == ["reference", "identity"]


def test_what_a_plugin_stands_on_is_loaded_with_it():
    """The default generator of pix2pix is another plugin's, and that one's default normalization a third's."""
    engine = Engine(only=["pix2pix"])
    assert {"pix2pix", "unet"} <= engine.plugins.keys() and len(engine.plugins) < 7
    assert "pix2pix" in engine.registry.names("method")


def test_names_mean_the_same_with_fewer_plugins(tmp_path):
    """A name that was unique stays so; one that two plugins offer is written with its plugin."""
    other = tmp_path / "other.py"
    other.write_text(
        "from i2i import hookimpl\nfrom identity import Identity\n"
        "@hookimpl\ndef register_generators():\n    return {'identity': Identity}\n"
    )
    both = Engine([identity, other], entry_points=False)
    run = run_of(tmp_path, both, generator={"name": "other:identity"})
    assert needed_plugins(run.folder) == ["other"]
    alone = Engine([other], entry_points=False)
    assert find_translator(run.folder, alone.registry, alone.plugins).module.nothing.numel() == 1


def test_only_the_translator_is_built(tmp_path):
    engine = Engine([__name__], entry_points=False)
    run = run_of(tmp_path, engine, discriminator={"name": "heavy"})
    built.clear()
    for source, at in ((run.folder, "latest"), (run.folder, "0"), (run.weights("ba"), "latest")):
        without = Engine(only=needed_plugins(source, at))  # nor is the discriminator's plugin needed
        translator = find_translator(source, without.registry, without.plugins, at=at)
        assert not any(t.is_meta for t in translator.module.state_dict().values())
    assert not built


def test_a_method_that_says_nothing_is_built_whole_without_memory(tmp_path, monkeypatch):
    engine = Engine([__name__], entry_points=False)
    monkeypatch.setattr(engine.registry.get("method", "cyclegan").factory, "translates_with", None)
    run = run_of(tmp_path, engine, discriminator={"name": "heavy"})
    assert needed_plugins(run.folder) == [__name__]
    built.clear()
    find_translator(run.folder, engine.registry, engine.plugins)
    assert [device.type for device in built] == ["meta", "meta"]


def test_a_method_that_leaves_out_what_it_translates_with_is_told(monkeypatch, engine):
    build = engine.registry.resolve("method", "cyclegan", "method")
    for one in (build, partial(build.component.factory)):
        assert list(method_lays_out(one)) == []
    monkeypatch.setattr(build.component.factory, "translates_with", frozenset({"discriminator"}))
    for one in (build, partial(build.component.factory)):
        assert all("from a slot that `translates_with` does not name" in told for told in method_lays_out(one))
        assert len(list(method_lays_out(one))) == 2
    # One without weights, of which no weights file tells, would otherwise be left out silently.
    with pytest.raises(
        I2IError, match="translates_with: the method translates with its slot 'generator', which is not"
    ):
        build.translating()(3, 3).translators()["ab"](torch.zeros(1, 3, 16, 16))


@pytest.mark.slow
def test_loading_imports_nothing_that_the_translator_does_without(unet, tmp_path, engine):
    cut = {"name": "cut", "taps": [0, 3]}
    run = run_of(tmp_path, engine, method=cut, generator={"name": "resnet_antialiased", "base_channels": 2})
    code = f"""
import sys, i2i, numpy
for source in {str(unet.folder)!r}, {str(run.folder)!r}:
    i2i.load(source, device="cpu").translate(numpy.zeros((16, 16, 3), numpy.uint8))
heavy = {{"timm", "kornia", "scipy", "torchvision", "torch._dynamo", "sympy", "torchmetrics", "pandas", "onnxruntime"}}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
plugins = {{name.split(".")[1] for name in sys.modules if name.startswith("i2i_plugins.")}}
assert not plugins & {{"feature_metrics", "timm_features", "ensemble", "image_metrics", "wandb"}}, plugins
"""
    subprocess.run([sys.executable, "-c", code], check=True)
