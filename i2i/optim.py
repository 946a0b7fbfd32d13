"""Optimizers: any of timm's that can be saved and resumed exactly, one for each player, from the table `[optim]`."""

from __future__ import annotations

import inspect
import json
import math
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
        chosen = arguments.keys() & {"foreach", "fused", "differentiable"}  # torch allows one of them
        if (
            not chosen
            and "fused" in _options(name)
            and all(p.device.type in ("cpu", "cuda", "mps") for p in parameters.values())
        ):
            arguments["fused"] = True
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
        "groups": [
            {k: _to_json(v) for k, v in group.items() if k not in _NOT_STATE} for group in optimizer.param_groups
        ],
    }


def restore(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], saved: Mapping[str, Any]) -> None:
    """Takes up where `state_of` left off; learning rates stay as the recipe and the schedule say.

    Scalar tensors (`step`) stay on the CPU, as torch keeps them, unless the group is fused or capturable.
    """
    on_device: set[int] = set()
    for group, values in zip(optimizer.param_groups, saved["groups"], strict=True):
        group.update({k: _from_json(v) for k, v in values.items()})
        if group.get("fused") or group.get("capturable"):
            on_device |= {id(p) for p in group["params"]}
    for name, values in saved["state"].items():
        parameter = parameters[name]
        optimizer.state[parameter] = {
            key: _like(parameter, value)
            if isinstance(value, Tensor) and (value.dim() or id(parameter) in on_device)
            else value
            for key, value in values.items()
        }


def _like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """On the parameter's device and, where it is of its shape, in its memory order, which fused optimizers expect."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


_NOT_STATE = ("params", "param_names", "lr", "initial_lr")


def _to_json(value: Any) -> Any:
    if isinstance(value, Tensor):
        return {"tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch.")}
    return {"dtype": str(value).removeprefix("torch.")} if isinstance(value, torch.dtype) else value


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return tuple(value) if isinstance(value, list) else value
    dtype = getattr(torch, value["dtype"])
    return torch.tensor(value["tensor"], dtype=dtype) if "tensor" in value else dtype


def _merge(common: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    if override.get("name", common["name"]) != common["name"]:
        return {"lr": common["lr"], **override}
    return {**common, **override}


def _check_one(where: str, settings: Mapping[str, Any], problems: list[Problem]) -> None:
    from timm.optim import list_optimizers

    name = settings["name"]
    if name not in list_optimizers():
        hint = suggest(str(name), list_optimizers()) or "; the names are those of timm.optim.list_optimizers()"
        problems.append(Problem(f"{where}.name", f"there is no optimizer {json.dumps(name, default=str)}{hint}"))
        return
    try:
        known = _options(name)
    except (AssertionError, ImportError) as error:  # of a package that is not installed
        problems.append(Problem(f"{where}.name", f"{name} cannot be used here: {error}"))
        return
    found = len(problems)
    for key, value in settings.items():
        if key == "name":
            continue
        if key not in known:
            problems.append(Problem(f"{where}.{key}", f"{name} has no such option{suggest(key, known)}"))
        elif wrong := _wrong(key, value, known[key]):
            problems.append(Problem(f"{where}.{key}", f"{wrong}, not {json.dumps(value, default=str)}"))
    if len(problems) == found:
        problems.extend(_rehearse(where, settings))


def _wrong(key: str, value: Any, default: Any) -> str:
    """What the value of an option should be, if it is not of its default's kind; what else is wrong, a step tells."""
    if key == "lr":
        return "" if _is_number(value) and value >= 0 else "must be a number, at least 0"
    if isinstance(default, tuple):
        fits = isinstance(value, list) and len(value) == len(default) and all(map(_is_number, value))
        return "" if fits else f"must be a list of {len(default)} numbers"
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "must be true or false"
    if isinstance(default, (int, float)):
        return "" if _is_number(value) else "must be a number"
    return ""


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and -math.inf < value < math.inf


def _rehearse(where: str, settings: Mapping[str, Any]) -> list[Problem]:
    """Builds the optimizer for two small tensors, steps, saves, restores and steps again: what would go wrong later."""
    from timm.optim import get_optimizer_info

    elsewhere = isinstance(get_optimizer_info(settings["name"]).opt_class, str)  # of apex and bitsandbytes: for CUDA
    weights = [torch.linspace(-1, 1, 4).view(2, 2), torch.linspace(-1, 1, 2)]
    first = {str(i): nn.Parameter(w.to("cuda" if elsewhere else "cpu")) for i, w in enumerate(weights)}
    try:
        optimizer = build(settings, {"": first})[""]
        _step(optimizer, first)
    except I2IError as error:
        return [Problem(where, p.message) for p in error.problems]
    except Exception as error:  # whatever a value leads to in the optimizer's own code
        return [Problem(where, f"{settings['name']} cannot take a step: {error}")]
    second = {name: nn.Parameter(p.detach().clone()) for name, p in first.items()}
    try:
        again = build(settings, {"": second})[""]
        restore(again, second, _as_written(state_of(optimizer, first)))
        _step(optimizer, first)
        _step(again, second)
        exact = all(torch.equal(p, second[name]) for name, p in first.items())
    except Exception:
        exact = False
    message = f"{settings['name']} cannot be saved and resumed exactly; choose another"
    return [] if exact else [Problem(f"{where}.name", message)]


def _step(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> None:
    for parameter in parameters.values():
        parameter.grad = parameter.detach().cos()
    optimizer.step()


def _as_written(state: Mapping[str, Any]) -> dict[str, Any]:
    """As a checkpoint gives the state back: tensors as copies on the CPU, the rest through JSON. Raises TypeError."""
    values = {
        name: {
            k: v.detach().cpu().clone() if isinstance(v, Tensor) else json.loads(json.dumps(v)) for k, v in of.items()
        }
        for name, of in state["state"].items()
    }
    return {"state": values, "groups": json.loads(json.dumps(state["groups"]))}


def _options(name: str) -> dict[str, Any]:
    """What the optimizer's constructor takes, with defaults."""
    from timm.optim import get_optimizer_class

    base = get_optimizer_class(name, bind_defaults=False)
    parameters = inspect.signature(base).parameters.values()
    skipped = ("self", "params")
    return {p.name: p.default for p in parameters if p.name not in skipped and p.kind is not p.VAR_KEYWORD}
