"""How long napari's window stands still while the docks work: the longest gap of its event loop, mode by mode.

    python benchmarks/window_gaps.py [--threads 2]

A real window (under Xvfb where there is no display), the sample brain, shipped checkpoints, ``--threads`` computing.
Below the modes, what napari itself takes without us: a step of the slider, and adding an image of the same size.
Figures are of this machine and whatever else it does; a gap that a person sees is longer than about 100 ms.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from adapt_scenes import is_read, ready
from scenes import PLUGIN, SLICE_MM, let_live, tick_all, wait_for
from screenshot import under_xvfb

if TYPE_CHECKING:
    import napari

    from napari_mrtrans.widgets.adapt.dock import AdaptWidget
    from napari_mrtrans.widgets.transform.dock import TransformWidget

Step = Callable[[], None]


class Gaps:
    """Runs steps and prints the longest time that the event loop did not come round in each."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self._gaps: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(5)

    def _beat(self) -> None:
        now = time.perf_counter()
        self._gaps.append(now - self._last)
        self._last = now

    def measure(self, title: str, step: Step) -> None:
        """One mode from its click to its end."""
        let_live(0.3)
        self._beat()
        self._gaps.clear()
        began = time.perf_counter()
        step()
        self._beat()
        gaps = sorted(self._gaps, reverse=True)
        longest = ", ".join(f"{1000 * gap:.0f}" for gap in gaps[:3])
        over = sum(gap > 0.1 for gap in gaps)
        print(f"{title:44s} {longest:>16s} ms, {over} over 100 ms, in {time.perf_counter() - began:.1f} s", flush=True)


def main() -> None:
    """Print a line for each mode."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    under_xvfb()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("CONFIG", "STATE", "DATA"):
            os.environ[f"XDG_{kind}_HOME"] = folder
        import napari
        import torch

        torch.set_num_threads(arguments.threads)
        viewer = napari.Viewer(title="napari")
        viewer.window.resize(1250, 860)
        let_live(1)
        print(f"{arguments.threads} threads compute; longest gaps of the event loop", flush=True)
        _modes(viewer, Gaps(), Path(folder))
        viewer.close()


def _modes(viewer: napari.Viewer, gaps: Gaps, folder: Path) -> None:
    from napari_mrtrans.widgets.transform.extent import SliceRange

    docks = []
    name = "MR contrast transformation"
    gaps.measure("open the dock", lambda: docks.append(viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]))
    dock: TransformWidget = docks[0]
    viewer.open_sample(PLUGIN, "icbm152")
    viewer.dims.set_point(0, SLICE_MM)
    form = dock.form
    form.samples.setValue(2)

    def run(extent: SliceRange, keep: str = "No") -> Step:
        def step() -> None:
            form.range.setCurrentText(extent.value)
            form.advanced._keep.setCurrentText(keep)
            dock.start()
            wait_for(lambda: not dock.state.busy and dock._ending is None)

        return step

    def model(family: str) -> None:
        names = [form.model.itemText(i) for i in range(form.model.count())]
        form.model.setCurrentIndex(next(i for i, text in enumerate(names) if family in text.lower()))

    gaps.measure("this slice, the first one", run(SliceRange.CURRENT))
    gaps.measure("this slice again", run(SliceRange.CURRENT))
    form.range.setCurrentText(SliceRange.SLAB.value)
    let_live(0.2)
    gaps.measure("a slab of 11, samples kept as one layer", run(SliceRange.SLAB, "One 4-D layer"))
    gaps.measure("the film of its samples, 3 s", lambda: _film(dock))
    gaps.measure("veil and contour lines, the limit moved", lambda: _limits(dock))
    form.samples.setValue(20)
    gaps.measure("this slice, 20 layers of samples", run(SliceRange.CURRENT, "Separate layers"))
    form.samples.setValue(2)
    gaps.measure("follow the slider over eight slices", lambda: _follow(viewer, dock))
    model("direct")
    gaps.measure("all slices (Direct)", run(SliceRange.ALL))
    gaps.measure("save", lambda: _save(dock, folder / "results"))
    gaps.measure("report", lambda: _report(dock, folder / "report.html"))
    model("flow")
    gaps.measure("all slices, cancelled after five", lambda: _cancelled(dock))
    gaps.measure("compare all models, this slice", lambda: _compare(viewer))
    source = form.layer
    adapting = ready(viewer)
    adapting.form.minutes.setValue(1)
    wait_for(lambda: is_read(adapting))
    gaps.measure("adapt for a minute", lambda: _adapt(adapting))
    assert source is not None
    gaps.measure("napari alone: the slider over eight slices", lambda: _slide(viewer))
    gaps.measure("napari alone: add an image of this size", lambda: _add(viewer, source.data))


def _film(dock: TransformWidget) -> None:
    dock.uncertainty.film.click()
    let_live(3)
    dock.uncertainty.film.click()


def _limits(dock: TransformWidget) -> None:
    for choice in ("Hidden", "Contour lines"):
        dock.uncertainty.unsure.setCurrentText(choice)
        for limit in range(10, 100, 10):
            dock.uncertainty.limit.setValue(limit)
            let_live(0.03)
    dock.uncertainty.unsure.setCurrentIndex(0)


def _slide(viewer: napari.Viewer) -> None:
    for place in range(8):
        viewer.dims.set_point(0, SLICE_MM + 2 * place)
        let_live(0.7)


def _follow(viewer: napari.Viewer, dock: TransformWidget) -> None:
    dock.form.range.setCurrentText("Follow the slider")
    dock.start()
    _slide(viewer)
    dock.cancel()
    wait_for(lambda: not dock.state.busy)


def _save(dock: TransformWidget, folder: Path) -> None:
    folder.mkdir()
    dock.save.save(folder)
    wait_for(lambda: not dock.save._saving)


def _report(dock: TransformWidget, path: Path) -> None:
    dock.report.write(path)
    wait_for(lambda: not dock.report._writing)


def _cancelled(dock: TransformWidget) -> None:
    dock.form.range.setCurrentText("All slices")
    dock.start()
    wait_for(lambda: not dock.state.busy or (dock.card.plot.values > 0).sum() >= 5)
    dock.cancel()
    wait_for(lambda: not dock.state.busy and dock._ending is None)


def _compare(viewer: napari.Viewer) -> None:
    dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Compare models")[1]
    tick_all(dock)
    dock.form.samples.setValue(2)
    dock.start()
    wait_for(lambda: not dock.state.busy)


def _adapt(dock: AdaptWidget) -> None:
    dock.start()
    wait_for(lambda: not dock.state.busy)


def _add(viewer: napari.Viewer, data: object) -> None:
    viewer.add_image(data, name="another")
    let_live(0.3)


if __name__ == "__main__":
    main()
