"""Plugins: how they are found, and how each mistake of an author is told."""

import subprocess
import sys
import types

import pytest

from i2i import hookimpl, hookspecs
from i2i.component import KINDS
from i2i.engine import Engine
from i2i.errors import I2IError

COLOUR = '''
"""A discriminator that judges colour, pixel by pixel."""
from i2i import hookimpl
from torch import nn

class Colour(nn.Sequential):
    """1x1 discriminator; no spatial context."""
    def __init__(self, in_channels: int, *, width: int = 64) -> None:
        super().__init__(nn.Conv2d(in_channels, width, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 1))

@hookimpl
def register_discriminators():
    return {"colour": Colour}
'''


def plugin(name, **hooks):
    module = types.ModuleType(name)
    for hook, offers in hooks.items():
        setattr(module, hook, hookimpl(lambda offers=offers: offers, specname=hook))
    return module


def test_a_plugin_is_one_file(tmp_path):
    (tmp_path / "colour.py").write_text(COLOUR)
    engine = Engine([tmp_path / "colour.py"], entry_points=False)
    component = engine.registry.get("discriminator", "colour")
    assert component.plugin == "colour" and component.summary.startswith("1x1 discriminator")
    assert engine.plugins["colour"].from_option and engine.plugins["colour"].origin == str(tmp_path / "colour.py")


def test_engines_do_not_know_of_each_other(tmp_path):
    (tmp_path / "colour.py").write_text(COLOUR)
    with_colour, without = Engine([tmp_path / "colour.py"], entry_points=False), Engine(entry_points=False)
    assert "colour" in with_colour.registry.names("discriminator")
    assert "colour" not in without.registry.names("discriminator")


@pytest.mark.parametrize("kind", KINDS)
def test_every_hook_registers_its_kind(kind):
    """One row in the table of kinds, one hookspec, and a plugin that uses it."""
    wired = ", ".join(f"{name}: int" for name in KINDS[kind].wired)
    scope: dict = {}
    exec(f'def factory({wired}):\n    """Something."""', scope)
    engine = Engine([plugin("mine", **{KINDS[kind].hook: {"mine": scope["factory"]}})], entry_points=False)
    assert engine.registry.get(kind, "mine").factory is scope["factory"]


def test_every_hookspec_has_a_kind():
    hooks = {name for name in vars(hookspecs) if name.startswith("register_")}
    assert hooks == {kind.hook for kind in KINDS.values()}


def test_a_misspelt_hook_is_an_error():
    with pytest.raises(I2IError, match="no hook 'register_discriminator'; did you mean 'register_discriminators'"):
        Engine([plugin("mine", register_discriminator={})], entry_points=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nonexistent_package", "ModuleNotFoundError.*nonexistent_package.*broken.py:1"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError.*broken.py:1"),
    ],
)
def test_a_plugin_that_fails_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(I2IError, match=f"-p .*broken.py: cannot be loaded: {message}"):
        Engine([tmp_path / "broken.py"], entry_points=False)


def test_a_component_that_cannot_be_described_is_named():
    module = types.ModuleType("mine")
    module.register_losses = hookimpl(lambda: {3: types.ModuleType}, specname="register_losses")
    with pytest.raises(I2IError, match="plugin 'mine', loss 3: .*TypeError"):
        Engine([module], entry_points=False)


def test_a_hook_that_fails_is_named():
    module = types.ModuleType("mine")
    module.register_losses = hookimpl(lambda: 1 / 0, specname="register_losses")
    with pytest.raises(I2IError, match="plugin 'mine', register_losses: .*ZeroDivisionError"):
        Engine([module], entry_points=False)


@pytest.mark.parametrize("given", ["nowhere.py", "no_such_module"])
def test_a_plugin_that_is_not_there(given):
    with pytest.raises(I2IError, match=f"-p {given}: there is no such file"):
        Engine([given], entry_points=False)


def test_a_plugin_given_twice(tmp_path):
    (tmp_path / "colour.py").write_text(COLOUR)
    with pytest.raises(I2IError, match="'colour' .* is loaded already"):
        Engine([tmp_path / "colour.py", tmp_path / "colour.py"], entry_points=False)


def test_disabled_plugins(monkeypatch):
    monkeypatch.setenv("I2I_DISABLE_PLUGINS", "*")
    assert list(Engine().plugins) == ["reference"]
    monkeypatch.setenv("I2I_DISABLE_PLUGINS", "pixelgan, pairs")
    plugins = Engine().plugins
    assert "pixelgan" not in plugins and "pairs" not in plugins and "normalizations" in plugins


def test_what_stands_on_a_disabled_plugin_is_not_offered(monkeypatch):
    everything = Engine().registry
    assert "ensemble" in everything.names("discriminator") and "pix2pix" in everything.names("method")
    monkeypatch.setenv("I2I_DISABLE_PLUGINS", "pixelgan,unet")
    registry = Engine().registry
    assert not {"ensemble", "pixelgan", "unet"} & {*registry.names("discriminator"), *registry.names("generator")}
    assert "pix2pix" not in registry.names("method") and "cut" in registry.names("method")


def test_tracing(monkeypatch, capsys):
    monkeypatch.setenv("I2I_TRACE_PLUGINS", "1")
    Engine(entry_points=False)
    assert "i2i: reference.register_generators() -> ['resnet']" in capsys.readouterr().err


def test_naming_a_hook_does_not_import_torch():
    code = "import sys; from i2i import hookimpl; assert not {'torch', 'timm', 'pydantic'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
