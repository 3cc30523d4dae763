"""All subjects of the grid, each made in a folder of its own, from the bundles in tests/runs.zip."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tiedae.bundle.bundle import PROGRAM_FILE, PROGRAM_KIND, Bundle
from tiedae.bundle.verdict import Reason

from .documents import calibration_subject, manifest_subject, metrics_subject, only, recipe_subject, table, with_findings
from .grid import Subject
from .model_files import csv_subject, hdf5_subject, keras_subject, npz_subject, onnx_subject, tflite_subject

RUNS = Path(__file__).parents[1] / "runs.zip"


def bundle_in(folder: Path) -> Bundle:
    with zipfile.ZipFile(RUNS) as archive:
        archive.extractall(folder)
    return Bundle.open(folder / "table" / "bundle")


def findings(folder: Path) -> Subject:
    """Texts of a finding that names a layer; those of the others are in `metrics`."""
    return only(metrics_subject(bundle_in(folder), with_findings(Reason.DEAD_UNITS), " dead units"), "findings")


def external(folder: Path) -> Subject:
    """An .onnx file with external data beside it, which its texts name."""
    path = bundle_in(folder).path
    return replace(onnx_subject((path / "table.encoder.int8.onnx").read_bytes(), path), name="external")


def _model(folder: Path, suffix: str) -> bytes:
    """An untied model by tf_keras, as a file."""
    from ..pipeline.imported_models import tied_model

    path = folder / f"saved{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # .h5 is legacy
        tied_model(epochs=0, tied=False).save(path)
    return path.read_bytes()


SUBJECTS: Mapping[str, Callable[[Path], Subject]] = {
    "manifest": lambda folder: manifest_subject(bundle_in(folder), table),
    "metrics": lambda folder: metrics_subject(bundle_in(folder), with_findings(*Reason)),
    "findings": findings,
    "recipe": lambda folder: recipe_subject(bundle_in(folder)),
    "calibration": lambda _: calibration_subject(),
    "onnx": lambda folder: onnx_subject((bundle_in(folder).path / "table.int8.onnx").read_bytes(), folder),
    "external": external,
    "tflite": lambda folder: tflite_subject((bundle_in(folder).path / "table.int8.tflite").read_bytes(), folder),
    "npz": lambda folder: npz_subject((bundle_in(folder).path / PROGRAM_FILE).read_bytes(), PROGRAM_KIND, folder),
    "csv": csv_subject,
    "keras": lambda folder: keras_subject(_model(folder, ".keras"), folder),
    "hdf5": lambda folder: hdf5_subject(_model(folder, ".h5"), folder),
}
BY_KERAS = ("keras", "hdf5", "calibration")
"""Those whose making imports TensorFlow."""
