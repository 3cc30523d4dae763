"""Makes the ports of a quantized ONNX file bytes, so that it can be timed beside ours with equal inputs and outputs.

ONNX Runtime's quantizer leaves float32 at every port and converts behind it. Here these edge conversions go and the tensors
behind them become the ports: the same kernels, scales and integers, without the float32 on the way in and out.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx

UINT8 = onnx.TensorProto.UINT8


def with_byte_ports(data: bytes, names: Collection[str]) -> bytes:
    """The ONNX model with the ports `names` in the integers behind them, uint8 or int8 as the file has it.

    An input is changed where it only feeds one QuantizeLinear, an output where it comes from a DequantizeLinear; any other port
    stays as it is. A float reader of such an output inside the graph keeps reading the dequantized values.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    zero_points = {each.name: each.data_type for each in graph.initializer}
    for port in graph.input:
        readers = [node for node in graph.node if port.name in node.input]
        if port.name in names and len(readers) == 1 and readers[0].op_type == "QuantizeLinear":
            (quantize,) = readers
            _rename(graph, quantize.output[0], port.name)
            port.type.tensor_type.elem_type = zero_points.get(quantize.input[2], UINT8)
            graph.node.remove(quantize)
    for port in graph.output:
        writer = next((node for node in graph.node if port.name in node.output), None)
        if port.name in names and writer is not None and writer.op_type == "DequantizeLinear":
            stored = writer.input[0]
            _rename(graph, port.name, f"{port.name}.real")
            _rename(graph, stored, port.name)
            port.type.tensor_type.elem_type = zero_points.get(writer.input[2], UINT8)
            if not any(f"{port.name}.real" in node.input for node in graph.node):
                graph.node.remove(writer)
    del graph.value_info[:]
    return model.SerializeToString()


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a tensor wherever a node writes or reads it; the ports keep their names."""
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
