"""Every option of the authors' code, and what stands for it in i2i. `docs/migrating.md` shows this table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from i2i.errors import I2IError, Problem


@dataclass(frozen=True, slots=True)
class Flag:
    """What one of the authors' options became.

    Args:
        default: theirs, as `train_opt.txt` writes it.
        becomes: recipe keys or commands; empty if there is no equivalent.
        note: how it differs, or why there is none.
    """

    default: str
    becomes: tuple[str, ...] = ()
    note: str = ""


_VISDOM = "there is no server to configure: metrics, samples and report are files in the run's folder"

FLAGS = {
    # options/base_options.py
    "dataroot": Flag("", ("data.source.path",), "of the source `root`; `folders` takes any two folders"),
    "name": Flag("experiment_name", ("i2i train --out",), "the run's folder"),
    "gpu_ids": Flag("0", ("train.device",), "`-1` is `cpu`; one process uses one device"),
    "checkpoints_dir": Flag("./checkpoints", ("i2i train --out",), "`runs/` by default"),
    "model": Flag("cycle_gan", ("method.name",), "`cycle_gan` is `cyclegan`; `pix2pix` and `cut` keep their names"),
    "input_nc": Flag("3", ("data.channels",), "one number, or one for each domain"),
    "output_nc": Flag("3", ("data.channels",), "one number, or one for each domain"),
    "ngf": Flag("64", ("generator.base_channels",)),
    "ndf": Flag("64", ("discriminator.base_channels",)),
    "netD": Flag("basic", ("discriminator.name",), "`basic` and `n_layers` are `patchgan`, `pixel` is `pixelgan`"),
    "netG": Flag(
        "resnet_9blocks",
        ("generator.name", "generator.n_blocks", "generator.depth"),
        "`resnet_6blocks` is `n_blocks = 6`, `unet_256` is `unet` with `depth = 8`, `unet_128` with 7",
    ),
    "n_layers_D": Flag("3", ("discriminator.n_layers",)),
    "norm": Flag("instance", ("generator.norm", "discriminator.norm"), "each network has its own"),
    "init_type": Flag("normal", ("generator.initialization.name", "discriminator.initialization.name")),
    "init_gain": Flag(
        "0.02",
        ("generator.initialization.std", "discriminator.initialization.std"),
        "`std` of `normal`, `gain` of `xavier` and `orthogonal`; `kaiming` has none",
    ),
    "no_dropout": Flag(
        "True", ("generator.dropout",), "of `unet`, 0 or 0.5; ResNets have none, as by default in CycleGAN"
    ),
    "dataset_mode": Flag(
        "unaligned", ("data.source.name",), "`unaligned` is `root` or `folders`, `aligned` is `side_by_side`"
    ),
    "direction": Flag(
        "AtoB",
        ("i2i translate --to", "data.source.left"),
        'CycleGAN learns both; `BtoA` swaps the folders, or with `left = "b"` the halves of `side_by_side`',
    ),
    "serial_batches": Flag("False", (), "the order is random, and the same for the same seed"),
    "num_threads": Flag("4", ("data.n_workers",), "chosen by default"),
    "batch_size": Flag("1", ("data.batch_size",)),
    "load_size": Flag("286", ("data.load_size",)),
    "crop_size": Flag("256", ("data.crop_size",)),
    "max_dataset_size": Flag("inf", (), "put the images to use into a folder of their own"),
    "preprocess": Flag(
        "resize_and_crop", ("data.preprocess",), "the same names; without a crop, sides become multiples of 4"
    ),
    "no_flip": Flag("False", ("data.flip",), "the opposite of it"),
    "display_winsize": Flag("256", (), "samples have the size of the crop"),
    "epoch": Flag("latest", ("i2i translate --checkpoint", "i2i import --epoch"), "a step in place of an epoch"),
    "load_iter": Flag("0", ("i2i translate --checkpoint",)),
    "verbose": Flag("False", ("i2i check",), "builds what a recipe names and prints it"),
    "suffix": Flag("", (), "write the run's name out; a name that is taken gets a number"),
    "use_wandb": Flag("False", (), 'a watcher, `[[watch]] name = "wandb"`'),
    "wandb_project_name": Flag("CycleGAN-and-pix2pix", (), "`project` of that watcher"),
    # options/train_options.py
    "display_freq": Flag("400", (), _VISDOM),
    "display_ncols": Flag("4", (), _VISDOM),
    "display_id": Flag("1", (), _VISDOM),
    "display_server": Flag("http://localhost", (), _VISDOM),
    "display_env": Flag("main", (), _VISDOM),
    "display_port": Flag("8097", (), _VISDOM),
    "update_html_freq": Flag("1000", ("train.sample_every",), "in steps, where theirs counts images"),
    "print_freq": Flag("100", ("train.log_every",), "in steps, where theirs counts images"),
    "no_html": Flag("False", (), "`report.html` is always written; nothing depends on it"),
    "save_latest_freq": Flag("5000", ("train.save_every",), "in steps, where theirs counts images"),
    "save_epoch_freq": Flag("5", ("train.keep_checkpoints",), "how many of those that `save_every` writes stay"),
    "save_by_iter": Flag("False", (), "checkpoints are always named by their step"),
    "continue_train": Flag("False", ("i2i train --resume",), "continues exactly: optimizers, pools, order of images"),
    "epoch_count": Flag("1", ("i2i train --resume",), "the checkpoint knows its step"),
    "phase": Flag(
        "train", ("data.source.a", "data.source.b"), "of the source `folders`, for other names than `trainA`"
    ),
    "n_epochs": Flag("100", ("schedule.n_epochs",), "or `n_steps`"),
    "n_epochs_decay": Flag("100", ("schedule.n_epochs_decay",), "or `n_steps_decay`"),
    "beta1": Flag("0.5", ("optim.betas",), "the first of two"),
    "lr": Flag("0.0002", ("optim.lr",)),
    "gan_mode": Flag(
        "lsgan",
        ("adversarial.name",),
        "`lsgan`, `vanilla`; `wgangp` is `gradient_penalty` around `wasserstein`, which theirs never applies",
    ),
    "pool_size": Flag(
        "50", ("pool.size",), "of `cyclegan`; `pix2pix` and `cut` show the newest fakes, as theirs by default"
    ),
    "lr_policy": Flag("linear", ("schedule.name",), "`linear`, `step`, `plateau` or `cosine`; counted in steps"),
    "lr_decay_iters": Flag("50", ("schedule.every",), "of `step`, in steps, where theirs counts epochs"),
    # options/test_options.py
    "results_dir": Flag("./results/", ("i2i translate --out",)),
    "aspect_ratio": Flag("1.0", (), "images keep their shape"),
    "eval": Flag("False", (), "translation always uses evaluation mode"),
    "num_test": Flag("50", (), "every image of the folder is translated"),
    # models/cycle_gan_model.py, test_model.py, pix2pix_model.py, template_model.py, data/template_dataset.py
    "lambda_A": Flag("10.0", ("method.lambda_cycle",), "one number, or one for each direction"),
    "lambda_B": Flag("10.0", ("method.lambda_cycle",), "one number, or one for each direction"),
    "lambda_identity": Flag("0.5", ("method.lambda_identity",)),
    "model_suffix": Flag("", ("i2i import",), "takes the file of one network"),
    "lambda_L1": Flag("100.0", ("method.lambda_l1",), "of `pix2pix`"),
    "lambda_regression": Flag("1.0", (), "of a template; a method plugin has options of its own"),
    # contrastive-unpaired-translation: options/*.py, models/cut_model.py, models/stylegan_networks.py
    "CUT_mode": Flag("CUT", ("method.name",), "sets `nce_idt`, `lambda_NCE` and `flip_equivariance`, which decide"),
    "lambda_GAN": Flag("1.0", ("method.lambda_gan",), "of `cut`"),
    "lambda_NCE": Flag("1.0", ("method.lambda_nce", "method.lambda_identity"), "of `cut`: one for each contrast"),
    "nce_idt": Flag("True", ("method.lambda_identity",), "`False` is 0"),
    "nce_layers": Flag("0,4,8,12,16", ("method.taps",)),
    "nce_includes_all_negatives_from_minibatch": Flag("False", (), "only `sincut` does this"),
    "netF": Flag("mlp_sample", ("projector.name",), "`patch_projector`; the other two have no equivalent"),
    "netF_nc": Flag("256", ("method.n_features",)),
    "nce_T": Flag("0.07", ("nce.temperature",)),
    "num_patches": Flag("256", ("method.n_patches",)),
    "flip_equivariance": Flag("False", ("method.name",), "`fastcut`"),
    "normG": Flag("instance", ("generator.norm",)),
    "normD": Flag("instance", ("discriminator.norm",)),
    "no_antialias": Flag(
        "False", ("generator.name", "discriminator.name"), "with `no_antialias_up`: `resnet`, `patchgan`"
    ),
    "no_antialias_up": Flag("False", ("generator.name",), "only together with `no_antialias`"),
    "beta2": Flag("0.999", ("optim.betas",), "the second of two"),
    "easy_label": Flag("experiment_name", (), "a run is called by its folder"),
    "evaluation_freq": Flag("5000", ("train.sample_every",), "held-out pairs are scored with each sample grid"),
    "pretrained_name": Flag("None", ("i2i import",), "takes the folder to begin from"),
    "random_scale_max": Flag("3.0", (), "of single images, which are only cropped here"),
    "stylegan2_G_num_downsampling": Flag("1", (), "i2i has no StyleGAN2"),
    "lambda_R1": Flag("1.0", ("adversarial.weight",), "of `r1`, which `recipes/sincut.toml` takes"),
    "new_dataset_option": Flag("1.0", (), "of a template; a source plugin has options of its own"),
}

RENAMED = {
    "batchSize": "batch_size",
    "loadSize": "load_size",
    "fineSize": "crop_size",
    "which_model_netG": "netG",
    "which_model_netD": "netD",
    "which_direction": "direction",
    "which_epoch": "epoch",
    "nThreads": "num_threads",
    "resize_or_crop": "preprocess",
    "niter": "n_epochs",
    "niter_decay": "n_epochs_decay",
    "identity": "lambda_identity",
    "how_many": "num_test",
    "ntest": "max_dataset_size",
    "display_single_pane_ncols": "display_ncols",
}
"""Names of versions before 2020, and what the authors call them now; `no_lsgan` was `gan_mode = vanilla`."""


def read_options(path: Path) -> dict[str, str]:
    """The options of `train_opt.txt` (or `opt.txt`) by their newest names, as text, with defaults for what it lacks.

    Options that are not the authors' stay in. Raises I2IError for another file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise I2IError(Problem(str(path), f"cannot be read: {error}")) from None
    lines = re.findall(r"^ *(\w+): (.*?) *(?:\t\[default: .*\])?$", text, re.MULTILINE)
    if not lines or "-- Options --" not in text:
        raise I2IError(Problem(str(path), "is no list of options of the CycleGAN authors' train.py"))
    found = dict(lines)
    found.pop("isTrain", None)
    if found.pop("no_lsgan", "False") == "True":
        found["gan_mode"] = "vanilla"
    found = {RENAMED.get(name, name): value for name, value in found.items()}
    if found.get("lr_policy") == "lambda":
        found["lr_policy"] = "linear"
    if found.get("model") == "pix2pix" and "lambda_A" in found:  # before it had a name of its own
        found.setdefault("lambda_L1", found["lambda_A"])
    return {name: flag.default for name, flag in FLAGS.items()} | found
