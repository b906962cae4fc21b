"""Measure the viewer on 10,000 nodes: `python bench/viewing.py` prints the table.

    page       reading the graph, its steps and layers, and writing the page
    opening    in headless Chromium, from the address to the first frame; and with all layers opened
    frames     a second while the mouse drags the graph, at several scales; the display asks for 60

The mouse moves once for each frame. Needs playwright and Chromium. Limits: the page open within
2 s, 30 frames a second.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind an installed pygradc

import pygradc
from pygradc import Value
from pygradc.viewing import page
from pygradc.viewing.graphs import describe

NODES = 10_000
SCALES = (0.02, 0.1, 0.3, 0.5, 1.0)
FRAMES = 90

DRAG = """
async ([scale, frames]) => {
    const {drawing} = viewer, canvas = document.getElementById("graph");
    drawing.fit();
    drawing.view.scale = scale;
    const move = (type, x) => canvas.dispatchEvent(new PointerEvent(
        type, {pointerId: 1, clientX: 300 + x, clientY: 300 + x / 2, bubbles: true}));
    canvas.setPointerCapture = () => {};
    const next = () => new Promise(requestAnimationFrame);
    await next(); await next();
    move("pointerdown", 0);
    const began = await next(), before = drawing.frames;
    let ended = began;
    for (let at = 0; at < frames; at++) {
        move("pointermove", 200 * Math.sin(at / 20));
        ended = await next();
    }
    move("pointerup", 0);
    return 1000 * (drawing.frames - before) / (ended - began);
}
"""
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def network() -> Value:
    model = pygradc.nn.MLP(16, [50, 48, 1])
    result: Any = model([0.1 * i for i in range(16)])
    return result  # type: ignore[no-any-return]


def tangle() -> Value:
    """Each node reads two of the 300 before it."""
    rng = random.Random(1)
    values = [Value(rng.random()) for _ in range(100)]
    while len(values) < 1.4 * NODES:  # some aren't used
        one, other = rng.choice(values[-300:]), rng.choice(values[-300:])
        values.append(one.tanh() if rng.random() < 0.3 else one * other)
    return pygradc.sum(values[-300:])


def chain() -> Value:
    x = Value(0.5)
    for _ in range(NODES - 1):
        x = x.tanh()
    return x


def measure(name: str, make: Callable[[], Value], browser: Any, folder: Path) -> str:
    root = make()
    began = time.perf_counter()
    view = page.View(describe(root))
    path = view.save(folder / f"{name}.html")
    written = time.perf_counter() - began

    shown = browser.new_page(viewport={"width": 1280, "height": 800})
    began = time.perf_counter()
    shown.goto(path.as_uri())
    shown.evaluate(PAINTED)
    opened = time.perf_counter() - began
    began = time.perf_counter()
    shown.evaluate("document.getElementById('expand').click()")
    shown.evaluate(PAINTED)
    expanded = time.perf_counter() - began
    frames = [shown.evaluate(DRAG, [scale, FRAMES]) for scale in SCALES]
    boxes = shown.evaluate("viewer.drawing.shown.boxes.length")
    edges = shown.evaluate("viewer.drawing.shown.edges.length")
    shown.close()
    cells = [
        *(name, f"{boxes:,}", f"{edges:,}", f"{len(view.html) / 1e6:.1f}"),
        *(f"{written:.2f}", f"{opened:.2f}", f"{expanded:.2f}"),
        *(f"{each:.0f}" for each in frames),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    heads = ["graph", "boxes", "edges", "MB", "page, s", "opening, s", "all layers, s"]
    heads += [f"frames/s at {scale:g}" for scale in SCALES]
    print(f"| {' | '.join(heads)} |\n|---|{'--:|' * (len(heads) - 1)}")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, make in (("network", network), ("tangle", tangle), ("chain", chain)):
            print(measure(name, make, browser, Path(folder)), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
