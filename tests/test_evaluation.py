"""Metrics of translators on held-out images: their values, baselines, what is left out, and several processes."""

import json
import random
import types
from collections import Counter

import numpy as np
import pytest
import tiny
import torch
from test_distributed import torchrun

from i2i import hookimpl
from i2i.data import UnreadableImage
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.evaluation import Evaluator
from i2i.metric import ImageMetric, SetMetric
from i2i.training import Training

SEEN = Counter()


class Mean(SetMetric):
    """Distance of the mean colours of two sets."""

    title = "mean colour"
    n_replicates = 20

    def features(self, images):
        SEEN["features"] += len(images)
        return images.mean((2, 3))

    def statistic(self, outputs, targets):
        if min(len(outputs), len(targets)) < 2:
            raise ValueError("it needs two images")
        return (outputs.mean(0) - targets.mean(0)).norm().item()


class Again(Mean):
    """The same, of another name."""


class Rgb(ImageMetric):
    """The mean of an output in colour."""

    def values(self, translation):
        SEEN["values"] += len(translation.output)
        if translation.output.shape[1] != 3:
            raise ValueError("it needs three channels")
        return translation.output.mean((1, 2, 3))


class NoMetric:
    """Not what the hook promises."""


@pytest.fixture(scope="module")
def judging(engine):
    plugin = types.ModuleType("evaluation_metrics")
    plugin.register_metrics = hookimpl(lambda: {"mean": Mean, "again": Again, "rgb": Rgb, "none": NoMetric})
    others = [f"i2i_plugins.{name}" for name in engine.plugins if name != "reference"]
    return Engine([*others, plugin], entry_points=False)


@pytest.fixture(autouse=True)
def nothing_seen():
    SEEN.clear()


def built(engine, folder, *metrics, held_out="", channels=3, **options):
    """A training of which the metrics are asked, and an Evaluator; `held_out` is a source with a test split."""
    document = tiny.document(folder, eval={"metrics": list(metrics)})
    if held_out:
        a, b = (tiny.write_images(folder / f"test_{key}", 4, seed=2 + i) for i, key in enumerate("ab"))
        if held_out == "pairs":
            document["data"]["source"] = {"name": "pairs", "a": str(a), "b": str(b)}
        document["data"]["source"] |= {"test_a": str(a), "test_b": str(b)}
    document["data"] |= {"channels": channels, "names": ["day", "night"]}
    document["method"]["lambda_identity"] = 0.0
    training = Training.build(tiny.resolve(document, engine.registry, list(engine.plugins)))
    translators = training.trainer.translators()
    evaluator = Evaluator(
        training.recipe.metrics, training.data, list(translators), device=torch.device("cpu"), **options
    )
    return training, translators, evaluator


def images(training, domain, training_ones=False):
    places = range(
        training.data.n_images["ab".index(domain)] if training_ones else training.data.n_shown["ab".index(domain)]
    )
    return training.data.look(domain, places, training=training_ones)[domain]


@torch.no_grad()
def translated(module, given):
    modes = module.training
    out = torch.cat([module.eval()(image[None]) for image in given])
    module.train(modes)
    return out


# values


def test_values_of_pairs_are_those_of_the_formulas(judging, tmp_path):
    training, translators, evaluator = built(judging, tmp_path, "l1", "psnr", "rgb", held_out="pairs")
    found = evaluator(translators)
    for direction, module in translators.items():
        out = translated(module, images(training, direction[0])).double().numpy()
        true = images(training, direction[1]).double().numpy()
        l1 = np.abs(out - true).mean((1, 2, 3)) / 2
        psnr = 10 * np.log10(1 / (((out - true) / 2) ** 2).mean((1, 2, 3)))
        for name, values in {"l1": l1, "psnr": psnr, "rgb": out.mean((1, 2, 3))}.items():
            estimate = found[f"{name}_{direction}"]
            assert estimate.value == pytest.approx(values.mean(), rel=1e-4, abs=1e-6)
            assert estimate.n == 4
            assert estimate.replicates.std() == pytest.approx(values.std() / 2, rel=0.2)
    assert evaluator.names == ["l1_ab", "psnr_ab", "rgb_ab", "l1_ba", "psnr_ba", "rgb_ba"]
    assert evaluator.about()["psnr"] == {"title": "PSNR", "better": "higher", "unit": "dB"}


def test_sets_are_compared_with_the_real_images_of_their_domain(judging, tmp_path):
    training, translators, evaluator = built(judging, tmp_path, "mean", held_out="folders")
    found = evaluator(translators)
    for direction, module in translators.items():
        out = translated(module, images(training, direction[0])).double().mean((0, 2, 3))
        real = images(training, direction[1]).double().mean((0, 2, 3))
        assert found[f"mean_{direction}"].value == pytest.approx((out - real).norm().item(), rel=1e-5)


def test_untouched_is_the_input_as_it_is(judging, tmp_path):
    training, _, evaluator = built(judging, tmp_path, "l1", "mean", "change", "cycle", held_out="pairs")
    found = evaluator.untouched()
    a, b = images(training, "a"), images(training, "b")
    assert found["l1_ab"].value == found["l1_ba"].value == pytest.approx(((a - b).abs().mean() / 2).item(), rel=1e-5)
    gap = (a.mean((0, 2, 3)) - b.mean((0, 2, 3))).norm().item()
    assert found["mean_ab"].value == found["mean_ba"].value == pytest.approx(gap, rel=1e-4)
    assert found["change_ab"].value == 0
    assert not [name for name in found if name.startswith("cycle")]


def test_the_floor_is_of_images_to_train_on_as_many_as_are_translated(judging, tmp_path):
    training, _, evaluator = built(judging, tmp_path, "mean", "rgb", held_out="folders", n_images=3)
    found = evaluator.floor()
    assert found.keys() == {"mean_ab", "mean_ba"}
    chosen = images(training, "b", training_ones=True)[[0, 2, 4]]  # 3 of 7, evenly spaced
    real = images(training, "b")[[0, 1, 2]]
    gap = (chosen.mean((0, 2, 3)) - real.mean((0, 2, 3))).norm().item()
    assert found["mean_ab"].value == pytest.approx(gap, rel=1e-5) and found["mean_ab"].n == 3
    assert built(judging, tmp_path, "mean")[2].floor() == {}


@pytest.mark.parametrize(("n", "places"), [(0, [0, 1, 2, 3, 4, 5, 6]), (3, [0, 2, 4]), (9, [0, 1, 2, 3, 4, 5, 6])])
def test_images_are_evenly_spaced(judging, tmp_path, n, places):
    assert built(judging, tmp_path, "rgb", n_images=n)[2].places["b"] == places


# cost


def test_each_image_is_looked_at_once_for_all_metrics(judging, tmp_path):
    _, translators, evaluator = built(judging, tmp_path, "mean", "again", "rgb", "cycle")
    calls = Counter()
    for direction, module in translators.items():
        module.register_forward_hook(lambda _, given, out, d=direction: calls.update({d: len(given[0])}))
    SEEN.clear()
    evaluator(translators)
    assert calls == {"ab": 5 + 7, "ba": 7 + 5}  # there and, for the cycle, back
    assert SEEN == {"features": 2 * (5 + 7 + 7 + 5), "values": 12}
    SEEN.clear()
    evaluator(translators)
    assert SEEN["features"] == 2 * 12  # real images are known by now
    SEEN.clear()
    evaluator.untouched()
    assert SEEN == {"values": 12}  # inputs of one direction are the real images of the other


def test_metrics_of_the_cycle_share_the_way_back(judging, tmp_path):
    hidden = ("hidden_information", "hidden_information_quantized", "hidden_information_jpeg")
    _, translators, evaluator = built(judging, tmp_path, *hidden, "cycle")
    calls = Counter()
    for direction, module in translators.items():
        module.register_forward_hook(lambda _, given, out, d=direction: calls.update({d: len(given[0])}))
    evaluator(translators)
    assert calls == {"ab": 5 + 4 * 7, "ba": 7 + 4 * 5}  # back: as it is, noised, rounded and compressed


def test_without_metrics_that_can_judge_nothing_is_translated(judging, tmp_path):
    _, translators, evaluator = built(judging, tmp_path, "l1", "psnr")
    for module in translators.values():
        module.register_forward_hook(lambda *_: pytest.fail("it was translated"))
    assert evaluator(translators) == evaluator.untouched() == {} and evaluator.names == []


def test_progress_is_told(judging, tmp_path):
    told = []
    _, translators, evaluator = built(judging, tmp_path, "mean", "rgb", progress=lambda *x: told.append(x))
    evaluator(translators)
    evaluator.untouched()
    assert told == [
        ("day to night", 5, 5),
        ("real night", 7, 7),
        ("night to day", 7, 7),
        ("real day", 5, 5),
        ("day as it is", 5, 5),
        ("night as it is", 7, 7),
    ]


# nothing else changes


def test_modes_and_random_generators_stay_as_they_are(judging, tmp_path):
    _, translators, evaluator = built(judging, tmp_path, "mean", "rgb", "hidden_information", held_out="folders")
    next(iter(translators.values())).train()
    modes = [m.training for module in translators.values() for m in module.modules()]
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = evaluator(translators)
    evaluator.untouched()
    evaluator.floor()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1]) and random.getstate() == before[2]
    assert [m.training for module in translators.values() for m in module.modules()] == modes
    assert {name: e.value for name, e in evaluator(translators).items()} == {name: e.value for name, e in first.items()}


# what is left out


def test_reasons_are_kept(judging, tmp_path):
    _, translators, evaluator = built(judging, tmp_path, "l1", "rgb", "mean", channels=(3, 1))
    assert evaluator.left_out == {
        "l1_ab": "no pairs are held out",
        "l1_ba": "no pairs are held out",
        "rgb_ab": "it needs three channels",
    }
    assert evaluator.names == ["mean_ab", "rgb_ba", "mean_ba"]
    assert evaluator(translators).keys() == {*evaluator.names}
    assert evaluator.untouched() == {}


def test_a_method_of_one_direction_has_no_cycle(judging, tmp_path):
    document = tiny.document(tmp_path, eval={"metrics": ["cycle", "rgb", "mean"]}, method="pix2pix", generator="resnet")
    del document["pool"]
    document["data"]["source"] = {
        "name": "pairs",
        "a": document["data"]["source"]["a"],
        "b": document["data"]["source"]["a"],
    }
    training = Training.build(tiny.resolve(document, judging.registry, list(judging.plugins)))
    evaluator = Evaluator(training.recipe.metrics, training.data, ["ab"], device=torch.device("cpu"))
    assert evaluator.left_out == {"cycle_ab": "there is no translator back"}
    assert evaluator.names == ["rgb_ab", "mean_ab"] and evaluator.untouched().keys() == {"rgb_ab", "mean_ab"}


def test_translations_that_are_not_finite_have_no_value(judging, tmp_path, recwarn):
    metrics = ["mean", "rgb", "fid", "precision", "cycle", "hidden_information_jpeg"]
    _, translators, evaluator = built(judging, tmp_path, *metrics)
    with torch.no_grad():
        next(translators["ab"].parameters()).fill_(float("nan"))
    found = evaluator(translators)
    broken = {name for name in evaluator.names if name.endswith("_ab")}
    assert all(np.isnan(found[name].value) and found[name].interval is None for name in broken)
    assert all(np.isfinite(found[f"{name}_ba"].value) for name in ("mean", "rgb")) and not recwarn.list


def test_too_few_images_are_told_when_it_turns_out(judging, tmp_path):
    _, translators, evaluator = built(judging, tmp_path, "mean", "rgb", n_images=1)
    assert evaluator(translators).keys() == {"rgb_ab", "rgb_ba"}
    assert evaluator.left_out == {"mean_ab": "it needs two images", "mean_ba": "it needs two images"}


def test_two_of_one_name_and_what_is_no_metric_are_refused(judging, tmp_path):
    with pytest.raises(I2IError, match=r"eval.metrics.1: 'rgb' is there twice"):
        built(judging, tmp_path, "rgb", "rgb")
    with pytest.raises(I2IError, match=r"eval.metrics.0: 'none' is no ImageMetric and no SetMetric"):
        built(judging, tmp_path, "none")
    _, _, evaluator = built(judging, tmp_path, "none", "rgb", excused=(I2IError,))
    assert evaluator.names == ["rgb_ab", "rgb_ba"]
    assert set(evaluator.left_out) == {"none_ab", "none_ba"}


def test_an_image_that_cannot_be_read_any_more_is_named(judging, tmp_path):
    document = tiny.document(tmp_path, eval={"metrics": ["rgb"]})
    document["data"]["cache"] = False
    training = Training.build(tiny.resolve(document, judging.registry, list(judging.plugins)))
    evaluator = Evaluator(training.recipe.metrics, training.data, ["ab"], device=torch.device("cpu"))
    (tmp_path / "a" / "3.png").write_bytes(b"gone")
    with pytest.raises(UnreadableImage, match=r"3\.png"):
        evaluator({"ab": training.trainer.translators()["ab"]})


# several processes


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
def test_processes_give_the_values_of_one(n, tmp_path):
    """40 images make three batches of 16, shared out to the processes; the networks stay as they begin."""
    a, b = tiny.write_images(tmp_path / "more_a", 40, seed=5), tiny.write_images(tmp_path / "more_b", 40, seed=6)
    metrics = ["l1", "psnr", "high_frequency", "cycle", "hidden_information"]
    document = tiny.document(tmp_path, schedule={"n_steps": 1}, optim={"name": "sgd", "lr": 1e-30})
    document["data"]["source"] = {"name": "pairs", "a": str(a), "b": str(b), "test_a": str(a), "test_b": str(b)}
    document["eval"] = {"every": 1, "metrics": metrics, "best_by": "cycle"}
    (tmp_path / "r.json").write_text(json.dumps(document))
    lines, best = [], []
    for processes in (n, 1):
        done = torchrun(tmp_path, processes, "r.json", "--out", f"by{processes}")
        assert done.returncode == 0, done.stderr
        folder = tmp_path / f"by{processes}" / "r"
        lines.append(json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1]))
        best.append(json.loads((folder / "best.json").read_text()))
    for table in ("test", "interval", "untouched"):
        assert lines[0][table] == lines[1][table], table
    assert best[0] == best[1]
