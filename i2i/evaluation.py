"""Metrics of translators on held-out images, beside what changing nothing scores and what real images score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from i2i.data import Data
from i2i.distributed import World
from i2i.errors import I2IError, Problem
from i2i.intervals import Estimate, of_images, of_sets
from i2i.metric import ImageMetric, SetMetric, Translation
from i2i.registry import Builder
from i2i.translate import Translator

BATCH = 16
Translate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Named:
    """A metric, and what it is called: the registered name, with the network that it sees through."""

    metric: ImageMetric | SetMetric
    label: str
    where: str

    @classmethod
    def build(cls, builder: Builder) -> Named:
        metric = builder()
        if not isinstance(metric, (ImageMetric, SetMetric)):
            raise I2IError(Problem(builder.where, f"{builder.qualified!r} is no ImageMetric and no SetMetric"))
        label = builder.qualified.replace(":", "_") + (f"_{metric.network}" if metric.network else "")
        return cls(metric, label, builder.where)

    def about(self) -> dict[str, str]:
        """How its values are to be read, as JSON values; the title names the network, without which a KID is no number."""
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
    ) -> None:
        self.data, self.device, self.world = data, device, world or World()
        self.metrics = [Named.build(builder) for builder in metrics]
        for i, named in enumerate(self.metrics):
            if named.label in (other.label for other in self.metrics[:i]):
                raise I2IError(Problem(named.where, f"{named.label!r} is there twice"))
        self.places = {key: _spread(n, n_images) for key, n in zip("ab", data.n_shown, strict=True)}
        self.left_out: dict[str, str] = {}
        self._empty: dict[str, Tensor] = {}  # no rows, of an estimate's width
        self._real: dict[str, Tensor] = {}
        for direction in directions:
            self._try(direction, has_back=direction[::-1] in directions)

    @property
    def names(self) -> list[str]:
        return list(self._empty)

    def about(self) -> dict[str, dict[str, str]]:
        """How the values of each metric are to be read, by its label."""
        return {named.label: named.about() for named in self.metrics}

    def __call__(self, translators: Mapping[str, nn.Module]) -> dict[str, Estimate]:
        """Estimates of translators, `ab` and `ba`, in evaluation mode, the random state untouched. Raises I2IError."""
        networks: dict[str, Translate] = {direction: Translator(module) for direction, module in translators.items()}
        found: dict[str, Estimate] = {}
        for direction, network in networks.items():
            found |= self._direction(direction, network, networks.get(direction[::-1]))
        return found

    def untouched(self) -> dict[str, Estimate]:
        """What the input scores as it is, by the same names; without metrics that need a way back."""
        if self.data.channels[0] != self.data.channels[1]:
            return {}
        found: dict[str, Estimate] = {}
        for direction in dict.fromkeys(name.rpartition("_")[2] for name in self._empty):
            found |= self._direction(direction, lambda images: images, None)
        return found

    def floor(self) -> dict[str, Estimate]:
        """What real images score as outputs: those to train on of the target domain, as many as are translated.

        Of metrics of sets alone, and only where images are held out.
        """
        found: dict[str, Estimate] = {}
        for name, named in self._named().items() if self.data.held_out else ():
            if not isinstance(metric := named.metric, SetMetric):
                continue
            source, target = name[-2], name[-1]
            places = _spread(self.data.n_images["ab".index(target)], len(self.places[source]))
            found |= self._of_set(name, metric, self._features(name, metric, target, places, training=True))
        return found

    def _try(self, direction: str, has_back: bool) -> None:
        """Finds out on two real images which metrics can judge a direction."""
        source, target = direction[0], direction[1]
        n = min(2, *map(len, self.places.values()))
        given, real = (self._images(key, self.places[key][:n])[key] for key in (source, target))
        trial = Translation(given, real, real if self.data.shown_in_pairs else None, lambda images: given)
        for named in self.metrics:
            name, needs = f"{named.label}_{direction}", named.metric.needs
            if "partner" in needs and trial.partner is None:
                self.left_out[name] = "no pairs are held out"
            elif "back" in needs and not has_back:
                self.left_out[name] = "there is no translator back"
            else:
                try:
                    self._empty[name] = _rows(named.metric, trial)[:0]
                except ValueError as error:
                    self.left_out[name] = str(error)

    def _direction(self, direction: str, there: Translate, back: Translate | None) -> dict[str, Estimate]:
        chosen = {
            name: named.metric
            for name, named in self._named().items()
            if name.endswith(f"_{direction}") and not (back is None and "back" in named.metric.needs)
        }
        source, target = direction[0], direction[1]

        def judge(places: Sequence[int]) -> list[Tensor]:
            images = self._images(direction if self.data.shown_in_pairs else source, places)
            translation = Translation(images[source], there(images[source]), images.get(target), back)
            return [_rows(metric, translation) for metric in chosen.values()]

        found: dict[str, Estimate] = {}
        everything = self._gathered(self.places[source], judge, [self._empty[name] for name in chosen])
        for (name, metric), rows in zip(chosen.items(), everything, strict=True):
            found |= {name: of_images(rows)} if isinstance(metric, ImageMetric) else self._of_set(name, metric, rows)
        return found

    def _of_set(self, name: str, metric: SetMetric, outputs: Tensor) -> dict[str, Estimate]:
        """The estimate of a metric of sets; nothing, and the reason, where there are too few images."""
        if name not in self._real:
            target = name[-1]
            self._real[name] = self._features(name, metric, target, self.places[target])
        targets = self._real[name]
        try:
            value, subsets = metric.statistic(outputs, targets), metric.of_subsets(outputs, targets)
            return {name: of_sets(value, subsets, len(outputs), len(targets), metric.n_replicates)}
        except ValueError as error:
            self.left_out[name] = str(error)
            return {}

    def _features(
        self, name: str, metric: SetMetric, domain: str, places: Sequence[int], training: bool = False
    ) -> Tensor:
        """(n, D), of real images."""

        def judge(chosen: Sequence[int]) -> list[Tensor]:
            with torch.no_grad():
                return [metric.features(self._images(domain, chosen, training)[domain]).double().cpu()]

        (rows,) = self._gathered(places, judge, [self._empty[name]])
        return rows

    def _gathered(
        self, places: Sequence[int], judge: Callable[[Sequence[int]], list[Tensor]], empty: Sequence[Tensor]
    ) -> list[Tensor]:
        """What `judge` says of batches of places, each process of its share: rows in the order of the places."""
        own: list[list[Tensor]] = []
        starts = range(0, len(places), BATCH)
        with self.world.together():
            own = [judge(places[start : start + BATCH]) for start in starts[self.world.rank :: self.world.size]]
        columns = [*zip(*own, strict=True)] or [()] * len(empty)
        return [self.world.gather(column, rows.shape[1:]) for column, rows in zip(columns, empty, strict=True)]

    def _images(self, domains: str, places: Sequence[int], training: bool = False) -> dict[str, Tensor]:
        found = self.data.look(domains, places, training=training)
        return {key: images.to(self.device) for key, images in found.items()}

    def _named(self) -> dict[str, Named]:
        """The metrics by the names of their estimates."""
        by_label = {named.label: named for named in self.metrics}
        return {name: by_label[name.rpartition("_")[0]] for name in self._empty}


def _rows(metric: ImageMetric | SetMetric, translation: Translation) -> Tensor:
    """What a metric says of a batch, (N,) or (N, D), float64, on the CPU."""
    with torch.no_grad():
        rows = metric.values(translation) if isinstance(metric, ImageMetric) else metric.features(translation.output)
    return rows.double().cpu()


def _spread(n: int, limit: int) -> list[int]:
    """At most `limit` of n places, evenly spaced; all for 0."""
    chosen = min(n, limit) if limit else n
    return [i * n // chosen for i in range(chosen)]
