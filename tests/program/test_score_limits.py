"""Scores at the very limit of 64 bits, and training scores of one quantile."""

from __future__ import annotations

import pytest

from tiedae.base.errors import FormatError
from tiedae.base.records import decode
from tiedae.compress.affine import Quantization
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.program.drift import TrainingScores
from tiedae.program.scoring import LARGEST_SUM, scoring_of


@pytest.mark.parametrize(("offset", "shift"), [(2.0**-23, 23), (2.0**-22, 24)])
def test_a_sum_of_the_limit_is_beyond_it(offset: float, shift: int) -> None:
    """With 24 bits behind the point 2⁴⁶ · 65,535 + 2⁴⁶ is 2⁶²; a little less is not."""
    spec = SampleSpec((1,), "uint16", Scaling("standard", offset, 2.0**-4), "table")
    found = scoring_of("mse", spec, Quantization(0.25, 64))
    assert found.shift == shift and found.multiplier[0] * 65535 + found.addend[0] < LARGEST_SUM == 2**62


def test_one_quantile_is_enough() -> None:
    text = {"samples": 1, "quantiles": [0.5], "extreme": 0.5}
    assert decode(TrainingScores, text, "f").quantiles == (0.5,)
    with pytest.raises(FormatError, match="f: damaged: quantiles: "):
        decode(TrainingScores, text | {"quantiles": []}, "f")
