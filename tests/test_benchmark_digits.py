"""The digits benchmark on digits that the test draws: one geometry, labels of the source alone, and its table."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch.nn import functional as F
from typer.testing import CliRunner

from i2i.cli import app

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
POINTS = {  # in a box of 1 x 1
    0: [(0, 0), (0, 1), (0.6, 1), (0.6, 0), (0, 0)],
    1: [(0, 0), (0, 1)],
    4: [(0, 0), (0, 0.5), (0.7, 0.5), (0.7, 0), (0.7, 1)],
    7: [(0, 0), (0.8, 0), (0.3, 1)],
}


@pytest.fixture
def modules(monkeypatch):
    """`digits` and `digit_images`, imported as the script imports its neighbours."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import digit_images
    import digits

    return digits, digit_images


def drawn(label: int, size: int, box: float, corner: tuple[float, float], width: int = 2) -> np.ndarray:
    """A digit of strokes, in a box of `box` px whose upper left is at `corner`."""
    image = Image.new("L", (size * 8, size * 8))
    line = [((x * box + corner[0]) * 8, (y * box + corner[1]) * 8) for x, y in POINTS[label]]
    ImageDraw.Draw(image).line(line, fill=255, width=width * 8)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def write_sets(folder: Path, seed: int = 0, shuffle: str = "") -> Path:
    """Both files, of few digits; of one set's labels may be shuffled."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for name, size, box in (("mnist", 28, 18), ("usps", 16, 13)):
        arrays = {}
        for split, n in (("train", 40), ("test", 12)):
            labels = rng.choice(list(POINTS), n)
            moved = rng.uniform(1, size - box - 1, (n, 2))
            arrays[f"x_{split}"] = np.stack([drawn(k, size, box, tuple(m)) for k, m in zip(labels, moved, strict=True)])
            arrays[f"y_{split}"] = np.random.default_rng(1).permutation(labels) if name == shuffle else labels
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


def script(digits, monkeypatch, folder: Path, out: Path, *options: str) -> None:
    """The benchmark at its smallest; its trainings run in this process, which is sooner."""

    def run(command, check):
        assert command[:3] == [sys.executable, "-m", "i2i"] and check
        result = CliRunner().invoke(app, command[3:], catch_exceptions=False)
        assert result.exit_code == 0, result.output

    monkeypatch.setattr(digits, "subprocess", SimpleNamespace(run=run))
    small = ["--seeds", "1", "--gan-steps", "2", "--steps", "6"]
    monkeypatch.setattr(sys, "argv", ["digits.py", "--digits", str(folder), "--out", str(out), *small, *options])
    digits.main()


def accuracies(line: str) -> list[float]:
    return [row["accuracy"] for row in json.loads(line)["rows"]]


@pytest.mark.parametrize(("size", "box", "corner"), [(16, 12, (2, 1)), (28, 20, (3.5, 4)), (28, 14, (9, 2))])
def test_every_digit_is_20_px_tall_around_its_centre_of_mass(modules, size, box, corner):
    images = np.stack([drawn(label, size, box, corner) for label in POINTS])
    result = modules[1].matched(images).double()
    assert result.shape == (len(POINTS), 28, 28)
    places = torch.arange(28) - 13.5
    for image in result:
        assert abs((image.sum(1) * places).sum() / image.sum()) < 0.25  # px, off the centre
        assert abs((image.sum(0) * places).sum() / image.sum()) < 0.25
        rows = (image.amax(1) >= 64).nonzero()
        assert abs(int(rows[-1] - rows[0]) + 1 - 20) <= 1


def test_a_digit_that_fits_already_stays_as_it_is(modules):
    """A block of 20 x 20 px in the middle of 28 x 28."""
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 4:24, 4:24] = 200
    assert (modules[1].matched(images).numpy() == images).all()


def test_stretched_keeps_every_place(modules):
    images = np.zeros((1, 14, 14), np.uint8)
    images[0, 3:6, 8:13] = 255
    assert modules[1].stretched(images)[0, 7:11, 17:25].float().mean() > 240
    mnist = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    assert (modules[1].stretched(mnist).numpy() == mnist).all()


def test_an_affine_change_stays_within_its_limits(modules):
    """A dot moves by a matrix that is rotation, scales and shear, as the formula says."""
    generator = torch.Generator().manual_seed(0)
    images = torch.full((500, 1, 28, 28), -1.0)
    images[:, :, 13:15, 13:15] = 1
    changed = modules[1].affine(images, generator) + 1
    places = torch.arange(28) - 13.5
    x = (changed.sum((1, 2)) * places).sum(1) / changed.sum((1, 2, 3))
    y = (changed.sum((1, 3)) * places).sum(1) / changed.sum((1, 2, 3))
    far = 0.08 * 14 * math.exp(0.15) * (1 + 0.3) * math.sqrt(2)  # the change goes from the result back
    assert x.abs().max() < far + 0.1 and y.abs().max() < far + 0.1
    assert x.std() > 0.3 and y.std() > 0.3 and abs(x.mean()) < 0.1 and abs(y.mean()) < 0.1
    assert changed.min() >= 0 and changed.max() <= 2 + 1e-5


def test_a_classifier_learns_and_a_seed_says_all(modules):
    digits, images = modules
    rng = np.random.default_rng(1)
    labels = torch.from_numpy(rng.choice(list(POINTS), 64))
    drawings = images.matched(np.stack([drawn(int(k), 28, 18, tuple(rng.uniform(1, 9, 2))) for k in labels]))
    state = torch.get_rng_state()
    net, again = (digits.learn((drawings, labels), n_steps=60, seed=3) for _ in range(2))
    assert (torch.get_rng_state() == state).all()
    assert all((p == q).all() for p, q in zip(net.parameters(), again.parameters(), strict=True))
    assert digits.accuracy(net, (drawings, labels)) > 90
    torch.testing.assert_close(
        digits.predict(net, drawings), F.softmax(net(drawings[:, None].float() / 127.5 - 1), 1).detach()
    )


def test_self_training_takes_what_the_first_classifier_is_sure_of(modules, monkeypatch):
    digits, _ = modules
    target, seen = torch.arange(3).repeat_interleave(4).reshape(3, 2, 2).byte(), []
    chances = torch.tensor([[0.96, 0.04], [0.5, 0.5], [0.01, 0.99]])
    monkeypatch.setattr(digits, "predict", lambda net, images: chances)
    monkeypatch.setattr(digits, "learn", lambda *sets, **options: seen.extend(sets))
    digits.self_train(None, ("images", "labels"), target, n_steps=1, seed=0)
    assert seen[0] == ("images", "labels")
    assert seen[1][0].tolist() == target[[0, 2]].tolist() and seen[1][1].tolist() == [0, 1]


def test_half_of_the_interval_is_students(modules):
    records = [{"row": "CyCADA", "source": "mnist", "accuracy": a, "cpu_seconds": 20} for a in (95.0, 96.0, 97.0)]
    (line,) = (line for line in modules[0].table(records) if line.startswith("| CyCADA |"))
    assert line == f"| CyCADA | 96.00 ± {4.302653 / math.sqrt(3):.2f} |  | 1.0 |"  # t of 2 degrees of freedom at 0.975


def test_from_the_files_to_the_table_and_on_after_an_interruption(modules, monkeypatch, tmp_path, capsys):
    digits, _ = modules
    sets, out = write_sets(tmp_path / "sets"), tmp_path / "out"
    script(digits, monkeypatch, sets, out)
    told = capsys.readouterr().out
    written = json.loads((out / "digits.json").read_text())
    rows = [row for stage in written["stages"] for row in stage["rows"]]
    assert len(rows) == 12 == len({(row["row"], row["source"]) for row in rows})
    assert all(f"| {row['row']} |" in told for row in rows)
    assert all(0 <= row["accuracy"] <= 100 for row in rows) and sum(row["cpu_seconds"] for row in rows) > 0

    lines = (out / "results.jsonl").read_text().splitlines()
    (out / "results.jsonl").write_text("\n".join(lines[:-1]) + "\n")  # the run is there, its classifiers are not
    script(digits, monkeypatch, sets, out)
    again = (out / "results.jsonl").read_text().splitlines()
    assert [accuracies(line) for line in again] == [accuracies(line) for line in lines]
    assert sorted(path.name for path in (out / "runs").iterdir()) == [
        "cycada-mnist-usps-0",
        "cycada-usps-mnist-0",
        "cyclegan-mnist-usps-0",
    ]

    with pytest.raises(SystemExit):
        script(digits, monkeypatch, sets, out, "--geometry", "stretched")
    assert "take another --out" in capsys.readouterr().err


def test_labels_of_the_target_steer_nothing(modules, monkeypatch, tmp_path):
    """What is learned for MNIST to USPS predicts the same bits after the labels of USPS were shuffled."""
    digits, _ = modules
    outcomes = []
    for shuffle in ("", "usps"):
        seen = []
        monkeypatch.setattr(
            digits, "accuracy", lambda net, test, seen=seen: seen.append(digits.predict(net, test[0])) or 0
        )
        out = tmp_path / f"out-{shuffle}"
        script(digits, monkeypatch, write_sets(tmp_path / f"sets-{shuffle}", shuffle=shuffle), out)
        stages = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
        rows = [(row["row"], row["source"]) for stage in stages for row in stage["rows"]]
        outcomes.append(dict(zip(rows, seen, strict=True)))
    before, after = outcomes
    assert len(before) == 12
    for (row, source), predictions in before.items():
        learned_from_usps = source == ("mnist" if row == "target only" else "usps")
        assert torch.equal(predictions, after[row, source]) != learned_from_usps, (row, source)
