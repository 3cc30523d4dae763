"""The figures that pages lead with."""

from msgspec.structs import replace
from tiedae.export.report.key_figures import worst_exported
from tiedae.export.report.summary import table_rows
from tiedae.export.verify.results import Maker, Metrics, ModelFile, Precision, Quality, Stage

FAULTLESS = Quality("tiedae toy.int8.onnx", Stage.EXPORT, 16.0, None, Precision.INT8, "toy.int8.onnx", "ort-cpu")
FAULTY = replace(FAULTLESS, error=134.0, runtime="openvino-onnx", fault="a known one")
FILE = ModelFile("toy.int8.onnx", 10, "onnx", Precision.INT8, Maker.TIEDAE, 1)


def metrics(*quality: Quality) -> Metrics:
    return Metrics("toy", (), (), (), (), quality, (FILE,), (), {})


def test_a_runtime_with_a_known_fault_is_no_figure_of_the_file():
    found = metrics(FAULTLESS, FAULTY)
    assert worst_exported(found, Precision.INT8) == FAULTLESS
    (row,) = table_rows(found)
    assert row[1] == "16.000"


def test_without_a_fault_the_worst_runtime_counts():
    worst = replace(FAULTY, fault="")
    assert worst_exported(metrics(FAULTLESS, worst), Precision.INT8) == worst


def test_files_of_one_signature_are_no_rows_beside_the_whole_file():
    parts = [replace(FILE, file=f"toy.{part}.int8.onnx") for part in ("encoder", "decoder", "score")]
    found = replace(metrics(FAULTLESS), files=(*parts, FILE))
    assert [row[0] for row in table_rows(found)] == ["tied int8 onnx"]
    assert [row[0] for row in table_rows(replace(found, files=(parts[2],)))] == ["tied int8 onnx score"]
