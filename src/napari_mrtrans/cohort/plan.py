"""What a cohort is: which scans, what is made of each, and which of them are done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.planes import beside_digest
from ..datasets.derivatives import check_own, finished_files
from ..datasets.sessions import anat_folders, anat_images
from ..errors import MrtransError, VolumeError
from ..paths import file_digest, holds_something, write_together
from ..scan.contrasts import BIDS_SUFFIX, Contrast
from ..scan.nifti import missing_line, stem
from ..scan.volume import Volume
from ..transformation.names import bids_entity, file_name
from ..transformation.request import Request
from ..wording import plural

#: In the output folder: digest of the order that is carried out there.
_ASKED = ".napari-mrtrans-cohort.asked"


@dataclass(frozen=True)
class Scan:
    """One volume of the cohort.

    Attributes:
        path: Its file.
        subject: ``sub-XX``.
        session: ``ses-X`` or empty.
        folder: Where its results go, below the output folder.
        stem: File name without its ending.
    """

    path: Path
    subject: str
    session: str
    folder: Path
    stem: str


@dataclass(frozen=True)
class Output:
    """What is written, and where.

    Attributes:
        folder: A BIDS derivative of the data set.
        keep_samples: Write every sample, too.
        thumbnails: Make a small picture of each scan, and show it in the page.
        bids: Name results as BIDS derivatives.
    """

    folder: Path
    keep_samples: bool = False
    thumbnails: bool = True
    bids: bool = True


@dataclass(frozen=True)
class Order:
    """What is made of every scan, and where it goes; small, since it is sent with every task.

    Attributes:
        out: Output folder, absolute.
        checkpoint: Its file, absolute.
        sha256: Its digest when the cohort was started.
        calibration: Digest of what lay beside it then (:func:`~..checkpoints.planes.beside_digest`).
        request: What is wanted of each, resolved.
        keep_samples: Write the samples, too.
        bids: Name results as BIDS derivatives.
        thumbnails: Write a small picture of each, too.
        version: Of this package.
    """

    out: Path
    checkpoint: Path
    sha256: str
    calibration: str
    request: Request
    keep_samples: bool = False
    bids: bool = True
    thumbnails: bool = True
    version: str = __version__

    @classmethod
    def make(cls, output: Output, checkpoint: Checkpoint, request: Request) -> Order:
        """For a checkpoint that serves the pair of ``request``, whose source is known.

        Raises:
            MrtransError: it does not.
        """
        resolved = request.resolved(checkpoint)
        digest = beside_digest(checkpoint, resolved.three_planes)
        wanted = output.keep_samples, output.bids, output.thumbnails
        return cls(output.folder.resolve(), checkpoint.path.resolve(), checkpoint.sha256, digest, resolved, *wanted)

    @property
    def source(self) -> Contrast:
        """Contrast of the scans."""
        return self.request.pair.source

    @property
    def target(self) -> Contrast:
        """Contrast to make."""
        return self.request.target

    def record(self, scan: Scan) -> Path:
        """The JSON of the scan's result, written after all its other files."""
        return self.out / scan.folder / self.file_name(scan, "json")

    def file_name(self, scan: Scan, kind: str) -> str:
        """Of one of the files of the scan's result (:data:`~..transformation.names.KINDS`)."""
        return file_name(scan.stem, self.target.value, kind, bids=self.bids)

    def apart(self, scans: Iterable[Scan], say: Callable[[str], None]) -> list[Scan]:
        """The scans without those whose results would have the name of another's; ``say`` is told of these."""
        first: dict[Path, Scan] = {}
        for scan in scans:
            parts = scan.folder.parts
            if self.bids:  # in names sub-1.2 is sub-12, who may be another person in a folder of their own
                parts = tuple(bids_entity(part) if part[:4] in ("sub-", "ses-") else part for part in parts)
            other = first.setdefault(Path(*parts, self.file_name(scan, "json")), scan)
            if other is not scan:
                say(
                    f"'{scan.path.name}' is left out: its result would be called as that of '{other.path.name}'; "
                    "rename one, or use --no-bids."
                )
        return list(first.values())

    def check_free(self, scans: Iterable[Scan]) -> None:
        """See that no result would replace that of another scan.

        Raises:
            MrtransError: one would.
        """
        for scan in scans:
            try:
                info = json.loads(self.record(scan).read_text(encoding="utf-8"))
                there, digest = Path(info["input"]), info["input_digest"]
            except (OSError, ValueError, LookupError, TypeError):
                continue
            if there != scan.path and (stem(there) != scan.stem or _digest(scan) not in ("", digest)):
                raise MrtransError(
                    f"'{self.record(scan)}' is the result of another scan ('{there}'); choose another folder with -o."
                )

    def thumbnail(self, scan: Scan) -> Path:
        """The small picture of the scan's result, named after its record, in BIDS beside ``anat``."""
        beside = scan.folder.parent if scan.subject and scan.folder.name == "anat" else scan.folder
        return self.out / beside / "figures" / f"{self.record(scan).stem}.jpg"

    def places(self, scan: Scan) -> tuple[str, str]:
        """Of record and small picture, below the output folder."""
        record, picture = (path.relative_to(self.out) for path in (self.record(scan), self.thumbnail(scan)))
        return record.as_posix(), picture.as_posix()

    def key(self, scan: Scan) -> str:
        """Digest of all that the scan's result depends on, its file's content included.

        Raises:
            MrtransError: the file cannot be read.
        """
        try:
            content = file_digest(scan.path)
        except OSError as error:
            line = missing_line(scan.path) or f"'{scan.path}' cannot be read ({error.strerror})."
            raise MrtransError(line) from None
        parts = (content, self.sha256, self.calibration, self.request.result_key(), self.version)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def _digest(self) -> str:
        """Of what all results depend on, but for their scans."""
        parts = (
            self.sha256, self.calibration, self.request.result_key(), self.keep_samples, self.bids, self.thumbnails,
            self.version,
        )  # fmt: skip
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def claim(self) -> None:
        """Say in the output folder that this is what is made there from now on.

        Raises:
            MrtransError: it cannot be written.
        """
        write_together(self.out, {_ASKED: f"{self._digest}\n"})

    def is_asked(self) -> bool:
        """Whether this, or nothing that is known, is what is made in the output folder now. A worker elsewhere may
        still be at the order of a run that was stopped."""
        try:
            return (self.out / _ASKED).read_text(encoding="utf-8").strip() in ("", self._digest)
        except (OSError, ValueError):
            return True

    def is_done(self, scan: Scan) -> bool:
        """Whether all that is wanted of the scan is there."""
        record = self.record(scan)
        if not holds_something(record):  # spares reading the scan
            return False
        try:
            files = finished_files(record, self.key(scan))
        except MrtransError:
            return False
        wanted = self.file_name(scan, "samples")
        return files is not None and (not self.keep_samples or wanted in [path.name for path in files])


def _digest(scan: Scan) -> str:
    """Of the voxels; empty where they cannot be read, which will be said in time."""
    try:
        return Volume.load(scan.path).digest()
    except VolumeError:
        return ""


def find_scans(folder: Path, source: Contrast, say: Callable[[str], None]) -> list[Scan]:
    """All scans of one contrast in a BIDS folder, sorted; below its ``derivatives`` none is looked for.

    Args:
        folder: The data set.
        source: The contrast.
        say: Told what is left out.

    Raises:
        MrtransError: there is no such folder, or no such scan in it.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise MrtransError(f"'{folder}' {what}; give a BIDS folder (sub-*/anat/*_T1w.nii.gz).")
    root = folder.resolve()
    scans: dict[Path, Scan] = {}
    visits: dict[Path, bool] = {}
    closed: list[str] = []
    for anat, subject, session in anat_folders(root, closed):
        parts = anat.relative_to(root).parts
        above = next((i for i, part in enumerate(parts) if part.startswith("sub-")), 0)
        images, visit = anat_images(anat, source), Path(*parts[:above], subject, session)
        visits[visit] = visits.get(visit, False) or bool(images)
        for path in images:
            scan = Scan(path, subject, session, visit / "anat", stem(path))
            first = scans.setdefault(scan.folder / scan.stem, scan)
            if first is not scan:
                say(f"'{path.name}' is left out: '{first.path.name}' has the same name.")
    for line in closed:
        say(f"{line}.")
    if not scans:
        also = f"; {closed[0]}" if closed else ""
        raise MrtransError(f"'{folder}' holds no {source} scans (sub-*/anat/*_{BIDS_SUFFIX[source]}.nii.gz){also}.")
    if without := [visit for visit, has in visits.items() if not has]:
        one = "visit" if any(visit.name.startswith("ses-") for visit in without) else "subject"
        what = plural(len(without), one)
        names = ", ".join(visit.as_posix() for visit in without[:3]) + (", …" if len(without) > 3 else ".")
        say(f"{what} without a {source} by the names of files: {names}")
    return list(scans.values())


def check_output(out: Path, folder: Path) -> None:
    """See that results go to a folder of their own.

    Raises:
        MrtransError: it is the data folder, or in it outside ``derivatives``, or one that holds the subject that is
            the data folder, or holds another data set.
    """
    inside, root = out.resolve(), folder.resolve()
    if inside in root.parents and root.relative_to(inside).parts[0].startswith("sub-"):
        raise MrtransError(f"The output '{out}' holds the scans of '{folder}' itself; choose another -o, or one below "
                           f"'{out / 'derivatives'}'.")  # fmt: skip
    if root.name == "anat" or root.name.startswith("ses-"):  # of a visit; what lies beside it is of the subject
        root = next((above for above in root.parents if above.name.startswith("sub-")), root)
    if inside == root or (root in inside.parents and inside.relative_to(root).parts[0] != "derivatives"):
        raise MrtransError(f"The output '{out}' lies among the scans of '{folder}'; choose another -o, or one below "
                           f"'{folder / 'derivatives'}'.")  # fmt: skip
    check_own(out, "cohort")
