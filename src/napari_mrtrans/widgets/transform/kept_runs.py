"""Results of a viewer, which stay with its layers when the dock that made them is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..grid import unwrapped

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .run import Run

_NAME = "_napari_mrtrans_runs"


class KeptRuns(list["Run"]):
    """To be changed in place.

    Attributes:
        users: Docks that have it, and decide which runs are kept; without one, those that have layers are.
    """

    users = 0

    def forget(self, event: Any = None) -> None:
        """Layers may have gone."""
        if not self.users:
            self[:] = [run for run in self if any(run.layers.alive())]

    def left(self, running: Run | None) -> KeptRuns:
        """A dock that has it is gone, in the middle of a run perhaps, which keeps what came; what the dock has then."""
        if running is not None:
            running.close()
            running.layers.finish()  # what would have done it in steps goes with the dock
        self.users -= 1
        self.forget()
        return KeptRuns()


def kept_runs(viewer: ViewerModel) -> KeptRuns:
    """Those of a viewer, for a dock that is opened; they go with it.

    Kept by its list of layers: napari's theme holds a closed window, and what holds the viewer must not be its value
    in a dictionary of weak keys.
    """
    layers = unwrapped(viewer).layers
    if (kept := layers.__dict__.get(_NAME)) is None:
        kept = layers.__dict__[_NAME] = KeptRuns()
        layers.events.removed.connect(kept.forget)
    kept.users += 1
    return kept
