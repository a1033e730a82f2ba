"""The tables of the docs say what `evaluate` and `calibrate` found."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "scripts" / "docs_tables.py")
assert _spec is not None and _spec.loader is not None
docs_tables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(docs_tables)


@pytest.mark.parametrize("name", ["models.md", "uncertainty.md", "training.md"])
def test_tables_are_those_of_docs_results(name: str) -> None:
    text = (ROOT / "docs" / name).read_text()
    for table in docs_tables.tables()[name]:
        assert "\n".join(table) + "\n" in text, f"run: python scripts/docs_tables.py --write ({table[0]})"


def test_a_table_takes_the_place_of_the_one_with_its_heading_alone() -> None:
    lines = ["before", "| a | b |", "|---|---|", "| 1 | 2 |", "", "| c | d |", "|---|---|", "| 3 | 4 |"]
    new = docs_tables.table(["a", "b"], [["5", "6"], ["7", "8"]])
    assert docs_tables.put(lines, new) == ["before", *new, *lines[4:]]
    with pytest.raises(ValueError, match="0 tables begin with"):
        docs_tables.put(lines, docs_tables.table(["e"], [["1"]]))
