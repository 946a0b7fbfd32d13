"""Style transfer: its terms against the papers' formulas, and a run."""

import pytest
import tiny
import torch

from i2i.engine import Engine
from i2i.method import Batch
from i2i.recipe import resolve
from i2i.reference.resnet import ResnetGenerator
from i2i.run import Run
from i2i_plugins.style_transfer import StyleTransfer
from i2i_plugins.timm_features import Perceptual, Style

TINY = {"model": "test_resnet", "weights": "random"}


def generator(n_in: int, n_out: int) -> ResnetGenerator:
    return ResnetGenerator(n_in, n_out, base_channels=2, n_blocks=1)


def test_the_objective_is_gatys_equation_7():
    """alpha L_content + beta L_style, in the normalizations of Johnson et al., and the total variation."""
    method = StyleTransfer(
        3,
        3,
        lambda_content=0.5,
        lambda_style=30.0,
        lambda_variation=0.1,
        generator=generator,
        content=lambda: Perceptual(**TINY, layers=(1,)),
        style=lambda: Style(**TINY, layers=(0, 2)),
    ).double()
    a, b = (torch.rand(2, 3, 24, 24, dtype=torch.float64) * 2 - 1 for _ in range(2))
    (move,) = method.play(Batch(a, b), 0)
    fake = method.generator(a)

    content = 0.0
    for p, q in zip(*(method.content.features(x)[0] for x in (fake, a)), strict=True):
        content += ((p - q) ** 2).sum() / p.numel() / 2  # two images

    style = 0.0
    for maps in zip(method.style.features(fake), method.style.features(b), strict=True):
        for p, q in zip(*maps, strict=True):
            grams = [x.flatten(1) @ x.flatten(1).T / x.numel() for x in (p, q)]
            style += ((grams[0] - grams[1]) ** 2).sum() / 2

    down = (fake[:, :, 1:] - fake[:, :, :-1]).abs().mean()
    right = (fake[..., 1:] - fake[..., :-1]).abs().mean()

    assert move.players == "generator"
    assert move.losses.keys() == {"content", "style", "variation"}
    torch.testing.assert_close(move.losses["content"], 0.5 * content)
    torch.testing.assert_close(move.losses["style"], 30.0 * style)
    torch.testing.assert_close(move.losses["variation"], 0.1 * (down + right))
    torch.testing.assert_close(dict(move.images), {"a": a, "b": b, "fake_b": fake})


def test_the_features_belong_to_nobody():
    method = StyleTransfer(
        1, 3, generator=generator, content=lambda: Perceptual(**TINY), style=lambda: Style(**TINY, layers=(0,))
    )
    assert method.players() == {"generator": [method.generator]} and method.translators() == {"ab": method.generator}
    (move,) = method.play(Batch(torch.rand(1, 1, 16, 16), torch.rand(1, 3, 16, 16)), 0)  # grey to colour
    sum(move.losses.values()).backward()
    learnt = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
    assert learnt == {"generator"}


@pytest.mark.parametrize("networks", [{}, {"generator": {"name": "timm_unet", **TINY, "layers": [0, 1]}}])
def test_it_trains_and_translates(engine: Engine, tmp_path, networks):
    document = tiny.document(tmp_path)
    tables = {name: document[name] for name in ("data", "schedule", "train")}
    tables |= {"generator": {"base_channels": 2, "n_blocks": 1}, **networks, "method": {"name": "style_transfer"}}
    tables |= {"content": {"name": "perceptual", **TINY}, "style": {"name": "style", **TINY, "layers": [0]}}
    recipe = resolve(tables, engine.registry, list(engine.plugins))
    run = Run.create(tmp_path / "runs", "small")
    assert tiny.loop(recipe, run, engine).go() == ""
    assert run.weights("ab").is_file() and not run.weights("ba").exists()
