"""A recipe from the options of the authors' `train.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from i2i.data.geometry import Preprocess
from i2i.errors import I2IError, Problem
from i2i.importer.flags import FLAGS
from i2i.importer.weights import Network

Options = Mapping[str, str]
Tables = dict[str, Any]


def recipe_of(options: Options, networks: Mapping[str, Network]) -> tuple[Tables, list[str]]:
    """A recipe from the authors' options, and a remark on each that is set and has no equivalent.

    Architectures are read from the networks where they are at hand. Raises I2IError for what i2i cannot do, and
    ValueError for a number that is none.
    """
    if options["model"] not in _METHODS:
        raise I2IError(Problem("model", f"{options['model']!r} has no equivalent; there is: {', '.join(_METHODS)}"))
    remarks: list[str] = []
    generator = next(network for network in networks.values() if network.kind == "generator")
    discriminator = next((dict(n.spec) for n in networks.values() if n.kind == "discriminator"), None)
    discriminator = discriminator or _discriminator(options)
    own = _METHODS[options["model"]](options, remarks)
    initialization = {"initialization": _initialization(options)}
    document = {
        **own,
        "generator": {**generator.spec, **_dropout(generator, options), **initialization},
        "discriminator": {**discriminator, **initialization},
        "adversarial": _adversarial(options, discriminator, remarks),
        "data": _data(options, generator.channels, remarks),
        "optim": {"lr": float(options["lr"]), "betas": [float(options["beta1"]), float(options["beta2"])]},
        "schedule": _schedule(options, remarks),
        "train": _train(options),
    }
    for name, value in options.items():
        flag = FLAGS.get(name)
        if flag is None or (not flag.becomes and value not in (flag.default, "None")):
            remarks.append(f"{name} = {value} is left out: {flag.note if flag else 'it is no option of the authors'}")
    return document, remarks


def _cyclegan(options: Options, remarks: list[str]) -> Tables:
    lambdas = [float(options["lambda_A"]), float(options["lambda_B"])]
    method = {
        "name": "cyclegan",
        "lambda_cycle": lambdas[0] if lambdas[0] == lambdas[1] else lambdas,
        "lambda_identity": float(options["lambda_identity"]),
    }
    return {"method": method, "pool": {"size": int(options["pool_size"])}}


def _pix2pix(options: Options, remarks: list[str]) -> Tables:
    remarks += _without_pool(options)
    return {"method": {"name": "pix2pix", "lambda_l1": float(options["lambda_L1"])}}


def _cut(options: Options, remarks: list[str]) -> Tables:
    if options["netF"] != "mlp_sample":
        raise I2IError(Problem("netF", f"{options['netF']!r} has no equivalent, only mlp_sample"))
    remarks += _without_pool(options)
    weight, identity = float(options["lambda_NCE"]), options["nce_idt"] == "True"
    method: Tables = {
        "lambda_gan": float(options["lambda_GAN"]),
        "lambda_nce": weight,
        "taps": [int(layer) for layer in options["nce_layers"].split(",")],
        "n_patches": int(options["num_patches"]),
        "n_features": int(options["netF_nc"]),
    }
    if options["flip_equivariance"] == "True" and not identity:
        method = {"name": "fastcut", **method}
    else:
        method = {"name": "cut", **method, "lambda_identity": weight if identity else 0.0}
        if options["flip_equivariance"] == "True":
            remarks.append("flip_equivariance = True is left out: fastcut has it, without the identity term")
    return {
        "method": method,
        "projector": {"name": "patch_projector", "initialization": _initialization(options)},
        "nce": {"name": "patch_nce", "temperature": float(options["nce_T"])},
    }


def _without_pool(options: Options) -> list[str]:
    size = options["pool_size"]
    return [] if size == "0" else [f"pool_size = {size} is left out: the discriminator sees the newest fakes"]


_METHODS: Mapping[str, Callable[[Options, list[str]], Tables]] = {
    "cycle_gan": _cyclegan,
    "pix2pix": _pix2pix,
    "cut": _cut,
}


def _dropout(generator: Network, options: Options) -> Tables:
    if generator.spec["name"] != "unet":
        return {}
    return {"dropout": 0.0 if options["no_dropout"] == "True" else 0.5}


def _discriminator(options: Options) -> Tables:
    norm = options["normD"] if options["model"] == "cut" else re.sub("^sync_?", "", options["norm"])
    spec: Tables = {"base_channels": int(options["ndf"]), "norm": norm}
    if options["netD"] == "pixel":
        return {"name": "pixelgan", **spec}
    blurred = options["model"] == "cut" and options["no_antialias"] != "True"
    n_layers = int(options["n_layers_D"]) if options["netD"] == "n_layers" else 3
    return {"name": "patchgan_antialiased" if blurred else "patchgan", **spec, "n_layers": n_layers}


def _adversarial(options: Options, discriminator: Tables, remarks: list[str]) -> str | Tables:
    mode = options["gan_mode"]
    if mode == "wgangp":
        if discriminator["norm"] == "batch":
            remarks.append("gan_mode = wgangp goes without its penalty, which batch normalization does not allow")
            return "wasserstein"
        remarks.append("gan_mode = wgangp is applied with its penalty, which theirs defines and never applies")
        return {"name": "gradient_penalty", "loss": "wasserstein"}
    known = {"lsgan": "lsgan", "vanilla": "vanilla", "nonsaturating": "vanilla"}
    if mode not in known:
        raise I2IError(Problem("gan_mode", f"{mode!r} has no equivalent; there is: {', '.join((*known, 'wgangp'))}"))
    return known[mode]


def _data(options: Options, channels: tuple[int, ...], remarks: list[str]) -> Tables:
    preprocess = options["preprocess"]
    if preprocess not in get_args(Preprocess):
        remarks.append(f"preprocess = {preprocess} has no equivalent: resize_and_crop stands instead")
        preprocess = "resize_and_crop"
    names = domains(Path(options["dataroot"]).name)
    data = {
        "source": _source(options),
        "preprocess": preprocess,
        "load_size": int(options["load_size"]),
        "crop_size": int(options["crop_size"]),
        "flip": options["no_flip"] != "True",
        "batch_size": int(options["batch_size"]),
        "channels": list(channels),
        "names": list(names[::-1] if options["direction"] == "BtoA" and names != ("a", "b") else names),
    }
    if options["num_threads"] != FLAGS["num_threads"].default:
        data["n_workers"] = int(options["num_threads"])
    return data


def _source(options: Options) -> Tables:
    root, phase, backwards = options["dataroot"], options["phase"], options["direction"] == "BtoA"
    if options["dataset_mode"] == "aligned":
        source = {"name": "side_by_side", "path": root if phase == "train" else f"{root}/{phase}"}
        return source | ({"left": "b"} if backwards else {})
    if not backwards and phase == "train":
        return {"name": "root", "path": root}
    a, b = ("B", "A") if backwards else ("A", "B")
    return {"name": "folders", "a": f"{root}/{phase}{a}", "b": f"{root}/{phase}{b}"}


def _initialization(options: Options) -> Tables:
    name, gain = options["init_type"], float(options["init_gain"])
    key = {"normal": "std", "xavier": "gain", "orthogonal": "gain"}.get(name)
    return {"name": name} | ({key: gain} if key else {})


def _schedule(options: Options, remarks: list[str]) -> Tables:
    n_epochs, n_decay, policy = int(options["n_epochs"]), int(options["n_epochs_decay"]), options["lr_policy"]
    if policy == "cosine":
        remarks.append(f"lr_policy = cosine ends after n_epochs = {n_epochs} epochs, where theirs begins to rise again")
        return {"name": "cosine", "n_epochs": 0, "n_epochs_decay": n_epochs}
    if policy != "linear":
        remarks.append(
            f"lr_policy = {policy} counts epochs, ours counts steps: linear stands instead; see `i2i list schedule`"
        )
    return {"name": "linear", "n_epochs": n_epochs, "n_epochs_decay": n_decay}


def _train(options: Options) -> Tables:
    train: Tables = {"device": "cpu"} if options["gpu_ids"] == "-1" else {}
    every = {"update_html_freq": "sample_every", "print_freq": "log_every", "save_latest_freq": "save_every"}
    for name, key in every.items():
        if options[name] != FLAGS[name].default:
            train[key] = max(1, int(options[name]) // int(options["batch_size"]))
    return train


def domains(name: str) -> tuple[str, str]:
    """(`horse`, `zebra`) of `horse2zebra`, else (`a`, `b`)."""
    found = re.fullmatch(r"([^\W\d]+)2([^\W\d]+)(?:_pretrained)?", name)
    return (found[1], found[2]) if found and found[1] != found[2] else ("a", "b")
