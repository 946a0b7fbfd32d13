"""CyCADA's terms against the paper's formulas, who learns from what, and where labels come from."""

import pytest
import tiny
import torch
from torch import nn

from i2i.errors import I2IError
from i2i.method import Batch
from i2i.run import Run
from i2i.trainer import Trainer, players_parameters
from i2i.training import Training
from i2i_plugins.classifiers import LeNet
from i2i_plugins.cycada import CyCADA


class Tint(nn.Sequential):
    """A generator of one layer."""

    def __init__(self, in_channels, out_channels):
        super().__init__(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.Tanh())


class Judge(nn.Conv2d):
    """A discriminator of one layer."""

    def __init__(self, in_channels):
        super().__init__(in_channels, 1, 3)


class Means(nn.Sequential):
    """A classifier by the mean of each channel."""

    def __init__(self, in_channels, out_channels):
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, out_channels))


def cycada(**options):
    networks = {"generator": Tint, "discriminator": Judge, "classifier": Means}
    return CyCADA(3, 3, **{"n_classes": 4, **networks, **options}).double()


def batch_of(n=5, **extras):
    a, b = (torch.rand(n, 3, 8, 8, dtype=torch.float64) * 2 - 1 for _ in range(2))
    return Batch(a, b, {"label_a": torch.tensor([0, 3, 1, 1, 2])[:n], **extras})


def cross_entropy(logits, labels):
    """Equation 1, written out."""
    rows = [logit[label] - logit.exp().sum().log() for logit, label in zip(logits, labels, strict=True)]
    return -sum(rows) / len(rows)


def test_terms_are_the_papers():
    method, batch = cycada(trusted_below=100.0, lambda_semantic=0.7), batch_of()
    game, judged, source, target = method.play(batch, 0)
    assert [u.players for u in (game, judged, source, target)] == [
        "generators",
        "discriminators",
        "source_classifier",
        "target_classifier",
    ]
    g, f = method.cyclegan.generator_ab, method.cyclegan.generator_ba
    d_a, d_b = method.cyclegan.discriminator_a, method.cyclegan.discriminator_b
    f_s, f_t = method.source_classifier, method.target_classifier
    a, b = batch.a, batch.b
    expected = {
        "adversarial_ab": (d_b(g(a)) - 1).square().mean(),
        "adversarial_ba": (d_a(f(b)) - 1).square().mean(),
        "cycle_a": 10 * (f(g(a)) - a).abs().mean(),
        "cycle_b": 10 * (g(f(b)) - b).abs().mean(),
        "identity_a": 5 * (f(a) - a).abs().mean(),
        "identity_b": 5 * (g(b) - b).abs().mean(),
        "semantic_a": 0.7 * cross_entropy(f_s(g(a)), f_s(a).argmax(1)),
        "semantic_b": 0.7 * cross_entropy(f_s(f(b)), f_s(b).argmax(1)),
    }
    torch.testing.assert_close(game.losses, expected, rtol=1e-12, atol=0)
    label = batch.extras["label_a"]
    torch.testing.assert_close(source.losses["task_source"], cross_entropy(f_s(a), label), rtol=1e-12, atol=0)
    torch.testing.assert_close(target.losses["task_target"], cross_entropy(f_t(g(a)), label), rtol=1e-12, atol=0)
    right = sum(int(f_s(a)[i].argmax()) == int(label[i]) for i in range(5))
    assert source.scores["accuracy_a"] == torch.tensor(right / 5) and target.scores.keys() == {"accuracy_fake_b"}


@pytest.mark.parametrize(("trusted_below", "counts"), [(100.0, True), (1e-6, False)])
def test_the_classifier_is_heard_once_it_knows_its_domain(trusted_below, counts):
    method = cycada(trusted_below=trusted_below)
    game = next(method.play(batch_of(), 0))
    weight = method.cyclegan.generator_ab[0].weight
    (gradient,) = torch.autograd.grad(game.losses["semantic_a"], weight)
    assert (game.losses["semantic_a"] > 0) == counts and (gradient.abs().max() > 0) == counts


def test_each_classifier_learns_from_its_task_loss_alone():
    method, batch = cycada(trusted_below=100.0, lambda_semantic=50.0), batch_of()
    label, expected = batch.extras["label_a"], {}
    images = {"source_classifier": batch.a, "target_classifier": method.cyclegan.generator_ab(batch.a).detach()}
    for name, shown in images.items():
        classifier = getattr(method, name)
        weights = list(classifier.parameters())
        gradients = torch.autograd.grad(cross_entropy(classifier(shown), label), weights)
        expected[name] = [w.detach() - 0.1 * g for w, g in zip(weights, gradients, strict=True)]
    optimizers = {p: torch.optim.SGD(own.values(), lr=0.1) for p, own in players_parameters(method).items()}
    Trainer(method, optimizers).train_step([batch])
    for name, weights in expected.items():
        learned = [w.detach() for w in getattr(method, name).parameters()]
        torch.testing.assert_close(learned, weights, rtol=1e-12, atol=1e-15)


def test_labels_of_b_are_scored_and_not_learnt_from():
    method = cycada()
    batch = batch_of(label_b=torch.tensor([1, 1, 0, 2, 3]))
    *_, with_labels = method.play(batch, 0)
    *_, without = method.play(Batch(batch.a, batch.b, {"label_a": batch.extras["label_a"]}), 0)
    right = (method.target_classifier(batch.b).argmax(1) == batch.extras["label_b"]).sum()
    assert with_labels.scores["accuracy_b"] == right / 5
    assert with_labels.losses == without.losses and "accuracy_b" not in without.scores


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="equal, not 3 and 1"):
        CyCADA(3, 1)
    with pytest.raises(I2IError, match=r"method\.n_classes: is 3, but a batch has labels from 0 to 3; they count"):
        list(cycada(n_classes=3).play(batch_of(), 0))


def test_lenet_at_28_px_is_the_authors():
    net, images = LeNet(3, 10).double(), torch.rand(2, 3, 28, 28, dtype=torch.float64)
    first, second, features, classes = (layer for layer in net if isinstance(layer, nn.Conv2d | nn.Linear))
    maps = images
    for layer in (first, second):  # 28 -> 24 -> 12 -> 8 -> 4
        maps = nn.functional.conv2d(maps, layer.weight, layer.bias)
        maps = maps.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5)).clamp(min=0)
    assert maps.shape == (2, 50, 4, 4) and classes.weight.shape == (10, 500)
    expected = classes((features.weight @ maps.flatten(1).T + features.bias[:, None]).clamp(min=0).T)
    torch.testing.assert_close(net(images), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (47, 33), (64, 64)])
def test_lenet_takes_any_size(size):
    logits = LeNet(3, 7)(torch.rand(2, 3, *size) * 2 - 1)
    assert logits.shape == (2, 7) and logits.isfinite().all()
    logits.sum().backward()


def labelled(folder, name="labelled_folders"):
    """A recipe on folders of noise: two classes in a, none in b."""
    a = tiny.write_images(folder / "classes" / "cat", 3).parent
    tiny.write_images(a / "dog", 3, seed=1)
    b = tiny.write_images(folder / "others", 4, seed=2)
    source = {"name": name, "a": str(a), "b": str(b)}
    data = {"source": source, "load_size": 18, "crop_size": 16, "batch_size": 2}
    return {"method": {"name": "cycada", "n_classes": 2}, "data": data}


def test_it_trains_on_labelled_folders(tmp_path, engine):
    run = Run.create(tmp_path, "cycada")
    assert tiny.loop(tiny.recipe(tmp_path, engine, **labelled(tmp_path)), run, engine).go() == ""
    assert run.weights("ab").is_file() and run.weights("ba").is_file()


def test_a_source_without_labels_is_refused(tmp_path, engine):
    recipe = tiny.recipe(tmp_path, engine, **labelled(tmp_path, "folders"))
    with pytest.raises(I2IError, match=r"data\.source: gives no label_a, which the recipe needs; .*`labelled_folders`"):
        Training.build(recipe)
