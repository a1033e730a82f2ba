"""Results kept as they come, so that what was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..errors import MrtransError
from ..paths import reason

Row = TypeVar("Row")


class Finished(Generic[Row]):
    """Rows computed earlier, one JSON document a line; a line cut short by a kill is left out.

    Args:
        path: The file; made when there is something to write.
        kind: Dataclass of the rows.
    """

    def __init__(self, path: Path, kind: Callable[..., Row]) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
            try:
                document = json.loads(line)
                self.rows[document["key"]] = kind(**document["row"])
            except (ValueError, KeyError, TypeError):
                continue

    def row(
        self, key: dict[str, Any], make: Callable[[], Row], again: Callable[[Row], bool] = lambda row: False
    ) -> Row:
        """The row of ``key`` if there is one that is not wanted ``again``, else that of ``make``, which is kept.

        Raises:
            MrtransError: it cannot be kept.
        """
        name = digest(key)
        if name not in self.rows or again(self.rows[name]):
            self.rows[name] = make()
            line = json.dumps({"key": name, "row": asdict(self.rows[name])})  # type: ignore[call-overload]
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(f"\n{line}")  # first the end of what a kill, or another run that writes, left
            except OSError as error:
                raise MrtransError(
                    f"Cannot write to '{self.path.parent}' ({reason(error)}). Free some space and run it "
                    "again; what was finished is kept."
                ) from None
        return self.rows[name]


def digest(key: dict[str, Any]) -> str:
    """A name for what identifies a row."""
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
