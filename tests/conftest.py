"""Loaded before any test module imports torch."""

import gc
import os

# Networks of the size of the tests gain nothing from a second thread: learning two slices by heart takes twice as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

from napari_mrtrans.scan import field_of_view

# The heads of the tests are small, to be quick; scan/test_field_of_view.py has the real limits.
field_of_view.HEAD_MM = (2.0, 500.0)


@pytest.fixture(scope="module", autouse=True)
def imported_once() -> None:
    """What is here to stay (torch and napari are a million objects) is not looked through at every collection."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("NAPARI_MRTRANS_NIGHTLY"):
        return
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.skip(reason="a minute or more; make nightly runs it"))
