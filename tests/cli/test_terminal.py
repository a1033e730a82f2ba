from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from napari_mrtrans.cli import terminal
from napari_mrtrans.cli.terminal import ProgressBar, slice_range
from napari_mrtrans.errors import MrtransError


def console(*, is_terminal: bool = False, width: int = 200) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=width)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The seconds that have passed, by its ``now``."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_without_a_terminal_there_is_a_line_now_and_then(clock: SimpleNamespace) -> None:
    out = console()
    bar = ProgressBar("T1→T2 · flow", "scan", console=out, pause=30)
    with bar:
        for done in range(100):
            clock.now += 1
            bar.show(bar.title, done, 100, f"{done}/100 scans")
    assert text(out).splitlines() == ["30/100 scans", "61/100 scans", "92/100 scans"]


def test_without_a_line_it_says_what_the_bar_would(clock: SimpleNamespace) -> None:
    """A log of a night's job tells that it goes on, and for how long."""
    out = console()
    with ProgressBar("T1→T2 · flow", console=out) as (tell, _):
        for done in range(4):
            clock.now += 100
            tell(SimpleNamespace(done=done, total=3))
    first, *_, last = text(out).splitlines()
    assert first.startswith("T1→T2 · flow: slice 1/3")
    assert last == "T1→T2 · flow: slice 3/3, 0:00 left"


def test_on_a_terminal_the_bar_says_it_all(clock: SimpleNamespace) -> None:
    out = console(is_terminal=True)
    bar = ProgressBar("T1→T2 · flow", console=out)
    with bar as (tell, say):
        clock.now += 1000
        tell(SimpleNamespace(done=2, total=7))
        bar.show("T1→T2 · faster", 3, 7, "never")
        say("Out of memory; batch lowered to 8.")
    assert "never" not in text(out)
    assert "T1→T2 · faster" in text(out) and "slice 3/7" in text(out)
    assert "Out of memory; batch lowered to 8.\n" in text(out)


def test_what_is_counted_may_go_without_saying() -> None:
    out = console(is_terminal=True)
    bar = ProgressBar("loss …", "", console=out)
    with bar:
        bar.show("loss 0.1234", 3, 100)
    assert "loss 0.1234" in text(out) and "3/100" in text(out) and "slice" not in text(out)


@pytest.mark.parametrize("line", ["'/data/[old]/a [b] [/c].nii.gz' :warning:", "x" * 300, "5 of 7, 0.1 and None"])
@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_line_is_printed_as_it_is(line: str, is_terminal: bool) -> None:
    """Brackets in a file's name are no markup, and long lines are not broken."""
    out = console(is_terminal=is_terminal, width=80)
    ProgressBar("title", console=out).say(line)
    assert text(out) == f"{line}\n"


def test_it_is_on_stderr_unless_told_otherwise(capfd: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("title") as (_, say):
        say("CUDA not available; using CPU.")
    assert capfd.readouterr() == ("", "CUDA not available; using CPU.\n")


def test_slice_range() -> None:
    assert slice_range(None) is None
    assert slice_range("40:60") == (40, 60)
    for wrong in ("40", "40:", ":60", "a:b", "40:60:2", "4.5:6"):
        with pytest.raises(MrtransError, match=rf"^--slices '{wrong}' is no range; write it as 40:60\.$"):
            slice_range(wrong)
