"""A run in napari's activity dock."""

from __future__ import annotations

from napari_mrtrans.widgets import activity


def test_the_bar_steps_once_a_second_at_most(qapp, monkeypatch):
    """Each step makes napari handle all waiting events, which holds up the window while a slice comes in."""
    now = [100.0]
    monkeypatch.setattr(activity, "monotonic", lambda: now[0])
    line = activity.Activity("a run")
    for done, moment, shown in [
        (0, 100.0, 0),
        (1, 100.1, 1),
        (2, 100.2, 1),
        (5, 100.9, 1),
        (6, 101.2, 6),
        (9, 101.3, 6),
    ]:
        now[0] = moment
        line.show(done, 10)
        assert line._bar.n == shown
    assert line._bar.total == 10
    line.close()
