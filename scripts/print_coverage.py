"""Print how much of src the tests reached: `COVERAGE=1 bash scripts/test.sh`, then this, on the coverage.json it left.

Lines and branches are told apart, the least covered files are named; exit 1 where fewer lines than --least are reached.
"""

import argparse
import json
import sys
from pathlib import Path


def percent(part: int, whole: int) -> float:
    """The share of `part` in `whole` in %, 100 of nothing."""
    return 100 * part / whole if whole else 100.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=Path("coverage.json"))
    parser.add_argument(
        "--least", type=float, default=0.0, metavar="PERCENT", help="share of lines that must be reached"
    )
    parser.add_argument("--files", type=int, default=5, help="how many of the least covered files are named")
    asked = parser.parse_args()
    try:
        found = json.loads(asked.file.read_text())
        files, total = found["files"], found["summary"]
    except (OSError, ValueError, KeyError) as error:
        print(f"no coverage to read in {asked.file} ({error}): did the tests run with COVERAGE=1?", file=sys.stderr)
        return 1

    def count(kind: str) -> tuple[int, int]:
        return total[f"covered_{kind}"], total[f"covered_{kind}"] + total[f"missing_{kind}"]

    lines, branches = count("lines"), count("branches")
    missing = {name: file["summary"]["missing_lines"] for name, file in files.items()}
    for name in sorted(missing, key=lambda name: -missing[name])[: asked.files]:
        print(f"{missing[name]:5} lines not reached in {name}")
    shares = f"{percent(*lines):.2f} % of {lines[1]} lines, {percent(*branches):.2f} % of {branches[1]} branches"
    print(f"coverage of src: {shares}")
    if percent(*lines) < asked.least:
        print(f"fewer than {asked.least:g} % of lines", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
