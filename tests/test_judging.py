"""Evaluation in a training: it changes no bit, keeps the best, ends a run in time, and goes on exactly after a stop."""

import json
import math
import random
import types

import numpy as np
import pytest
import tiny
import torch
from test_resume import StopAt, hashes

from i2i import checkpoint, hookimpl
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.intervals import Estimate
from i2i.judging import Best
from i2i.metric import ImageMetric, SetMetric
from i2i.run import Run
from i2i.sampling import sample
from i2i.translate import find_translator
from i2i.watch import Rollback
from i2i.watch.metrics_file import MetricsFile, read

TRAIN = {"device": "cpu", "precision": "fp32", "log_every": 1, "sample_every": 100, "save_every": 2}
EVAL = {"every": 1, "metrics": ["high_frequency", "cycle", "change", "brightness"], "best_by": "brightness"}


class Brightness(ImageMetric):
    """The mean of an output; a training that learns nothing else moves it."""

    better = "higher"

    def values(self, translation):
        return translation.output.mean((1, 2, 3))


class Steady(ImageMetric):
    """Always the same."""

    def values(self, translation):
        return torch.ones(len(translation.output))


class Crowd(SetMetric):
    """Of many images."""

    def features(self, images):
        return images.mean((2, 3))

    def statistic(self, outputs, targets):
        raise ValueError("it needs 100 images")


@pytest.fixture(scope="module")
def judging(engine):
    """An engine with these metrics."""
    plugin = types.ModuleType("judging_metrics")
    plugin.register_metrics = hookimpl(lambda: {"brightness": Brightness, "steady": Steady, "crowd": Crowd})
    plugin.register_metrics.__module__ = plugin.__name__
    return Engine([f"i2i_plugins.{name}" for name in ("image_metrics", "schedules")] + [plugin], entry_points=False)


def trained(engine, folder, name="run", watchers=(), tell=lambda text: None, **tables):
    """A run and its loop, after it went."""
    run = Run.create(folder, name)
    loop = tiny.loop(tiny.recipe(folder, engine, **{"train": TRAIN, **tables}), run, engine, watchers, tell)
    loop.stopped = loop.go()
    return run, loop


def resumed(engine, folder, run, watchers=(), **tables):
    loop = tiny.loop(tiny.recipe(folder, engine, **{"train": TRAIN, **tables}), run, engine, watchers)
    loop.resume()
    loop.stopped = loop.go()
    return loop


def best(run):
    return json.loads((run.folder / "best.json").read_text())


# the best so far


def test_a_metric_that_is_left_out_decides_nothing():
    left_out = {"l1_ab": "no pairs are held out", "l1_ba": "no pairs are held out", "kid_net_ba": "it needs 2 images"}
    for by in ("l1", "l1_ab"):
        assert Best(by, ["kid_net_ab"], {"kid_net": "lower"}, left_out).by == []
    with pytest.raises(I2IError, match="eval.best_by: 'kdi' is none of the metrics"):
        Best("kdi", ["kid_net_ab"], {"kid_net": "lower"}, left_out)
    assert Best("kid", ["kid_net_ab"], {"kid_net": "lower"}, left_out).by == ["kid_net_ab"]


def test_images_that_the_deciding_metric_cannot_judge_are_told_and_trained_on(judging, tmp_path):
    table = {"every": 1, "metrics": ["crowd", "brightness"], "best_by": "crowd"}
    told = []
    loop = tiny.loop(tiny.recipe(tmp_path, judging, eval=table), Run.create(tmp_path, "run"), judging, tell=told.append)
    assert loop.go() == "" and not (loop.run.folder / "best.json").exists()
    assert "eval.best_by: 'crowd' cannot be computed here (it needs 100 images): no best translators are" in told[0]
    assert told[1] == "not judged: crowd_ab, crowd_ba: it needs 100 images"
    recipe = tiny.recipe(tmp_path, judging, eval={**table, "patience": 3})
    with pytest.raises(I2IError, match=r"eval.patience: waits .* 'crowd' cannot be computed here \(it needs 100"):
        tiny.loop(recipe, Run.create(tmp_path, "run"), judging)


def of(**values):
    return {name: Estimate(value, 1, np.empty(0)) for name, value in values.items()}


NAMES = ["kid_net_ab", "kid_net_ba", "ssim_ab", "ssim_ba", "change_ab", "change_ba"]
BETTER = {"kid_net": "lower", "ssim": "higher", "change": ""}


def test_each_direction_has_its_own_best():
    kept = Best("kid", NAMES, BETTER)
    assert kept.better(0, of(kid_net_ab=math.nan)) == [] and kept.stale == 0
    assert kept.better(1, of(kid_net_ab=0.5, kid_net_ba=0.5)) == ["ab", "ba"]
    assert kept.better(2, of(kid_net_ab=0.6, kid_net_ba=0.4)) == ["ba"] and kept.stale == 0
    assert kept.better(3, of(kid_net_ab=0.5, kid_net_ba=0.4)) == [] and kept.stale == 1
    assert kept.better(4, of(kid_net_ab=math.nan, kid_net_ba=math.inf)) == [] and kept.stale == 2
    assert kept.better(5, of(kid_net_ab=0.1)) == ["ab"] and kept.stale == 0
    assert kept.found == {
        "ab": {"step": 5, "metric": "kid_net", "value": 0.1},
        "ba": {"step": 2, "metric": "kid_net", "value": 0.4},
    }


def test_higher_is_better_where_the_metric_says_so():
    kept = Best("ssim_ba", NAMES, BETTER)
    assert [kept.better(i, of(ssim_ab=9 - i, ssim_ba=value)) for i, value in enumerate((0.5, 0.4, 0.6))] == [
        ["ba"],
        [],
        ["ba"],
    ]


def test_it_goes_on_from_its_state_unless_another_metric_decides_now():
    kept = Best("kid", NAMES, BETTER)
    kept.better(1, of(kid_net_ab=0.5, kid_net_ba=0.5))
    kept.better(2, of(kid_net_ab=0.6, kid_net_ba=0.6))
    state = json.loads(json.dumps(kept.state_dict()))
    again, one, other = Best("kid_net", NAMES, BETTER), Best("kid_ab", NAMES, BETTER), Best("ssim", NAMES, BETTER)
    for new in (again, one, other):
        new.load_state_dict(state)
    assert (again.found, again.stale) == (kept.found, 1)
    assert list(one.found) == ["ab"]
    assert (other.found, other.stale) == ({}, 0)
    again.load_state_dict({})
    assert again.found == {}


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("kid", ["kid_net_ab", "kid_net_ba"]),
        ("kid_net", ["kid_net_ab", "kid_net_ba"]),
        ("kid_ab", ["kid_net_ab"]),
        ("kid_net_ba", ["kid_net_ba"]),
        (None, []),
    ],
)
def test_a_metric_is_named_with_or_without_network_and_direction(by, found):
    assert Best(by, NAMES, BETTER).by == found


@pytest.mark.parametrize(
    ("by", "names", "message"),
    [
        ("sim", NAMES, "is none of the metrics.*did you mean 'ssim'"),
        ("change", NAMES, "says what is, not which way is better"),
        ("kid", [*NAMES, "kid_other_ab"], "may mean kid_net or kid_other"),
        ("kid_ba", ["kid_net_ab"], "is none of the metrics"),
        ("kid", [], "nothing is judged, see eval.metrics"),
    ],
)
def test_names_that_mean_nothing(by, names, message):
    with pytest.raises(I2IError, match=f"eval.best_by: .*{message}"):
        Best(by, names, BETTER | {"kid_other": "lower"})


# in a training


def test_evaluation_changes_no_bit(judging, tmp_path):
    def generators():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    runs, after = [], []
    for tables in ({}, {"eval": EVAL}):
        np.random.seed(1)
        random.seed(1)
        runs.append(trained(judging, tmp_path, **tables)[0])
        after.append(generators())
    assert hashes(runs[0], 4) == hashes(runs[1], 4)
    assert after[0] == after[1]


def test_values_intervals_and_baselines_are_logged(judging, tmp_path):
    run, _ = trained(judging, tmp_path, watchers=[MetricsFile()], eval={**EVAL, "every": 2})
    lines = read(run.metrics)
    assert [line["step"] for line in lines if "test" in line] == [2, 4]
    last = lines[-1]
    both = {f"{label}_{d}" for label in ("high_frequency", "cycle", "change", "brightness") for d in ("ab", "ba")}
    assert last["test"].keys() == both == last["interval"].keys()
    assert last["untouched"].keys() == {name for name in both if "cycle" not in name}
    assert last["untouched"]["change_ab"] == 0
    for name, (low, high) in last["interval"].items():
        assert low <= last["test"][name] <= high, name
    about = json.loads((run.folder / "environment.json").read_text())["metrics"]
    assert about["brightness"] == {"title": "brightness", "better": "higher", "unit": ""}


def test_the_best_translators_are_those_of_the_step_that_best_json_names(judging, tmp_path):
    run, _ = trained(
        judging, tmp_path, watchers=[MetricsFile()], eval=EVAL, train={**TRAIN, "save_every": 1, "keep_checkpoints": 9}
    )
    for direction, found in best(run).items():
        values = {line["step"]: line["test"][f"brightness_{direction}"] for line in read(run.metrics)}
        assert found == {"step": max(values, key=values.get), "metric": "brightness", "value": max(values.values())}
        kept, then = (
            find_translator(run.folder, judging.registry, judging.plugins, to=direction[1], at=at).module.state_dict()
            for at in ("best", str(found["step"]))
        )
        assert all(torch.equal(kept[name], then[name]) for name in then)


def test_the_best_of_one_direction(judging, tmp_path):
    run, _ = trained(judging, tmp_path, eval={**EVAL, "best_by": "brightness_ba"})
    assert list(best(run)) == ["ba"]
    assert [path.name for path in (run.folder / "best").iterdir()] == ["ba.safetensors"]
    with pytest.raises(I2IError, match="best.ab.safetensors: is not there; the run kept none"):
        find_translator(run.folder, judging.registry, judging.plugins, to="b", at="best")


def test_patience_ends_a_run_that_becomes_no_better(judging, tmp_path):
    steady = {"every": 1, "metrics": ["steady"], "best_by": "steady", "patience": 2}
    run, loop = trained(judging, tmp_path, eval=steady)
    assert loop.stopped == "2 evaluations were not better than that of step 1"
    assert checkpoint.steps(run.checkpoints)[-1] == 3
    assert resumed(judging, tmp_path, run, eval={**steady, "patience": 9}).stopped == ""
    _, at_the_end = trained(judging, tmp_path, eval={**steady, "patience": 3})
    assert at_the_end.stopped == ""


def test_patience_without_a_metric_is_refused(judging, tmp_path):
    with pytest.raises(I2IError, match="eval.patience: waits for a better value; name the metric: best_by"):
        tiny.recipe(tmp_path, judging, eval={"patience": 3})


def test_two_and_two_steps_are_four_with_evaluation(judging, tmp_path):
    tables = {"eval": {**EVAL, "patience": 3}}
    whole, _ = trained(judging, tmp_path, "whole", [MetricsFile()], **tables)
    halves, first = trained(judging, tmp_path, "halves", [MetricsFile(), StopAt(2)], **tables)
    assert first.stopped == "enough"
    torch.manual_seed(12345)
    assert resumed(judging, tmp_path, halves, [MetricsFile()], **tables).stopped == ""
    assert hashes(whole, 4) == hashes(halves, 4)
    assert best(whole) == best(halves)
    for name in ("best/ab.safetensors", "best/ba.safetensors", "ab.safetensors", "ba.safetensors"):
        assert (whole.folder / name).read_bytes() == (halves.folder / name).read_bytes(), name
    lines = [
        [{k: v for k, v in x.items() if "seconds" not in k and "second" not in k} for x in read(r.metrics)]
        for r in (whole, halves)
    ]
    assert lines[0] == lines[1]
    states = [checkpoint.load(checkpoint.folder_of(run.checkpoints, 4))[1]["best"] for run in (whole, halves)]
    assert states[0] == states[1] and states[0]["found"] == best(whole)


def test_a_full_disk_for_the_best_is_told(judging, tmp_path):
    told = []

    class Full(StopAt):
        def started(self, run):
            (run.folder / "best").write_text("no folder can be here")

    _, loop = trained(judging, tmp_path, watchers=[Full(0)], tell=told.append, eval=EVAL)
    assert loop.stopped == "" and any("the best translators could not be saved" in text for text in told)


# rollback


class Slower(StopAt):
    """Asks to go back, once at each of these steps."""

    def __init__(self, *steps):
        super().__init__(0)
        self.steps, self.rates = list(steps), []

    def logged(self, run, step, metrics, images):
        self.rates.append((step, metrics["lr.generators"]))
        if step in self.steps:
            self.steps.remove(step)
            return Rollback("too fast", slower=0.5)


LONG = {"schedule": {"n_steps": 6}}


def test_a_rollback_goes_on_from_the_checkpoint_with_half_the_rates(judging, tmp_path):
    told, watcher = [], Slower(3, 5)
    run, loop = trained(judging, tmp_path, watchers=[MetricsFile(), watcher], tell=told.append, **LONG)
    assert loop.stopped == ""
    assert watcher.rates == [
        *((step, 2e-4) for step in (1, 2, 3)),
        *((step, 1e-4) for step in (3, 4, 5)),
        *((step, 0.5e-4) for step in (5, 6)),
    ]  # fmt: skip
    assert [line["step"] for line in read(run.metrics)] == [1, 2, 3, 4, 5, 6]
    assert "too fast: back to the last checkpoint, learning rates times 0.5" in told


def test_lower_rates_are_kept_when_the_run_is_resumed(judging, tmp_path):
    whole, _ = trained(judging, tmp_path, "whole", [Slower(3)], **LONG)
    halves, first = trained(judging, tmp_path, "halves", [Slower(3), StopAt(5)], **LONG)
    assert first.stopped == "enough"
    after = Slower()
    resumed(judging, tmp_path, halves, [after], **LONG)
    assert after.rates == [(6, 1e-4)]
    assert hashes(whole, 6) == hashes(halves, 6)


def test_a_rollback_without_a_checkpoint(judging, tmp_path):
    ended = StopAt(0)
    ended.finished = lambda run: ended.seen.append("finished")
    with pytest.raises(I2IError, match="too fast; there is no checkpoint to go back to, a lower train.save_every"):
        trained(judging, tmp_path, watchers=[Slower(1), ended])
    assert ended.seen.count("finished") == 1


def test_losses_that_are_not_finite_go_back_too(judging, tmp_path, monkeypatch):
    """The watchers see them first; if none asks to go back, the run ends with the error."""

    class GoBack(StopAt):
        def logged(self, run, step, metrics, images):
            if not all(math.isfinite(v) for k, v in metrics.items() if k.startswith("loss.")):
                return Rollback("diverged", slower=0.5)

    step = tiny.Training.build(tiny.recipe(tmp_path, judging)).trainer.__class__.train_step
    broken = []

    def once(trainer, batches):
        metrics = step(trainer, batches)
        if trainer.step == 3 and not broken:
            broken.append(3)
            metrics = {name: value * math.nan for name, value in metrics.items()}
        return metrics

    monkeypatch.setattr("i2i.trainer.Trainer.train_step", once)
    run, loop = trained(judging, tmp_path, watchers=[MetricsFile(), GoBack(0)], eval=EVAL)
    assert loop.stopped == "" and broken == [3]
    assert all(v is not None for line in read(run.metrics) for v in line["loss"].values())
    broken.clear()
    with pytest.raises(I2IError, match="step 3: loss .* is nan"):
        trained(judging, tmp_path, eval=EVAL)


# samples


def test_samples_come_back_through_eight_bits_and_noise(judging, tmp_path):
    training = tiny.Training.build(tiny.recipe(tmp_path, judging))
    preview = training.data.preview()
    for step in ("first", "second"):
        torch.manual_seed(len(step))
        images = sample(training.trainer.translators(), preview, torch.device("cpu"))
        if step == "first":
            first = images
    assert {"ab", "aba", "aba_noised", "ba", "bab", "bab_noised"} <= images.keys()
    assert torch.equal(first["aba_noised"], images["aba_noised"])
    (there, back) = (m.eval() for m in training.trainer.translators().values())
    with torch.no_grad():
        output = there(preview.a)
        noised = ((output + 1) * 127.5).round() / 127.5 - 1
        noised += 2 / 255 * torch.randn(output.shape[1:], generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(images["aba_noised"], back(noised.clamp(-1, 1)), atol=1e-5, rtol=0)
        torch.testing.assert_close(images["aba"], back(output), atol=1e-5, rtol=0)
