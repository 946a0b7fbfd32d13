"""KID, L1 and SSIM of every method that translates, on the embedded emoji, after equally many steps.

    python benchmarks/methods.py

Each method has its shipped recipe with networks of `--width` channels and one image in a batch. `--steps 2000` takes
two hours of one core. Runs, which `i2i report` and `i2i translate` take as any others, stay in `--out`; so does
`results.json`.
"""

from collections.abc import Iterator, Sequence

import emoji
from machine import machine

from i2i import layers
from i2i.appraisal import appraise
from i2i.engine import Engine
from i2i.intervals import Estimate
from i2i.run import Run

METRICS = {"kid_efficientnet_lite0": "kid", "l1": "l1", "ssim": "ssim"}
"""By label, the registered names."""

METHODS = {
    "cyclegan": "cyclegan",
    "adversarial_cycle": "cyclegan-adversarial-cycle",
    "unit": "unit",
    "cycada": "cycada",
    "cut": "cut",
    "fastcut": "fastcut",
    "pix2pix": "pix2pix",
    "style_transfer": "style-transfer",
    "colorization": "colorization",
}
"""By name, their recipes: first those that learn both directions without pairs, last those that are made for others."""

NOTES = {
    "cycada": "has the labels of flat emoji too",
    "pix2pix": "learns from pairs: from four fifths of those that the others are judged on, and is judged on the rest",
    "style_transfer": "takes over the texture of a domain, not its drawings",
    "colorization": "starts from the flat drawing in grey",
}
LEFT_OUT = {
    "sincut": "learns one image of each domain; there is no set to judge",
    "gan": "makes images from nothing",
    "cogan": "makes images from nothing",
}


def recipes(names: Sequence[str], n_steps: int, width: int) -> dict[str, layers.Document]:
    own = {"unit": [f"method.code_channels={4 * width}"]}  # as many as its encoder has at its end
    return {
        name: emoji.document(METHODS[name], own.get(name, []), n_steps, width, [*METRICS.values()]) for name in names
    }


def rows(trainings: emoji.Trainings, untouched: dict[str, Estimate], floor: dict[str, Estimate]) -> Iterator[list[str]]:
    """A row for each method, of both directions; then what changing nothing scores, and what real images score."""
    names = [f"{label}_{direction}" for direction in ("ab", "ba") for label in METRICS]
    for method, runs in trainings.items():
        found = [emoji.mean(runs, name) for name in names]
        cells = [f"{d.value:.3f} [{d.low:.3f}, {d.high:.3f}]" if d else "" for d in found]
        yield [f"`{method}`", *cells]
    for what, estimates in (("untouched input", untouched), ("real images", floor)):
        yield [what, *(f"{estimates[name].value:.3f}" if name in estimates else "" for name in names)]


def main() -> None:
    options = emoji.arguments(__doc__, list(METHODS), "benchmark-methods", steps=500, seeds=3, width=16)
    about = machine(cpu_time=False)
    trainings = emoji.trained(recipes(options.only, options.steps, options.width), options)
    emoji.write(options, about, trainings)
    first = next(iter(trainings.values()))[0]
    reference = appraise(Run(first.run), Engine(), metrics=[*METRICS.values()], device="cpu")
    heads = [f"{name.upper()} {direction}" for direction in ("flat → 3D", "3D → flat") for name in METRICS.values()]
    print(emoji.table(["method", *heads], rows(trainings, reference.untouched, reference.floor)))
    for method, note in {**{name: NOTES[name] for name in trainings if name in NOTES}, **LEFT_OUT}.items():
        print(f"{method}: {note}")


if __name__ == "__main__":
    main()
