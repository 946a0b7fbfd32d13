"""How the names and numbers of a run read to people, in the terminal and in the report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DIRECTED = re.compile(r"(.+?)_((?:ab|ba|a|b)(?:_.+)?)")


@dataclass(frozen=True, slots=True)
class Measure:
    """How a test metric is shown: title, decimals, unit, and which way is better (-1 lower, +1 higher, 0 unknown)."""

    title: str
    decimals: int | None = None
    unit: str = ""
    better: int = 0
    relative: bool = False

    def value(self, value: float) -> str:
        """With these decimals; without any said, four below 1 and three significant digits above."""
        if self.decimals is None and abs(value) >= 1:
            return number(value)
        return f"{value:.{4 if self.decimals is None else self.decimals}f}"


_MEASURES = {
    "l1": Measure("L1", decimals=4, better=-1, relative=True),
    "psnr": Measure("PSNR", decimals=1, unit=" dB", better=1),
}


def measure(name: str, described: Mapping[str, Mapping[str, Any]] | None = None) -> Measure:
    """How the test metric `name` (without direction) is shown; an unknown one is shown as it is called.

    Args:
        described: by name, as environment.json's `metrics` has it: `{"better": "lower", "unit": "dB", "title": "KID"}`.
    """
    if name in _MEASURES or not described or name not in described:
        return _MEASURES.get(name, Measure(name))
    about = described[name]
    unit = str(about.get("unit") or "")
    better = {"lower": -1, "higher": 1}.get(str(about.get("better")), 0)
    return Measure(str(about.get("title") or name), unit=f" {unit}" if unit else "", better=better)


def split(name: str) -> tuple[str, str]:
    """What is measured and where: `cycle_a` is `cycle` of `a`, `D_b_real` is `D` of `b_real`; other names are whole."""
    match = _DIRECTED.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")


def directed(name: str) -> tuple[str, str]:
    """The label and the direction of a test metric: `kid_net_ab` is `kid_net`, `ab`; another name is whole."""
    label, _, direction = name.rpartition("_")
    return (label, direction) if label and direction in ("ab", "ba") else (name, "")


def where(part: str, names: tuple[str, str], arrow: str = "→") -> str:
    """The second half of `split` with the domains' names: `ab` reads `horse → zebra`, `b_real` reads `zebra real`."""
    first, _, rest = part.partition("_")
    a, b = names
    said = {"a": a, "b": b, "ab": f"{a} {arrow} {b}", "ba": f"{b} {arrow} {a}"}.get(first, first)
    return f"{said} {rest.replace('_', ' ')}".strip()


def number(value: float) -> str:
    """Three significant digits: 0.312, 12.4, 1235, 2.00e-04."""
    if not math.isfinite(value):
        return str(value)
    size = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(2 - size, 0)}f}" if -3 <= size < 6 else f"{value:.2e}"


def duration(seconds: float) -> str:
    """Rounded to what one wants to know: 45 s, 9 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"
