"""A recipe that trains in seconds, on images that it makes itself."""

from pathlib import Path

import numpy as np
from PIL import Image

from i2i.loop import Loop
from i2i.recipe import Recipe, resolve
from i2i.run import Run
from i2i.training import Training


def write_images(folder: Path, n: int, size=(16, 16), seed=0) -> Path:
    """n RGB images of noise, as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, n])
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def document(folder: Path, **tables) -> dict:
    """A CycleGAN of a few thousand parameters on 16 px images under `folder`; `tables` replace or add."""
    a, b = write_images(folder / "a", 5), write_images(folder / "b", 7, seed=1)
    return {
        "method": {"name": "cyclegan"},
        "generator": {"base_channels": 2, "n_blocks": 1},
        "discriminator": {"base_channels": 2, "n_layers": 1},
        "pool": {"size": 3},
        "data": {"source": {"name": "folders", "a": str(a), "b": str(b)}, "load_size": 18, "crop_size": 16},
        "schedule": {"n_steps": 2, "n_steps_decay": 2},
        "train": {"device": "cpu", "precision": "fp32", "log_every": 1, "sample_every": 100, "save_every": 100},
        **tables,
    }


def recipe(folder: Path, engine, **tables) -> Recipe:
    return resolve(document(folder, **tables), engine.registry, list(engine.plugins))


def loop(found: Recipe, run: Run, engine, watchers=(), tell=print) -> Loop:
    return Loop(Training.build(found), run, list(watchers), engine, tell)
