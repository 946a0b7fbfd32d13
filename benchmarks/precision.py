"""Whether a training in bf16 ends elsewhere than one in float32: the same CycleGAN with both, on the embedded emoji.

    python benchmarks/precision.py

Trainings are paired by their seeds: same first weights, same images in the same order. Compared are metrics of held-out
images, judged in float32, and what each loss was on average. Runs, which `i2i report` and `i2i translate` take as any
others, stay in `--out`; so does `results.json`.
"""

from collections.abc import Iterator
from dataclasses import replace

import emoji
import numpy as np
from machine import machine

from i2i import layers
from i2i.comparing.trained import Trained
from i2i.intervals import Estimate, difference, mean_over_seeds
from i2i.run import Run
from i2i.watch.metrics_file import read

PRECISIONS = ("fp32", "bf16")
METRICS = ["kid", "l1", "ssim"]


def recipe(precision: str, n_steps: int, width: int, n_blocks: int) -> layers.Document:
    settings = [f"train.precision={precision}", f"generator.n_blocks={n_blocks}", "train.log_every=2"]
    return emoji.document("cyclegan", settings, n_steps, width, METRICS)


def with_losses(training: Trained) -> Trained:
    """With the mean of each loss over all that was logged, by its name in the log. Images have no part in it."""
    logs = [log["loss"] for log in read(Run(training.run).metrics)]
    means = {f"loss.{n}": Estimate(float(np.mean([log[n] for log in logs])), 0, np.empty(0)) for n in logs[0]}
    return replace(training, estimates={**training.estimates, **means})


def rows(trainings: emoji.Trainings) -> Iterator[list[str]]:
    """One for each metric of each direction and each loss, of the seeds that came to their end with both."""
    seeds = set.intersection(*({t.seed for t in trainings.get(p, ())} for p in PRECISIONS))
    fp32, bf16 = ([t for t in trainings.get(p, ()) if t.seed in seeds] for p in PRECISIONS)
    for name in fp32[0].estimates if seeds else ():
        before, after = ([t.estimates[name] for t in runs] for runs in (fp32, bf16))
        found = difference(before, after)
        yield [
            name.replace("_efficientnet_lite0", "").replace("_", " "),
            *(f"{mean_over_seeds(estimates).value:.4f}" for estimates in (before, after)),
            f"{np.std([e.value for e in before], ddof=1):.4f}" if len(seeds) > 1 else "",
            f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]",
            "yes" if found.real else "not shown",
        ]


def main() -> None:
    options = emoji.arguments(__doc__, PRECISIONS, "benchmark-precision", steps=600, seeds=3, width=16, blocks=6)
    about = machine(cpu_time=False)
    recipes = {p: recipe(p, options.steps, options.width, options.blocks) for p in options.only}
    trainings = {p: [with_losses(t) for t in runs] for p, runs in emoji.trained(recipes, options).items()}
    emoji.write(options, about, trainings)
    heads = ["estimate", *PRECISIONS, "deviation between seeds of fp32", "bf16 less fp32 [95 %]", "do they differ"]
    print(emoji.table(heads, rows(trainings)))


if __name__ == "__main__":
    main()
