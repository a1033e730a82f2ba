"""One run of the queue: the cohort's engine in a thread, and what the dock sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.qt.threading import thread_worker

from ...errors import MrtransError, VolumeError
from ...paths import write_together
from ...scan.grid import same_grid
from ...scan.masked import unmasked
from ...scan.volume import Volume
from ...wording import and_more, clock, plural
from ..file_grid import FileGrid
from ..source import LayerSource
from ..transform.worker import Monitor, TransformWorker, plain_error
from ..wording import for_window
from .asked import SOURCES, Asked

if TYPE_CHECKING:
    from ...cohort.plan import Order, Scan
    from ...cohort.summary import Ledger, Row


class Queue:
    """Scans that are transformed one after the other, and what has come of each.

    The worker fills ``rows`` and ``shares``; the dock looks at them a few times a second.

    Attributes:
        asked: What was asked for.
        monitor: Shared with the worker.
        notices: What was said of the scans as a whole, a line each.
        scans: All of them, in their order; empty until they are found.
        rows: Of each scan, as it is now.
        shares: How much of each unfinished scan is done, in [0, 1].
        order: How they are done; None until they are found.
        problem: Why it ended, in one line; empty where nothing was wrong.
        voxels: Of the images of the window that were asked for, by the file that each is transformed as.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.monitor = Monitor()
        self.notices: list[str] = []
        self.scans: list[Scan] = []
        self.rows: dict[Scan, Row] = {}
        self.shares: dict[Scan, float] = {}
        self.order: Order | None = None
        self.problem = ""
        self.voxels: dict[Path, Any] = {}
        self._todo: tuple[Scan, ...] = ()
        self._began = 0.0

    @property
    def title(self) -> str:
        """``T1→T2 of 12 scans``."""
        return f"{self.asked.request.pair} of {plural(len(self.scans), 'scan')}"

    def worker(self) -> TransformWorker:
        """What computes it, not yet started."""
        return _queue_worker(self, self.monitor)

    def cancel(self) -> None:
        """Stop at the next network evaluation; finished scans are kept."""
        self.monitor.stop()

    @property
    def done(self) -> int:
        """Scans with a result."""
        return sum(row.status == "done" for row in dict(self.rows).values())

    @property
    def failed(self) -> int:
        """Scans without, for a reason."""
        return sum(row.status == "failed" for row in dict(self.rows).values())

    @property
    def ended(self) -> float:
        """Scans of this run that have ended, with the part that is done of those at work."""
        rows = dict(self.rows)
        return sum(rows[scan].status != "not done" for scan in self._todo) + sum(dict(self.shares).values())

    def line(self) -> str:
        """``3 of 12 scans · 2:10 left · sub-02_T1w 40 %``."""
        parts = [f"{self.done + self.failed} of {plural(len(self.scans), 'scan')}"]
        ended = self.ended
        if ended:
            parts.append(f"{clock((monotonic() - self._began) * (len(self._todo) - ended) / ended)} left")
        running = [f"{scan.stem} {100 * share:.0f} %" for scan, share in dict(self.shares).items()]
        return " · ".join([*parts, *running[:1]]) + and_more(len(running) - 1)

    def ending(self) -> str:
        """What is said once it has ended without an error."""
        failed = f", {self.failed} failed (see the table)" if self.failed else ""
        said = f"{self.done} of {plural(len(self.scans), 'scan')} done{failed}, in '{self.asked.out}'."
        end = f"Cancelled. {said} Start goes on." if self.monitor.cancel.is_set() else said
        return "\n".join([end, *(line for line in self.notices if not line.startswith(f"{len(self.scans)} scan"))])

    def compute(self) -> None:
        """All of it, in the worker's thread; never raises."""
        try:
            self._compute()
        except Exception as error:
            self.problem = str(plain_error(error, self.asked.request, None))

    def _compute(self) -> None:
        from ...cohort.cluster import check_dask
        from ...cohort.folders import scans_of
        from ...cohort.plan import check_output
        from ...cohort.run import Output, Watch, Workers, check_sampler_of, run_scans
        from ...datasets.derivatives import check_own
        from ...paths import check_folder
        from ..preload import preload_torch

        asked = self.asked
        check_folder(asked.out)
        if asked.workers > 1:
            check_dask()
        self.monitor.stage = "Looking for scans…"
        bids = False
        if asked.folder is None:
            check_own(asked.out, "cohort")
            scans_of((image.name, Path()) for image, _ in asked.images)  # two of one name: before anything is copied
            scans = scans_of(self._files())
        else:
            from ...cohort.folders import find_any

            check_output(asked.out, asked.folder)
            scans, bids = find_any(asked.folder, asked.request.pair.source, self._say)
        self.monitor.stage = "Loading PyTorch…"
        preload_torch()
        check_sampler_of(asked.checkpoint, asked.request)
        self.monitor.stage = "Looking what is done already…"
        workers = Workers(here=True) if asked.workers == 1 else Workers(asked.workers)
        watch = Watch(say=self._say, ledger=self._on_ledger, cancelled=self.monitor.cancel.is_set)
        self.scans = scans
        written = Output(asked.out, bids=bids)
        run_scans(scans, written, asked.checkpoint, asked.request, workers=workers, watch=watch)

    def _files(self) -> list[tuple[str, Path]]:
        """The images of the window as files: their own where they are what it holds, else copies."""
        files = []
        for image, path in self.asked.images:
            volume = _as_stored(image)
            file = path if path and _still_holds(path, volume) else self._copied(image.name, volume)
            self.voxels[file] = image.data
            files.append((image.name, file))
        return files

    def _copied(self, name: str, volume: Volume) -> Path:
        folder = self.asked.out / SOURCES
        file = folder / f"{name.replace('/', '_')}.nii"
        if file.exists():
            try:
                same = Volume.load(file).digest() == volume.digest()
            except VolumeError:
                same = False
            if not same:
                raise MrtransError(
                    f"'{file}' is a copy of another image of that name; choose another folder, or rename the image."
                )
            return file
        return write_together(folder, {file.name: volume.image_like(volume.data).to_filename})[0]

    def _say(self, line: str) -> None:
        """Keep what is said before the first scan; what is said of a scan stands in its row."""
        if self.order is None and line != f"{plural(len(self.scans), 'scan')}.":
            self.notices.append(for_window(line))

    def _on_ledger(self, ledger: Ledger, shares: dict[Scan, float]) -> None:
        if self.order is None:
            self._todo, self._began = tuple(ledger.todo), monotonic()
            self.scans = list(ledger.done)  # without those that are left out
        self.shares = shares
        for scan, done in list(ledger.done.items()):
            status = "done" if done else "failed" if scan in ledger.failures else "not done"
            if scan not in self.rows or self.rows[scan].status != status:
                self.rows[scan] = ledger.row(scan)
        self.order = ledger.order


def _as_stored(image: LayerSource) -> Volume:
    """A layer's voxels as they lie in the file that its reader turned round; as they are where there is none."""
    grid = FileGrid.of(image.data.shape, image.affine, {"header": image.header})
    return replace(image, data=grid.array(unmasked(image.data)), affine=grid.affine).volume()


def _still_holds(path: Path, shown: Volume) -> bool:
    """Whether a layer, turned as its file is, has the voxels that are in it; one that was edited has not."""
    try:
        stored = Volume.load(path)
    except VolumeError:
        return True  # the scan's row tells what is wrong
    size = float(np.nanmax(np.abs(stored.data), initial=0))
    return same_grid(stored.data.shape, stored.affine, shown.data.shape, shown.affine) and np.allclose(
        stored.data, shown.data, rtol=1e-5, atol=1e-6 * size, equal_nan=True
    )


def _run(queue: Queue, monitor: Monitor) -> Iterator[None]:
    queue.compute()
    yield None


#: A worker whose ``quit``, which napari calls when its window closes, cancels the queue.
_queue_worker = thread_worker(_run, worker_class=TransformWorker, ignore_errors=True)
