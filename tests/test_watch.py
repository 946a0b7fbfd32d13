"""What a run leaves behind and prints: metrics.jsonl, sample grids, the terminal."""

import io
import json
import re
from pathlib import Path

import pytest
import rich.console
import torch
from PIL import Image

from i2i.errors import I2IError
from i2i.watch import Running, Ticks, metrics_file
from i2i.watch.console import Console
from i2i.watch.metrics_file import MetricsFile
from i2i.watch.samples import BACKGROUND, BLOCK_GAP, GAP, LAYOUT, Samples, grid, to_pil
from i2i.watch.wording import Measure, directed, duration, measure, number, split, where

METRICS = {
    "epoch": 0.5,
    "seconds": 12.0,
    "images_per_second": 4.75,
    "loss.cycle_a": 1.5,
    "loss.D_b": 0.25,
    "score.D_b_real": 0.75,
    "score.D_b_fake": 0.125,
    "lr.generators": 2e-4,
}
TESTS = {"test.l1_ab": 0.057, "test.psnr_ab": 19.8}
BASELINE = {"test.l1_ab": 0.0605, "test.psnr_ab": 19.3}


def running(folder: Path, *, start: int = 0, n_steps: int = 100, names=("flat", "3d"), **environment) -> Running:
    return Running(folder, {"data": {"names": list(names)}}, environment, start, n_steps, 50.0, 1, names, BASELINE)


def images(n: int = 2) -> dict[str, torch.Tensor]:
    """(n, 3, 8, 8) of one level each: a is black, ab white."""
    return {"a": torch.full((n, 3, 8, 8), -1.0), "ab": torch.full((n, 3, 8, 8), 1.0)}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def console(**options) -> tuple[Console, io.StringIO, Clock]:
    out, clock = io.StringIO(), Clock()
    return Console(rich.console.Console(file=out, **options), clock=clock), out, clock


# metrics.jsonl


def test_a_log_is_one_line_with_the_prefixes_nested(tmp_path):
    watcher = MetricsFile()
    watcher.logged(running(tmp_path), 50, METRICS, {})
    watcher.logged(running(tmp_path), 100, {**METRICS, **TESTS}, {})
    assert (tmp_path / "metrics.jsonl").read_bytes().count(b"\n") == 2
    first, second = metrics_file.read(tmp_path / "metrics.jsonl")
    assert first == {
        "step": 50,
        "epoch": 0.5,
        "seconds": 12.0,
        "images_per_second": 4.75,
        "loss": {"cycle_a": 1.5, "D_b": 0.25},
        "score": {"D_b_real": 0.75, "D_b_fake": 0.125},
        "lr": {"generators": 2e-4},
    }
    assert second["test"] == {"l1_ab": 0.057, "psnr_ab": 19.8}
    assert second["untouched"] == {"l1_ab": 0.0605, "psnr_ab": 19.3}


def test_a_value_that_is_not_finite_is_null(tmp_path):
    MetricsFile().logged(running(tmp_path), 1, {"loss.cycle_a": float("nan")}, {})
    assert json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)["loss"] == {"cycle_a": None}


def test_cut_back_drops_later_logs_and_half_a_line(tmp_path):
    file = tmp_path / "metrics.jsonl"
    for step in (10, 20, 30):
        MetricsFile().logged(running(tmp_path), step, METRICS, {})
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"step": 15, "lo')
    assert [line["step"] for line in metrics_file.read(file)] == [10, 20, 30]
    metrics_file.cut_back(file, 20)
    assert file.read_bytes() == b"".join(whole.splitlines(keepends=True)[:2])
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    MetricsFile().logged(running(tmp_path), 25, METRICS, {})
    assert [line["step"] for line in metrics_file.read(file)] == [10, 20, 25]


def test_no_file_is_no_logs(tmp_path):
    assert metrics_file.read(tmp_path / "metrics.jsonl") == []
    metrics_file.cut_back(tmp_path / "metrics.jsonl", 5)
    assert not any(tmp_path.iterdir())


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(I2IError, match=r"line 2.*nonsense"):
        metrics_file.read(file)


# samples


def test_to_pil_rounds_and_clamps():
    levels = torch.tensor([-1.0, 1.0, 0.0, 2.0, -3.0, 2 * 100.4 / 255 - 1]).reshape(1, 2, 3)
    image = to_pil(levels)
    assert image.mode == "L" and image.size == (3, 2)
    assert list(image.tobytes()) == [0, 255, 128, 255, 0, 100]
    colour = to_pil(torch.stack([torch.full((4, 5), v) for v in (-1.0, 0.0, 1.0)]))
    assert colour.mode == "RGB" and colour.size == (5, 4) and colour.getpixel((4, 3)) == (0, 128, 255)
    many = torch.linspace(-1, 1, 7).reshape(7, 1, 1).expand(7, 4, 5)
    assert to_pil(many[:2]).mode == "L" and to_pil(many).getpixel((0, 0)) == (0, 43, 85)  # the first, the first three
    with pytest.raises(ValueError, match=r"not \(4, 4\)"):
        to_pil(torch.zeros(4, 4))


def test_every_8_bit_level_survives():
    levels = torch.arange(256).reshape(1, 16, 16)
    assert list(to_pil(levels / 127.5 - 1).tobytes()) == list(range(256))


def test_the_grid_shows_kinds_as_rows_and_images_as_columns(tmp_path):
    level = torch.tensor([-1.0, 0.0, 1.0])
    tensors = {
        "a": level.reshape(3, 1, 1, 1).expand(3, 1, 128, 100),  # grey and wider than high
        "ab": torch.tensor([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1).expand(3, 3, 128, 100),
        "b": torch.tensor([-1.0, 1.0, -1.0]).reshape(1, 3, 1, 1).expand(2, 3, 120, 100),
        "ba": torch.full((2, 1, 120, 100), 1.0),
    }
    Samples().logged(running(tmp_path), 500, METRICS, tensors)
    assert [file.name for file in (tmp_path / "samples").iterdir()] == ["00000500.png"]
    with Image.open(tmp_path / "samples/00000500.png") as picture:
        left = picture.width - 3 * (100 + GAP)
        assert picture.height == 2 * 128 + 2 * 120 + 4 * GAP + BLOCK_GAP

        def at(column: int, y: int) -> object:
            return picture.getpixel((left + column * (100 + GAP) + 50, y))

        rows = [GAP + 64, 2 * GAP + 128 + 64, 2 * GAP + 256 + BLOCK_GAP + 60, 3 * GAP + 256 + 120 + BLOCK_GAP + 60]
        assert [at(column, rows[0]) for column in range(3)] == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]
        assert [at(column, rows[1]) for column in range(3)] == [(255, 0, 0)] * 3
        assert [at(column, rows[2]) for column in range(3)] == [(0, 255, 0), (0, 255, 0), BACKGROUND]
        assert [at(column, rows[3]) for column in range(2)] == [(255, 255, 255)] * 2
        assert picture.getpixel((left + 100 + GAP // 2, rows[0])) == BACKGROUND
        label = picture.crop((0, GAP, left, GAP + 128)).getextrema()
        assert all(low < 150 < high for low, high in label)  # something is written at the left


def test_the_grid_says_where_its_images_are(tmp_path):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        key: torch.rand(n, channels, height, 50, generator=generator) * 2 - 1
        for key, n, channels, height in (("a", 3, 1, 40), ("ab", 3, 3, 40), ("b", 2, 3, 33), ("bab_noised", 2, 3, 33))
    }
    Samples().logged(running(tmp_path), 500, METRICS, tensors)
    with Image.open(tmp_path / "samples/00000500.png") as picture:
        layout = json.loads(picture.info[LAYOUT])
        assert [row["key"] for row in layout["rows"]] == list(tensors)
        for row in layout["rows"]:
            assert row["n"] == len(tensors[row["key"]])
            for index, image in enumerate(tensors[row["key"]]):
                x, y, scale = row["x"] + index * row["pitch"], row["y"], layout["scale"]
                cell = picture.crop((x, y, x + scale * row["width"], y + scale * row["height"]))
                same = cell.resize((row["width"], row["height"]), Image.Resampling.NEAREST)
                assert same.tobytes() == to_pil(image).convert("RGB").tobytes()


def test_small_images_are_enlarged_by_a_whole_factor():
    checks = torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).repeat(25, 25).expand(1, 3, 50, 50)
    picture = grid({"a": checks, "ab": checks}, ("a", "b"))
    first = picture.crop((picture.width - GAP - 100, GAP, picture.width - GAP, GAP + 100))
    assert first.getpixel((0, 0)) == first.getpixel((1, 1)) == (0, 0, 0)
    assert first.getpixel((2, 0)) == first.getpixel((99, 0)) == (255, 255, 255)


def test_no_samples_no_grid(tmp_path):
    Samples().logged(running(tmp_path), 50, METRICS, {})
    assert not any(tmp_path.iterdir())


def test_domains_may_be_named_in_any_language():
    assert grid(images(), ("Übergrößenträger aller Art", "東京")).width < 500


# the terminal


def test_without_a_terminal_each_log_is_one_plain_line(tmp_path):
    watcher, out, clock = console()
    run = running(
        tmp_path,
        device="cpu",
        precision="bf16",
        data={"a": {"name": "flat", "images": 606}, "b": {"name": "3d", "images": 645}},
        parameters={"generators": 3_854_342},
    )
    watcher.started(run)
    for step in range(1, 51):
        clock.now += 0.5
        watcher.ticked(run, step)
    before = out.getvalue().count("\n")
    watcher.logged(run, 50, METRICS, {})
    watcher.finished(run)
    text = out.getvalue()
    assert text.count("\n") == before + 1
    assert text.splitlines()[-1] == (
        "step 50/100  epoch 1.0  4.75 img/s  25 s left  cycle a 1.50  D b 0.250  D b real 0.750 fake 0.125"
    )
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text) is None
    for said in (str(tmp_path), "cpu, bf16", "flat: 606 images, 3d: 645 images", "generators: 3.85 M parameters"):
        assert said in text


def test_tests_stand_beside_the_untouched_input(tmp_path):
    watcher, out, _ = console()
    watcher.logged(running(tmp_path), 50, {**METRICS, **TESTS, "test.kid_ab": 0.1234}, {})
    # -5.8 % = 0.0570 / 0.0605 - 1
    assert out.getvalue().splitlines()[-1] == (
        "step 50  flat → 3d  L1 0.0570 (untouched 0.0605, -5.8 %)  PSNR 19.8 dB (19.3)  kid 0.1234"
    )


def test_the_time_is_estimated_once_without_the_first_steps(tmp_path):
    watcher, out, clock = console()
    run = running(tmp_path, n_steps=2000)
    watcher.started(run)
    for step in (1, 2):
        clock.now += 15  # they warm up
        watcher.ticked(run, step)
    for step in range(3, 21):
        clock.now += 0.25
        watcher.ticked(run, step)
    estimates = [line for line in out.getvalue().splitlines() if line.startswith("about")]
    assert len(estimates) == 1  # 30 s + 1998 x 0.25 s = 530 s
    assert re.fullmatch(r"about 9 min in all \(0\.250 s per step\), until (\d{4}-\d\d-\d\d )?\d\d:\d\d", estimates[0])


def test_a_short_or_resumed_run_is_estimated_too(tmp_path):
    watcher, out, clock = console()
    run = running(tmp_path, start=97, n_steps=100)
    watcher.started(run)
    for step in (98, 99, 100):
        clock.now += 2
        watcher.ticked(run, step)
    assert "resumed at step 97" in out.getvalue()
    assert "about 6 s to go (2.00 s per step)" in out.getvalue()


def test_in_a_terminal_there_is_a_bar_and_messages_above_it(tmp_path):
    watcher, out, clock = console(force_terminal=True, width=80, legacy_windows=False, _environ={"TERM": "xterm"})
    run = running(tmp_path)
    assert isinstance(watcher, Ticks)
    watcher.started(run)
    clock.now += 1
    watcher.ticked(run, 1)
    watcher.message("hello [b]there[/b]")
    watcher.logged(run, 50, METRICS, {})
    watcher.finished(run)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert "━" in plain and "50/100" in plain and "cycle a 1.50" in plain
    assert "hello [b]there[/b]" in plain
    assert max(map(len, re.split(r"[\r\n]", plain))) <= 80


def test_the_bar_is_drawn_at_most_five_times_a_second(tmp_path):
    watcher, out, clock = console(force_terminal=True, width=80, legacy_windows=False, _environ={"TERM": "xterm"})
    run = running(tmp_path, n_steps=10_000)
    watcher.started(run)
    for step in range(1, 1001):
        clock.now += 0.001
        watcher.ticked(run, step)
    drawn = len(re.findall(r"\d/10,000", out.getvalue()))
    assert 4 <= drawn <= 7  # one second, the start, and the message above the bar


def test_a_narrow_encoding_gets_ascii(tmp_path):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="cp1252", newline="\n")
    watcher = Console(rich.console.Console(file=out))
    watcher.logged(running(tmp_path, names=("flat", "東京")), 50, {**METRICS, **TESTS}, {})
    out.flush()
    assert b"step 50  flat -> ??  L1 0.0570" in raw.getvalue()


# words


@pytest.mark.parametrize(
    ("name", "halves"),
    [
        ("cycle_a", ("cycle", "a")),
        ("adversarial_ab", ("adversarial", "ab")),
        ("D_b_real", ("D", "b_real")),
        ("total_variation_b", ("total_variation", "b")),
        ("structure", ("structure", "")),
        ("real_aim", ("real_aim", "")),
    ],
)
def test_names_are_split_at_the_domain(name, halves):
    assert split(name) == halves


def test_words():
    assert directed("kid_a_b_net_ba") == ("kid_a_b_net", "ba") and directed("ab") == ("ab", "")
    assert where("ba", ("horse", "zebra")) == "zebra → horse" and where("b_real", ("horse", "zebra")) == "zebra real"
    assert [number(v) for v in (0.0, 0.3117, -12.44, 1234.6, 2e-4)] == ["0.00", "0.312", "-12.4", "1235", "2.00e-04"]
    assert [duration(s) for s in (45, 530, 12_000, 200_000)] == ["45 s", "9 min", "3 h 20 min", "2 d 8 h"]


def test_metrics_are_shown_as_the_run_describes_them():
    described = {"kid_efficientnet_lite0": {"better": "lower", "unit": "", "title": "KID"}, "odd": {"unit": "dB"}}
    kid = measure("kid_efficientnet_lite0", described)
    assert (kid.title, kid.unit, kid.better) == ("KID", "", -1)
    assert measure("odd", described) == Measure("odd", unit=" dB")
    assert measure("l1", described).title == "L1" and measure("new") == Measure("new")
    assert [kid.value(v) for v in (0.03125, 134.56)] == ["0.0312", "135"]
