"""The figures that pages lead with."""

from msgspec.structs import replace

from tiedae.bundle.results import Maker, Metrics, ModelFile, Precision, Quality, Stage
from tiedae.report.key_figures import worst_exported
from tiedae.report.summary import table_rows

BEST = Quality("tiedae toy.int8.onnx", Stage.EXPORT, 16.0, None, Precision.INT8, "toy.int8.onnx", "ort-cpu")
WORST = replace(BEST, error=134.0, runtime="openvino-onnx")
FILE = ModelFile("toy.int8.onnx", 10, "onnx", Precision.INT8, Maker.TIEDAE, 1)


def metrics(*quality: Quality) -> Metrics:
    return Metrics("toy", (), (), (), (), quality, (FILE,), (), {})


def test_the_worst_runtime_counts():
    measured = metrics(BEST, WORST)
    assert worst_exported(measured, Precision.INT8) == WORST
    (row,) = table_rows(measured)
    assert row[1] == "16.000…134.000"


def test_files_of_one_signature_are_no_rows_beside_the_whole_file():
    parts = [replace(FILE, file=f"toy.{part}.int8.onnx") for part in ("encoder", "decoder", "score")]
    found = replace(metrics(BEST), files=(*parts, FILE))
    assert [row[0] for row in table_rows(found)] == ["tied int8 onnx"]
    assert [row[0] for row in table_rows(replace(found, files=(parts[2],)))] == ["tied int8 onnx score"]
