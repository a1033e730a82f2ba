"""Scenes of the dock that adapts: two people of a simulated scanner, in a laptop's window."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari

    from napari_mrtrans.widgets.adapt.dock import AdaptWidget

LAPTOP = (1366, 768)
PEOPLE, MINUTES = 2, float(os.environ.get("MRTRANS_SCENE_MINUTES", "4"))


def ready(viewer: napari.Viewer) -> AdaptWidget:
    """The dock with a folder chosen; T1 and T2 of one of its people are open."""
    from napari_mrtrans.cli.adapt import phantom_site

    viewer.window.resize(*LAPTOP)
    site = Path(tempfile.gettempdir()) / "my-scanner"
    if not (site / "scanner-b").exists():
        phantom_site(site, people=PEOPLE, resolution_mm=2, seed=0)
    anat = site / "scanner-a" / "sub-a01" / "anat"
    for suffix in ("T2w", "T1w"):
        viewer.open(anat / f"sub-a01_{suffix}.nii.gz", plugin="napari-nifti")
    viewer.dims.set_point(
        0, viewer.dims.range[0].start + 0.55 * (viewer.dims.range[0].stop - viewer.dims.range[0].start)
    )
    dock: AdaptWidget = viewer.window.add_plugin_dock_widget("napari-mrtrans", "Adapt to my scanner")[1]
    dock.form.folder.line.setText(str(site / "scanner-a"))
    dock.form.model.setCurrentText("t1-t2-flair-direct")
    dock.form.minutes.setValue(MINUTES)
    dock.form.site.setText("phantoms")
    return dock


def is_read(dock: AdaptWidget) -> bool:
    """The folder was looked at."""
    return bool(dock.form.found.text())


def has_improved(dock: AdaptWidget) -> bool:
    """The error was measured anew, and half of the time is over."""
    return (len(next(iter(dock.curve.curves.values()), [])) > 1 and dock.progress.count[0] > 450) or not dock.state.busy
