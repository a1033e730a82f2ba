"""What came out of a cohort, read from the results themselves; worst first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..paths import holds_something
from ..scan.nifti import stem
from ..transformation.request import INDIFFERENT
from ..wording import plural
from .plan import Order, Scan
from .work import Outcome

DONE, FAILED, MISSING = "done", "failed", "not done"
_NUMBERS = ("ood_probability", "sigma_hat", "sigma_hat_calibrated", "seconds", "n")
#: Columns of running text, in which a line break or a tab is but a space; all others are told to the letter.
_PROSE = ("reason", "ood_reason")


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
        who = _who(scan)
        if scan in self.failures:
            return Row(*who, FAILED, reason=self.failures[scan])
        if not self.done[scan]:
            return Row(*who, MISSING)
        result, picture = self.order.places(scan)
        try:
            info = _read(self.order.out / result)
            if _made_alike(self.order, info):
                return _of_result(self.order.out, who, result, picture, info)
            gone = "Its result was replaced by that of another run."
        except (OSError, ValueError, LookupError, TypeError):  # moved away or cut short while others were computed
            gone = "Its result is not there any more."
        self.done[scan] = False
        return Row(*who, MISSING, reason=gone)


def _who(scan: Scan) -> tuple[str, str, str]:
    """The first three columns of a scan's row."""
    name = scan.path.name if stem(scan.path) == scan.stem else scan.stem  # a layer may be called otherwise
    return scan.subject, scan.session, (scan.folder / name).as_posix()


def _read(record: Path) -> dict[str, Any]:
    info: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return info


def _of_result(out: Path, who: tuple[str, str, str], result: str, picture: str, info: Mapping[str, Any]) -> Row:
    """The row of a scan whose ``result`` says ``info``."""
    return Row(
        *who, DONE, **{name: info[name] for name in _NUMBERS}, verdict=info["verdict"],
        ood_reason=info.get("ood_reason") or "", result=result,
        thumbnail=picture if holds_something(out / picture) else "", reason=" ".join(info["notices"]),
    )  # fmt: skip


def others(ledger: Ledger, before: Path) -> tuple[list[Row], list[str]]:
    """Rows of the table before, of scans that are not the ledger's, and a line for whatever of it is left out.

    Results are read anew; they stay where they are there and were made alike. What had failed or was not done stays
    until there is such a result of it, so that the table never looks more complete than it is.

    Args:
        ledger: The scans at hand, and what is made of each.
        before: The table; there may be none.
    """
    if not before.is_file():
        return [], []
    order = ledger.order
    known = {_who(scan)[2] for scan in ledger.done} | {order.places(scan)[0] for scan in ledger.done}
    kept, gone, said = list[Row](), 0, list[str]()
    with before.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        try:
            for line in csv.DictReader(file, delimiter="\t"):
                told = {name: value for name, value in line.items() if value not in (None, "", "n/a")}
                scan = Path(told.get("scan", ""))
                if told.get("status") not in (DONE, FAILED, MISSING) or "scan" not in told or scan.is_absolute():
                    continue  # another program's table
                who = told.get("participant_id", ""), told.get("session_id", ""), told["scan"]
                result, picture = order.places(Scan(scan, *who[:2], scan.parent, stem(scan)))
                result = told.get("result", result)
                if known.isdisjoint((who[2], result)):
                    row = _row_again(order, who, result, told.get("thumbnail", picture))
                    if row is None and told["status"] != DONE:
                        row = Row(*who, told["status"], reason=told.get("reason", ""))
                    kept += [] if row is None else [row]
                    gone += row is None
                known |= {who[2], result}
        except csv.Error as error:
            said.append(f"The table before could be read in part only ({error}).")
    if gone:
        said.append(f"Left out of the table before: {plural(gone, 'result')} made otherwise, or gone.")
    return kept, said


def _row_again(order: Order, who: tuple[str, str, str], result: str, picture: str) -> Row | None:
    """The row of a finished result that was made alike; None where there is none."""
    try:
        info = _read(order.out / result)
        if info["key"] and _made_alike(order, info):  # one of some slices only has an empty key
            return _of_result(order.out, who, result, picture, info)
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return None


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
        told = asdict(row) | {name: " ".join(getattr(row, name).split()) for name in _PROSE}
        writer.writerow("n/a" if value in (None, "") else value for value in told.values())
    return text.getvalue()
