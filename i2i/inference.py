"""Translating from Python: `i2i.load("runs/x").translate(image)`."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from i2i.backends import choose
from i2i.device import Precision, pick_device
from i2i.engine import Engine
from i2i.errors import I2IError, Problem
from i2i.images import Picture, Stored
from i2i.images.picture import Pixels
from i2i.images.profiles import fault, from_cmyk
from i2i.images.values import Range
from i2i.translate import Translator, direction_to, find_translator
from i2i.translating.pictures import give, header_of, run, take
from i2i.translating.tiling import Tiling, in_memory
from i2i.weights import needed_plugins

AnyImage = TypeVar("AnyImage", Image.Image, Pixels, Tensor)


def load(
    path: str | os.PathLike[str],
    to: str | None = None,
    checkpoint: str | int = "latest",
    device: str | torch.device = "auto",
    plugins: str | Path | ModuleType | Iterable[str | Path | ModuleType] = (),
    backend: str = "auto",
    precision: Precision = "auto",
) -> Model:
    """What a run or a weights file has learned, ready to translate images.

    Args:
        path: a run's folder or a safetensors file.
        to: the domain to translate to unless `translate` says otherwise: `a`, `b` or its name. A run translates to b.
        checkpoint: `latest`, `best` by the metric that its recipe names, or the step of a checkpoint of a run.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        plugins: beside those that are installed: paths of Python files, names of modules, or modules; a list, or one.
        backend: `torch`, `compiled`, `onnx` or `openvino`; `auto` takes torch, since nothing tells how many images will
            come, and the others take seconds to minutes to start.
        precision: `fp32` or `bf16`; `auto` is bf16 for images of 8 bits where the hardware multiplies it natively.

    Raises I2IError, at once, for whatever the command line would refuse.
    """
    choose_backend = partial(choose, backend=backend, precision=precision)
    plugins = [plugins] if isinstance(plugins, (str, Path, ModuleType)) else plugins
    tiling = Tiling(bf16=precision == "bf16")
    return Model(Path(path).expanduser(), to, str(checkpoint), str(device), plugins, choose_backend, tiling)


class Model:
    """A trained network, or both of a run; made by `i2i.load`. Its methods may be called from several threads.

    Attributes:
        names: of the domains a and b.
        device: where it computes.
    """

    def __init__(
        self,
        path: Path,
        to: str | None,
        checkpoint: str,
        device: str,
        plugins: Iterable[str | Path | ModuleType],
        choose_backend: Callable[[Translator], Translator],
        tiling: Tiling,
    ) -> None:
        self._path, self._checkpoint, self._choose_backend = path, checkpoint, choose_backend
        self._tiling = tiling
        self._engine = Engine(plugins, only=needed_plugins(path, checkpoint))
        self._lock = threading.Lock()
        with _in_python():
            self.device = pick_device(device, "device")
            self._translators = [self._find(to)]
        first = self._translators[0]
        self.names = first.names if first.direction == "ab" else first.names[::-1]

    def __repr__(self) -> str:
        return f"<i2i model of {self.names[0]} and {self.names[1]}, from {str(self._path)!r}, on {self.device}>"

    @overload
    def translate(self, images: Sequence[AnyImage], to: str | None = None) -> list[AnyImage]: ...
    @overload
    def translate(self, images: AnyImage, to: str | None = None) -> AnyImage: ...
    def translate(self, images: Any, to: str | None = None) -> Any:
        """Images of one domain to the other, of the same kind, type and size.

        Args:
            images: one of these, or a list of them, in which kinds and sizes may differ:
                a Pillow image, of mode L, LA, RGB, RGBA, I;16 or F; others as their colours in one of these;
                an array (H, W) or (H, W, C); of 8 bits, a second or fourth channel is an alpha;
                a tensor (C, H, W), or (N, C, H, W), which goes through the network as one batch.
                Integers have the range of the domain, or where it declares none that of their type: 0 to 255 for uint8.
                Floats have the range of the domain, or where it declares none 0 to 1. Values outside are clipped, with
                a warning.
            to: `a`, `b` or a domain's name; by default as `load` says.

        An image of which a whole pass would take more memory than is free goes through the network in tiles, exactly.

        Channels are those of the domain translated to. The type is another one only if it cannot hold the range of that
        domain. Of an image with an alpha, the network sees its colours on the background, and the alpha comes back.

        Raises I2IError for an image that the domain or the network cannot take; of a list, the message says which.
        """
        with _in_python():
            translator = self._to(to)
        if isinstance(images, (list, tuple)):
            return list(map(partial(self._one, translator), images, (f"image {i}" for i in range(len(images)))))
        return self._one(translator, images, "image")

    def _to(self, to: str | None) -> Translator:
        """The translator to a domain, loaded when it is first asked for."""
        with self._lock:
            if to is None:
                return self._translators[0]
            direction = direction_to(to, self.names)
            for known in self._translators:
                if known.direction == direction:
                    return known
            self._translators.append(self._find(to))
            return self._translators[-1]

    def _find(self, to: str | None) -> Translator:
        registry, plugins = self._engine.registry, self._engine.plugins
        translator = find_translator(self._path, registry, plugins, to=to, at=self._checkpoint)
        translator.module.to(self.device)
        return self._choose_backend(translator)

    def _one(self, translator: Translator, image: Any, where: str) -> Any:
        """One image, or one batch of them, translated."""
        try:
            pictures, back = _opened(image)
            return back(self._through(translator, pictures))
        except I2IError as error:
            raise I2IError(*(Problem(where, problem.message) for problem in error.problems)) from None
        except ValueError as error:
            raise I2IError(Problem(where, str(error))) from None

    def _through(self, translator: Translator, pictures: list[Picture]) -> list[Picture]:
        """Pictures of one size and type, as one batch."""
        if pictures[0].pixels.dtype.kind == "f":
            a, b = (replace(intake, range=intake.range or Range(0, 1)) for intake in translator.intakes)
            translator = replace(translator, intakes=(a, b))
        taken = [take(translator, picture) for picture in pictures]
        if n := sum(one.clipped for one in taken):
            limits, name = translator.intakes[0].range, translator.names[0]
            assert limits is not None
            message = f"{n:,} values outside {limits.low:g} to {limits.high:g}, the range of {name!r}, are clipped"
            warnings.warn(message, stacklevel=4)
        with self._lock:
            if self._tiling.cuts(translator, header_of(pictures[0])):
                out = [in_memory(translator, one.unit, self._tiling) for one in taken]
            else:
                out = run(translator, taken, sum(len(one.unit) for one in taken))
        return [give(translator, one, values) for one, values in zip(taken, out, strict=True)]


Opened = tuple[list[Picture], Callable[[list[Picture]], Any]]


def _opened(image: Any) -> Opened:
    """The pictures in what a user gives, and the way back to a thing of the same kind. Raises ValueError."""
    if isinstance(image, Image.Image):
        return _opened_pillow(image)
    if isinstance(image, np.ndarray):
        return [_finite(Picture.of(image))], lambda results: _array(results[0], flat=image.ndim == 2)
    if isinstance(image, Tensor):
        return _opened_tensor(image)
    kind = f"{type(image).__module__}.{type(image).__qualname__}".removeprefix("builtins.")
    raise ValueError(f"is a {kind}; it may be a Pillow image, a NumPy array, a tensor, or a list of them")


def _opened_pillow(image: Image.Image) -> Opened:
    if image.mode == "I":
        raise ValueError("has the mode I, of which nothing says what is white; convert it to I;16, F or L")
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"is damaged or truncated ({error})") from None
    profile = image.info.get("icc_profile") or b""
    if image.mode == "CMYK":
        rgb, profile = from_cmyk(np.asarray(image), profile)
        picture = Picture(rgb, "rgb")
    else:
        deep = image.mode == "F" or image.mode.startswith("I;16")
        picture = Picture.of(np.asarray(image, np.float32 if image.mode == "F" else np.uint16) if deep else image)
    if profile and not fault(profile, picture.pixels.shape[2]):
        picture = replace(picture, stored=Stored(profile=profile))

    def back(results: list[Picture]) -> Image.Image:
        pixels = _array(results[0], flat=True)
        if pixels.dtype.kind == "f":
            pixels = pixels.astype(np.float32)
        n = pixels.shape[2] if pixels.ndim == 3 else 1
        if n > 4 or pixels.dtype == np.int16 or (n > 1 and pixels.dtype != np.uint8):
            name = pixels.dtype.name
            raise ValueError(f"becomes {n} channels of {name}, which Pillow has no mode for; give an array")
        result = Image.fromarray(pixels)
        result.info = {k: v for k, v in image.info.items() if k not in ("icc_profile", "transparency")}
        if results[0].stored.profile:
            result.info["icc_profile"] = results[0].stored.profile
        return result

    return [_finite(picture)], back


def _opened_tensor(images: Tensor) -> Opened:
    if images.dim() not in (3, 4) or not images.numel():
        raise ValueError(f"has the shape {tuple(images.shape)}; an image is (C, H, W), several are (N, C, H, W)")
    batch = images.detach() if images.dim() == 4 else images.detach()[None]
    try:  # NumPy has no bfloat16
        arrays = (batch.float() if batch.dtype == torch.bfloat16 else batch).permute(0, 2, 3, 1).cpu().numpy()
    except (TypeError, NotImplementedError) as error:  # sparse, without data, or of a type for weights alone
        raise ValueError(f"is a tensor that no array can hold: {error}") from None

    def back(results: list[Picture]) -> Tensor:
        stacked = np.stack([_array(result) for result in results])
        tensor = torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()
        tensor = tensor.to(images.device, images.dtype if stacked.dtype == arrays.dtype else None)
        return tensor if images.dim() == 4 else tensor[0]

    return [_finite(Picture.of(array)) for array in arrays], back


def _array(picture: Picture, flat: bool = False) -> Pixels:
    """(H, W, C), the alpha last; (H, W) if `flat` and C is 1."""
    samples = picture.samples
    return samples[:, :, 0] if flat and samples.shape[2] == 1 else samples


def _finite(picture: Picture) -> Picture:
    """The picture itself. Raises ValueError if a value is none."""
    if n := int((~np.isfinite(picture.pixels)).sum()):
        raise ValueError(f"holds {n:,} values that are not finite, NaN or infinity")
    return picture


@contextmanager
def _in_python() -> Iterator[None]:
    """What the command line says of an option, said of the argument of the same name."""
    try:
        yield
    except I2IError as error:
        raise I2IError(*(Problem(p.where.removeprefix("--"), p.message) for p in error.problems)) from None
