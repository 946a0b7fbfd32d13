"""Signs that show in losses, scores, learning rates and test metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from statistics import mean, median

from i2i.watch import Running
from i2i.watch.health.past import Evaluation, Finding, Past, is_discriminators
from i2i.watch.wording import number, where

NO_RATE = 1e-6
"""A learning rate of this share of the highest so far teaches nothing."""

NEAR_FLOOR, MOSTLY = 0.05, 0.9
"""A discriminator's loss under this, in this share of a window, has nothing left to learn from."""
RUN_AWAY, ENORMOUS = 4.0, 20.0
"""Scores that part: by so much more in a window's second half than in its first, and by so many logits at least."""

WORSE, NOISES = 0.05, 3.0
"""A test metric is worse than its best by this share of it, and by so many times its usual step to step."""
N_SINCE, N_WORSE = 4, 3
"""Evaluations since the best one, and how many of the newest are all worse."""
SMALL_SET = 200


def non_finite(past: Past, run: Running) -> Iterator[Finding]:
    """Losses and scores that are no numbers."""
    values = past.last.group("loss.") | past.last.group("score.")
    names = [name for name, value in values.items() if not math.isfinite(value)]
    if names:
        text = f"{names[0]} is {values[names[0]]} at step {past.last.step:,}"
        text += f", one of {len(names)} losses and scores that are not finite" if len(names) > 1 else ""
        yield Finding(names[0], text, "a lower optim.lr or train.clip = 1.0 may help", {"n_losses": len(names)})


def zero_rate(past: Past, run: Running) -> Iterator[Finding]:
    """A player whose learning rate is nothing, beside what it was."""
    for player, rate in past.last.group("lr.").items():
        highest = past.highest_rates[player]
        if rate <= NO_RATE * highest:
            left = run.n_steps - past.last.step
            text = f"the learning rate of the {player} is {number(rate)}, and {left:,} steps are still to come"
            yield Finding(player, text, "look at [schedule] and optim.lr", {"rate": rate, "highest": highest})


def winning(past: Past, run: Running) -> Iterator[Finding]:
    """Real and fake are told apart in every log, at a loss near its floor; or their scores run away from each other."""
    for name in filter(is_discriminators, past.last.group("loss.")):
        losses = past.window(f"loss.{name}")
        real, fake = past.window(f"score.{name}_real"), past.window(f"score.{name}_fake")
        margins = [r - f for r, f in zip(real, fake, strict=True)]
        if not losses or any(margin <= 0 for margin in margins):
            continue
        place = name.removeprefix("D").removeprefix("_")
        who = f"the discriminator of {where(place, run.names)}" if place else "the discriminator"
        half = len(margins) // 2
        before, now = (median(margins[:half]), median(margins[half:])) if margins else (0.0, 0.0)
        evidence = {"loss": median(losses)} | ({"real": mean(real), "fake": mean(fake)} if margins else {})
        if min(losses) >= 0 and sum(loss < NEAR_FLOOR for loss in losses) >= MOSTLY * len(losses):
            text = (
                f"{who} tells real from fake images in each of the last {len(losses)} logs, and its loss is down "
                f"to {number(median(losses))}, from which the generator learns little"
            )
            yield Finding(place, text, "lower its learning rate, or make its task harder: r1, spectral", evidence)
        elif now > ENORMOUS and now > RUN_AWAY * before:
            text = (
                f"the scores of {who} run away: it puts real images {number(now)} above fake ones, after "
                f"{number(before)} shortly before"
            )
            advice = "bound it by gradient_penalty or spectral"
            yield Finding(place, text, advice, evidence | {"margin": now, "margin_before": before})


def overfitting(past: Past, run: Running) -> Iterator[Finding]:
    """Every test metric of a direction has been getting worse since its best, while the generators' losses fell."""
    known = run.environment.get("metrics", {})
    turned: dict[str, list[tuple[str, Evaluation | None]]] = {}
    for name in past.evaluations[-1].tests:
        label, _, direction = name.rpartition("_")
        if better := known.get(label, {}).get("better"):
            best = _turned(past.evaluations, name, 1.0 if better == "lower" else -1.0)
            turned.setdefault(direction, []).append((name, best))
    n = min((domain["images"] for domain in run.environment.get("data", {}).values()), default=SMALL_SET)
    for direction, bests in turned.items():
        name, best = bests[0]
        if best is None or not all(best for _, best in bests):
            continue
        now = past.evaluations[-1].tests[name]
        text = (
            f"{where(direction, run.names)} was best at step {best.step:,}: {name} was {number(best.tests[name])} and "
            f"is {number(now)}, while the losses still fall"
        ) + (f"; {n} images are few, and are learnt by heart" if n < SMALL_SET else "")
        advice = "keep the best by eval.best_by, add [[augment]], or take cyclegan-diffaugment"
        yield Finding(direction, text, advice, {"best_step": best.step, "best": best.tests[name], "now": now})


def _turned(evaluations: list[Evaluation], name: str, sign: float) -> Evaluation | None:
    """The best evaluation, if the newest ones are clearly worse than it and the generators' losses lower."""
    known = [e for e in evaluations if math.isfinite(e.tests.get(name, math.nan))]
    values = [sign * e.tests[name] for e in known]
    at = values.index(min(values)) if values else 0
    since = values[at:]
    if len(since) <= N_SINCE:
        return None
    usual = median(abs(later - earlier) for earlier, later in pairwise(since))
    limit = since[0] + max(WORSE * abs(since[0]), NOISES * usual)
    fallen = mean(e.generators for e in known[-N_WORSE:]) < known[at].generators
    return known[at] if min(since[-N_WORSE:]) > limit and fallen else None
