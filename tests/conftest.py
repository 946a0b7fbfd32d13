"""What every test stands on: one thread, a seed, a cache of its own, and an engine with this repository's plugins."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from i2i.engine import Engine

PLUGINS = Path(__file__).parent.parent / "plugins"

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """I2I_CACHE: what i2i caches stays inside the test session."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("I2I_CACHE", str(directory))
        yield directory


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same torch generator, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The reference and every plugin of this repository, none that happens to be installed."""
    names = [p.stem for p in PLUGINS.glob("[!_]*.py")] + [p.parent.name for p in PLUGINS.glob("*/__init__.py")]
    return Engine([f"i2i_plugins.{name}" for name in sorted(names)], entry_points=False)
