"""Signs that show in the fixed samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from i2i.watch import Running
from i2i.watch.health.measures import DIRECTIONS
from i2i.watch.health.past import Finding, Past
from i2i.watch.wording import number, where

COLLAPSED, GROWING = 0.2, 1.2
"""Translations that differ by less than this share of what inputs and real images do, whichever do less,
and no more than this many times what they did some samples ago."""
SAME = 0.05
"""New images that differ by less than this share of the contrast within them."""
INVERTED = -0.5
UNLIKE, ASKED_FOR = 0.1, 0.5
"""Where the brightness of the domains differs by more than this, and that of a negative by less than this share of it,
inverting is what is to be learnt."""
UNCHANGED = 0.02
"""A mean change, in [0, 1], of five grey levels."""
LOST, LOST_TIMES = 0.02, 2.0
"""What noise that nobody sees costs the reconstruction: so much in [0, 1], and so many times the error without it."""


def collapse(past: Past, run: Running) -> Iterator[Finding]:
    """The translations of different images look alike."""
    advice = "a higher weight of the cycle, a pool, r1 or gradient_penalty may help"
    for key, seen in past.last.pictures.items():
        if key in DIRECTIONS:
            least = min(seen["diversity_inputs"], seen.get("diversity_real", seen["diversity_inputs"]))
            ratio, what = COLLAPSED, f"the translations {where(key, run.names)}"
        else:
            least, ratio, what = seen["contrast"], SAME, f"the new images of {where(key[-1], run.names)}"
        before = past.pictures[0].get(key, seen)["diversity"]
        if seen["diversity"] < ratio * least and seen["diversity"] <= GROWING * before:
            text = (
                f"{what} look alike: they differ by {number(seen['diversity'])}, where {number(least)} would be usual"
            )
            evidence = _of(seen, "diversity", "diversity_inputs", "diversity_real", "contrast")
            yield Finding(key, text, advice, evidence)


def inversion(past: Past, run: Running) -> Iterator[Finding]:
    """Bright becomes dark and dark becomes bright, and neither pairs nor the domains ask for it."""
    for key, seen in _translations(past):
        if not seen.get("correlation", 0.0) < INVERTED or seen.get("correlation_pairs", 0.0) < 0:
            continue
        gap = seen.get("gap", 0.0)
        if gap > UNLIKE and seen["gap_of_negatives"] < ASKED_FOR * gap:
            continue
        text = (
            f"{where(key, run.names)} turns bright into dark: brightness before and after correlates by "
            f"{seen['correlation']:.2f}, and a cycle loss does not mind, since two inversions undo each other"
        )
        advice = "start anew with an identity loss (lambda_identity = 0.5) or another train.seed"
        yield Finding(key, text, advice, _of(seen, "correlation", "gap", "gap_of_negatives"))


def identity(past: Past, run: Running) -> Iterator[Finding]:
    """The translations are their inputs."""
    for key, seen in _translations(past):
        limit = min(UNCHANGED, seen.get("change_pairs", 1.0) / 4)
        if seen.get("change", 1.0) < limit:
            text = f"{where(key, run.names)} changes its images by {100 * seen['change']:.1f} % of the range only"
            advice = "lower the weights of identity and cycle, or take a discriminator that sees more"
            yield Finding(key, text, advice, {"change": seen["change"]})


def hidden(past: Past, run: Running) -> Iterator[Finding]:
    """The way back needs details of the translation that nobody sees."""
    for key, seen in _translations(past):
        error, noised = seen.get("reconstruction", 1.0), seen.get("reconstruction_noised", 0.0)
        if noised > LOST_TIMES * error and noised > error + LOST:
            text = (
                f"{where(key, run.names)} hides its input in invisible detail: the way back is off by {number(error)}, "
                f"but by {number(noised)} if one grey level of noise is added to the translation"
            )
            advice = "the cycle loss says little then; a lower weight of it may help"
            yield Finding(key, text, advice, {"reconstruction": error, "reconstruction_noised": noised})


def _translations(past: Past) -> Iterator[tuple[str, Mapping[str, float]]]:
    return ((key, seen) for key, seen in past.last.pictures.items() if key in DIRECTIONS)


def _of(seen: Mapping[str, float], *names: str) -> dict[str, float]:
    """Those of the numbers that there are."""
    return {name: seen[name] for name in names if name in seen}
