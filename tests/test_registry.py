"""Signatures become options; every mistake has a path, its value and a suggestion."""

from typing import Annotated

import pytest
import torch
from annotated_types import Ge
from torch import nn

from i2i.component import KINDS, describe
from i2i.errors import I2IError
from i2i.reference.normalization import InstanceNorm
from i2i.reference.resnet import ResnetGenerator
from i2i.registry import Registry
from i2i.slots import Normalization, Slot


class Norm(nn.Module):
    """A norm."""

    def __init__(self, channels: int, *, groups: int = 1) -> None:
        super().__init__()
        self.channels, self.groups = channels, groups


class Holder:
    """Holds norms."""

    def __init__(
        self,
        *,
        members: tuple[Normalization, ...] = (Norm,),
        json: int = 1,
        copy: bool = False,
        single: Normalization = Norm,
    ) -> None:
        self.members, self.json, self.copy, self.single = members, json, copy, single


@pytest.fixture
def registry():
    registry = Registry()
    registry.add(describe(KINDS["normalization"], "norm", Norm, "test"))
    registry.add(describe(KINDS["loss"], "holder", Holder, "test"))
    registry.check()
    return registry


def problems(registry, spec, kind="loss"):
    with pytest.raises(I2IError) as error:
        registry.resolve(kind, spec, "here")
    return [str(p) for p in error.value.problems]


def test_every_mistake_at_once(registry):
    spec = {"name": "holder", "json": "4", "copi": True, "members": [{"name": "norm", "groups": True}, "nrom"]}
    found = problems(registry, spec)
    assert len(found) == 4
    assert found[0].startswith("here.json: should be a valid integer") and '"4"' in found[0]
    assert "here.copi: unknown option; did you mean 'copy'?" in found[1]
    assert found[2].startswith("here.members.0.groups: should be a valid integer, not true")
    assert "here.members.1: there is no normalization 'nrom'; did you mean 'norm'?" in found[3]


@pytest.mark.parametrize("value", ["4", True, 3.0, None, [1]])
def test_an_int_is_an_int(registry, value):
    assert "here.json" in problems(registry, {"name": "holder", "json": value})[0]


def test_slots_build_what_they_say_and_keep_their_default(registry):
    built = registry.resolve(
        "loss", {"name": "holder", "members": [{"name": "norm", "groups": 2}], "single": {"groups": 3}}, ""
    )()
    assert [m(8).groups for m in built.members] == [2] and built.single(8).groups == 3
    assert built.json == 1 and built.copy is False


def test_a_spec_resolves_to_itself(registry):
    builder = registry.resolve("loss", {"name": "holder", "single": {"groups": 3}}, "here")
    spec = builder.spec()
    assert spec["members"] == [{"name": "norm", "groups": 1}] and spec["single"]["groups"] == 3
    assert registry.resolve("loss", spec, "here").spec() == spec


def test_two_plugins_of_one_name(registry):
    registry.add(describe(KINDS["normalization"], "norm", InstanceNorm, "other"))
    assert registry.names("normalization") == ["test:norm", "other:norm"]
    assert "test:norm or other:norm" in problems(registry, "norm", "normalization")[0]
    assert isinstance(registry.resolve("normalization", "other:norm", "")(3), InstanceNorm)


def test_what_a_slot_needs(registry):
    builder = registry.settle(Slot("normalization", needs=nn.Conv2d), None, "norm", "here", [])
    with pytest.raises(I2IError, match=r"here: 'norm' cannot stand here: it is no Conv2d"):
        builder(3)


def test_a_value_error_of_a_component_is_told_with_its_path(engine):
    builder = engine.registry.resolve("generator", {"name": "resnet", "base_channels": 3, "norm": "group"}, "generator")
    with pytest.raises(I2IError, match=r"generator\.norm: "):
        builder(3, 3)


def no_docstring(channels: int):
    return nn.Identity()


def untyped(channels: int, *, width=3):
    """X."""


def no_default(channels: int, *, width: int):
    """X."""


def swallows(channels: int, **options):
    """X."""


def too_many(channels: int, width: int = 3):
    """X."""


def unknown_annotation(channels: int, *, width: "Undefined" = 3):  # noqa: F821
    """X."""


def module_option(channels: int, *, activation: nn.Module = None, width: int = 1):
    """X."""


def impossible_bound(channels: int, *, mode: Annotated[str, Ge(0)] = "a"):
    """X."""


def no_such_default(channels: int, *, width: int = "wide"):
    """X."""


def option_called_name(channels: int, *, name: str = ""):
    """X."""


def default_that_is_no_json(channels: int, *, kind: torch.dtype | int = torch.float32):
    """X."""


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (no_docstring, "needs a docstring"),
        (untyped, "'width' needs a type"),
        (no_default, "'width' needs a type and a default"),
        (swallows, "one by one"),
        (too_many, "positional parameters are: channels, width"),
        (3, "not a class or function"),
        (unknown_annotation, "test: normalization 'x': its signature cannot be read: NameError: name 'Undefined'"),
        (
            module_option,
            "'x': option 'activation' has the type torch.nn.modules.module.Module; a recipe holds bool, int",
        ),
        (option_called_name, "option 'name': there a recipe says which component"),
        (impossible_bound, "option 'mode' has the type .*Annotated"),
        (no_such_default, "'width' has a default that does not fit its type: it should be a valid integer"),
        (default_that_is_no_json, "option 'kind' has the type torch.dtype | int"),
    ],
)
def test_the_contract_is_checked_when_registering(factory, message):
    with pytest.raises(I2IError, match=message):
        describe(KINDS["normalization"], "x", factory, "test")


def test_a_slot_named_like_a_table_is_refused():
    def method(channels_a: int, channels_b: int, *, data: Normalization = Norm) -> None:
        """A method."""

    with pytest.raises(I2IError, match="name of a table"):
        describe(KINDS["method"], "x", method, "test")


def test_an_unregistered_default_is_refused():
    registry = Registry()
    registry.add(describe(KINDS["loss"], "holder", Holder, "test"))
    with pytest.raises(I2IError, match="default of 'members' is not a registered normalization"):
        registry.check()


def test_bounds_come_from_annotations(registry):
    def bounded(*, n: Annotated[int, Ge(2)] = 2) -> None:
        """X."""

    registry.add(describe(KINDS["loss"], "bounded", bounded, "test"))
    assert "greater than or equal to 2, not 1" in problems(registry, {"name": "bounded", "n": 1})[0]


def test_a_component_works_without_an_engine():
    out = ResnetGenerator(3, 1, base_channels=2, n_blocks=1, norm=nn.BatchNorm2d)(torch.zeros(2, 3, 16, 12))
    assert out.shape == (2, 1, 16, 12)
