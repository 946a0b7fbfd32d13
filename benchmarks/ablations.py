"""What the literature says of the parts of a CycleGAN, tried on the embedded emoji: shown, not shown, or the opposite.

    python benchmarks/ablations.py

The CycleGAN of the paper without its identity loss, with small networks, against the same one with one thing changed.
`--steps 2000 --width 32 --blocks 6` takes seven hours of one core. Runs, which `i2i report` and `i2i translate`
take as any others, stay in `--out`; so does `results.json`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import emoji
import numpy as np
from machine import machine

from i2i import layers
from i2i.comparing.trained import Trained
from i2i.intervals import Difference, Estimate, difference, mean_over_seeds
from i2i.run import Run
from i2i.watch.metrics_file import read

BASELINE = "baseline"
METRICS = ["kid", "diversity", "l1", "ssim", "cycle", "hidden_information", "colour_shift", "high_frequency"]
WINDOW = 25
"""Logs, of every second step, over which a loss is smoothed to tell its trend from its oscillation."""

VARIANTS: dict[str, list[str]] = {
    BASELINE: [],
    "no-cycle": ["method.lambda_cycle=0"],
    "forward-cycle": ["method.lambda_cycle=[10.0, 0.0]"],
    "backward-cycle": ["method.lambda_cycle=[0.0, 10.0]"],
    "identity": ["method.lambda_identity=0.5"],
    "batch-norm": ["generator.norm=batch"],
    "log-loss": ['adversarial={name="vanilla"}'],
    "no-pool": ['pool={name="none"}'],
    "patch-1": ['discriminator={name="pixelgan", norm="instance"}'],
    "patch-16": ["discriminator.n_layers=1"],
    "patch-70": ["discriminator.n_layers=3"],
    "unet": ['generator={name="unet", depth=6, norm="current_batch", dropout=0.0}'],
}
"""By name, what differs from the recipe cyclegan without identity loss. Its patches have 34 px. With four layers and
more, patches are wider than the image and padding is most of what they see."""

Expected = Literal["higher", "lower", "differs"]


@dataclass(frozen=True)
class Claim:
    """That a variant scores higher or lower than the baseline.

    Args:
        says: the claim, with where it stands.
        estimates: by metric and direction; each is a row.
    """

    says: str
    variant: str
    expected: Expected
    estimates: tuple[str, ...]

    def verdict(self, found: Difference) -> str:
        if not found.real:
            return "not shown"
        return "shown" if self.expected in ("differs", "higher" if found.value > 0 else "lower") else "opposite"


def both(metric: str) -> tuple[str, str]:
    return f"{metric}_ab", f"{metric}_ba"


KID = both("kid_efficientnet_lite0")
DIVERSITY = both("diversity_efficientnet_lite0")
CLAIMS = [
    Claim("without any cycle, outputs collapse (Zhu et al. 2017, 5.1.4)", "no-cycle", "lower", DIVERSITY),
    Claim("… and lose what is in the input (table 4)", "no-cycle", "higher", both("l1")),
    Claim("with the forward cycle alone, b → a collapses (5.1.4)", "forward-cycle", "lower", DIVERSITY[1:]),
    Claim("… and loses what is in the input", "forward-cycle", "higher", ("l1_ba",)),
    Claim("with the backward cycle alone, a → b collapses (5.1.4)", "backward-cycle", "lower", DIVERSITY[:1]),
    Claim("… and loses what is in the input", "backward-cycle", "higher", ("l1_ab",)),
    Claim("the identity loss keeps colours (5.2, figure 9)", "identity", "lower", both("colour_shift")),
    Claim("batch norm looks worse than instance norm (Ulyanov et al. 2016)", "batch-norm", "higher", KID),
    Claim("… and changes the high frequencies", "batch-norm", "differs", both("high_frequency")),
    Claim("the log loss looks worse than least squares (Mao et al. 2017)", "log-loss", "higher", KID),
    Claim("… and is less stable", "log-loss", "higher", both("oscillation")),
    Claim("without a pool, D oscillates more (Zhu et al. 2017, 4)", "no-pool", "higher", both("oscillation")),
    Claim("patches of 1 px leave blur (Isola et al. 2017, 4.4)", "patch-1", "lower", both("high_frequency")),
    Claim("… and look worse", "patch-1", "higher", KID),
    Claim("patches of 16 px look worse: they tile (4.4)", "patch-16", "higher", KID),
    Claim("patches that see the whole image look no better (4.4)", "patch-70", "higher", KID),
    Claim("a U-Net keeps what is where (Isola et al. 2017, 3.2.1)", "unet", "higher", both("ssim")),
    Claim("the ResNet of the paper looks better than a U-Net", "unet", "higher", KID),
]


def recipe(name: str, n_steps: int, width: int, n_blocks: int) -> layers.Document:
    settings = ["method.lambda_identity=0", f"generator.n_blocks={n_blocks}", "train.log_every=2", *VARIANTS[name]]
    widths = [f"generator.base_channels={width}", f"discriminator.base_channels={width}"]
    return emoji.document("cyclegan", settings + widths, n_steps, width, METRICS)


def oscillation(losses: list[float]) -> float:
    """Standard deviation of a loss about its running mean, over its mean: what is left without trend and scale."""
    values = np.array(losses)
    window = min(WINDOW, len(values))
    trend = np.convolve(values, np.ones(window) / window, mode="valid")
    start = (window - 1) // 2
    return float(np.std(values[start : start + len(trend)] - trend) / values.mean())


def with_oscillation(training: Trained) -> Trained:
    """With `oscillation` of the loss of the discriminator that judges each direction. Images have no part in it."""
    logs = read(Run(training.run).metrics)
    found = {
        f"oscillation_{direction}": Estimate(oscillation([log["loss"][d] for log in logs]), 0, np.empty(0))
        for direction, d in (("ab", "D_b"), ("ba", "D_a"))
    }
    return replace(training, estimates={**training.estimates, **found})


def rows(trainings: emoji.Trainings) -> Iterator[list[str]]:
    """One for each claim and direction of which there are trainings."""
    for claim in CLAIMS:
        if claim.variant not in trainings or BASELINE not in trainings:
            continue
        seeds = {t.seed for t in trainings[claim.variant]} & {t.seed for t in trainings[BASELINE]}
        first, other = ([t for t in trainings[v] if t.seed in seeds] for v in (BASELINE, claim.variant))
        for i, name in enumerate(claim.estimates):
            before, after = ([t.estimates[name] for t in runs] for runs in (first, other))
            found = difference(before, after)
            yield [
                "" if i else claim.says,
                name.replace("_efficientnet_lite0", "").replace("_", " "),
                f"{mean_over_seeds(before).value:.3f}",
                f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]",
                claim.expected,
                claim.verdict(found),
            ]


def main() -> None:
    options = emoji.arguments(__doc__, list(VARIANTS), "benchmark-ablations", steps=600, seeds=3, width=8, blocks=3)
    about = machine(cpu_time=False)
    recipes = {name: recipe(name, options.steps, options.width, options.blocks) for name in options.only}
    trainings = {n: [with_oscillation(t) for t in runs] for n, runs in emoji.trained(recipes, options).items()}
    emoji.write(options, about, trainings)
    print(emoji.table(["claim", "measure", "baseline", "difference [95 %]", "expected", "verdict"], rows(trainings)))


if __name__ == "__main__":
    main()
