"""Optimizers: any name of timm's, one for each player, from the table `[optim]`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from i2i.errors import I2IError, Problem, suggest

DEFAULTS = {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999]}
"""Zhu et al. 2017, appendix 7.1 and the authors' code: what `[optim]` leaves out while it names Adam."""


def complete(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with defaults: all of them for Adam, the learning rate for any other optimizer."""
    return {**(DEFAULTS if table.get("name", "adam") == "adam" else {"lr": DEFAULTS["lr"]}), **table}


def split(table: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Common settings, and the overrides of single players (tables within the table)."""
    common = {k: v for k, v in table.items() if not isinstance(v, Mapping)}
    return common, {k: dict(v) for k, v in table.items() if isinstance(v, Mapping)}


def check(table: Mapping[str, Any], problems: list[Problem]) -> None:
    """Adds every unknown optimizer, option and impossible value to `problems`."""
    common, overrides = split(table)
    for where, settings in [("optim", common), *((f"optim.{p}", _merge(common, o)) for p, o in overrides.items())]:
        _check_one(where, settings, problems)


def build(table: Mapping[str, Any], players: Mapping[str, Mapping[str, nn.Parameter]]) -> dict[str, Optimizer]:
    """An optimizer for each player's {name: parameter}; fused where torch has it. Raises I2IError."""
    from timm.optim import create_optimizer_v2

    common, overrides = split(table)
    for player in overrides.keys() - players.keys():
        raise I2IError(Problem(f"optim.{player}", f"there is no such player{suggest(player, players)}"))
    optimizers = {}
    for player, parameters in players.items():
        settings = _merge(common, overrides.get(player, {}))
        name = settings.pop("name")
        arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        if "fused" in _options(name) and all(p.device.type in ("cpu", "cuda", "mps") for p in parameters.values()):
            arguments.setdefault("fused", True)
        try:
            optimizers[player] = create_optimizer_v2(
                list(parameters.items()), name, filter_bias_and_bn=False, **arguments
            )
        except (ValueError, TypeError, AssertionError) as error:
            raise I2IError(Problem("optim" if player not in overrides else f"optim.{player}", str(error))) from error
    return optimizers


def state_of(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Any]:
    """The optimizer's state by the names of its parameters: {"state": {name: …}, "groups": settings as JSON values}."""
    names = {id(p): name for name, p in parameters.items()}
    return {
        "state": {names[id(p)]: dict(values) for p, values in optimizer.state.items()},
        "groups": [{k: v for k, v in group.items() if k not in _NOT_STATE} for group in optimizer.param_groups],
    }


def restore(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], saved: Mapping[str, Any]) -> None:
    """Takes up where `state_of` left off; learning rates stay as the recipe and the schedule say."""
    for group, values in zip(optimizer.param_groups, saved["groups"], strict=True):
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    for name, values in saved["state"].items():
        parameter = parameters[name]
        optimizer.state[parameter] = {
            key: value.to(parameter.device if value.dim() else value.device) if isinstance(value, Tensor) else value
            for key, value in values.items()
        }


_NOT_STATE = ("params", "param_names", "lr", "initial_lr")


def _merge(common: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    if override.get("name", common["name"]) != common["name"]:
        return {"lr": common["lr"], **override}
    return {**common, **override}


def _check_one(where: str, settings: Mapping[str, Any], problems: list[Problem]) -> None:
    from timm.optim import list_optimizers

    name = settings["name"]
    if not isinstance(name, str) or name.rpartition("_")[2] not in list_optimizers():
        hint = suggest(str(name), list_optimizers()) or "; the names are those of timm.optim.list_optimizers()"
        problems.append(Problem(f"{where}.name", f"there is no optimizer {json.dumps(name)}{hint}"))
        return
    known = _options(name)
    for key, value in settings.items():
        if key != "name" and key not in known:
            problems.append(Problem(f"{where}.{key}", f"{name} has no such option{suggest(key, known)}"))
        elif key == "lr" and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
            problems.append(Problem(f"{where}.lr", f"must be a number, at least 0, not {json.dumps(value)}"))
    if problems:
        return
    probe = nn.Parameter(torch.zeros(2, 2))
    try:
        build({**settings}, {"probe": {"weight": probe}})
    except I2IError as error:
        problems.extend(Problem(where, p.message) for p in error.problems)


def _options(name: str) -> list[str]:
    """What the optimizer's constructor takes, without what timm's factory or the engine decides."""
    from timm.optim import get_optimizer_class

    base = get_optimizer_class(name.rpartition("_")[2], bind_defaults=False)
    parameters = inspect.signature(base).parameters.values()
    return [p.name for p in parameters if p.name not in ("self", "params") and p.kind is not p.VAR_KEYWORD]
