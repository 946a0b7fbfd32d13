"""A checkpoint folder of the authors' `train.py` as a run, and one generator as a translator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from i2i import __version__, checkpoint, layers, optim
from i2i.engine import Engine
from i2i.errors import I2IError, Problem, suggest
from i2i.importer.flags import read_options
from i2i.importer.networks import read_discriminator, read_generator, read_projectors
from i2i.importer.recipe import domains, recipe_of
from i2i.importer.weights import Network, error_at
from i2i.recipe import needs_pairs, resolve
from i2i.run import Run
from i2i.trainer import Trainer, players_parameters
from i2i.weights import save_translator

Names = Mapping[str, str]

NETWORKS: Mapping[str, tuple[Names, Names]] = {
    "cycle_gan": (
        {"G_A": "generator_ab", "G_B": "generator_ba"},
        {"D_A": "discriminator_b", "D_B": "discriminator_a"},
    ),
    "pix2pix": ({"G": "generator"}, {"D": "discriminator"}),
    "cut": ({"G": "generator"}, {"D": "discriminator", "F": "contrast.projectors"}),
}
"""Of each of the authors' models, the networks that a folder must hold, and those that it holds all or none of.

In CycleGAN the authors name a discriminator after the generator it plays against; ours after the domain it judges.
"""


def import_translator(
    path: Path, out: Path, engine: Engine, *, to: Literal["a", "b"] = "b", evaluate: bool = False
) -> list[str]:
    """Writes one generator as a weights file that `i2i translate` reads. Returns remarks. Raises I2IError.

    Args:
        to: the domain that it translates to. `x2y.safetensors` names the domains x and y.
        evaluate: translate as the authors' `--eval` does (see `evaluated`).
    """
    if out.exists():
        raise I2IError(Problem(str(out), "is there already; choose another name"))
    network = read_generator(path)
    network = evaluated(network) if evaluate else network
    channels, names = list(network.channels), domains(out.stem)
    if not {1, 3}.issuperset(channels):
        raise error_at(path, f"makes {channels[1]} channels of {channels[0]}; images have 1 or 3")
    if to == "a":
        channels, names = channels[::-1], names[::-1] if names != ("a", "b") else names
    document = {
        "method": {"name": "cyclegan"} | ({} if channels[0] == channels[1] else {"lambda_identity": 0.0}),
        "generator": network.spec,
        "data": {"source": "folders", "channels": channels, "names": list(names)},
    }
    recipe = resolve(document, engine.registry, list(engine.plugins))
    module = network.build(engine.registry)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_translator(out, module, recipe=recipe, direction="ab" if to == "b" else "ba", step=0)
    return _remarks_on(network)


def import_run(
    folder: Path,
    out: Path,
    engine: Engine,
    *,
    epoch: str = "latest",
    folders: tuple[Path, Path] | None = None,
    settings: Sequence[str] = (),
    evaluate: bool = False,
) -> tuple[Run, list[str]]:
    """Writes a run that translates, and trains on from step 0 with these weights. Returns it with remarks.

    Args:
        folder: with `train_opt.txt`, the generators, such as `latest_net_G.pth`, and perhaps the other networks.
        out: the run's folder; one that exists is left alone, and its name gets a number.
        epoch: of the networks to read: `latest`, `100`, `iter_5000`.
        folders: of the images of a and b, in place of the authors' data root.
        settings: "key=value" on top of the recipe.
        evaluate: translate as the authors' `--eval` does (see `evaluated`).

    Raises I2IError.
    """
    options_file = next((folder / n for n in ("train_opt.txt", "opt.txt") if (folder / n).is_file()), None)
    if options_file is None:
        raise I2IError(Problem(str(folder), "holds no train_opt.txt; import a single network by naming its file"))
    options = read_options(options_file)
    if options["model"] not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise I2IError(Problem("model", f"{options['model']!r} cannot be imported as a run, only {known}"))
    networks = read_networks(folder, epoch, options["model"])
    if evaluate:
        networks = {name: evaluated(network) for name, network in networks.items()}
    try:
        document, remarks = recipe_of(options, networks)
    except ValueError as error:  # a number that is none
        raise I2IError(Problem(str(options_file), str(error))) from None
    if folders:
        document["data"]["source"] = layers.two_folders(*folders, paired=needs_pairs(document, engine.registry))
    recipe = resolve(layers.apply(document, settings), engine.registry, list(engine.plugins))
    modules = {name: network.build(engine.registry) for name, network in networks.items()}
    generators_alone = all(network.kind == "generator" for network in networks.values())
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(recipe.train.seed)
        method = recipe.method(*recipe.data.both_channels)
        asked = " with --set ".join([options_file.name, *settings])
        for name, module in modules.items():
            try:
                method.get_submodule(name).load_state_dict(module.state_dict())
            except (AttributeError, RuntimeError):
                raise I2IError(Problem(str(networks[name].path), f"does not fit {asked}")) from None
        found = {f"{name}.{key}" for name, module in modules.items() for key in module.state_dict()}
        absent = [name for name, _ in method.named_parameters() if name not in found]
        if absent and not generators_alone:
            raise I2IError(Problem(str(folder), f"holds no weights for {absent[0]}, as {asked} wants them"))
        trainer = Trainer(method, optim.build(recipe.optim, players_parameters(method)), ema=recipe.train.ema)
        run = Run.create(out.parent, out.name)
        imported = {"from": str(folder.resolve()), "epoch": epoch}
        run.write_about(recipe.document(), {"i2i": __version__, "torch": torch.__version__, "imported": imported})
        progress: dict[str, Any] = {"seconds": 0.0, "schedule": None, "conditions": {}}
        state = trainer.state_dict() | {"rng": checkpoint.rng_state(trainer.device)}
        checkpoint.save(run.checkpoints, state, progress, keep=recipe.train.keep_checkpoints)
    for direction, module in trainer.translators().items():
        save_translator(run.weights(direction), module, recipe=recipe, direction=direction, step=0)
    if generators_alone:
        remarks.append("no discriminators were found; training on starts with new ones")
    return run, remarks + _remarks_on(*networks.values())


def read_networks(folder: Path, epoch: str, model: str = "cycle_gan") -> dict[str, Network]:
    """The networks of one epoch by their places in our method: the generators, and all others or none.

    Raises I2IError.
    """
    generators, others = NETWORKS[model]
    paths = {name: folder / f"{epoch}_net_{name}.pth" for name in (*generators, *others)}
    missing = [name for name, path in paths.items() if not path.is_file()]
    first = next(iter(generators))
    if missing[: len(generators)] == [*generators]:
        have = sorted(path.name.removesuffix(f"_net_{first}.pth") for path in folder.glob(f"*_net_{first}.pth"))
        raise I2IError(Problem("--epoch", f"there is no {paths[first].name} in {folder}{suggest(epoch, have)}"))
    if missing and missing != [*others]:
        raise I2IError(Problem(str(folder), f"holds no {' and no '.join(paths[name].name for name in missing)}"))
    networks = {ours: read_generator(paths[name]) for name, ours in generators.items()}
    for name, ours in others.items() if not missing else ():
        if name == "F":
            networks |= {f"{ours}.{part}": network for part, network in read_projectors(paths[name]).items()}
        else:
            networks[ours] = read_discriminator(paths[name])
    for one, other in (("generator_ab", "generator_ba"), ("discriminator_a", "discriminator_b")):
        if one in networks and networks[one].spec != networks[other].spec:
            both = f"{networks[one].path.name} and {networks[other].path.name}"
            raise I2IError(Problem(str(folder), f"{both} are not built alike, and a recipe describes both at once"))
    return networks


def evaluated(network: Network) -> Network:
    """A U-Net that translates without dropout and by the statistics of its training images; others do so anyway."""
    if network.spec["name"] != "unet":
        return network
    norm = "batch" if network.spec["norm"] == "current_batch" else network.spec["norm"]
    return replace(network, spec={**network.spec, "norm": norm, "dropout_at_inference": False})


def _remarks_on(*networks: Network) -> list[str]:
    remarks = []
    if any(network.dropout for network in networks):
        remarks.append("was trained with dropout, which is not active at inference; training on goes without it")
    if any(network.spec.get("norm") == "current_batch" for network in networks):
        remarks.append(
            "translates with dropout and by the statistics of the image at hand, as the authors' test.py does; "
            "--eval leaves out the one and takes the training images' for the other"
        )
    return remarks
