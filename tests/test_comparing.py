"""`i2i compare` under training: what is trained, that it is fair, that it goes on, and what it calls a difference."""

import json
import signal
import types
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from rich.console import Console
from scipy.stats import binom
from torch import Tensor, nn
from typer.testing import CliRunner

from i2i import hookimpl
from i2i.cli import app, comparing_terminal
from i2i.comparing.page import publish
from i2i.comparing.plan import Plan
from i2i.comparing.result import Result, Side, holm
from i2i.comparing.runs import grouped
from i2i.comparing.trained import Trained
from i2i.comparing.training import train
from i2i.comparing.variants import budgeted, of_components, of_recipes
from i2i.engine import Engine
from i2i.errors import I2IError
from i2i.intervals import Estimate, difference
from i2i.metric import ImageMetric, Translation
from i2i.recipe import resolve
from i2i.reference.resnet import ResnetGenerator
from i2i.run import Run
from i2i.training import Training


class Twin(ResnetGenerator):
    """The same as `resnet` under another name."""


class Grey(nn.Module):
    """Gives grey, whatever it is shown: as little contrast as there can be."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1, out_channels, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return 1e-3 * torch.tanh(self.scale) * images.mean(1, keepdim=True)


class Broken(Grey):
    """Gives what is not a number, after its first step."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) / (self.scale == 0)


class Stubborn(Grey):
    """Cannot be built."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        raise KeyError("nothing")


class Contrast(ImageMetric):
    """Mean absolute value of the output."""

    title = "Contrast"

    def values(self, translation: Translation) -> Tensor:
        return translation.output.abs().mean((1, 2, 3))


@pytest.fixture(scope="module")
def mine() -> Engine:
    plugin = types.ModuleType("planted")
    made = {"twin": Twin, "grey": Grey, "broken": Broken, "stubborn": Stubborn}
    plugin.register_generators = hookimpl(lambda: made, specname="register_generators")
    plugin.register_metrics = hookimpl(lambda: {"contrast": Contrast}, specname="register_metrics")
    return Engine([plugin], entry_points=False)


class Silent:
    """An audience that remembers; `stops` sends Ctrl-C in a training that it names."""

    def __init__(self, stops: tuple[str, int] | None = None) -> None:
        self.stops, self.built, self.began, self.told = stops, [], [], []

    def build(self, recipe):
        self.built.append((recipe.method.options["generator"].qualified, recipe.train.seed))
        training = Training.build(recipe)
        training.foresee()
        return training

    def watcher(self, name, seed):
        return Watching(self, name, seed)

    def judging(self, name, seed):
        return nullcontext()

    def tell(self, text):
        self.told.append(text)


class Watching:
    def __init__(self, audience, name, seed):
        self.audience, self.which = audience, (name, seed)

    def started(self, run):
        self.audience.began.append((*self.which, run.start))

    def ticked(self, run, step):
        if self.which == self.audience.stops and step == 1:
            signal.raise_signal(signal.SIGINT)

    def logged(self, run, step, metrics, images):
        pass

    def finished(self, run):
        pass


def base(folder: Path, **tables) -> dict:
    return tiny.document(folder, **{"train": {"device": "cpu", "precision": "fp32"}, **tables})


def plan(folder: Path, engine: Engine, names, seeds=(0, 1, 2), n_steps=3, word="generator", settings=()) -> Plan:
    small = [f"{name}.{key}" for name in names if name == "twin" for key in ("base_channels=2", "n_blocks=1")]
    variants = of_components(base(folder), word, names, [*small, *settings], engine)
    return Plan(folder / "compared", n_steps, tuple(seeds), budgeted(variants, n_steps, ["contrast"], engine))


def go(found: Plan, engine: Engine, audience=None) -> Result:
    sides = {name: Side(name, []) for name in found.variants}
    found.folder.mkdir(exist_ok=True)
    for name, one in train(found, engine, audience or Silent()):
        sides[name].trained.append(one)
    return Result([*sides.values()])


@pytest.fixture(scope="module")
def trained(mine, tmp_path_factory) -> tuple[Plan, Result]:
    """resnet, the same under another name, and one that is better for sure: three seeds of each."""
    found = plan(tmp_path_factory.mktemp("planted"), mine, ["resnet", "twin", "grey"])
    return found, go(found, mine)


# what a comparison finds


def test_a_planted_better_one_and_an_equal_one_are_told_apart(trained):
    for row in trained[1].rows():
        first, twin, grey = row.cells
        assert twin.difference.value == 0 and not twin.real and row.verdict(twin) == "not shown"
        assert twin.values == first.values and len(set(first.values)) == 3
        assert grey.real and row.verdict(grey) == "better" and grey.difference.high < 0
        assert row.verdict(first) == "" and first.difference is None
        assert first.mean.low < min(first.values) and first.mean.value == pytest.approx(np.mean(first.values))


def test_twins_are_equal_to_the_last_bit(trained):
    found, _ = trained
    one, other = (found.run(name, 1) / "ab.safetensors" for name in ("resnet", "twin"))
    from safetensors.torch import load_file

    assert all(torch.equal(a, b) for a, b in zip(load_file(one).values(), load_file(other).values(), strict=True))


def test_the_same_component_with_other_seeds_is_not_really_different(mine, trained, tmp_path):
    _, result = trained
    others = go(plan(tmp_path, mine, ["resnet"], seeds=(3, 4, 5)), mine)
    # Other folders, the same images: the digests of the protocol tell by contents.
    rows = Result([result.sides[0], Side("later", others.sides[0].trained)]).rows()
    for row in rows:
        _, later = row.cells
        assert later.difference.value != 0 and not later.real


def test_one_seed_says_that_it_says_nothing_of_chance(trained):
    _, result = trained
    one = Result([Side(side.name, side.trained[:1]) for side in result.sides])
    (row, _), notes = one.rows(), " ".join(one.notes())
    assert row.verdict(row.cells[2]) == "better, one seed"
    assert "nothing of the chance of training" in notes
    assert "nothing of the chance" not in " ".join(result.notes()) and "3 trainings" in " ".join(result.notes())


def test_several_differences_are_judged_together(trained):
    assert "Holm" in " ".join(trained[1].notes())
    assert holm([None, 0.01, 0.04, 0.03, 0.005]) == [False, True, False, False, True]  # below 0.05 / 4, / 3, not / 2
    assert holm([None, 0.049]) == [False, True] and holm([None]) == [False] and holm([0.03, 0.03]) == [False, False]
    rng = np.random.default_rng(0)
    wrong = sum(any(holm(list(ps))) for ps in rng.random((4000, 5)))
    assert wrong / 4000 < 0.05 + 3 * 0.0035


def test_intervals_of_differences_hold_the_truth_as_often_as_they_say():
    """Simulated: values of an image vary by image, by training, and by both; bootstrapped as `of_images` does it."""
    rng = np.random.default_rng(1)
    n_trials, n_seeds, n_images, n_replicates, truth = 1500, 3, 40, 300, 0.3
    draws = rng.multinomial(n_images, np.full(n_images, 1 / n_images), n_replicates) / n_images
    for of_image, of_training in ((1.0, 0.0), (0.3, 0.3), (0.0, 0.5)):
        held = 0
        for _ in range(n_trials):
            images = rng.normal(0, 2, n_images)  # in common: it cancels
            sides = []
            for mean in (0.0, truth):
                own = rng.normal(0, of_image, n_images)
                values = [
                    mean + images + own + rng.normal(0, of_training) + rng.normal(0, 0.3, n_images)
                    for _ in range(n_seeds)
                ]
                sides.append([Estimate(v.mean(), n_images, draws @ v - v.mean()) for v in values])
            found = difference(*sides)
            held += found.low <= truth <= found.high
            assert (found.p < 0.05) == found.real
        assert binom.ppf(1e-4, n_trials, 0.93) <= held <= binom.ppf(1 - 1e-4, n_trials, 0.985), held / n_trials


# fairness


def test_all_variants_see_the_same_images_in_the_same_order(mine, trained):
    found, _ = trained
    first, *others = (
        Training.build(resolve(found.recipe(name, 1), mine.registry, list(mine.plugins)))
        for name in ("resnet", "twin", "grey")
    )
    for other in others:
        for step in range(3):
            (x,), (y,) = first.data.batches(step), other.data.batches(step)
            assert torch.equal(x.a, y.a) and torch.equal(x.b, y.b)
    again = Training.build(resolve(found.recipe("resnet", 2), mine.registry, list(mine.plugins))).data
    assert any(not torch.equal(first.data.batches(s)[0].a, again.batches(s)[0].a) for s in range(3))


def test_the_budget_keeps_the_shape_of_the_schedule_and_nothing_ends_a_training_early(mine, tmp_path):
    schedules = ({"n_steps": 600, "n_steps_decay": 2000}, {"n_epochs": 100, "n_epochs_decay": 100}, {"n_steps": 9})
    recipes = {
        str(i): base(tmp_path, schedule=table, eval={"metrics": ["contrast"], "best_by": "contrast", "patience": 2})
        for i, table in enumerate(schedules)
    }
    found = budgeted(of_recipes(recipes, mine), 500, [], mine)
    lengths = [(d["schedule"]["n_steps"], d["schedule"]["n_steps_decay"]) for d in found.values()]
    assert lengths == [(115, 385), (250, 250), (500, 0)]
    for document in found.values():
        assert document["eval"]["every"] == 50 and document["train"]["log_every"] == 10
        assert document["eval"]["patience"] == 0 and document["eval"]["best_by"] is None
        assert document["eval"]["metrics"] == [{"name": "contrast"}]


def test_the_runs_are_ordinary(mine, trained):
    found, result = trained
    run = Run.open(found.run("grey", 2))
    assert run.recipe["train"]["seed"] == 2 and run.recipe["generator"]["name"] == "grey"
    assert (run.folder / "report.html").is_file() and run.weights("ba").is_file()
    one = result.sides[2].trained[2]
    assert one.memory == run.environment["memory"] > 0 and one.seconds_per_step > 0 and one.step == 3
    assert one.parameters == sum(run.environment["parameters"].values())


# going on


def test_it_goes_on_where_it_was_stopped(mine, tmp_path):
    found = plan(tmp_path, mine, ["resnet", "grey"], seeds=(0, 1), n_steps=2)
    first = Silent(stops=("grey", 0))
    with pytest.raises(KeyboardInterrupt):
        go(found, mine, first)
    assert first.built == [("resnet", 0), ("grey", 0)]
    second = Silent()
    result = go(found, mine, second)
    assert second.built == [("grey", 0), ("resnet", 1), ("grey", 1)]
    assert second.began == [("grey", 0, 1), ("resnet", 1, 0), ("grey", 1, 0)]
    assert [[one.step for one in side.trained] for side in result.sides] == [[2, 2], [2, 2]]
    third = Silent()
    assert go(found, mine, third).document() == result.document() and third.built == []


def test_what_was_killed_before_its_first_save_begins_anew(mine, tmp_path):
    found = plan(tmp_path, mine, ["grey"], seeds=(0,), n_steps=2)
    found.run("grey", 0).mkdir(parents=True)
    (found.run("grey", 0) / "metrics.jsonl").write_text('{"step": 7}\n')
    (side,) = go(found, mine).sides
    assert side.trained[0].step == 2 and '"step": 7' not in (found.run("grey", 0) / "metrics.jsonl").read_text()


def test_a_variant_that_fails_is_told_and_the_others_go_on(mine, tmp_path):
    found, audience = plan(tmp_path, mine, ["broken", "stubborn", "grey"], seeds=(0, 1)), Silent()
    result = go(found, mine, audience)
    assert [len(side.done) for side in result.sides] == [0, 0, 2]
    notes = " ".join(result.notes())
    assert "broken failed with seeds 0, 1: step 2: loss 'loss.adversarial_ab' is nan" in notes
    assert "stubborn failed with seeds 0, 1: KeyError: 'nothing'." in notes
    assert all(row.cells[0].mean is None and row.cells[2].difference is None for row in result.rows())
    again = Silent()
    go(found, mine, again)  # what diverged would diverge again; what could not begin may by now
    assert again.built == [("stubborn", 0), ("stubborn", 1)]
    publish(result, found.folder)
    assert "KeyError" in (found.folder / "comparison.html").read_text()


def test_a_plan_may_grow_but_not_change(mine, tmp_path):
    one = plan(tmp_path, mine, ["resnet"], seeds=(0,))
    one.folder.mkdir()
    one.settle()
    plan(tmp_path, mine, ["resnet", "grey"], seeds=(0, 1)).settle()
    for changed, message in (
        (plan(tmp_path, mine, ["resnet", "grey"], seeds=(0, 1), n_steps=4), "3 steps, now 4"),
        (plan(tmp_path, mine, ["resnet", "grey"], seeds=(0,)), "seeds 0, 1, now 0"),
        (plan(tmp_path, mine, ["grey", "resnet"], seeds=(0, 1)), "resnet, grey; now grey, resnet"),
        (
            plan(tmp_path, mine, ["resnet", "grey"], seeds=(0, 1), settings=["optim.lr=0.1"]),
            r"resnet had optim.lr = 0.0002, now 0.1; go on as it began, or begin another comparison with --out",
        ),
    ):
        with pytest.raises(I2IError, match=message):
            changed.settle()
    (one.folder / "plan.json").write_text("{}")
    with pytest.raises(I2IError, match="is no plan of a comparison"):
        one.settle()


def test_one_process_at_a_time(mine, tmp_path):
    found = plan(tmp_path, mine, ["grey"])
    with found.locked(), pytest.raises(I2IError, match="is being trained by another process"), found.locked():
        pass


# finished runs


def test_runs_of_one_recipe_are_seeds_of_one_variant(mine, trained):
    found, result = trained
    folders = [found.run(name, seed) for name in ("resnet", "grey") for seed in (0, 1)]
    sides = grouped([Trained.of(Run.open(folder), mine, device="cpu") for folder in folders])
    assert [side.name for side in sides] == ["resnet/seed-0", "grey/seed-0"]
    assert [[one.seed for one in side.trained] for side in sides] == [[0, 1], [0, 1]]
    for row, before in zip(Result(sides).rows(), result.rows(), strict=True):
        assert row.cells[0].values == before.cells[0].values[:2]
    twice = grouped([Trained.of(Run.open(folders[0]), mine, device="cpu")] * 2)
    assert len(twice) == 2


def test_what_was_judged_on_other_images_is_not_subtracted(mine, trained, tmp_path):
    _, result = trained
    tiny.write_images(tmp_path / "a", 6, seed=9)
    other = go(plan(tmp_path, mine, ["grey"]), mine)
    both = Result([result.sides[0], Side("elsewhere", other.sides[0].trained)])
    assert all(row.cells[1].difference is None and row.cells[1].mean for row in both.rows())
    assert "elsewhere and resnet cannot be subtracted: they were judged on other images." in both.notes()


# what is compared


def chosen(engine, tmp_path, word, names, settings=(), **tables):
    return of_components(base(tmp_path, **tables), word, names, settings, engine)


def test_every_place_of_a_normalization_is_meant(engine, tmp_path):
    for document in (found := chosen(engine, tmp_path, "normalizations", ["instance", "group"])).values():
        norms = {document["generator"]["norm"]["name"], document["discriminator"]["norm"]["name"]}
        assert len(norms) == 1
    assert found["group"]["discriminator"]["norm"]["name"] == "group"
    only = chosen(engine, tmp_path, "generator.norm", ["group"], ["group.groups=2"])["group"]
    assert only["discriminator"]["norm"]["name"] == "instance"
    assert only["generator"]["norm"] == {"name": "group", "groups": 2}


def test_a_slot_is_a_kind_where_there_are_several(engine, tmp_path):
    found = chosen(engine, tmp_path, "cycle", ["l1", "charbonnier"])
    assert [d["cycle"]["name"] for d in found.values()] == ["l1", "charbonnier"]
    assert all(d["identity"]["name"] == "l1" for d in found.values())
    with pytest.raises(I2IError, match="several; say which one: adversarial, cycle, identity"):
        chosen(engine, tmp_path, "losses", ["l1", "charbonnier"])


def test_what_the_recipe_says_of_a_component_stays_with_it(engine, tmp_path):
    found = chosen(engine, tmp_path, "discriminator", ["patchgan", "pixelgan"], ["pixelgan.base_channels=3"])
    assert found["patchgan"]["discriminator"]["base_channels"] == 2
    assert found["pixelgan"]["discriminator"]["base_channels"] == 3
    wide = chosen(engine, tmp_path, "discriminator", ["patchgan", "pixelgan"], ["discriminator.base_channels=5"])
    assert [d["discriminator"]["base_channels"] for d in wide.values()] == [5, 5]


def test_methods_keep_the_slots_that_both_have(engine, tmp_path):
    found = chosen(engine, tmp_path, "method", ["cyclegan", "cut"])["cut"]
    assert found["method"]["name"] == "cut" and found["generator"]["base_channels"] == 2
    assert "cycle" not in found and "pool" not in found


def test_schedules_buffers_initializations_and_adversarial_losses(engine, tmp_path):
    assert chosen(engine, tmp_path, "schedule", ["cosine"])["cosine"]["schedule"]["n_steps"] == 2
    assert chosen(engine, tmp_path, "adversarial-losses", ["hinge"])["hinge"]["adversarial"]["name"] == "hinge"
    names = engine.registry.names("buffer")
    assert [d["pool"]["name"] for d in chosen(engine, tmp_path, "buffer", names).values()] == names
    xavier = chosen(engine, tmp_path, "initialization", ["xavier"])["xavier"]
    assert (
        xavier["generator"]["initialization"]["name"] == xavier["discriminator"]["initialization"]["name"] == "xavier"
    )


def test_augmentations_are_compared_with_none(engine, tmp_path):
    name = engine.registry.names("augmentation")[0]
    found = chosen(engine, tmp_path, "augmentations", [name], [f"{name}.probability=0.5"])
    assert list(found) == ["none", name] and "augment" not in found["none"]
    assert [(t["name"], t["probability"]) for t in found[name]["augment"]] == [(name, 0.5)]


@pytest.mark.parametrize(
    ("word", "name", "message"),
    [
        ("source", "folders", "cannot be compared by training: other images"),
        ("metrics", "l1", "name it by --metric"),
        ("watcher", "health", "changes nothing"),
        ("discriminators", "patchgam", "no discriminator 'patchgam'; did you mean 'patchgan'"),
        ("cycl", "l1", "no kind and no slot 'cycl'; did you mean 'cycle'"),
        ("network", "classifier", "its method, cyclegan, takes none"),
    ],
)
def test_what_cannot_be_compared(engine, tmp_path, word, name, message):
    with pytest.raises(I2IError, match=message):
        chosen(engine, tmp_path, word, [name])


def test_every_mistake_names_its_variant(engine, tmp_path):
    with pytest.raises(I2IError) as raised:
        chosen(engine, tmp_path, "discriminator", ["patchgan", "pixelgan"], ["patchgan.x=1", "pixelgan.y=2"])
    assert [p.where for p in raised.value.problems] == ["patchgan: discriminator.x", "pixelgan: discriminator.y"]


# how it is shown


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits(monkeypatch, trained, width):
    printed = Console(width=width, file=None, record=True, force_terminal=False)
    monkeypatch.setattr(comparing_terminal, "console", printed)
    with printed.capture() as captured:
        comparing_terminal.show(trained[1])
    lines = captured.get().splitlines()
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "Contrast a → b" in text and "±" in text and "not shown" in text and "better" in text


def test_many_variants_follow_in_further_tables_beside_the_first(monkeypatch, trained):
    first, twin, grey = trained[1].sides
    many = Result([first, *(Side(f"{side.name}{i}", side.trained) for i in range(3) for side in (twin, grey))])
    printed = Console(width=80, force_terminal=False)
    monkeypatch.setattr(comparing_terminal, "console", printed)
    with printed.capture() as captured:
        comparing_terminal.show(many)
    heads = [line.split() for line in captured.get().splitlines() if line.lstrip().startswith("resnet")]
    assert len(heads) > 1 and sorted(name for head in heads for name in head[1:]) == sorted(
        s.name for s in many.sides[1:]
    )


def test_the_page_and_the_document(trained):
    found, result = trained
    publish(result, found.folder, 12)
    page = (found.folder / "comparison.html").read_text(encoding="utf-8")
    assert "<b>9</b> of 12 trainings are done" in page and "<b>3</b> steps" in page
    assert "http" not in page.replace("http://www.w3.org", "") and len(page) < 5e6
    data = json.loads(page.partition('id="page">')[2].partition("</script>")[0])
    contrast = [p for p in data["panels"] if p["title"] == "Contrast"]
    assert [c["label"] for c in contrast[0]["curves"]] == ["resnet", "twin", "grey"]
    step, mean, low, high = contrast[0]["curves"][0]["points"][-1]
    assert step == 3 and low < mean < high
    rows = data["gallery"]["blocks"][0]["rows"]
    assert [(row["key"], row["run"]) for row in rows] == [("a", ""), ("ab", "resnet"), ("ab", "twin"), ("ab", "grey")]
    document = json.loads((found.folder / "comparison.json").read_text())
    assert document["variants"]["grey"]["seeds"] == [0, 1, 2]
    assert document["metrics"]["contrast_ab"]["variants"]["grey"]["real"] is True


def i2i(*words, code=0) -> str:
    result = CliRunner().invoke(app, list(map(str, words)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("I2I_DISABLE_PLUGINS", "*")
    monkeypatch.setenv("COLUMNS", "80")
    plugin = tmp_path / "grey_metric.py"
    plugin.write_text(
        "from i2i import hookimpl\nfrom i2i.metric import ImageMetric\n\n\n"
        'class Contrast(ImageMetric):\n    """Mean absolute value."""\n\n'
        "    def values(self, translation):\n        return translation.output.abs().mean((1, 2, 3))\n\n\n"
        '@hookimpl\ndef register_metrics():\n    return {"contrast": Contrast}\n'
    )
    recipe = tmp_path / "tiny.json"
    recipe.write_text(json.dumps(base(tmp_path)))
    out = tmp_path / "out"
    words = ["-p", plugin, "compare", "pool", "image_pool", "--train", recipe, "--metric", "contrast", "--out", out]
    text = i2i(*words, "--steps", 2, "--seeds", 1)
    assert "1 of 1: image_pool, seed 0" in text and "contrast a → b" in text and "comparison.html" in text
    assert "1 of 1 trainings are done already" in i2i(*words, "--steps", 2, "--seeds", 1)
    with pytest.raises(I2IError, match="was begun with other settings: 2 steps, now 3"):
        i2i(*words, "--steps", 3, "--seeds", 1)
    run = out / "image_pool" / "seed-0"
    document = json.loads(i2i("-p", plugin, "compare", run, "--out", tmp_path / "runs", "--json"))
    assert list(document["variants"]) == ["seed-0"] and (tmp_path / "runs" / "comparison.html").is_file()
    for mistake, message in (
        ([run, recipe], "compare runs with runs, recipes with recipes"),
        ([run, "--steps", "3"], "runs are trained already"),
        (["discriminator", "patchgan", "--metric", "l1"], "goes with --train"),
        ([recipe, "--size", "3"], "components that are not trained"),
        (["discriminator", "--train", recipe], "which ones"),
        ([tmp_path / "nothing"], "there is no such folder"),
        ([run, "--out", out], "is a comparison under training"),
    ):
        with pytest.raises(I2IError, match=message):
            i2i("-p", plugin, "compare", *mistake)
