"""Make docs/images/dock.png: the sample brain in napari, T2 and its uncertainty streaming in.

    python scripts/screenshot.py [--slices 40] [--output docs/images/dock.png]

Needs an installed flow checkpoint for T1 → T2. Without a display it runs itself under Xvfb.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

SIZE = (1500, 940)
OUTPUT = Path(__file__).parents[1] / "docs" / "images" / "dock.png"


def under_xvfb() -> None:
    """Start this script again with a virtual display if there is none."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        screen = f"-screen 0 {SIZE[0] + 100}x{SIZE[1] + 100}x24"
        os.execvp("xvfb-run", ["xvfb-run", "-a", "-s", screen, sys.executable, *sys.argv])


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Let the window live until ``condition`` holds.

    Raises:
        TimeoutError: it does not come true in time.
    """
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the window did not come that far in time")
        QApplication.processEvents()
        time.sleep(0.005)


def main() -> None:
    """Open, run, save, cancel."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slices", type=int, default=40, help="take the picture after this many slices")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    under_xvfb()

    import napari

    from napari_mrtrans.widgets.demo import open_demo
    from napari_mrtrans.widgets.state import DockState

    viewer = napari.Viewer(title="napari")
    viewer.window.resize(*SIZE)
    dock = open_demo(viewer)
    plot = dock.card.plot
    wait_for(lambda: not dock.state.busy or (plot.values > 0).sum() >= arguments.slices, seconds=900)
    if dock.state is DockState.FAILED:
        sys.exit(dock.message.text())
    wait_for(lambda: dock.layers is not None and dock.layers.std is not None, seconds=10)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    viewer.window.screenshot(str(arguments.output), canvas_only=False, flash=False)
    dock.cancel()
    wait_for(lambda: not dock.state.busy, seconds=10)
    viewer.close()
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
