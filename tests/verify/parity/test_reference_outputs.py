"""What a file is held against."""

from __future__ import annotations

import pytest

from tiedae.bundle.reference_outputs import layer_outputs


@pytest.mark.parametrize("interleave", [1, 4])
def test_layers_are_named_by_their_outputs(make_program, interleave: int) -> None:
    """Another order of the inputs is no layer."""
    assert layer_outputs(make_program(interleave=interleave)) == ("encoder_0", "code", "decoder_1", "y")
