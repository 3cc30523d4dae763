"""dedupe of .tflite files that read a buffer in two orders."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tiedae.dedupe.share_tflite import share_tflite
from tiedae.export.tflite.schema import Type, int32, pack_model, quantization, unpack_model
from tiedae.export.tflite.writer import to_tflite

from ..conftest import build_program


@pytest.mark.parametrize(
    ("turned", "merged", "reasons"),
    [(True, [], ["one of both is a view, in another order than its bytes"]), (False, ["again"], [])],
    ids=["in the order of the view", "in the order of the bytes"],
)
def test_dedupe_merges_equal_bytes_with_a_view_alone(turned, merged, reasons):
    program = build_program((40, 24, 6))
    values = program.constants["kernel_0"]
    values = values if turned else np.ascontiguousarray(values.T)
    model = unpack_model(to_tflite(program, signatures=("decode",)))
    model.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
    table, buffer = quantization([0.5]), len(model.buffers) - 1
    model.buffers[-1].size = 0
    again = schema.TensorT(int32(values.shape), Type.INT8, buffer, "again", table, hasRank=True)
    model.subgraphs[0].tensors.append(again)
    shared = share_tflite(pack_model(model))
    assert ([each.name for each in shared.merged], [each.reason for each in shared.kept]) == (merged, reasons)


def test_dedupe_leaves_our_file_as_it_is():
    data = to_tflite(build_program())
    assert pack_model(unpack_model(data)) == data and share_tflite(data).merged == share_tflite(data).kept == ()
