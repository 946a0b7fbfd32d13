"""Metrics of translators on held-out images, beside what changing nothing scores and what real images score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2i.data import Data
from i2i.distributed import World
from i2i.errors import I2IError, Problem
from i2i.intervals import Estimate, of_images, of_sets
from i2i.metric import ImageMetric, Remembered, SetMetric, Translation
from i2i.registry import Builder
from i2i.translate import Translator

BATCH = 16
NEEDED = {"partner": "no pairs are held out", "back": "there is no translator back"}  # told if not there
Translate = Callable[[Tensor], Tensor]
Progress = Callable[[str, int, int], None]
Labelled = Mapping[str, ImageMetric | SetMetric]


@dataclass(frozen=True)
class Named:
    """A metric, and what it is called: the registered name, with the network that it sees through."""

    metric: ImageMetric | SetMetric
    label: str
    where: str
    spec: Mapping[str, Any]

    @classmethod
    def build(cls, builder: Builder) -> Named:
        metric = builder()
        if not isinstance(metric, (ImageMetric, SetMetric)):
            raise I2IError(Problem(builder.where, f"{builder.qualified!r} is no ImageMetric and no SetMetric"))
        label = builder.qualified.replace(":", "_") + (f"_{metric.network}" if metric.network else "")
        return cls(metric, label, builder.where, builder.spec())

    def about(self) -> dict[str, str]:
        """How its values are to be read, as JSON values. The title names the network: there is no KID without one."""
        title = self.metric.title or self.label
        title += f" ({self.metric.network})" if self.metric.title and self.metric.network else ""
        return {"title": title, "better": self.metric.better, "unit": self.metric.unit}


class Evaluator:
    """Judges translators by metrics, on held-out images, or on those for training where none are held out.

    All processes take part: each translates its share, and all get the same estimates. An estimate is named after its
    metric and direction: `kid_efficientnet_lite0_ab`.

    Args:
        metrics: of the recipe. Raises I2IError for two of one name, and for networks that cannot be had.
        data: whose images are shown.
        directions: those that translators exist for.
        n_images: at most, of each domain, evenly spaced; 0 for all.
        excused: errors of a metric that leave it out instead of being raised.
        progress: told what is looked at, how many images are done, and how many there are.

    Attributes:
        names: of the estimates that translators get.
        left_out: why a metric says nothing of a direction, by the name of the estimate.
        places: of the images that are judged, by domain.
    """

    def __init__(
        self,
        metrics: Sequence[Builder],
        data: Data,
        directions: Sequence[str],
        *,
        device: torch.device,
        n_images: int = 0,
        world: World | None = None,
        excused: tuple[type[Exception], ...] = (ValueError,),
        progress: Progress = lambda what, done, total: None,
    ) -> None:
        self.data, self.device, self.world, self._progress = data, device, world or World(), progress
        self.metrics: list[Named] = []
        self.left_out: dict[str, str] = {}
        for builder in metrics:
            try:
                named = Named.build(builder)
            except excused as error:
                self.left_out |= {f"{builder.qualified}_{direction}": str(error) for direction in directions}
                continue
            if named.label in (other.label for other in self.metrics):
                raise I2IError(Problem(named.where, f"{named.label!r} is there twice"))
            self.metrics.append(named)
        self.places = {key: _spread(n, n_images) for key, n in zip("ab", data.n_shown, strict=True)}
        self._able: dict[str, dict[str, ImageMetric | SetMetric]] = {direction: {} for direction in directions}
        self._empty: dict[tuple[str, str], Tensor] = {}  # no rows, as wide as of images of a domain, by label
        self._real: dict[str, dict[str, Tensor]] = {}
        for direction in directions:
            self._try(direction, excused)

    @property
    def names(self) -> list[str]:
        return [f"{label}_{direction}" for direction, able in self._able.items() for label in able]

    def about(self) -> dict[str, dict[str, str]]:
        """How the values of each metric are to be read, by its label."""
        return {named.label: named.about() for named in self.metrics}

    def __call__(self, translators: Mapping[str, nn.Module]) -> dict[str, Estimate]:
        """Estimates of translators, `ab` and `ba`, in evaluation mode, the random state untouched. Raises I2IError."""
        networks: dict[str, Translate] = {direction: Translator(module) for direction, module in translators.items()}
        found: dict[str, Estimate] = {}
        for direction, network in networks.items():
            back = networks.get(direction[::-1])
            if back:
                back = Remembered(back)  # all metrics of the cycle ask what comes back from the translation as it is
            rows = self._translated(direction, "{} to {}", network, back, self._able[direction])
            found |= self._estimates(direction, rows)
        return found

    def untouched(self) -> dict[str, Estimate]:
        """What the input scores as it is, by the same names; without metrics that need a way back."""
        found: dict[str, Estimate] = {}
        for direction, able in self._able.items() if self.data.channels[0] == self.data.channels[1] else ():
            alone = {k: m for k, m in able.items() if isinstance(m, ImageMetric) and "back" not in m.needs}
            rows = self._translated(direction, "{} as it is", lambda images: images, None, alone)
            found |= self._estimates(direction, rows | self._of_real(direction[0]))
        return found

    def floor(self) -> dict[str, Estimate]:
        """What real images score as outputs: those to train on of the target domain, as many as are translated.

        Of metrics of sets alone, and only where images are held out.
        """
        found: dict[str, Estimate] = {}
        for direction in self._able if self.data.held_out else ():
            source, target = direction[0], direction[1]
            places = _spread(self.data.n_images["ab".index(target)], len(self.places[source]))
            found |= self._estimates(direction, self._features(target, places, training=True))
        return found

    def _try(self, direction: str, excused: tuple[type[Exception], ...]) -> None:
        """Finds out on two real images which metrics can judge a direction."""
        n = min(2, *map(len, self.places.values()))
        given, real = (self._images(key, self.places[key][:n])[key] for key in direction)
        trial = Translation(given, real, real if self.data.shown_in_pairs else None, lambda images: given)
        absent = {"partner": trial.partner is None, "back": direction[::-1] not in self._able}
        for named in self.metrics:
            name = f"{named.label}_{direction}"
            if lacking := [why for need, why in NEEDED.items() if need in named.metric.needs and absent[need]]:
                self.left_out[name] = lacking[0]
            else:
                try:
                    self._empty[direction[1], named.label] = _rows(named.metric, trial)[:0]
                    self._able[direction][named.label] = named.metric
                except excused as error:
                    self.left_out[name] = str(error)

    def _translated(
        self, direction: str, what: str, there: Translate, back: Translate | None, metrics: Labelled
    ) -> dict[str, Tensor]:
        """What metrics say of each translation: (n,) or (n, D), by label."""
        source, target = direction[0], direction[1]

        def judge(places: Sequence[int]) -> list[Tensor]:
            images = self._images(direction if self.data.shown_in_pairs else source, places)
            translation = Translation(images[source], there(images[source]), images.get(target), back)
            return [_rows(metric, translation) for metric in metrics.values()]

        empty = {label: self._empty[target, label] for label in metrics}
        return self._gathered(what.format(*map(self._called, direction)), self.places[source], judge, empty)

    def _estimates(self, direction: str, rows: Mapping[str, Tensor]) -> dict[str, Estimate]:
        """By name, of metrics that can judge the direction; without those that turn out to need more images."""
        found: dict[str, Estimate] = {}
        for label, metric in self._able[direction].items():
            name, own = f"{label}_{direction}", rows.get(label)
            if own is None:
                continue
            if not own.isfinite().all():  # a translator that diverged: nothing else can be said of it
                found[name] = Estimate(math.nan, len(own), np.empty(0))
                continue
            if isinstance(metric, ImageMetric):
                found[name] = of_images(own)
                continue
            real = self._of_real(direction[1])[label]
            try:
                value, subsets = metric.statistic(own, real), metric.of_subsets(own, real)
                estimate = of_sets(value, subsets, len(own), len(real), metric.n_replicates)
                found[name] = replace(estimate, bounds=metric.bounds)
            except ValueError as error:
                self.left_out[name] = str(error)
        return found

    def _of_real(self, domain: str) -> dict[str, Tensor]:
        """What metrics of sets see of the real images of a domain that are judged, by label; looked at once."""
        if domain not in self._real:
            self._real[domain] = self._features(domain, self.places[domain])
        return self._real[domain]

    def _features(self, domain: str, places: Sequence[int], training: bool = False) -> dict[str, Tensor]:
        """What metrics of sets see of real images: (n, D), by label."""
        direction = "ba" if domain == "a" else "ab"
        if direction not in self._able:  # asked for as the untouched input of the only one, with as many channels
            direction = direction[::-1]
        seen = {label: metric for label, metric in self._able[direction].items() if isinstance(metric, SetMetric)}

        def judge(chosen: Sequence[int]) -> list[Tensor]:
            images = self._images(domain, chosen, training)[domain]
            with torch.no_grad():
                return [metric.features(images).double().cpu() for metric in seen.values()]

        empty = {label: self._empty[direction[1], label] for label in seen}
        return self._gathered(f"real {self._called(domain)}", places, judge, empty)

    def _gathered(
        self,
        what: str,
        places: Sequence[int],
        judge: Callable[[Sequence[int]], list[Tensor]],
        empty: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """What `judge` says of batches of places, each process of its share: rows in the order of the places.

        Args:
            empty: no rows, by label, in the order in which it tells them.
        """
        if not empty:
            return {}
        own: list[list[Tensor]] = []
        with self.world.together():
            for start in range(0, len(places), BATCH)[self.world.rank :: self.world.size]:
                own.append(judge(places[start : start + BATCH]))
                self._progress(what, min(start + BATCH, len(places)), len(places))
        columns = [*zip(*own, strict=True)] or [()] * len(empty)
        named = zip(empty.items(), columns, strict=True)
        return {label: self.world.gather(column, rows.shape[1:]) for (label, rows), column in named}

    def _called(self, domain: str) -> str:
        return self.data.names["ab".index(domain)]

    def _images(self, domains: str, places: Sequence[int], training: bool = False) -> dict[str, Tensor]:
        found = self.data.look(domains, places, training=training)
        return {key: images.to(self.device) for key, images in found.items()}


def _rows(metric: ImageMetric | SetMetric, translation: Translation) -> Tensor:
    """What a metric says of a batch, (N,) or (N, D), float64, on the CPU."""
    with torch.no_grad():
        rows = metric.values(translation) if isinstance(metric, ImageMetric) else metric.features(translation.output)
    return rows.double().cpu()


def _spread(n: int, limit: int) -> list[int]:
    """At most `limit` of n places, evenly spaced; all for 0."""
    chosen = min(n, limit) if limit else n
    return [i * n // chosen for i in range(chosen)]
