"""What came out of a cohort, read from the results themselves; worst first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any

from ..scan.nifti import stem
from ..transformation.request import INDIFFERENT
from .plan import Order, Scan
from .work import Outcome

DONE, FAILED, MISSING = "done", "failed", "not done"
_NUMBERS = ("ood_probability", "sigma_hat", "sigma_hat_calibrated", "seconds")


@dataclass(frozen=True)
class Row:
    """One scan; the fields are the columns of the table.

    Attributes:
        participant_id: ``sub-XX``.
        session_id: ``ses-X`` or empty.
        scan: Its file, below the data folder.
        status: ``done``, ``failed`` or ``not done``.
        ood_probability: P(OOD), None where the checkpoint is not calibrated.
        verdict: The same in words.
        sigma_hat: σ̂, None for deterministic models.
        sigma_hat_calibrated: The same of the corrected spread.
        seconds: That it took.
        n: Samples.
        result: The JSON, below the output folder.
        thumbnail: The small picture, below the output folder; empty where there is none.
        reason: Why it failed, else notices.
        ood_reason: What speaks against the scan, empty where nothing does.
    """

    participant_id: str
    session_id: str
    scan: str
    status: str
    ood_probability: float | None = None
    verdict: str = ""
    sigma_hat: float | None = None
    sigma_hat_calibrated: float | None = None
    seconds: float | None = None
    n: int | None = None
    result: str = ""
    thumbnail: str = ""
    reason: str = ""
    ood_reason: str = ""

    @property
    def rank(self) -> tuple[int, float, float, str]:
        """Sorts failures first, then by P(OOD), then by σ̂, both falling; what is not done comes last."""
        order = (FAILED, DONE, MISSING).index(self.status)
        return order, -(self.ood_probability or 0), -(self.sigma_hat or 0), self.scan


@dataclass
class Ledger:
    """What has become of each scan.

    Attributes:
        order: Of the cohort.
        done: Each scan, and whether its result is there.
        failures: Why those that failed did.
    """

    order: Order
    done: dict[Scan, bool]
    failures: dict[Scan, str]

    @classmethod
    def read(cls, order: Order, scans: Iterable[Scan]) -> Ledger:
        """As earlier runs left it; failures of these are tried again."""
        return cls(order, {scan: order.is_done(scan) for scan in scans}, {})

    @property
    def todo(self) -> list[Scan]:
        """Scans without a result."""
        return [scan for scan, done in self.done.items() if not done]

    @property
    def count(self) -> int:
        """Scans with a result."""
        return sum(self.done.values())

    def note(self, outcome: Outcome) -> None:
        """Take down how it went with a scan."""
        self.done[outcome.scan] = outcome.reason is None
        if outcome.reason is not None:
            self.failures[outcome.scan] = outcome.reason

    def rows(self) -> list[Row]:
        """One for each scan, worst first."""
        for scan in self.todo:  # a run that is stopped does not hear of the last ones
            self.done[scan] = scan not in self.failures and self.order.is_done(scan)
        return sorted(map(self.row, self.done), key=lambda row: row.rank)

    def row(self, scan: Scan) -> Row:
        """Of one scan."""
        name = scan.path.name if stem(scan.path) == scan.stem else scan.stem  # a layer may be called otherwise
        who = scan.subject, scan.session, (scan.folder / name).as_posix()
        if scan in self.failures:
            return Row(*who, FAILED, reason=self.failures[scan])
        if not self.done[scan]:
            return Row(*who, MISSING)
        record, picture = self.order.record(scan), self.order.thumbnail(scan)
        info: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        numbers = (*_NUMBERS, "n")
        return Row(
            *who, DONE, **{name: info[name] for name in numbers}, verdict=info["verdict"],
            ood_reason=info.get("ood_reason") or "",
            result=record.relative_to(self.order.out).as_posix(),
            thumbnail=picture.relative_to(self.order.out).as_posix() if picture.is_file() else "",
            reason=" ".join(info["notices"]),
        )  # fmt: skip


def others(order: Order, found: Iterable[Row], text: str) -> list[Row]:
    """Rows of the table before, of scans that are not ``found``, whose results are there and were made alike.

    Args:
        order: What is made of each scan now.
        found: The scans at hand.
        text: Of the table before.
    """
    known, out = {row.scan for row in found}, []
    for line in csv.DictReader(io.StringIO(text), delimiter="\t"):
        told = {name: value for name, value in line.items() if value != "n/a"}
        try:
            info = json.loads((order.out / told["result"]).read_text(encoding="utf-8"))
            if told["scan"] not in known and _made_alike(order, info):
                numbers = {name: float(told[name]) for name in _NUMBERS if name in told}
                out.append(Row(**{"participant_id": "", "session_id": "", **told, **numbers, "n": info["n"]}))
        except (OSError, ValueError, LookupError, TypeError):  # another program's table, or a result that is gone
            continue
    return out


def _made_alike(order: Order, info: Mapping[str, Any]) -> bool:
    """Whether a result was made by the same checkpoint and calibration, with all the same settings."""
    wanted = order.request.to_json()
    settings = {name: info["request"].get(name) for name in wanted if name not in (*INDIFFERENT, "target", "source")}
    made = info["sha256"], info["calibration"], info["napari_mrtrans"], json.dumps(settings, sort_keys=True)
    asked = json.dumps({name: wanted[name] for name in settings}, sort_keys=True)
    return made == (order.sha256, order.calibration, order.version, asked)


def table(found: Iterable[Row]) -> str:
    """The rows as tab-separated values; BIDS writes ``n/a`` for what is unknown."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    for row in found:
        writer.writerow("n/a" if value in (None, "") else " ".join(str(value).split()) for value in astuple(row))
    return text.getvalue()
