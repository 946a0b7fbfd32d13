"""The loop's one step: plays a method's moves and steps its players. Imports no component and names no method."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from i2i import optim
from i2i.errors import I2IError, Problem, suggest
from i2i.method import Batch, Method, Update
from i2i.slots import PairLoss

Reduce = Callable[[Sequence[nn.Parameter]], None]


@dataclass(frozen=True, slots=True)
class ExtraTerm:
    """A pair loss between tensors that the method publishes, added to a player's first move that has them all."""

    name: str
    loss: PairLoss
    weight: float
    between: tuple[str, ...]
    player: str


class Trainer:
    """Steps the players of a method.

    Args:
        method: moved to its device already.
        optimizers: one for each player, as `players_parameters` groups them.
        rate: factor on every learning rate by step.
        autocast: bf16 for the forward passes; losses are the method's to keep in float32.
        clip: largest gradient norm of a player; 0 leaves gradients alone.
        ema: decay of the translators' moving average; their plain mean for the first 1 / (1 - ema) steps; 0 keeps none.
            Buffers, such as running statistics, are the newest.
        terms: extra losses.
        reduce: averages gradients over processes, in place; None for a single process.
    """

    def __init__(
        self,
        method: Method,
        optimizers: Mapping[str, Optimizer],
        *,
        rate: Callable[[int], float] = lambda step: 1.0,
        autocast: bool = False,
        clip: float = 0.0,
        ema: float = 0.0,
        terms: Sequence[ExtraTerm] = (),
        reduce: Reduce | None = None,
    ) -> None:
        self.method = method
        self.parameters = players_parameters(method)
        self.optimizers = dict(optimizers)
        assert self.optimizers.keys() == self.parameters.keys(), "one optimizer for each player"
        self.base_rates = {p: [group["lr"] for group in o.param_groups] for p, o in self.optimizers.items()}
        self.rate, self.clip, self.terms, self.reduce = rate, clip, tuple(terms), reduce
        self.device = next(method.parameters()).device
        self.autocast = autocast
        self.step = 0
        self.average = _average(nn.ModuleDict(method.translators()), ema)
        method.train()

    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One step over micro-batches, their moves in lockstep; gradients are the mean of theirs.

        Returns:
            The mean of each `loss.NAME` and `score.NAME` over the step, on the device: reading one waits for it.
        """
        self._set_rates()
        games = [self.method.play(batch, self.step) for batch in batches]
        waiting = list(self.terms)
        sums: dict[str, tuple[Tensor, int]] = {}
        published: set[str] = set()
        while players := self._move(games, waiting, sums, published):
            self._update(players)
        if waiting:
            raise I2IError(*(_unplayed(term, published, self.parameters) for term in waiting))
        self.step += 1
        if self.average is not None:
            self.average.update(nn.ModuleDict(self.method.translators()), self.step)
        return {name: total / count for name, (total, count) in sums.items()}

    def _move(
        self,
        games: Sequence[Iterator[Update]],
        waiting: list[ExtraTerm],
        sums: dict[str, tuple[Tensor, int]],
        published: set[str],
    ) -> tuple[str, ...]:
        """Plays the next move of every game and leaves its gradients; returns who moves, nobody at the end."""
        players: tuple[str, ...] = ()
        terms: list[ExtraTerm] = []
        for index, game in enumerate(games):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                update = next(game, None)
                if update is None:
                    return ()
                if index == 0:
                    players = self._check(update)
                    published.update(update.images)
                    terms = [t for t in waiting if t.player in players and update.images.keys() >= {*t.between}]
                    for term in terms:
                        waiting.remove(term)
                    for player in players:
                        self.optimizers[player].zero_grad()
                extra = {t.name: t.weight * t.loss(*(update.images[n] for n in t.between)) for t in terms}
            for name in extra.keys() & update.losses.keys():
                raise I2IError(Problem(f"extra_loss {name!r}", "the method has a loss of that name; give it a label"))
            losses = {**update.losses, **extra}
            movers = [p for player in players for p in self.parameters[player].values()]
            total_loss = torch.stack([*losses.values()]).sum() / len(games)
            if total_loss.requires_grad:  # else nobody gets a gradient, which _update tells
                total_loss.backward(inputs=movers)  # type: ignore[no-untyped-call]
            named = {f"loss.{n}": v for n, v in losses.items()} | {f"score.{n}": v for n, v in update.scores.items()}
            for name, value in named.items():
                total, count = sums.get(name, (0.0, 0))
                sums[name] = (total + value.detach(), count + 1)
        return players

    def _check(self, update: Update) -> tuple[str, ...]:
        players = (update.players,) if isinstance(update.players, str) else tuple(update.players)
        for player in players:
            if player not in self.parameters:
                raise I2IError(
                    Problem("method", f"moves {player!r}, who is no player{suggest(player, self.parameters)}")
                )
        for name, loss in update.losses.items():
            if loss.dim():
                raise I2IError(Problem("method", f"loss {name!r} has shape {tuple(loss.shape)}; it must be a scalar"))
        return players

    def _update(self, players: Sequence[str]) -> None:
        for player in players:
            parameters = [*self.parameters[player].values()]
            if all(p.grad is None for p in parameters):
                raise I2IError(
                    Problem("method", f"player {player!r} moved without any gradient; do its losses use it?")
                )
            if self.reduce is not None:
                self.reduce(parameters)
            if self.clip > 0:
                nn.utils.clip_grad_norm_(parameters, self.clip)
            self.optimizers[player].step()

    def _set_rates(self) -> None:
        factor = self.rate(self.step)
        for player, optimizer in self.optimizers.items():
            for group, base in zip(optimizer.param_groups, self.base_rates[player], strict=True):
                group["lr"] = base * factor

    def rates(self) -> dict[str, float]:
        """The learning rate of each player, as the last step used it."""
        return {player: optimizer.param_groups[0]["lr"] for player, optimizer in self.optimizers.items()}

    def translators(self) -> dict[str, nn.Module]:
        """The networks to translate with: their moving averages where those are kept."""
        if self.average is None:
            return self.method.translators()
        return dict(self.average.module.items())

    def state_dict(self) -> dict[str, Any]:
        """Everything a step depends on but the data: tensors and JSON values, by names that do not change."""
        return {
            "step": self.step,
            "parameters": {name: p.detach() for name, p in self.method.named_parameters(remove_duplicate=False)},
            "buffers": dict(self.method.named_buffers()),
            "optimizers": {p: optim.state_of(o, self.parameters[p]) for p, o in self.optimizers.items()},
            "average": {} if self.average is None else self.average.module.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues exactly from `state_dict()`. Buffers are assigned, since pools grow.

        Raises I2IError if names or shapes are not those of this method.
        """
        own = dict(self.method.named_parameters(remove_duplicate=False))
        problems = [
            Problem("checkpoint", f"{n!r} is only in the {w}") for n, w in _difference(own, state["parameters"])
        ]
        for name in own.keys() & state["parameters"].keys():
            if own[name].shape != state["parameters"][name].shape:
                shapes = f"{tuple(state['parameters'][name].shape)}, not {tuple(own[name].shape)}"
                problems.append(Problem("checkpoint", f"{name!r} has shape {shapes}"))
        if problems:
            raise I2IError(*problems)
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state["parameters"][name])
        for name, buffer in state["buffers"].items():
            module, _, leaf = name.rpartition(".")
            setattr(self.method.get_submodule(module), leaf, buffer.to(self.device))
        for player, saved in state["optimizers"].items():
            optim.restore(self.optimizers[player], self.parameters[player], saved)
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        self.step = state["step"]


def players_parameters(method: Method) -> dict[str, dict[str, nn.Parameter]]:
    """Trainable parameters of each player, by their names in the method; shared modules are counted once.

    Raises I2IError for a parameter of two players, and for a player without parameters.
    """
    names = {id(p): name for name, p in method.named_parameters()}
    owners: dict[str, str] = {}
    players: dict[str, dict[str, nn.Parameter]] = {}
    for player, modules in method.players().items():
        own = {names[id(p)]: p for module in modules for p in module.parameters() if p.requires_grad}
        if not own:
            raise I2IError(Problem("method", f"player {player!r} has nothing to learn"))
        for name in own:
            if name in owners:
                raise I2IError(Problem("method", f"{name!r} belongs to two players, {owners[name]!r} and {player!r}"))
            owners[name] = player
        players[player] = own
    return players


def check_finite(metrics: Mapping[str, float], step: int) -> None:
    """Raises I2IError that names the first loss which is not a number; waits for the device only by its arguments."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise I2IError(
                Problem(f"step {step}", f"loss {name!r} is {value}; a lower optim.lr or train.clip may help")
            )


def _average(translators: nn.ModuleDict, decay: float) -> Any:
    if decay == 0:
        return None
    from timm.utils.model_ema import ModelEmaV3  # takes seconds to import

    # without buffers it goes by parameters, each once, also where translators share layers; buffers are copied
    average = ModelEmaV3(translators, decay, use_warmup=True, warmup_power=1.0, exclude_buffers=True)
    return average.requires_grad_(False)


def _difference(own: Mapping[str, Any], saved: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in sorted(own.keys() ^ saved.keys()):
        yield name, "method" if name in own else "checkpoint"


def _unplayed(term: ExtraTerm, published: set[str], players: Mapping[str, Any]) -> Problem:
    where = f"extra_loss {term.name!r}"
    if term.player not in players:
        return Problem(where, f"{term.player!r} is no player{suggest(term.player, players)}")
    for name in term.between:
        if name not in published:
            return Problem(where, f"{name!r} is not published by the method{suggest(name, published)}")
    return Problem(where, f"no move of {term.player!r} publishes {' and '.join(map(repr, term.between))} together")
