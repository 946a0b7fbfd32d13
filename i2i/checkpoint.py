"""Checkpoints: folders of safetensors and JSON from which a run goes on to the same bits."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from i2i.distributed import World
from i2i.errors import I2IError, Problem
from i2i.files import sha256, sync, write_json, write_tensors

FORMAT = 1
State = dict[str, Any]


class WrongWorldError(I2IError):
    """A whole checkpoint, but of another number of processes."""


def folder_of(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"step-{step:08}"


def steps(checkpoints: Path) -> list[int]:
    """Steps of the finished checkpoints, in order."""
    names = (re.fullmatch(r"step-(\d{8,})", p.name) for p in checkpoints.glob("step-*") if p.is_dir())
    return sorted(int(match[1]) for match in names if match)


def save(
    checkpoints: Path, state: State, progress: Mapping[str, Any], *, keep: int, world: World | None = None
) -> Path:
    """Writes a checkpoint, then removes all but the newest `keep`.

    A temporary folder is filled, flushed and renamed; `state.json`, written last, has the sizes and SHA-256 of the
    others. Every process writes its own buffers and random state, the leading one the rest. Raises OSError, for a full
    disk say; what was there before still is.

    Args:
        state: of `Trainer.state_dict()`, and `rng` of `rng_state`.
        progress: JSON values that go with it.
    """
    world = world or World()
    final = folder_of(checkpoints, state["step"])
    temporary = checkpoints / f".{final.name}.tmp"
    try:
        with world.together():
            if world.leads:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
        with world.together():
            write_tensors(temporary / f"rank-{world.rank}.safetensors", state["buffers"] | state["rng"])
        with world.together():
            if world.leads:
                _write_shared(temporary, state, {"progress": progress, "n_processes": world.size})
                if final.exists():
                    shutil.rmtree(final)
                temporary.rename(final)
                sync(checkpoints)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if world.leads:
        for step in steps(checkpoints)[:-keep]:
            shutil.rmtree(folder_of(checkpoints, step), ignore_errors=True)
    return final


def _write_shared(folder: Path, state: State, about: Mapping[str, Any]) -> None:
    """What all processes have in common, and last of all the manifest."""
    aliases: dict[str, str] = {}
    write_tensors(folder / "model.safetensors", _untie(state["parameters"], aliases))
    optimizers = {}
    for player, optimizer in state["optimizers"].items():
        tensors, values = _flatten(optimizer["state"])
        write_tensors(folder / f"optim-{player}.safetensors", tensors)
        optimizers[player] = {"groups": optimizer["groups"], "values": values}
    if state["average"]:
        write_tensors(folder / "average.safetensors", state["average"])
    files = {p.name: {"size": p.stat().st_size, "sha256": sha256(p)} for p in sorted(folder.iterdir())}
    manifest = {"format": FORMAT, "step": state["step"], "aliases": aliases, "optimizers": optimizers, "files": files}
    write_json(folder / "state.json", {**manifest, **about})
    sync(folder)


def load(checkpoint: Path, world: World | None = None) -> tuple[State, dict[str, Any]]:
    """State (with torch's random state, `rng`) and progress of one checkpoint. Raises I2IError if it is damaged.

    For `world` it must be of as many processes; without one, buffers are those of the leading process.
    """
    try:
        about = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise I2IError(Problem(str(checkpoint), f"has format {about['format']}; this i2i reads {FORMAT}"))
        for name, file in about["files"].items():
            path = checkpoint / name
            if path.stat().st_size != file["size"] or sha256(path) != file["sha256"]:
                raise I2IError(Problem(str(path), "is damaged: its checksum does not match"))
        rank = f"rank-{world.rank if world else 0}"
        names = [name.removesuffix(".safetensors") for name in about["files"]]
        wanted = [name for name in names if name == rank or not name.startswith("rank-")]
        tensors = {name: load_file(checkpoint / f"{name}.safetensors") for name in wanted}
        n_processes = about["n_processes"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise I2IError(Problem(str(checkpoint), f"is damaged: {type(error).__name__}: {error}")) from error
    if world and world.size != n_processes:
        message = f"is of {n_processes} process(es), not {world.size}; to go on exactly, start as many: "
        raise WrongWorldError(
            Problem(str(checkpoint), f"{message}torchrun --nproc-per-node {n_processes} -m i2i train …")
        )
    parameters = tensors["model"]
    parameters |= {alias: parameters[name] for alias, name in about["aliases"].items()}
    buffers = tensors[rank]
    rng = {name: buffers.pop(name) for name in list(buffers) if name.startswith("rng:")}
    state = {
        "step": about["step"],
        "parameters": parameters,
        "buffers": buffers,
        "optimizers": {
            player: {"groups": saved["groups"], "state": _unflatten(tensors[f"optim-{player}"], saved["values"])}
            for player, saved in about["optimizers"].items()
        },
        "average": tensors.get("average", {}),
        "rng": rng,
    }
    return state, about["progress"]


def load_latest(checkpoints: Path, world: World | None = None) -> tuple[State, dict[str, Any]]:
    """The newest checkpoint that is whole; damaged ones are named in a warning. Raises I2IError if there is none."""
    damaged = []
    for step in reversed(steps(checkpoints)):
        try:
            found = load(folder_of(checkpoints, step), world)
        except WrongWorldError:
            raise
        except I2IError as error:
            damaged.append(str(error))
            continue
        for message in damaged:
            warnings.warn(f"{message}; going on from step {step}", stacklevel=2)
        return found
    raise I2IError(
        Problem(str(checkpoints), "; ".join(damaged) or "holds no checkpoint; the run stopped before its first")
    )


def set_aside(checkpoints: Path, after: int) -> None:
    """Renames checkpoints of later steps, which a run that goes on from `after` will write anew."""
    for step in steps(checkpoints):
        if step > after:
            folder = folder_of(checkpoints, step)
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            with suppress(OSError):
                folder.rename(aside)


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators that a training on this device may draw from."""
    state = {"rng:cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["rng:cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["rng:mps"] = torch.mps.get_rng_state()
    return state


def restore_rng(rng: Mapping[str, Tensor], device: torch.device) -> None:
    """Sets torch's generators as `rng_state` found them; one of another kind of device is left out."""
    torch.set_rng_state(rng["rng:cpu"])
    if device.type == "cuda" and "rng:cuda" in rng:
        torch.cuda.set_rng_state(rng["rng:cuda"], device)
    elif device.type == "mps" and "rng:mps" in rng:
        torch.mps.set_rng_state(rng["rng:mps"])


def _untie(parameters: Mapping[str, Tensor], aliases: dict[str, str]) -> dict[str, Tensor]:
    """Each tensor once; further names of it go to `aliases`."""
    first: dict[int, str] = {}
    kept = {}
    for name, tensor in parameters.items():
        owner = first.setdefault(tensor.data_ptr(), name) if tensor.numel() else name
        if owner == name:
            kept[name] = tensor
        else:
            aliases[name] = owner
    return kept


def _flatten(state: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for parameter, entries in state.items():
        values[parameter] = {}
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}:{key}"] = value
            else:
                values[parameter][key] = value
    return tensors, values


def _unflatten(tensors: Mapping[str, Tensor], values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    state = {parameter: dict(entries) for parameter, entries in values.items()}
    for name, tensor in tensors.items():
        parameter, _, key = name.rpartition(":")
        state[parameter][key] = tensor
    return state
