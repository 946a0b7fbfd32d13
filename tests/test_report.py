"""report.html: what it shows of a run, of several, and of what is only half there; how large it gets, and how fast."""

import json
from html.parser import HTMLParser
from pathlib import Path

from test_watch import METRICS, TESTS, images, running

from i2i.watch import metrics_file, report
from i2i.watch.metrics_file import MetricsFile
from i2i.watch.report import Report, curves
from i2i.watch.samples import Samples


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
    for said in ("cyclegan-2", "finished", "0.0605", "-5.8 % of untouched", "19.8 dB"):
        assert said in page


def test_names_cannot_inject_html_or_script(tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    harmless = Tags((run_folder(tmp_path / "plain") / "report.html").read_text(encoding="utf-8"))
    folder = run_folder(tmp_path / "evil", name=evil)
    (folder / "recipe.json").write_text(
        json.dumps({evil: {evil: evil}, "data": {"names": [evil, "b"]}}), encoding="utf-8"
    )
    page = report.build(folder).read_text(encoding="utf-8")
    assert "<script>alert" not in page and "<img src=x" not in page and "&lt;img src=x" in page
    tags = [tag for tag, _ in Tags(page).tags]
    for tag in ("script", "img"):
        assert tags.count(tag) == [t for t, _ in harmless.tags].count(tag)


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
