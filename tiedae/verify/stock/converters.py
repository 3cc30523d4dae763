"""Stock converters on the same model: the baseline, and an independent check of the float outputs.

TFLiteConverter, tf2onnx and ONNX Runtime's quantizer run with their defaults and, if supported, the inputs, outputs and
signatures of our files. TensorFlow is imported inside the functions that convert a model.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tiedae.config.config import ExportConfig
from tiedae.config.model_config import ModelConfig
from tiedae.export.targets import TARGETS
from tiedae.program.program import SIGNATURES
from tiedae.runtimes.native_output import quiet

CALIBRATION_BATCH = 64


class Autoencoder(Protocol):
    """The model to convert: a `TiedAutoencoder`, or any `tf.Module` or Keras model with these attributes.

    `encoder` maps float32 [batch, inputs] to [batch, *shape of the code], `decoder` back; `config` has both.
    """

    config: ModelConfig

    @property
    def variables(self) -> Sequence[Any]: ...

    @property
    def encoder(self) -> Callable[[Any], Any]: ...

    @property
    def decoder(self) -> Callable[[Any], Any]: ...


def stock_tflite(
    model: Autoencoder,
    *,
    representative: np.ndarray | None = None,
    io_dtype: str = "float32",
    signatures: Sequence[str] = SIGNATURES,
) -> bytes:
    """Convert with tf.lite.TFLiteConverter, from a SavedModel with our signatures and a dynamic batch; float without samples.

    `representative`, float32 [samples, inputs]: full-integer int8, calibrated on these, the decoder on their codes. `io_dtype`,
    uint8 or float32, then applies to all inputs and outputs: the converter has one dtype for all, so unlike in our files `code`
    has the dtype of `x`, and its scale may differ between encode and decode.
    """
    with _unheard():
        import tensorflow as tf

        with tempfile.TemporaryDirectory() as folder:
            functions = _signatures(model)
            module: Any = tf.Module()
            module.held = list(model.variables)
            module.functions = {name: functions[name] for name in signatures}
            tf.saved_model.save(module, folder, signatures=module.functions)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
            if representative is not None:
                inputs = _calibration(model, representative, signatures)
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.representative_dataset = lambda: inputs
                converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
                converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(io_dtype)
            return converter.convert()


def stock_onnx(model: Autoencoder, *, opset: int = 17) -> bytes:
    """Convert the float model `x` → `code`, `y` with tf2onnx: float32, dynamic batch, `opset` capped at its newest."""
    with _unheard():
        import tensorflow as tf
        import tf2onnx

        function = _signatures(model)["reconstruct"]
        x = tf.TensorSpec([None, model.config.size], tf.float32, name="x")
        newest = max(tf2onnx.constants.OPSET_TO_IR_VERSION)
        converted, _ = tf2onnx.convert.from_function(function, input_signature=[x], opset=min(opset, newest))
    return converted.SerializeToString()


def stock_onnx_int8(float_onnx: bytes, representative: np.ndarray, *, per_channel: bool = False) -> bytes:
    """Quantize a float model with onnxruntime.quantization.quantize_static: QDQ, uint8 activations, int8 weights.

    `representative` is float32 [samples, inputs]. Inputs and outputs stay float32, unlike in our files. The quantizer's own
    pre-processing runs first.
    """
    with _unheard(), tempfile.TemporaryDirectory() as folder:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class BatchReader(CalibrationDataReader):
            def __init__(self) -> None:
                self.batches = iter(_batches(representative))

            def get_next(self) -> dict[str, np.ndarray] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
                batch = next(self.batches, None)
                return None if batch is None else {"x": batch}

        source, prepared, target = (Path(folder) / name for name in ("float.onnx", "prepared.onnx", "int8.onnx"))
        source.write_bytes(float_onnx)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            BatchReader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
        )
        return target.read_bytes()


@contextmanager
def _unheard() -> Iterator[None]:
    """Suppress the output and warnings of the converters."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _signatures(model: Autoencoder) -> Mapping[str, Any]:
    """Our three signatures as tf.functions over the model's variables."""
    import tensorflow as tf

    x = tf.TensorSpec([None, model.config.size], tf.float32, name="x")
    code = tf.TensorSpec([None, *model.config.shapes[-1]], tf.float32, name="code")

    @tf.function(input_signature=[x], autograph=False)
    def encode(x: Any) -> dict[str, Any]:
        return {"code": model.encoder(x)}

    @tf.function(input_signature=[code], autograph=False)
    def decode(code: Any) -> dict[str, Any]:
        return {"y": model.decoder(code)}

    @tf.function(input_signature=[x], autograph=False)
    def reconstruct(x: Any) -> dict[str, Any]:
        code = model.encoder(x)
        return {"code": code, "y": model.decoder(code)}

    return {"encode": encode, "decode": decode, "reconstruct": reconstruct}


def _batches(samples: np.ndarray) -> list[np.ndarray]:
    samples = np.asarray(samples, np.float32)
    return [samples[start : start + CALIBRATION_BATCH] for start in range(0, len(samples), CALIBRATION_BATCH)]


def _calibration(
    model: Autoencoder, representative: np.ndarray, signatures: Sequence[str]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Calibration inputs of all signatures in batches, in the converter's format."""
    for signature in signatures:
        for x in _batches(representative):
            yield signature, {"code": np.asarray(model.encoder(x))} if signature == "decode" else {"x": x}


def with_integer_io(data: bytes, names: Collection[str]) -> bytes:
    """Change inputs and outputs `names` of a quantized ONNX model from float32 to the integers behind them, uint8 or int8.

    ONNX Runtime's quantizer leaves inputs and outputs float32 and converts behind them. Without these conversions, the file can
    be timed against ours. An input is changed if its only reader is a QuantizeLinear, an output if a DequantizeLinear writes
    it. Other readers of the output inside the graph keep the dequantized values.
    """
    import onnx

    model, uint8 = onnx.load_from_string(data), onnx.TensorProto.UINT8
    graph = model.graph
    zero_points = {each.name: each.data_type for each in graph.initializer}
    for value in graph.input:
        readers = [node for node in graph.node if value.name in node.input]
        if value.name in names and len(readers) == 1 and readers[0].op_type == "QuantizeLinear":
            (quantize,) = readers
            _rename(graph, quantize.output[0], value.name)
            value.type.tensor_type.elem_type = zero_points.get(quantize.input[2], uint8)
            graph.node.remove(quantize)
    for value in graph.output:
        writer = next((node for node in graph.node if value.name in node.output), None)
        if value.name in names and writer is not None and writer.op_type == "DequantizeLinear":
            stored = writer.input[0]
            _rename(graph, value.name, f"{value.name}.real")
            _rename(graph, stored, value.name)
            value.type.tensor_type.elem_type = zero_points.get(writer.input[2], uint8)
            if not any(f"{value.name}.real" in node.input for node in graph.node):
                graph.node.remove(writer)
    del graph.value_info[:]
    return model.SerializeToString()


def _rename(graph: Any, old: str, new: str) -> None:
    """Rename a tensor in all nodes; graph inputs and outputs keep their names."""
    for names in (names for node in graph.node for names in (node.input, node.output)):
        names[:] = [new if name == old else name for name in names]


@dataclass(frozen=True)
class ConversionSource:
    """A model, float32 calibration inputs [samples, inputs], export settings, and the dtype of x and y in int8 files."""

    model: Autoencoder
    calibration: np.ndarray
    config: ExportConfig
    io: str

    def tflite(self, representative: np.ndarray | None = None) -> bytes:
        """Convert with the signatures of our file, and `reconstruct` for the measurement."""
        signatures = tuple(dict.fromkeys((*self.config.signatures, "reconstruct")))
        return stock_tflite(self.model, representative=representative, io_dtype=self.io, signatures=signatures)


@dataclass(frozen=True)
class StockConverter:
    """A stock converter for one format and precision.

    `convert`: (source, earlier files of the format by precision) → file. `integer_io`: (file, names of inputs and outputs) →
    file with these as integers, if the converter leaves them float32.
    """

    name: str
    convert: Callable[[ConversionSource, Mapping[str, bytes]], bytes]
    integer_io: Callable[[bytes, Collection[str]], bytes] | None = None


MAKERS: Mapping[str, Mapping[str, StockConverter]] = {
    "tflite": {
        "f32": StockConverter("TFLiteConverter", lambda source, _made: source.tflite()),
        "int8": StockConverter("TFLiteConverter", lambda source, _made: source.tflite(source.calibration)),
    },
    "onnx": {
        "f32": StockConverter("tf2onnx", lambda source, _made: stock_onnx(source.model, opset=source.config.opset)),
        "int8": StockConverter(
            "ORT quantizer", lambda source, made: stock_onnx_int8(made["f32"], source.calibration), with_integer_io
        ),
    },
}
"""Converters by target and precision. A target without a row has no baseline."""


def stock_name(name: str, target: str, precision: str) -> str:
    """File name of a stock converter's file for the model `name`."""
    return f"{name}.stock.{precision}{TARGETS[target].suffix}"


def stock_files(name: str, source: ConversionSource) -> dict[str, bytes]:
    """Run the stock converters for the targets in the export settings; files by name."""
    files: dict[str, bytes] = {}
    for target in (each for each in MAKERS if each in source.config.targets):
        made: dict[str, bytes] = {}
        for precision, maker in MAKERS[target].items():
            files[stock_name(name, target, precision)] = made[precision] = maker.convert(source, made)
    return files
