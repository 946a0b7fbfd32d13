"""report.html: what it shows of a run, of several, and of what is only half there; how large it gets, and how fast."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_cli import i2i, mistake
from test_watch import METRICS, TESTS, images, running

from i2i import layers
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.recipe import resolve
from i2i.watch import metrics_file, report
from i2i.watch.metrics_file import MetricsFile
from i2i.watch.report import Report, curves, strips
from i2i.watch.report.reading import RunFiles
from i2i.watch.report.strips import Strips, chosen
from i2i.watch.samples import LAYOUT, Samples, grid


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            self.scripts.append(data)


def data_of(page: Path) -> dict:
    """What the scripts of a page read."""
    return json.loads(Tags(page.read_text(encoding="utf-8")).scripts[0])


def curves_of(page: Path) -> dict[tuple[str, str], dict]:
    return {(c["name"], c["label"]): c for panel in data_of(page)["panels"] for c in panel["curves"]}


def noise(n: int, channels: int = 3, height: int = 24, width: int = 24, *, seed: int = 0) -> torch.Tensor:
    """Smooth noise, which compresses as pictures do, in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 4, 4, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")


def write_grids(folder: Path, steps: range, *, size: int = 24) -> None:
    """Grids of both directions: inputs that stay, translations that change."""
    a, b = noise(3, height=size, width=size), noise(3, height=size, width=size, seed=1)
    for step in steps:
        ab, ba = (noise(3, height=size, width=size, seed=step + i) for i in (2, 3))
        tensors = {"a": a, "ab": ab, "aba": ba, "b": b, "ba": ba, "bab": ab}
        Samples().logged(running(folder), step, METRICS, tensors)


def run_folder(folder: Path, *, name: str = "flat", n: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    run = running(folder, names=(name, "3d"), n_steps=1000, data={"a": {"name": name, "images": 3}}, device="cpu")
    for file in ("recipe", "environment"):
        (folder / f"{file}.json").write_text(
            json.dumps({**getattr(run, file), "n_steps": run.n_steps}), encoding="utf-8"
        )
    for step in range(250, 250 * n + 1, 250):
        for watcher in (MetricsFile(), Samples(), Report()):
            watcher.logged(run, step, {**METRICS, **TESTS}, images())
    return folder


def test_the_report_has_every_curve_and_every_sample_and_needs_no_network(tmp_path):
    page = (run_folder(tmp_path / "cyclegan-2") / "report.html").read_text(encoding="utf-8")
    tags = Tags(page)
    data = json.loads(tags.scripts[0])
    found = {curve["name"]: curve["points"] for panel in data["panels"] for curve in panel["curves"]}
    assert found.keys() == {*METRICS, *TESTS} - {"epoch", "seconds"}
    assert found["loss.cycle_a"] == [[250, 1.5], [500, 1.5], [750, 1.5], [1000, 1.5]]
    positions = data["gallery"]["positions"]
    assert [at["step"] for at in positions] == [250, 500, 750, 1000]
    assert all((tmp_path / "cyclegan-2" / link["href"]).exists() for at in positions for link in at["links"])
    assert "http" not in page
    assert [tag for tag, _ in tags.tags].count("link") == 0
    assert not any(tag == "script" and "src" in attributes for tag, attributes in tags.tags)
    for said in ("cyclegan-2", "finished", "0.0605", "5.8 % below untouched", "19.8 dB"):
        assert said in page


def test_names_cannot_inject_html_or_script(tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror='alert(1)' title=\"x\">"
    harmless = Tags((run_folder(tmp_path / "plain") / "report.html").read_text(encoding="utf-8"))
    folder = run_folder(tmp_path / "evil <i>'\"", name=evil)
    (folder / "recipe.json").write_text(json.dumps({evil: {evil: evil}, "data": {"names": [evil, "b"]}}))
    (folder / "best.json").write_text(json.dumps({"ab": {"step": 500, "metric": evil, "value": 0.0}}))
    log = {"step": 2000, "loss": {evil: 1.0}, "test": {f"{evil}_ab": 1.0}, "lr": {evil: 1.0}}
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(log) + "\n")
    for pages in ([folder], [folder, tmp_path / "plain"]):
        page = report.write(pages, folder / "report.html").read_text(encoding="utf-8")
        assert "<script>alert" not in page and "<img src=x" not in page and "&lt;img src=x" in page
        tags = Tags(page).tags
        for tag in ("script", "img"):
            assert [t for t, _ in tags].count(tag) == [t for t, _ in harmless.tags].count(tag)
        assert not any(name.startswith("on") for _, attributes in tags for name in attributes)


def test_a_report_can_be_built_of_nothing_and_of_one_log(tmp_path):
    page = report.build(tmp_path).read_text(encoding="utf-8")
    assert "no step logged yet" in page and tmp_path.name in page
    MetricsFile().logged(running(tmp_path), 1, METRICS, {})
    page = report.build(tmp_path).read_text(encoding="utf-8")
    assert "loss.cycle_a" in page and 'id="samples"' not in page


def test_the_report_is_a_function_of_the_files(tmp_path):
    folder = run_folder(tmp_path)
    first = (folder / "report.html").read_bytes()
    assert report.build(folder).read_bytes() == first


def test_samples_of_an_undone_future_are_left_out(tmp_path):
    folder = run_folder(tmp_path)
    metrics_file.cut_back(folder / "metrics.jsonl", 500)
    page = report.build(folder).read_text(encoding="utf-8")
    assert "00000500.png" in page and "00000750.png" not in page


def test_thinning_keeps_the_ends_and_the_spikes():
    points = [(step, 1.0) for step in range(20_000)]
    points[7_777] = (7_777, 50.0)
    points[3_333] = (3_333, -50.0)
    kept = curves.thin(points)
    assert len(kept) <= curves.MAX_POINTS + 2
    assert kept[0] == points[0] and kept[-1] == points[-1]
    assert points[7_777] in kept and points[3_333] in kept
    assert [step for step, _ in kept] == sorted(step for step, _ in kept)
    assert curves.thin([(1, None)] * 5000) != []


# samples on the page


def test_every_row_is_embedded_with_its_images_in_order(tmp_path):
    tensors = {
        "a": noise(3, 1, 40, 24),  # grey, higher than wide
        "ab": noise(3, 3, 30, 30, seed=1),
        "new_b": noise(2, 3, 20, 20, seed=2),
    }
    Samples().logged(running(tmp_path), 10, METRICS, tensors)
    gallery = data_of(report.build(tmp_path))["gallery"]
    rows = {row["key"]: row for block in gallery["blocks"] for row in block["rows"]}
    assert rows.keys() == tensors.keys()
    assert (rows["ab"]["before"], rows["a"]["before"], rows["new_b"]["before"]) == (0, None, None)
    for key, tensor in tensors.items():
        source, n, width, height = rows[key]["strips"][0]
        assert (n, height, width) == (len(tensor), *tensor.shape[-2:])
        with Image.open(io.BytesIO(base64.b64decode(gallery["sources"][source]))) as strip:
            shown = np.asarray(strip.convert("RGB")).astype(float)
        expected = torch.cat(list(tensor.expand(-1, 3, -1, -1)), -1).permute(1, 2, 0).numpy() * 127.5 + 127.5
        assert shown.shape == expected.shape
        assert np.abs(shown - expected).mean() < 6  # of 255: WebP keeps a little less than everything


def test_inputs_are_embedded_once_for_all_steps(tmp_path):
    write_grids(tmp_path, range(10, 60, 10))
    gallery = data_of(report.build(tmp_path))["gallery"]
    rows = {row["key"]: row["strips"] for block in gallery["blocks"] for row in block["rows"]}
    assert len({tuple(strip) for strip in rows["a"]}) == 1 and len({tuple(strip) for strip in rows["ab"]}) == 5
    assert [block["title"] for block in gallery["blocks"]] == ["a → b", "b → a"]


def test_the_bytes_are_bounded_and_what_matters_stays(tmp_path):
    write_grids(tmp_path, range(10, 310, 10), size=48)
    (tmp_path / "best.json").write_text(json.dumps({"ab": {"step": 190, "metric": "l1", "value": 0.1}}))
    run = RunFiles.read(tmp_path)
    every = chosen(run, Strips(), 100, 1_000_000)
    assert list(every) == run.samples
    for n, n_bytes in ((100, 60_000), (10, 1_000_000), (100, 9_000)):
        kept = chosen(run, Strips(), n, n_bytes)
        assert {10, 190, 300} <= kept.keys()
        assert len(kept) <= max(n, 3)
        data = {strip.data for rows in kept.values() for strip in rows}
        assert sum(map(len, data)) <= n_bytes
    assert len(chosen(run, Strips(), 100, 60_000)) == 30  # first their quality is lowered, then their number


def test_of_a_longer_run_only_what_is_new_is_encoded(tmp_path, monkeypatch):
    (tmp_path / "environment.json").write_text(json.dumps({"n_steps": 200}))
    (tmp_path / "recipe.json").write_text(json.dumps({"train": {"sample_every": 10}}))
    made = []
    encode = strips._encode
    monkeypatch.setattr(strips, "_encode", lambda *args: made.append(args) or encode(*args))
    watcher = Report()
    counts = []
    for step in range(10, 210, 10):
        write_grids(tmp_path, range(step, step + 10, 10))
        watcher.logged(running(tmp_path), step, METRICS, images())
        counts.append(len(made))
        made.clear()
    # Four rows of the new grid, and the four of the one before, which has lost its place as the newest; the first
    # time also the two inputs, and the second time the first grid is the one before, but stays favoured.
    assert counts == [6, 4, *[8] * 18]
    assert (tmp_path / "report.html").read_bytes() == report.build(tmp_path).read_bytes()


def test_a_grid_that_cannot_be_read_is_named_and_an_old_one_is_shown_whole(tmp_path):
    write_grids(tmp_path, range(10, 30, 10))
    whole = (tmp_path / "samples/00000010.png").read_bytes()
    (tmp_path / "samples/00000010.png").write_bytes(whole[: len(whole) // 2])
    old = grid(images(), ("a", "b"))
    old.save(tmp_path / "samples/00000030.png")  # without its layout
    gallery = data_of(report.build(tmp_path))["gallery"]
    assert gallery["positions"][0]["caption"] == ["00000010.png cannot be read"]
    (row,) = next(block for block in gallery["blocks"] if block["key"] == "grid")["rows"]
    assert row["strips"][:2] == [None, None] and row["strips"][2][1:] == [1, *old.size]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("best.json", '{"ab": 3}', "best.json, ab: is no table but 3"),
        ("best.json", '{"ab": {"metric": "l1"}}', "best.json: {'metric': 'l1'} has no step"),
        ("best.json", "[]", "best.json: is no table but []"),
        ("eval.json", '{"estimates": {"l1_ab": 0.1}}', "eval.json, estimates.l1_ab: is no table but 0.1"),
        ("eval.json", '{"estimates": {"l1_ab": {}}, "floor": null}', "eval.json, floor: is no table but None"),
        ("environment.json", '{"data": {"a": "x"}}', "environment.json, data.a: is no table but x"),
        ("health.jsonl", '{"step": null, "sign": "x"}\n', "health.jsonl, line 1"),
    ],
)
def test_a_file_of_another_version_is_named(tmp_path, file, text, said):
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(I2IError, match=re.escape(said)):
        report.build(tmp_path)


def test_a_grid_without_rows_is_named(tmp_path):
    layout = PngInfo()
    layout.add_text(LAYOUT, '{"scale": 1, "rows": []}')
    (tmp_path / "samples").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "samples/00000010.png", pnginfo=layout)
    assert "00000010.png cannot be read" in report.build(tmp_path).read_text(encoding="utf-8")


# what it says


def test_losses_stand_by_the_player_who_lowers_them(tmp_path):
    losses = {"loss.gan": 1.0, "loss.D": 0.5, "loss.D_a": 0.5, "loss.discriminator_b": 0.5, "loss.Dice": 1.0}
    rates = {"lr.generator": 1e-4, "lr.projector": 1e-4, "lr.discriminator": 1e-4}
    MetricsFile().logged(running(tmp_path), 1, losses | rates, {})
    sections = {section["heading"]: section["panels"] for section in curves.sections([RunFiles.read(tmp_path)])}
    names = {heading: {c["name"] for p in panels for c in p["curves"]} for heading, panels in sections.items()}
    assert names["Losses of the generator and projector"] == {"loss.gan", "loss.Dice"}
    assert names["Losses of the discriminator"] == {"loss.D", "loss.D_a", "loss.discriminator_b"}
    (tmp_path / "metrics.jsonl").unlink()
    MetricsFile().logged(running(tmp_path), 1, losses, {})
    headings = [section["heading"] for section in curves.sections([RunFiles.read(tmp_path)])]
    assert headings == ["Losses", "Losses of the discriminators"]


def test_hints_on_losses_speak_of_what_is_there(tmp_path):
    run = running(tmp_path)
    for names, hint in [
        (["adversarial_ab", "cycle_a"], "Adversarial losses of a healthy run hover; cycle losses fall."),
        (["content", "style"], ""),
    ]:
        (tmp_path / "metrics.jsonl").unlink(missing_ok=True)
        MetricsFile().logged(run, 10, {f"loss.{name}": 1.0 for name in names}, {})
        (section,) = curves.sections([RunFiles.read(tmp_path)])
        assert section["hint"] == hint


def test_metrics_have_their_intervals_the_best_step_and_the_untouched_input(tmp_path):
    described = {"kid_net": {"better": "lower", "unit": "", "title": "KID"}}
    (tmp_path / "environment.json").write_text(json.dumps({"metrics": described}))
    lines = [
        {
            "step": 10,
            "test": {"kid_net_ab": 0.3},
            "interval": {"kid_net_ab": [0.2, 0.4]},
            "untouched": {"kid_net_ab": 0.5},
        },
        {
            "step": 20,
            "test": {"kid_net_ab": 0.1},
            "interval": {"kid_net_ab": [0.05, 0.15]},
            "untouched": {"kid_net_ab": 0.5},
        },
        {"step": 25, "loss": {"cycle_a": 1.0}},
        {"step": 30, "test": {"kid_net_ab": None}, "untouched": {"kid_net_ab": 0.5}},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    best = {
        "ab": {"step": 20, "metric": "kid_net", "value": 0.1},
        "ba": {"step": 99, "metric": "kid_net", "value": 0.0},
    }
    (tmp_path / "best.json").write_text(json.dumps(best))
    page = report.build(tmp_path)
    assert curves_of(page)["test.kid_net_ab", "a → b"]["points"] == [
        [10, 0.3, 0.2, 0.4],
        [20, 0.1, 0.05, 0.15],
        [30, None],
    ]
    (panel,) = [panel for panel in data_of(page)["panels"] if panel["title"] == "KID"]
    assert panel["marks"] == [{"curve": "test.kid_net_ab", "label": "a → b", "step": 20}]  # step 99 was undone
    assert [line["value"] for line in panel["lines"]] == [0.5]
    text = re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8"))
    for said in (
        "KID",
        "lower is better",
        "not a number",
        "kept as the best",
        "0.0500 to 0.1500",
        "step 20, decided by this",
    ):
        assert said in text


def test_findings_of_the_health_monitor_stand_on_top_once_each(tmp_path):
    inverted = {"sign": "colour inversion", "where": "ab"}
    lines = [
        {"step": 100, "sign": "generator collapse", "where": "", "text": "all alike", "evidence": {}},
        {"step": 200, **inverted, "text": "dark", "evidence": {"correlation": -0.7}},
        {"step": 1200, **inverted, "text": "Bright <b>becomes</b> dark.", "evidence": {"correlation": -0.8123}},
        {"step": 1300, "sign": "generator collapse", "where": "", "text": "no longer", "evidence": {}, "gone": True},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "health.jsonl").write_text(text + '{"step": 1400, "sig')
    (tmp_path / "recipe.json").write_text(json.dumps({"data": {"names": ["horse", "zebra"]}}))
    page = report.build(tmp_path).read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?) <small>(.*?)</small></h2>", page)[:2] == [
        ("colour inversion", "horse → zebra"), ("generator collapse", ""),
    ]  # fmt: skip
    assert "Bright &lt;b&gt;becomes" in page and "-0.812" in page and "-0.700" not in page
    assert "seen at step 1,200" in page and "gone at step 1,300" in page


def evaluation(value: float, **protocol: object) -> str:
    return json.dumps(
        {
            "step": {"ab": 1500},
            "checkpoint": "best",
            "metrics": {"kid_net": {"title": "KID (net)", "better": "lower", "unit": ""}},
            "estimates": {"kid_net_ab": {"value": value, "interval": [value / 2, value * 2], "n": 9}},
            "untouched": {"kid_net_ab": {"value": 0.5, "interval": None, "n": 9}},
            "floor": {"kid_net_ab": {"value": 0.0125, "interval": [0.01, 0.015], "n": 9}},
            "left_out": {"psnr_ab": "there are no <pairs>"},
            "protocol": {"images": "held out", "pairs": False, "domains": {"a": {"name": "a", "n": 9, "of": 90}}}
            | protocol,
        }
    )


def test_what_eval_took_stands_beside_the_untouched_input_and_real_images(tmp_path):
    for name, value in (("one", 0.25), ("two", 0.125)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "eval.json").write_text(evaluation(value))
    page = report.build(tmp_path / "one").read_text(encoding="utf-8")
    for said in (
        "KID (net)", "step 1,500, the best", "0.2500", "0.1250 to 0.5000", "better than untouched", "0.0125",
        "images: held out · a: 9 of 90", "1 left out", "there are no &lt;pairs&gt;",
    ):  # fmt: skip
        assert said in page, said
    both = report.write([tmp_path / "one", tmp_path / "two"], tmp_path / "both.html").read_text(encoding="utf-8")
    assert "0.2500" in both and "0.1250" in both and "do not compare" not in both
    (tmp_path / "two" / "eval.json").write_text(evaluation(0.125, size=[64, 64]))
    both = report.write([tmp_path / "one", tmp_path / "two"], tmp_path / "both.html").read_text(encoding="utf-8")
    assert "do not compare" in both


def test_the_recipe_is_held_against_the_nearest_shipped_one(tmp_path):
    engine = Engine()
    settings = ["generator.base_channels=7", "method.lambda_identity=0.0"]
    found = resolve(layers.read("cyclegan-unet", settings), engine.registry, list(engine.plugins))
    (tmp_path / "recipe.json").write_text(json.dumps(found.document()))
    page = report.build(tmp_path).read_text(encoding="utf-8")
    assert "the 2 values that differ from the shipped recipe <b>cyclegan-unet</b>" in page
    changed = re.findall(r'<tr class=changed><th scope="row">(.*?)</th><td>(.*?) <small>was (.*?)</small>', page)
    assert changed == [("lambda_identity", "0.0", "0.5"), ("base_channels", "7", "32")]


# several runs


def test_several_runs_lie_over_each_other(tmp_path):
    a, b = (run_folder(tmp_path / name / "cyclegan") for name in ("one", "two"))
    recipe = json.loads((b / "recipe.json").read_text())
    (b / "recipe.json").write_text(json.dumps(recipe | {"optim": {"lr": 1e-4}}))
    (b / "environment.json").write_text(json.dumps({"device": "cuda"}))
    for step in (500, 1000):
        Samples().logged(running(b), step, METRICS, {**images(), "ab": noise(2, height=8, width=8)})
    page = report.write([a, b], tmp_path / "both.html")
    labels = {label for name, label in curves_of(page) if name == "loss.cycle_a"}
    assert labels == {"one/cyclegan", "two/cyclegan"}
    (block,) = data_of(page)["gallery"]["blocks"]
    assert [(row["key"], row["run"]) for row in block["rows"]] == [
        ("a", ""), ("ab", "one/cyclegan"), ("ab", "two/cyclegan"),
    ]  # fmt: skip
    assert [row["before"] for row in block["rows"]] == [None, 0, 0]
    positions = data_of(page)["gallery"]["positions"]
    assert all((tmp_path / link["href"]).exists() for at in positions for link in at["links"])
    text = page.read_text(encoding="utf-8")
    assert "optim.lr" in text and "<em>absent</em>" in text and "cuda" in text
    assert "data.names" not in text


def test_runs_of_different_lengths_and_domains_share_a_slider(tmp_path):
    write_grids(tmp_path / "a", range(10, 40, 10))
    write_grids(tmp_path / "b", range(20, 30, 10))
    gallery = data_of(report.write([tmp_path / "a", tmp_path / "b"], tmp_path / "both.html"))["gallery"]
    assert [at["step"] for at in gallery["positions"]] == [10, 20, 30]
    rows = [row for row in gallery["blocks"][0]["rows"] if row["key"] == "ab"]
    assert len({strip[0] for strip in rows[0]["strips"]}) == 3  # its own of each step
    assert len({strip[0] for strip in rows[1]["strips"]}) == 1  # the nearest that there is


# the command


def test_the_command_writes_the_page_and_opens_it(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    folder = run_folder(tmp_path / "run")
    (folder / "report.html").unlink()
    told = i2i("report", folder, "--open")
    assert told.code == 0 and f"{folder}/report.html, " in told.out
    assert opened == [(folder / "report.html").as_uri()]
    shutil.copytree(folder, tmp_path / "other")
    assert i2i("report", folder, tmp_path / "other", "--out", tmp_path / "both.html").code == 0
    assert "2 runs" in (tmp_path / "both.html").read_text(encoding="utf-8")


def test_mistakes_of_the_command_are_told(tmp_path):
    folder = run_folder(tmp_path / "run", n=1)
    assert "is no run" in mistake("report", tmp_path)
    assert "--out comparison.html" in mistake("report", folder, folder / ".." / "run")
    assert "is a folder" in mistake("report", folder, "--out", tmp_path)
    (folder / "eval.json").write_text("{")
    assert "eval.json: is no JSON" in mistake("report", folder)
