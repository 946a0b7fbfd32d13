"""Which backend computes: the one asked for, or the one that is done first with so many images."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import cast, get_args

import torch
from torch import Tensor, nn

from i2i.backends.contract import Backend, Compute, ComputedIn
from i2i.backends.costs import Cost, Costs
from i2i.device import Precision, memory_is_full, pick_precision
from i2i.errors import I2IError, Problem, suggest
from i2i.method import size_multiple
from i2i.translate import Translator, evaluating
from i2i.watch.wording import number

BACKENDS = {
    "torch": Backend("i2i.backends.eager"),
    "compiled": Backend("i2i.backends.compiled", seconds=120),
    "onnx": Backend(
        "i2i.backends.onnx_runtime", ("fp32",), 15, ("onnx", "onnxscript", "onnxruntime"), "onnx", cpu_only=True
    ),
    "openvino": Backend("i2i.backends.open_vino", ("fp32", "bf16"), 15, ("openvino",), "openvino", cpu_only=True),
}
BACKEND_NAMES = ("auto", *BACKENDS)

HOPE = 0.25
"""Share of the time that another backend than torch may save: a fifth and a quarter were measured on CPUs with AMX."""
N_FEW = 8
"""Images that torch gets without being timed."""
SIDE = 64
"""Pixels, at least, of the noise that a backend is checked on if it was asked for; smaller images are torch's."""
BOUNDS: dict[ComputedIn, float] = {"fp32": 0.002, "bf16": 0.06}
"""Of the mean difference from torch in float32, in [-1, 1]: wrong graphs differ by far more, right ones by far less."""

_preparing = threading.Lock()
"""Exporters, and what keeps them quiet, are the whole process's."""


class Computing:
    """Computes batches in the place of a translator's module, by whatever it takes when the first of them comes.

    Args:
        module: in evaluation mode.
        wanted: a name in BACKEND_NAMES; `auto` times those that may be worth it, see `_fastest`.
        precision: `auto` is bf16 where the hardware multiplies it and images have 8 bits.
        n_images: that will come.
        tell: told in a line what takes time, and what did not work.
    """

    def __init__(
        self, module: nn.Module, wanted: str, precision: Precision, n_images: int, tell: Callable[[str], None]
    ) -> None:
        self.module, self.wanted, self.precision, self.n_images, self.tell = module, wanted, precision, n_images, tell
        self._ready: dict[ComputedIn, tuple[str, Compute]] = {}

    def __str__(self) -> str:
        """What has computed so far."""
        return " and ".join(f"{name} in {precision}" for precision, (name, _) in self._ready.items())

    def __call__(self, images: Tensor, deep: bool = False) -> Tensor:
        """(N, n_in, H, W) to (N, n_out, H, W); `deep` says that they or their translations have more than 8 bits."""
        return self.ready(images, deep)(images).float()

    def ready(self, example: Tensor, deep: bool = False) -> Compute:
        """What computes such images. Raises I2IError if it cannot be the backend asked for."""
        precision = pick_precision(self.precision, example.device, deep=deep)
        if self.wanted != "auto" and precision not in BACKENDS[self.wanted].precisions:
            precision = "fp32"  # the precision is auto: any other was refused
        if precision not in self._ready:
            if self.wanted == "auto":
                self._ready[precision] = self._fastest(example[:1], precision)
            else:
                self._ready[precision] = self.wanted, self._asked_for(example, precision)
        return self._ready[precision][1]

    def _asked_for(self, example: Tensor, precision: ComputedIn) -> Compute:
        try:
            return self._prepared(self.wanted, self._noise_like(example), precision)
        except Exception as error:
            message = f"{self.wanted!r} cannot compute this network: {_first_line(error)}; auto or torch can"
            raise I2IError(Problem("--backend", message)) from error

    def _fastest(self, example: Tensor, precision: ComputedIn) -> tuple[str, Compute]:
        """The backend that is done first, to start it included.

        Those that have been timed before, in any command, are known. Another one is tried if the share of torch's time
        that it may save is more than its start usually takes. So few images are torch's at once.
        """
        started = {"torch": self._prepared("torch", example, precision)}
        if self.n_images <= N_FEW:
            return "torch", started["torch"]
        costs = Costs(self.module, example, precision)
        if costs.known.get("torch") is None:
            costs.note("torch", Cost(0.0, _seconds(started["torch"], example)))
        by_torch = costs.known["torch"]
        assert by_torch is not None
        for name, backend in BACKENDS.items():
            able = backend.installed and precision in backend.precisions
            able &= not backend.cpu_only or (example.device.type == "cpu" and min(example.shape[-2:]) >= SIDE)
            if not able or name in costs.known or HOPE * by_torch.of(self.n_images) < backend.seconds:
                continue
            self.tell(f"trying whether {name} is faster than torch …")
            began = time.perf_counter()
            try:
                started[name] = self._prepared(name, example, precision)
                start = time.perf_counter() - began
                costs.note(name, Cost(start, _seconds(started[name], example)))
            except Exception as error:
                if not (isinstance(error, (ImportError, OSError)) or memory_is_full(error)):  # these may pass
                    costs.note(name, None)
                self.tell(f"{name} cannot compute this network: {_first_line(error)}")
        known = {
            name: cost if name not in started else replace(cost, start=0.0)
            for name, backend in BACKENDS.items()
            if (cost := costs.known.get(name)) is not None and backend.installed
        }
        if len(started) > 1:
            pace = ", ".join(f"{name} {number(cost.image)} s" for name, cost in known.items())
            self.tell(f"an image takes {pace}; remembered for the next time")
        best = min(known, key=lambda name: known[name].of(self.n_images))
        try:
            return best, started.get(best) or self._prepared(best, example, precision)
        except Exception as error:  # it once could
            costs.note(best, None)
            self.tell(f"{best} cannot compute this network any more: {_first_line(error)}")
            return "torch", started["torch"]

    def _prepared(self, name: str, example: Tensor, precision: ComputedIn) -> Compute:
        """Raises whatever goes wrong, and RuntimeError for a result that is not torch's."""
        backend = BACKENDS[name]
        with _preparing, evaluating(self.module), torch.no_grad(), _quiet():
            if name == "torch":
                return backend.prepare(self.module, example, precision)
            before = _random_state(example.device)
            expected = self.module(example)
            if not torch.equal(_random_state(example.device), before):  # exporters leave the noise out, or fix it
                raise RuntimeError("it draws random numbers, which torch alone draws as in training")
            compute = backend.prepare(self.module, example, precision)
            _check(compute(example), expected, BOUNDS[precision])
            if not backend.cpu_only:
                return compute
            # An exported graph computes something of an image that is too small, where torch says so.
            small = BACKENDS["torch"].prepare(self.module, example, precision)
        return lambda images: (compute if min(images.shape[-2:]) >= SIDE else small)(images)

    def _noise_like(self, example: Tensor) -> Tensor:
        """(1, C, H, W) in [-1, 1], the same each time, of a size that the network takes, whatever that of the example.

        An image may be too small to be exported with, and what is exported must not depend on which comes first.
        """
        multiple = size_multiple(self.module)
        side = -(-SIDE // multiple) * multiple
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(1, example.shape[1], side, side, generator=generator) * 2 - 1
        return noise.to(example.device)


def choose(
    translator: Translator,
    backend: str = "auto",
    precision: str = "auto",
    *,
    n_images: int = 1,
    tell: Callable[[str], None] = lambda text: None,
) -> Translator:
    """The translator, computed by a backend; `auto` takes one when the first images come.

    Args:
        translator: on its device.
        n_images: that will be translated, for `auto` to weigh what it saves against what it takes to start.
        tell: told in a line what takes time, and what did not work.

    Raises I2IError for a backend that is not there, does not compute so, or cannot compute this network.
    """
    if backend not in BACKEND_NAMES:
        raise I2IError(Problem("--backend", f"there is no backend {backend!r}{suggest(backend, BACKEND_NAMES)}"))
    if precision not in (precisions := get_args(Precision)):
        raise I2IError(Problem("--precision", f"there is no precision {precision!r}{suggest(precision, precisions)}"))
    computing = Computing(translator.module, backend, cast(Precision, precision), n_images, tell)
    if backend != "auto":
        BACKENDS[backend].check(backend, precision, translator.device)
        if backend != "torch":
            computing.ready(torch.empty(1, translator.intakes[0].channels, SIDE, SIDE, device=translator.device))
    return replace(translator, compute=computing)


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _check(found: Tensor, expected: Tensor, bound: float) -> None:
    difference = (found.float() - expected.float()).abs().mean().item() if found.shape == expected.shape else 2.0
    if not difference <= bound:  # NaN too
        raise RuntimeError(f"its result differs from torch's by {difference:.3g} on average, in [-1, 1]")


def _seconds(compute: Compute, example: Tensor) -> float:
    """For an image, after a first one that the library may use to settle."""
    compute(example)
    began = time.perf_counter()
    compute(example).sum().item()  # the value is waited for, wherever it is computed
    return time.perf_counter() - began


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters say of their own insides; a failure is told in our words."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
