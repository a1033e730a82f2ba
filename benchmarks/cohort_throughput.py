"""Scans per hour of a cohort with one and with two one-thread workers, side by side in one run.

    python benchmarks/cohort_throughput.py [--data BIDS_DIR] [--scans 6] [--slices 60:100] [-n 4] [--rounds 3]

Without a data folder, copies of the sample brain are transformed. The two take turns, and what is compared are medians:
of the whole command (its workers start and import torch each time), and of a scan's own seconds, which tell how much
two workers get in each other's way.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import napari_mrtrans as mt

COMMAND = "from napari_mrtrans.cli.main import main; main()"


def make_folder(root: Path, scans: int, given: Path | None) -> Path:
    """A BIDS folder of ``scans`` T1 scans: links to given ones, or copies of the sample brain."""
    if given is not None:
        files = sorted(given.glob("sub-*/**/anat/*_T1w.nii.gz"))[:scans]
    else:
        sample = mt.sample_volume()
        files = [root / f"sample{i}_T1w.nii.gz" for i in range(scans)]
        for file in files:
            sample.image_like(sample.data).to_filename(file)
    for i, file in enumerate(files):
        anat = root / "bids" / f"sub-{i:02}" / "anat"
        anat.mkdir(parents=True)
        (anat / f"sub-{i:02}_T1w.nii.gz").symlink_to(file)
    return root / "bids"


def run(data: Path, out: Path, workers: int, options: list[str]) -> tuple[float, float]:
    """Seconds of the command, and the mean seconds of a scan."""
    words = ["cohort", str(data), "--to", "T2", "--device", "cpu", "-o", str(out), "--workers", str(workers), *options]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", COMMAND, *words], check=True, capture_output=True)
    seconds = time.perf_counter() - began
    records = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("sub-*/anat/*_T2.json")]
    return seconds, statistics.mean(record["seconds"] for record in records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--scans", type=int, default=6)
    parser.add_argument("--slices", default="60:100")
    parser.add_argument("--model", default="flow")
    parser.add_argument("-n", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    options = ["--model", asked.model, "--slices", asked.slices, "-n", str(asked.n)]
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        data = make_folder(Path(folder), asked.scans, asked.data and asked.data.resolve())
        scans = len(list(data.iterdir()))
        for i in range(asked.rounds):
            for workers, timed in found.items():
                timed.append(run(data, Path(folder) / f"out-{i}-{workers}", workers, options))
    print(f"{platform.machine()}, {scans} scans, {' '.join(options)}, median of {asked.rounds} rounds\n")
    print("| one-thread workers | whole command (s) | scans/h | x one worker | a scan's own seconds |")
    print("|---|---|---|---|---|")
    whole = {workers: statistics.median(pair[0] for pair in timed) for workers, timed in found.items()}
    for workers, timed in found.items():
        own = statistics.median(pair[1] for pair in timed)
        rate, ratio = 3600 * scans / whole[workers], whole[1] / whole[workers]
        print(f"| {workers} | {whole[workers]:.1f} | {rate:.0f} | {ratio:.2f} | {own:.2f} |")


if __name__ == "__main__":
    main()
