"""What the stock tools make of the same model: the files to beat, and an independent check of the float numbers.

TFLiteConverter, tf2onnx and ONNX Runtime's quantizer are called with their defaults and the inputs, outputs and signatures of
our own files, as far as they can. TensorFlow is imported inside the functions that convert a model.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..compress.config import ModelConfig
from ..compress.errors import ExportError
from .program import SIGNATURES, require_signature
from .quiet import quiet

CALIBRATION_BATCH = 64


class Autoencoder(Protocol):
    """What is converted: `TiedAutoencoder`, or any `tf.Module` or Keras model with these attributes.

    `encoder` takes float32 [batch, inputs] to [batch, units], `decoder` back; `config.widths` has both sizes.
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
    quantize: bool,
    representative: np.ndarray | None = None,
    io_dtype: str = "float32",
    signatures: Sequence[str] = SIGNATURES,
) -> bytes:
    """Convert with tf.lite.TFLiteConverter, through a SavedModel with our signatures and a dynamic batch.

    `quantize` asks for full-integer int8 calibrated on `representative`, float32 [samples, inputs]; the decoder is calibrated
    on their codes. `io_dtype` uint8 or float32 then holds for every input and output, `code` included: the converter knows one
    dtype for all, so unlike ours `code` is float32 where `x` is, and its scale may differ between encode and decode. A float
    file is float32. Raises InputError for another signature, ExportError for a dtype or representative data that does not fit.
    """
    _check(signatures, io_dtype, quantize, representative)
    with _unheard():
        import tensorflow as tf

        with tempfile.TemporaryDirectory() as folder:
            functions = _signatures(model)
            module: Any = tf.Module()
            module.held = list(model.variables)
            module.functions = {name: functions[name] for name in signatures}
            tf.saved_model.save(module, folder, signatures=module.functions)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
            if quantize:
                assert representative is not None
                inputs = _calibration(model, representative, signatures)
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.representative_dataset = lambda: inputs
                converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
                converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(io_dtype)
            return converter.convert()


def stock_onnx(model: Autoencoder, *, opset: int = 17) -> bytes:
    """Convert the float model `x` → `code`, `y` with tf2onnx; float32, dynamic batch; its newest opset at most."""
    with _unheard():
        import tensorflow as tf
        import tf2onnx

        function = _signatures(model)["reconstruct"]
        x = tf.TensorSpec([None, model.config.widths[0]], tf.float32, name="x")
        newest = max(tf2onnx.constants.OPSET_TO_IR_VERSION)
        converted, _ = tf2onnx.convert.from_function(function, input_signature=[x], opset=min(opset, newest))
    return converted.SerializeToString()


def stock_onnx_int8(float_onnx: bytes, representative: np.ndarray, *, per_channel: bool = False) -> bytes:
    """Quantize a float model with onnxruntime.quantization.quantize_static: QDQ, uint8 activations, int8 weights.

    `representative` is float32 [samples, inputs]. The quantizer leaves inputs and outputs float32, `code` too, where ours are
    uint8. The model goes through the quantizer's own pre-processing first.
    """
    _check((), "float32", True, representative)
    with _unheard(), tempfile.TemporaryDirectory() as folder:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Samples(CalibrationDataReader):
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
            Samples(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
        )
        return target.read_bytes()


@contextmanager
def _unheard() -> Iterator[None]:
    """Without what the converters print, and without warnings of code that is not ours."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check(signatures: Sequence[str], io_dtype: str, quantize: bool, representative: np.ndarray | None) -> None:
    for signature in signatures:
        require_signature(signature)
    if io_dtype not in ("uint8", "float32") or (io_dtype == "uint8" and not quantize):
        right = "uint8 or float32" if quantize else "float32 in a float file"
        raise ExportError(f"io_dtype: got {io_dtype!r}, must be {right}")
    if quantize and (representative is None or representative.ndim != 2 or len(representative) == 0):
        got = None if representative is None else representative.shape
        raise ExportError(f"representative: got {got}, must be float32 [samples, inputs] with one sample or more")


def _signatures(model: Autoencoder) -> Mapping[str, Any]:
    """The three signatures of our files as tf.functions over the model's variables."""
    import tensorflow as tf

    widths = model.config.widths
    x = tf.TensorSpec([None, widths[0]], tf.float32, name="x")
    code = tf.TensorSpec([None, widths[-1]], tf.float32, name="code")

    @tf.function(input_signature=[x])
    def encode(x: Any) -> dict[str, Any]:
        return {"code": model.encoder(x)}

    @tf.function(input_signature=[code])
    def decode(code: Any) -> dict[str, Any]:
        return {"y": model.decoder(code)}

    @tf.function(input_signature=[x])
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
    """The inputs of every signature, batch by batch, as the converter wants them."""
    for signature in signatures:
        for x in _batches(representative):
            yield signature, {"code": np.asarray(model.encoder(x))} if signature == "decode" else {"x": x}
