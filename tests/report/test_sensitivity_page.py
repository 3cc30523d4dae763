"""The page of sensitivity: its numbers, and texts that are escaped."""

from __future__ import annotations

from tiedae.report.sensitivity_page import percent, render_sensitivity, sensitivity_tables


def row(change: str, place: str, level: float, error: float) -> dict:
    return {"change": change, "place": place, "level": level, "error": error, "float_error": 2.0, "increase": error / 2 - 1}


MEASURED = {
    "name": "a<b",
    "samples": 1234,
    "sha256": "ab" * 32,
    "rows": [
        *(row("kernel bits", f"kernel_{i}", level, 2.0 + i + 8 - level) for i in range(9) for level in (8, 4)),
        *(row("kernel sparsity", "kernel_0", level, 1.0) for level in (0.25, 0.9)),
    ],
}


def test_tables_have_a_row_per_place_and_a_column_per_level() -> None:
    bits, zeros = sensitivity_tables(MEASURED)
    assert bits[:2] == ("Kernel bits: increase of the error", ("", "8 bits", "4 bits"))
    assert bits[2][1] == ("kernel_1", "+50.0 %", "+250.0 %") and len(bits[2]) == 9
    assert zeros[1:] == (("", "25 %", "90 %"), [("kernel_0", "−50.0 %", "−50.0 %")])
    assert percent(-0.0001) == "+0.0 %"


def test_the_page_draws_a_curve_per_place_and_escapes_names() -> None:
    page = render_sensitivity(MEASURED)
    assert "a&lt;b: sensitivity" in page and "a<b" not in page
    assert page.count('<polyline class="layer0"') == 2 * 2 + 2  # the ninth kernel begins again; each in chart and legend
    assert "1,234 training samples" in page
