"""Writes samples/STEP.png: fixed images, translated and reconstructed, one row per kind."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping

import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from i2i.files import replacing
from i2i.watch import Running

GAP, BLOCK_GAP = 4, 16
BACKGROUND, INK = (237, 237, 239), (60, 60, 64)
SMALL = 128
MAX_NAME = 16
LAYOUT = "i2i.grid"
"""The text of the PNG file that says where each image is: see `grid`."""


class Samples:
    """Writes a grid of the fixed samples to samples/STEP.png in the run's folder, whenever there are samples.

    Rows are input, translated, reconstructed (also from a translation with a little noise) and, where it is known, the
    true partner; first from a to b, then from b to a; then what the method makes from nothing. Images are columns.
    Images below 128 px are enlarged by a whole factor, pixel by pixel. The file says in its text `i2i.grid` where each
    image lies.
    """

    def started(self, run: Running) -> None:
        pass

    def logged(self, run: Running, step: int, metrics: Mapping[str, float], images: Mapping[str, Tensor]) -> None:
        if not images:
            return
        folder = run.folder / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / f"{step:08}.png") as temporary:
            picture = grid(images, run.names)
            layout = PngInfo()
            layout.add_text(LAYOUT, picture.info[LAYOUT])
            picture.save(temporary, "PNG", pnginfo=layout)

    def finished(self, run: Running) -> None:
        pass


def to_pil(image: Tensor) -> Image.Image:
    """An 8-bit image from (C, H, W) in [-1, 1], rounded and clamped: grey below three channels, else RGB.

    To be looked at: of more channels the first is shown, or the first three. Raises ValueError for another shape.
    """
    if image.dim() != 3:
        raise ValueError(f"an image is (C, H, W), not {tuple(image.shape)}")
    levels = ((image.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray((levels[0] if len(levels) < 3 else levels[:3].permute(1, 2, 0)).contiguous().numpy())


def grid(images: Mapping[str, Tensor], names: tuple[str, str]) -> Image.Image:
    """The sample grid, RGB, of the tensors that `Watcher.logged` describes; those that are absent are left out.

    Its `info["i2i.grid"]` is JSON: `{"scale": 2, "rows": [{"key": "ab", "x": 79, "y": 4, "pitch": 132, "width": 64,
    "height": 64, "n": 6}]}`. Image i of a row begins at (x + i * pitch, y) and is `scale` times `width` x `height`.
    """
    a, b = _plain(names[0], "a"), _plain(names[1], "b")
    blocks = [
        [("a", a), ("ab", f"{a} -> {b}"), ("aba", f"-> {a}"), ("aba_noised", "with noise"), ("true_ab", f"true {b}")],
        [("b", b), ("ba", f"{b} -> {a}"), ("bab", f"-> {b}"), ("bab_noised", "with noise"), ("true_ba", f"true {a}")],
        [("new_a", f"new {a}"), ("new_b", f"new {b}")],
    ]
    shown = [[(key, label, images[key]) for key, label in block if key in images] for block in blocks]
    shown = [block for block in shown if block]
    tensors = [tensor for block in shown for _, _, tensor in block]
    height, width = (max(t.shape[axis] for t in tensors) for axis in (-2, -1))
    scale = max(1, SMALL // max(height, width))
    font = ImageFont.load_default(min(max(scale * height // 8, 12), 20))
    left = round(max(font.getlength(label) for block in shown for _, label, _ in block)) + 4 * GAP
    line = sum(font.getmetrics())  # type: ignore[union-attr]

    heights = [[max(scale * t.shape[-2], line) for _, _, t in block] for block in shown]
    full = sum(sum(h + GAP for h in block) - GAP for block in heights) + BLOCK_GAP * (len(shown) - 1) + 2 * GAP
    columns = max(len(t) for t in tensors)
    pitch = scale * width + GAP
    canvas = Image.new("RGB", (left + columns * pitch, full), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    rows = []
    y = GAP
    for block, block_heights in zip(shown, heights, strict=True):
        for (key, label, tensor), row in zip(block, block_heights, strict=True):
            n, _, h, w = tensor.shape
            rows.append({"key": key, "x": left, "y": y, "pitch": pitch, "width": w, "height": h, "n": n})
            pen.text((left - 2 * GAP, y + row // 2), label, INK, font, anchor="rm")
            for column, image in enumerate(tensor):
                picture = to_pil(image)
                large = picture.resize((scale * picture.width, scale * picture.height), Image.Resampling.NEAREST)
                canvas.paste(large.convert("RGB"), (left + column * pitch, y))
            y += row + GAP
        y += BLOCK_GAP - GAP
    canvas.info[LAYOUT] = json.dumps({"scale": scale, "rows": rows})
    return canvas


def _plain(name: str, otherwise: str) -> str:
    """A short ASCII form of a domain's name: Pillow's own font draws nothing else, not even an é."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().strip() or otherwise
    return plain if len(plain) <= MAX_NAME else f"{plain[: MAX_NAME - 2]}.."
