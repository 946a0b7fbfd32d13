"""MNIST to USPS and back: a LeNet learns from translated digits of one set and reads the digits of the other.

    python benchmarks/digits.py --digits DIR

DIR has `mnist.npz` and `usps.npz`, each with `x_train`, `y_train`, `x_test` and `y_test`: images (N, H, W) of uint8,
ink bright, and labels from 0 to 9. Labels of the target are used for nothing but the accuracy on its test set. What is
done stands in `results.jsonl` in the folder of `--out`; the same command goes on after an interruption.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from digit_images import GEOMETRIES, SIZE, Digits, Labelled, affine
from machine import machine
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

import i2i
from i2i.checkpoint import steps
from i2i.run import Run
from i2i_plugins.classifiers import LeNet
from i2i_plugins.initializations import Kaiming

DIRECTIONS = (("mnist", "usps"), ("usps", "mnist"))
PUBLISHED = {"mnist": "95.6 ± 0.2", "usps": "96.5 ± 0.1"}
"""CyCADA's table 2 (Hoffman et al. 2018), by source."""

ROWS = ("source only", "CycleGAN", "CyCADA", "source only, self-trained", "CyCADA, self-trained", "target only")
SURE = 0.95
"""The probability from which a prediction on an unlabelled digit is taken for its label by self-training."""

BATCH = 64


def as_input(images: Tensor) -> Tensor:
    """(N, H, W) of uint8 to (N, 1, H, W) in [-1, 1]."""
    return images[:, None].float() / 127.5 - 1


def learn(*sets: Labelled, n_steps: int, seed: int) -> nn.Module:
    """A LeNet that has learned sets of labelled digits, each as large a part of every batch.

    Adam with decoupled weight decay, the rate a cosine from 0.001 to zero, and random affine changes of all images.
    """
    sets = tuple(digits for digits in sets if len(digits[1]))  # self-training may be sure of nothing
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = LeNet(1, 10, initialization=Kaiming).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(n_steps):
        picks = [torch.randint(len(labels), (BATCH // len(sets),), generator=generator) for _, labels in sets]
        images = torch.cat([images[pick] for (images, _), pick in zip(sets, picks, strict=True)])
        labels = torch.cat([labels[pick] for (_, labels), pick in zip(sets, picks, strict=True)])
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(affine(as_input(images), generator))
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        schedule.step()
    return net


@torch.no_grad()
def predict(net: nn.Module, images: Tensor) -> Tensor:
    """Probabilities (N, 10)."""
    return torch.cat([net(as_input(part)).softmax(1) for part in images.split(1000)])


def accuracy(net: nn.Module, digits: Labelled) -> float:
    """In percent."""
    return 100 * (predict(net, digits[0]).argmax(1) == digits[1]).double().mean().item()


def self_train(net: nn.Module, source: Labelled, target: Tensor, **options: Any) -> nn.Module:
    """A new LeNet, of labelled digits and of those unlabelled ones that `net` is sure of, with its labels for them."""
    probability, label = predict(net, target).max(1)
    sure = probability >= SURE
    return learn(source, (target[sure], label[sure]), **options)


def recipe(method: str, source: str, target: str, folder: Path, n_steps: int, seed: int) -> dict[str, Any]:
    """What `i2i train` takes. CyCADA alone is given labels, those of the source."""
    digits = {"name": "arrays", "a": str(folder / f"{source}.npy"), "b": str(folder / f"{target}.npy")}
    document: dict[str, Any] = {
        "method": {"name": method, "lambda_identity": 0.0},
        "generator": {"name": "resnet", "base_channels": 8, "n_blocks": 3, "upsample": "nearest"},
        "discriminator": {"name": "patchgan", "base_channels": 16, "n_layers": 1},  # a score sees 16 px: strokes
        "data": {
            "source": digits,
            "load_size": SIZE,
            "crop_size": SIZE,
            "flip": False,
            "batch_size": 32,
            "names": [source, target],
        },
        "optim": {"name": "adam", "lr": 5e-4, "betas": [0.5, 0.999]},
        "schedule": {"n_steps": n_steps // 2, "n_steps_decay": n_steps - n_steps // 2},
        "train": {"seed": seed, "device": "cpu", "ema": 0.99, "sample_every": n_steps, "save_every": 200},
    }
    if method == "cycada":
        digits["label_a"] = str(folder / f"{source}-labels.npy")
        document["classifier"] = {"name": "lenet", "initialization": "kaiming"}
        document["optim"] |= {"source_classifier": {"lr": 1e-3}, "target_classifier": {"lr": 1e-3}}
    return document


def train(document: dict[str, Any], name: str, out: Path) -> Path:
    """The run of that name, trained to its end by `i2i train`, from where it stopped if it did."""
    run = Run(out / "runs" / name)
    done = steps(run.checkpoints)
    if not done or done[-1] < sum(document["schedule"].values()):
        path = out / f"{name}.json"
        path.write_text(json.dumps(document, indent=2), encoding="utf-8")
        if not done:
            shutil.rmtree(run.folder, ignore_errors=True)
        what = ["--resume", str(run.folder)] if done else [str(path), "--out", str(run.folder.parent)]
        subprocess.run([sys.executable, "-m", "i2i", "train", *what], check=True)
    return run.folder


def translate(run: Path, to: str, images: Tensor) -> Tensor:
    """Digits (N, H, W) of uint8, translated to a set's style."""
    model = i2i.load(run, to=to, device="cpu")
    return torch.cat([model.translate(part[:, None])[:, 0] for part in images.split(1000)])


class Benchmark:
    """All trainings of one seed; each stage yields rows (name, source, accuracy in percent)."""

    def __init__(self, sets: dict[str, Digits], out: Path, seed: int, n_steps: int, gan_steps: int) -> None:
        self.sets, self.out, self.seed, self.gan_steps = sets, out, seed, gan_steps
        self.options = {"n_steps": n_steps, "seed": seed}

    def stages(self) -> list[tuple[str, ...]]:
        """The arguments of `stage`."""
        adapt = [(kind, source, target) for kind in ("cyclegan", "cycada") for source, target in DIRECTIONS]
        return [*(("references", *direction) for direction in DIRECTIONS), *adapt]

    def stage(self, kind: str, source: str, target: str) -> Iterator[tuple[str, str, float]]:
        own, other = self.sets[source], self.sets[target]
        if kind == "references":
            net = learn(own.train, **self.options)
            yield "source only", source, accuracy(net, other.test)
            yield "target only", target, accuracy(net, own.test)
            net = self_train(net, own.train, other.train[0], **self.options)
            yield "source only, self-trained", source, accuracy(net, other.test)
            return
        # CycleGAN sees no labels: one training serves both directions.
        first, second = DIRECTIONS[0] if kind == "cyclegan" else (source, target)
        document = recipe(kind, first, second, self.out / "data", self.gan_steps, self.seed)
        run = train(document, f"{kind}-{first}-{second}-{self.seed}", self.out)
        translated = translate(run, target, own.train[0]), own.train[1]
        net = learn(translated, **self.options)
        yield "CycleGAN" if kind == "cyclegan" else "CyCADA", source, accuracy(net, other.test)
        if kind == "cycada":
            net = self_train(net, translated, other.train[0], **self.options)
            yield "CyCADA, self-trained", source, accuracy(net, other.test)


def cpu_seconds() -> float:
    """Processor time of this process and of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def table(records: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown: mean over seeds ± half of the 95 % interval of the mean, by Student's t; what each row took in all."""
    yield "| LeNet learned from | MNIST to USPS | USPS to MNIST | CPU minutes |"
    yield "| --- | ---: | ---: | ---: |"
    for name in ROWS:
        own = [record for record in records if record["row"] == name]
        cells = [interval([r["accuracy"] for r in own if r["source"] == source]) for source, _ in DIRECTIONS]
        yield f"| {name} | {' | '.join(cells)} | {sum(r['cpu_seconds'] for r in own) / 60:.1f} |"
    yield f"| in all | | | {sum(r['cpu_seconds'] for r in records) / 60:.1f} |"
    yield f"| CyCADA as published | {' | '.join(PUBLISHED[source] for source, _ in DIRECTIONS)} | |"


def interval(values: list[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.2f}" for value in values)
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.2f} ± {half:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=Path, required=True, metavar="DIR", help="of mnist.npz and usps.npz")
    parser.add_argument("--geometry", choices=GEOMETRIES, default="matched", help="stretched: USPS merely enlarged")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gan-steps", type=int, default=600, help="of each translator, batches of 32")
    parser.add_argument("--steps", type=int, default=2000, help=f"of each LeNet, batches of {BATCH}")
    parser.add_argument("--out", type=Path, default=Path("digits"), help="runs and results; to go on, the same")
    args = parser.parse_args()
    about = machine(cpu_time=False) | {"clock": "processor time"}
    settings = {"geometry": args.geometry, "steps": args.steps, "gan_steps": args.gan_steps}
    (args.out / "data").mkdir(parents=True, exist_ok=True)
    sets = {name: Digits.load(args.digits / f"{name}.npz", args.geometry) for name in ("mnist", "usps")}
    for name, digits in sets.items():
        np.save(args.out / "data" / f"{name}.npy", digits.train[0].numpy())
        np.save(args.out / "data" / f"{name}-labels.npy", digits.train[1].numpy())
    results = args.out / "results.jsonl"
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    stages = [json.loads(line) for line in lines]
    if any(stage["settings"] != settings for stage in stages):
        parser.error(f"{results} is of other settings, {stages[0]['settings']}; take another --out")
    done = {(stage["seed"], *stage["stage"]) for stage in stages}
    for seed in range(args.seeds):
        benchmark = Benchmark(sets, args.out, seed, args.steps, args.gan_steps)
        for stage in benchmark.stages():
            if (seed, *stage) in done:
                continue
            rows, since = [], cpu_seconds()
            for row, source, percent in benchmark.stage(*stage):
                now = cpu_seconds()
                rows.append({"row": row, "source": source, "accuracy": percent, "cpu_seconds": now - since})
                since = now
            stages.append({"settings": settings, "seed": seed, "stage": stage, "rows": rows})
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(stages[-1]) + "\n")
            used = sum(row["cpu_seconds"] for row in rows)
            print(f"seed {seed}, {', '.join(stage)}: {used / 60:.1f} CPU minutes", flush=True)
    print(*table([row for stage in stages for row in stage["rows"]]), sep="\n")
    written = json.dumps({**about, "stages": stages}, indent=2)
    (args.out / "digits.json").write_text(written + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
