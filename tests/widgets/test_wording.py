"""Lines of the engine in the words of a window."""

from __future__ import annotations

import pytest

from napari_mrtrans.widgets.wording import for_adapting, for_many, for_window, in_slider_numbers


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("No head in slices 0:2; choose others.", "No head in slices 18 to 19; choose others."),
        ("No head in slices 0:1; choose others.", "No head in slice 19; choose others."),
        (
            "The GPU ran out of memory at slice 3. Lower Batch (now 8).",
            "The GPU ran out of memory at slice 16. Lower Batch (now 8).",
        ),
        ("2 of 20 slices failed, the others were kept.", "2 of 20 slices failed, the others were kept."),
    ],
)
def test_slices_have_the_slider_s_numbers(line: str, told: str) -> None:
    assert in_slider_numbers(line, lambda index: 19 - index) == told


def test_a_window_names_no_option_of_a_command() -> None:
    assert for_window("its result would be called as that of 'b'; rename one, or use --no-bids.").endswith(
        "rename one."
    )
    assert for_window("Run it again with fewer --workers to go on.") == "Run it again with fewer workers to go on."


def test_many_scans_sends_a_scan_that_needs_a_brain_mask_where_one_can_be_chosen() -> None:
    line = "No plausible brain found in 'a' (40 ml); give a brain mask with --mask."
    assert for_many(line).endswith("choose a brain mask in MR contrast transformation.")


@pytest.mark.parametrize("first", ["c", "C"])
def test_a_window_offers_what_it_has_for_another_folder(first: str) -> None:
    line = f"'out' is there already; {first}hoose another folder with -o."
    assert for_window(line) == f"'out' is there already; {first}hoose another output folder."
    assert for_adapting(line) == f"'out' is there already; {first}hoose another name."
