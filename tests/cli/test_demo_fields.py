"""The literate demo of random fields, on a coarser mesh."""

from __future__ import annotations

from test_demos import literate


def test_covariances_of_matern_fields_are_the_closed_forms(tmp_path):
    out = tmp_path / "fields.png"
    # 0.0022 with 96 cells; the order is two.
    assert literate("matern_fields").main(cells=48, out=out) < 4.5 * 0.0022
    assert out.stat().st_size > 10_000
