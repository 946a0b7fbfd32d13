"""What a recipe says to train on a set that was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from i2i.data.folders import find_images
from i2i.datasets.prepare.making import Maker
from i2i.images import header
from i2i.manual import toml

N_SEEN = 100


def recipe_lines(maker: Maker, out: Path) -> list[str]:
    """The tables [data] and [data.source], as TOML; the other domain is left to the reader where the set is one."""
    halves = {prefix: out / half for prefix, half in (("", "train"), ("test_", "test")) if (out / half).is_dir()}
    if maker.source == "one domain":
        source = {"name": "folders", **{f"{prefix}a": str(folder) for prefix, folder in halves.items()}}
        return ["[data.source]  # with another folder as b", *_rows(source)]
    source = {"name": maker.source, "path": str(out)}
    if maker.source == "pairs":
        source = {"name": maker.source}
        source |= {f"{prefix}{f}": str(folder / f) for prefix, folder in halves.items() for f in maker.folders}
    domains = [f for f in maker.folders if f in ("", "a", "b")]
    seen = [
        _seen(folder / domain, maker.options.get("range")) for folder in list(halves.values())[:1] for domain in domains
    ]
    data: dict[str, Any] = {
        key: [s[key] for s in seen] if len(seen) > 1 else seen[0][key]
        for key, usual in (("channels", 3), ("range", "type"))
        if any(s[key] != usual for s in seen)
    }
    if maker.domains:
        data["names"] = list(maker.domains)
    tables = {"[data]": data, "[data.source]": source}
    return [line for name, table in tables.items() if table for line in (name, *_rows(table), "")][:-1]


def _rows(table: dict[str, Any]) -> list[str]:
    return [f"{key} = {toml(value)}" for key, value in table.items()]


def _seen(folder: Path, values: tuple[float, float] | None) -> dict[str, Any]:
    """What `channels` and `range` are for the images of a folder, by some of them."""
    names = find_images(folder, str(folder)).names
    some = [header(folder / name) for name in names[:: -(-len(names) // N_SEEN)]]
    deep = {h.dtype for h in some} - {"uint8"}
    range_: Any = "type"
    if deep and values:
        range_ = list(values)
    elif any(dtype.startswith("float") for dtype in deep):
        range_ = "auto"
    return {"channels": max(h.channels for h in some), "range": range_}
