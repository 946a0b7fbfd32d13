"""A generator that changes nothing, as a plugin, and weights of it: what comes out shows what i2i itself does."""

from pathlib import Path

import tiny
import torch
from torch import Tensor, nn

from i2i import hookimpl
from i2i.engine import Engine
from i2i.recipe import resolve
from i2i.run import Run
from i2i.weights import save_translator


class Identity(nn.Module):
    """Images as they are; where there are more channels, these are repeated."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        self.channels = [i % in_channels for i in range(out_channels)]
        self.batches: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(tuple(images.shape))
        return torch.cat([images[:, i : i + 1] for i in self.channels], 1) + self.nothing


@hookimpl
def register_generators():
    return {"identity": Identity}


def run(folder: Path, **data) -> Run:
    """A run of it, as if it had been trained; `data` goes into the recipe's table."""
    engine = Engine([__file__])
    method = {"name": "cyclegan", "lambda_identity": 0.0}  # whose loss would need equal channels
    document = tiny.document(folder, method=method, generator={"name": "identity"})
    document["data"] |= data
    recipe = resolve(document, engine.registry, list(engine.plugins))
    run = Run.create(folder / "runs", "identity")
    run.write_about(recipe.document(), {"plugins": {"identity": {"origin": __file__}}})
    for direction, module in recipe.method(*recipe.data.both_channels).translators().items():
        save_translator(run.weights(direction), module, recipe=recipe, direction=direction, step=0)
    return run
