"""What a worker does with one scan. It knows no Dask; the model is read once for each process."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from .. import __version__
from ..checkpoints.checkpoint import Checkpoint, read_checkpoint
from ..checkpoints.planes import beside_digest
from ..errors import CheckpointError, MrtransError, PartOnly, fault_line
from ..paths import WriteError, cannot_write, write_together
from ..scan.volume import Volume
from ..transformation.ensemble import Ensemble
from ..transformation.names import KINDS
from ..transformation.streaming import SliceUpdate
from ..transformation.whole_volume import transform_request
from .plan import Order, Scan
from .thumbnail import save_thumbnail

if TYPE_CHECKING:
    import torch

    from ..models import Model

#: Starts the names of folders beside results and pictures: what is written there goes to its place when complete.
_UNFINISHED = ".unfinished-cohort-"

_reading = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """How it went with a scan.

    Attributes:
        scan: Which.
        reason: Why there is no result, one line; None = there is.
        stop: Nobody will fare better; the cohort had better stop.
    """

    scan: Scan
    reason: str | None = None
    stop: bool = False


class _Changed(CheckpointError):
    """The checkpoint is not the one the cohort was started with."""


class KeptCheckpoint(Checkpoint):
    """A checkpoint whose model stays in memory for the next scan."""

    def build(self, device: torch.device | str = "cpu") -> Model:
        with _reading:  # a worker may have several threads
            return _model(self.path, self.sha256, str(device))


@lru_cache(maxsize=8)  # the members of a pool
def _model(path: Path, sha256: str, device: str) -> Model:
    model = read_checkpoint(path).build(device)
    if read_checkpoint(path).sha256 != sha256:  # while it was being read
        raise _Changed(_changed_line(path))
    return model


def never() -> bool:
    """Nobody has cancelled."""
    return False


def work(
    scan: Scan, order: Order, tell: Callable[[float], None] | None = None, cancelled: Callable[[], bool] = never
) -> Outcome:
    """Make the scan's result unless it is there; never raises.

    Args:
        scan: The scan.
        order: What to make of it.
        tell: Told how much of the scan is done, in [0, 1].
        cancelled: Asked between network evaluations; what is cancelled leaves no result.
    """
    try:
        if not order.is_done(scan):
            _make(scan, order, tell or (lambda share: None), cancelled)
        return Outcome(scan)
    except _Changed as error:
        return Outcome(scan, str(error), stop=True)
    except WriteError as error:
        return Outcome(scan, str(error), stop=error.everywhere)
    except MrtransError as error:
        return Outcome(scan, " ".join(str(error).split()))
    except Exception as error:  # one bad scan, or a fault of ours, must not cost the night's other scans
        return Outcome(scan, fault_line(error))


def one_by_one(
    scans: Iterable[Scan], order: Order, shares: dict[Scan, float], cancelled: Callable[[], bool]
) -> Generator[Outcome]:
    """Outcomes of scans done here, one after the other, without Dask.

    Args:
        scans: What to do.
        order: How.
        shares: Filled with how much of the unfinished scan is done, in [0, 1].
        cancelled: Asked between network evaluations; the scan it was at is not among the outcomes then.
    """
    for scan in scans:
        if cancelled():
            return
        shares[scan] = 0.0
        outcome = work(scan, order, functools.partial(shares.__setitem__, scan), cancelled)
        shares.pop(scan)
        if outcome.reason is not None and cancelled():
            return
        yield outcome


def _make(scan: Scan, order: Order, tell: Callable[[float], None], cancelled: Callable[[], bool]) -> None:
    if order.version != __version__:
        raise MrtransError(f"This worker has napari-mrtrans {__version__}, and {order.version} asked; update it.")
    key = order.key(scan)  # before the scan is read: a later change then shows the next time
    checkpoint = _checkpoint(order)

    def progress(update: SliceUpdate) -> None:
        tell(update.done / update.total)

    volume = replace(Volume.load(scan.path, order.source), name=scan.stem)  # what its files are called
    try:
        ensemble = transform_request(
            volume, checkpoint, order.request, keep_samples=order.keep_samples, progress=progress, cancelled=cancelled
        )
    except PartOnly as error:
        if isinstance(error.result, Ensemble):
            _save(error.result, scan, order, "")  # without a key, so that it is tried again
        raise
    if cancelled():
        raise MrtransError("Cancelled.")
    _save(ensemble, scan, order, key)


def _checkpoint(order: Order) -> KeptCheckpoint:
    found = read_checkpoint(order.checkpoint)
    kept = KeptCheckpoint(found.path, found.card)
    same = kept.sha256 == order.sha256 and beside_digest(kept, order.request.three_planes) == order.calibration
    if not same or order.request.pair not in kept.pairs:
        raise _Changed(_changed_line(order.checkpoint))
    return kept


def _save(ensemble: Ensemble, scan: Scan, order: Order, key: str) -> None:
    """All files under their final names, the record last: without it, a result does not count as one."""
    record, thumbnail = order.record(scan), order.thumbnail(scan)
    # Folders of its own, since a worker that is given up for dead may live on and write the same files; and on the
    # disk of what they are for, since a subject's folder may be a link to another.
    aside, picture = (path.parent / f"{_UNFINISHED}{uuid4().hex}" for path in (record, thumbnail))
    try:
        ensemble.info |= {"key": key, "files": [order.file_name(scan, kind) for kind in ensemble.images()]}
        written = ensemble.save(aside, bids=order.bids)
        if order.thumbnails:
            write_together(picture, {thumbnail.name: lambda path: save_thumbnail(path, ensemble)})
        if not order.is_asked():
            raise MrtransError(f"Another run computes into '{order.out}' now.")
        for path in (record, thumbnail):
            path.unlink(missing_ok=True)
        for kind in KINDS:
            record.with_name(order.file_name(scan, kind)).unlink(missing_ok=True)
        if order.thumbnails:
            (picture / thumbnail.name).replace(thumbnail)
        for path in written.values():
            path.replace(record.with_name(path.name))
    except OSError as error:
        raise cannot_write(record.parent, error) from None
    finally:
        for folder in (aside, picture):
            shutil.rmtree(folder, ignore_errors=True)


def remove_unfinished(scans: Iterable[Scan], order: Order) -> None:
    """Remove what runs that were killed have left beside the results of these scans."""
    places = {path.parent for scan in scans for path in (order.record(scan), order.thumbnail(scan))}
    for place in places:
        with suppress(OSError):  # nobody may look there
            for left in place.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)


def _changed_line(path: Path) -> str:
    return f"The checkpoint '{path.name}' or its calibration changed while the cohort was running; run it again."
