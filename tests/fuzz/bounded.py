"""How every case must end, and how many there are."""

from __future__ import annotations

import os
import resource
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from napari_mrtrans.errors import MrtransError

#: In all files of this folder together.
CASES = int(os.environ.get("NAPARI_MRTRANS_FUZZ", "300"))
#: More address space than this for one case is a fault: what is read here is a few kB.
MEMORY = 3 << 30


def share(of_all: float) -> int:
    """How many cases one test has."""
    return max(1, round(CASES * of_all))


@contextmanager
def bounded() -> Iterator[None]:
    """Little memory beyond what this process has now."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refusal(case: str, run: Callable[[], object]) -> str | None:
    """The one line with which ``run`` refused, or None where it came to a result; nothing else is an end."""
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run()
        except MrtransError as error:
            line = str(error)
            assert line and "\n" not in line and "\r" not in line, f"{case}: more than one line: {line!r}"
            return line
        except BaseException as error:
            pytest.fail(f"{case}: {type(error).__name__}: {error}")
    return None


def ends_well(case: str, run: Callable[[], object]) -> bool:
    """Whether ``run`` came to a result; one line is the only other end."""
    return refusal(case, run) is None
