"""The hooks of i2i: what a plugin may add. Imports pluggy only, so that a plugin costs nothing to name.

Every hook takes no argument, has no side effect and returns a mapping from names to factories. A factory is a plain
class or function: positional parameters are passed by the engine, keyword-only ones are options of the recipe.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pluggy

PROJECT = "i2i"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Factories = Mapping[str, Callable[..., Any]]


@hookspec
def register_methods() -> Factories:  # type: ignore[empty-body]
    """Training methods: factory(channels_a, channels_b, *, options) -> Method."""


@hookspec
def register_generators() -> Factories:  # type: ignore[empty-body]
    """Networks between domains: factory(in_channels, out_channels, *, options) -> (N, Cin, H, W) to (N, Cout, H, W)."""


@hookspec
def register_discriminators() -> Factories:  # type: ignore[empty-body]
    """Judges of images: factory(in_channels, *, options) -> module that gives a map of logits, or a list of maps."""


@hookspec
def register_networks() -> Factories:  # type: ignore[empty-body]
    """Auxiliary networks of a method: factory(in_channels, out_channels, *, options) -> classifier, encoder, …"""


@hookspec
def register_normalizations() -> Factories:  # type: ignore[empty-body]
    """Normalization layers: factory(channels, *, options) -> module that keeps (N, C, H, W)."""


@hookspec
def register_losses() -> Factories:  # type: ignore[empty-body]
    """Losses between two tensors: factory(*, options) -> callable (prediction, target) -> scalar."""


@hookspec
def register_adversarial_losses() -> Factories:  # type: ignore[empty-body]
    """Games of generator and discriminator: factory(*, options) -> AdversarialLoss."""


@hookspec
def register_buffers() -> Factories:  # type: ignore[empty-body]
    """Memories of images: factory(*, options) -> module from images to images of that shape, some of them older."""


@hookspec
def register_initializations() -> Factories:  # type: ignore[empty-body]
    """First weights: factory(*, options) -> callable that fills a module in place."""


@hookspec
def register_schedules() -> Factories:  # type: ignore[empty-body]
    """Learning rates over time: factory(n_steps, n_steps_decay, *, options) -> Schedule."""


@hookspec
def register_sources() -> Factories:  # type: ignore[empty-body]
    """Where images come from: factory(*, options) -> Source."""


@hookspec
def register_augmentations() -> Factories:  # type: ignore[empty-body]
    """Random changes of training images: factory(*, options) -> Augmentation."""


@hookspec
def register_metrics() -> Factories:  # type: ignore[empty-body]
    """How good translations are: factory(*, options) -> Metric: an ImageMetric or a SetMetric."""


@hookspec
def register_watchers() -> Factories:  # type: ignore[empty-body]
    """Observers of a run: factory(*, options) -> Watcher; it sees each log and may stop the run."""
