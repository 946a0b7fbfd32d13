"""A checkpoint folder of the authors' `train.py` as a run, and one generator as a translator."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from i2i import __version__, checkpoint, layers, optim
from i2i.engine import Engine
from i2i.errors import I2IError, Problem, suggest
from i2i.importer.flags import FLAGS, read_options
from i2i.importer.weights import Network, read_discriminator, read_generator
from i2i.recipe import resolve
from i2i.run import Run
from i2i.trainer import Trainer, players_parameters
from i2i.translate import save_translator

GENERATORS = {"G_A": "generator_ab", "G_B": "generator_ba"}
DISCRIMINATORS = {"D_A": "discriminator_b", "D_B": "discriminator_a"}
"""The authors name a discriminator after the generator it plays against; ours is named after the domain it judges."""


def import_translator(path: Path, out: Path, engine: Engine, *, to: Literal["a", "b"] = "b") -> list[str]:
    """Writes one generator as a weights file that `i2i translate` reads. Returns remarks. Raises I2IError.

    Args:
        to: the domain that it translates to. `x2y.safetensors` names the domains x and y.
    """
    if out.exists():
        raise I2IError(Problem(str(out), "is there already; choose another name"))
    network = read_generator(path)
    channels, names = list(network.channels), _domains(out.stem)
    if to == "a":
        channels, names = channels[::-1], names[::-1] if names != ("a", "b") else names
    document = {
        "method": {"name": "cyclegan"} | ({} if channels[0] == channels[1] else {"lambda_identity": 0.0}),
        "generator": network.spec,
        "data": {"source": "folders", "channels": channels, "names": list(names)},
    }
    recipe = resolve(document, engine.registry, list(engine.plugins)).document()
    module = network.build(engine.registry)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_translator(out, module, recipe=recipe, direction="ab" if to == "b" else "ba", step=0, names=names)
    return _remarks_on(network)


def import_run(
    folder: Path, out: Path, engine: Engine, *, epoch: str = "latest", settings: Sequence[str] = ()
) -> tuple[Run, list[str]]:
    """Writes a run that translates, and trains on from step 0 with these weights. Returns it with remarks.

    Args:
        folder: with `train_opt.txt`, `latest_net_G_A.pth` and `latest_net_G_B.pth`, and perhaps both discriminators.
        out: the run's folder; one that exists is left alone, and its name gets a number.
        epoch: of the networks to read: `latest`, `100`, `iter_5000`.
        settings: "key=value" on top of the recipe.

    Raises I2IError.
    """
    options_file = next((folder / n for n in ("train_opt.txt", "opt.txt") if (folder / n).is_file()), None)
    if options_file is None:
        raise I2IError(Problem(str(folder), "holds no train_opt.txt; import a single network by naming its file"))
    options = read_options(options_file)
    networks = read_networks(folder, epoch)
    try:
        document, remarks = recipe_of(options, networks)
    except ValueError as error:  # a number that is none
        raise I2IError(Problem(str(options_file), str(error))) from None
    recipe = resolve(layers.apply(document, settings), engine.registry, list(engine.plugins))
    modules = {name: network.build(engine.registry) for name, network in networks.items()}
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(recipe.train.seed)
        method = recipe.method(*recipe.data.both_channels)
        for name, module in modules.items():
            try:
                getattr(method, name).load_state_dict(module.state_dict())
            except RuntimeError:
                raise I2IError(Problem("--set", f"changes {name}, so that its weights no longer fit")) from None
        trainer = Trainer(method, optim.build(recipe.optim, players_parameters(method)), ema=recipe.train.ema)
        run = Run.create(out.parent, out.name)
        imported = {"from": str(folder.resolve()), "epoch": epoch}
        run.write_about(recipe.document(), {"i2i": __version__, "torch": torch.__version__, "imported": imported})
        progress: dict[str, Any] = {"seconds": 0.0, "schedule": None, "conditions": {}}
        state = trainer.state_dict() | {"rng": checkpoint.rng_state(trainer.device)}
        checkpoint.save(run.checkpoints, state, progress, keep=recipe.train.keep_checkpoints)
    for direction, module in trainer.translators().items():
        about: Any = {"recipe": recipe.document(), "direction": direction, "step": 0, "names": recipe.data.names}
        save_translator(run.weights(direction), module, **about)
    if len(networks) == 2:
        remarks.append("no discriminators were found; training on starts with new ones")
    return run, remarks + _remarks_on(*networks.values())


def read_networks(folder: Path, epoch: str) -> dict[str, Network]:
    """The networks of one epoch by our names: both generators, and both discriminators or none. Raises I2IError."""
    paths = {name: folder / f"{epoch}_net_{name}.pth" for name in (*GENERATORS, *DISCRIMINATORS)}
    missing = [path.name for name, path in paths.items() if not path.is_file()]
    if not any(paths[name].is_file() for name in GENERATORS):
        have = sorted(path.name.removesuffix("_net_G_A.pth") for path in folder.glob("*_net_G_A.pth"))
        raise I2IError(Problem("--epoch", f"there is no {epoch}_net_G_A.pth in {folder}{suggest(epoch, have)}"))
    absent = [name for name in DISCRIMINATORS if paths[name].name in missing]
    if missing and (len(absent) != len(DISCRIMINATORS) or len(missing) > len(absent)):
        raise I2IError(Problem(str(folder), f"holds no {' and no '.join(missing)}"))
    networks = {ours: read_generator(paths[name]) for name, ours in GENERATORS.items()}
    if not absent:
        networks |= {ours: read_discriminator(paths[name]) for name, ours in DISCRIMINATORS.items()}
    for one, other in (("generator_ab", "generator_ba"), ("discriminator_a", "discriminator_b")):
        if one in networks and networks[one].spec != networks[other].spec:
            both = f"{networks[one].path.name} and {networks[other].path.name}"
            raise I2IError(Problem(str(folder), f"{both} are not built alike, and a recipe describes both at once"))
    return networks


def recipe_of(options: Mapping[str, str], networks: Mapping[str, Network]) -> tuple[dict[str, Any], list[str]]:
    """A recipe from the authors' options, and a remark on each that is set and has no equivalent.

    Architectures are read from the networks where they are at hand. Raises I2IError for what i2i cannot do.
    """
    if options["model"] != "cycle_gan":
        raise I2IError(Problem("model", f"{options['model']!r} cannot be imported as a run, only cycle_gan"))
    if options["gan_mode"] not in ("lsgan", "vanilla"):
        raise I2IError(Problem("gan_mode", f"{options['gan_mode']!r} has no equivalent: {FLAGS['gan_mode'].note}"))
    batch_size = int(options["batch_size"])
    train: dict[str, Any] = {"device": "cpu"} if options["gpu_ids"] == "-1" else {}
    every = {"update_html_freq": "sample_every", "print_freq": "log_every", "save_latest_freq": "save_every"}
    for name, key in every.items():
        if options[name] != FLAGS[name].default:
            train[key] = max(1, int(options[name]) // batch_size)
    domains = _domains(Path(options["dataroot"]).name)
    data = {
        "source": _source(options),
        "load_size": int(options["load_size"]),
        "crop_size": int(options["crop_size"]),
        "flip": options["no_flip"] != "True",
        "batch_size": batch_size,
        "channels": list(networks["generator_ab"].channels),
        "names": list(domains[::-1] if options["direction"] == "BtoA" and domains != ("a", "b") else domains),
    }
    if options["num_threads"] != FLAGS["num_threads"].default:
        data["n_workers"] = int(options["num_threads"])
    schedule, remarks = _schedule(options)
    lambdas = [float(options["lambda_A"]), float(options["lambda_B"])]
    discriminator = networks["discriminator_a"].spec if "discriminator_a" in networks else _discriminator(options)
    document = {
        "method": {
            "name": "cyclegan",
            "lambda_cycle": lambdas[0] if lambdas[0] == lambdas[1] else lambdas,
            "lambda_identity": float(options["lambda_identity"]),
        },
        "generator": {**networks["generator_ab"].spec, "initialization": _initialization(options)},
        "discriminator": {**discriminator, "initialization": _initialization(options)},
        "adversarial": options["gan_mode"],
        "pool": {"size": int(options["pool_size"])},
        "data": data,
        "optim": {"lr": float(options["lr"]), "betas": [float(options["beta1"]), 0.999]},
        "schedule": schedule,
        "train": train,
    }
    for name, value in options.items():
        flag = FLAGS.get(name)
        if flag is None or (not flag.becomes and value != flag.default):
            remarks.append(f"{name} = {value} is left out: {flag.note if flag else 'it is no option of the authors'}")
    return document, remarks


def _source(options: Mapping[str, str]) -> dict[str, str]:
    root, phase = options["dataroot"], options["phase"]
    if options["direction"] == "AtoB" and phase == "train":
        return {"name": "root", "path": root}
    a, b = ("B", "A") if options["direction"] == "BtoA" else ("A", "B")
    return {"name": "folders", "a": f"{root}/{phase}{a}", "b": f"{root}/{phase}{b}"}


def _initialization(options: Mapping[str, str]) -> dict[str, Any]:
    name, gain = options["init_type"], float(options["init_gain"])
    key = {"normal": "std", "xavier": "gain", "orthogonal": "gain"}.get(name)
    return {"name": name} | ({key: gain} if key else {})


def _discriminator(options: Mapping[str, str]) -> dict[str, Any]:
    spec: dict[str, Any] = {"base_channels": int(options["ndf"]), "norm": options["norm"].removeprefix("sync_")}
    if options["netD"] == "pixel":
        return {"name": "pixelgan", **spec}
    return {"name": "patchgan", **spec, "n_layers": int(options["n_layers_D"]) if options["netD"] == "n_layers" else 3}


def _schedule(options: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    n_epochs, n_decay, policy = int(options["n_epochs"]), int(options["n_epochs_decay"]), options["lr_policy"]
    linear = {"name": "linear", "n_epochs": n_epochs, "n_epochs_decay": n_decay}
    if policy == "linear":
        return linear, []
    if policy == "cosine":
        remark = f"lr_policy = cosine ends after n_epochs = {n_epochs} epochs, where theirs begins to rise again"
        return {"name": "cosine", "n_epochs": 0, "n_epochs_decay": n_epochs}, [remark]
    return linear, [
        f"lr_policy = {policy} counts epochs, ours counts steps: linear stands instead; see `i2i list schedule`"
    ]


def _domains(name: str) -> tuple[str, str]:
    """(`horse`, `zebra`) of `horse2zebra`, else (`a`, `b`)."""
    found = re.fullmatch(r"([^\W\d]+)2([^\W\d]+)(?:_pretrained)?", name)
    return (found[1], found[2]) if found and found[1] != found[2] else ("a", "b")


def _remarks_on(*networks: Network) -> list[str]:
    if not any(network.dropout for network in networks):
        return []
    return ["was trained with dropout, which is not active at inference; training on goes without it"]
