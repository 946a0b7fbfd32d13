"""A set of images as one page: what was found, with the images that it is about, and some of each part."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from i2i.datasets.check.facts import facts
from i2i.datasets.check.findings import Place, printable
from i2i.datasets.check.looking import thumbnail
from i2i.datasets.check.opening import hearing
from i2i.datasets.check.report import Report
from i2i.datasets.check.sets import ImageSet
from i2i.errors import I2IError
from i2i.files import replacing
from i2i.images import Picture
from i2i.watch.pages import page

SIDE = 128
N_SHOWN = 60
"""Of each part, evenly spaced."""
MAX_BYTES = 4_500_000
"""Of all thumbnails together; findings come first."""


def write_page(report: Report, file: Path) -> None:
    """Writes the page, whole or not at all, in the place of what has its name. Raises OSError."""
    images, thumbnails = report.images, Thumbnails(report.images)
    # Findings are drawn before the parts: if there is no room for all thumbnails, it is theirs.
    with hearing():  # what they warn of is among the findings
        findings = [(f, [(e, [*map(thumbnails.of, e.places)]) for e in f.examples]) for f in report.findings]
        parts = [(facts(part), list(_some(images, number, thumbnails))) for number, part in enumerate(images.parts)]
    text = page(
        "i2i.datasets.check",
        "page.html.j2",
        names=list(dict.fromkeys(part.name for part in images.parts)),
        n_images=sum(len(part.images) for part in images.parts),
        report=report,
        n_shown=N_SHOWN,
        findings=findings,
        parts=parts,
    )
    with replacing(file) as temporary:
        temporary.write_bytes(text.encode())


def _some(images: ImageSet, number: int, thumbnails: Thumbnails) -> Iterator[dict[str, Any]]:
    part = images.parts[number]
    places = np.unique(np.linspace(0, len(part.images) - 1, min(N_SHOWN, len(part.images))).round().astype(int))
    for index in places:
        if found := thumbnails.of((number, int(index))):
            yield found


@dataclass
class Thumbnails:
    """Thumbnails as the page embeds them; each is made once, and none when they would be too much for a page."""

    images: ImageSet
    n_bytes: int = 0
    _made: dict[Place, dict[str, Any] | None] = field(default_factory=dict)

    def of(self, place: Place) -> dict[str, Any] | None:
        """`name`, `src`, `width`, `height`; None for an image that cannot be read, or if there is no room."""
        if place not in self._made:
            self._made[place] = self._make(place)
        return self._made[place]

    def _make(self, place: Place) -> dict[str, Any] | None:
        part, index = self.images.parts[place[0]], place[1]
        if self.n_bytes >= MAX_BYTES or index not in part.looks:
            return None
        try:
            picture = Picture.of(part.images.read(index))
        except (I2IError, ValueError):  # it could be read a moment ago
            return None
        width, height = picture.size
        scale = min(1.0, SIDE / max(width, height))
        sides = max(1, round(height * scale)), max(1, round(width * scale))
        file = BytesIO()
        Image.fromarray(thumbnail(picture, sides)).save(file, "WEBP", quality=80)
        source = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
        self.n_bytes += len(source)
        return {"name": printable(part.images.name(index)), "src": source, "width": sides[1], "height": sides[0]}
