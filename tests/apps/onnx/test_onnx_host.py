"""A host in C on Debian's libonnxruntime: NAME.onnx gives golden codes and y."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.bundle import Bundle

from ...codec.conftest import NAMES, extract_runs
from ...export.c.compiled import EXPECTED, STRICT, tool

pytestmark = pytest.mark.ci

HEADER = "onnxruntime_c_api.h"
INCLUDES = ("-isystem", "/usr/include/onnxruntime")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program; skipped without ONNX Runtime's header, and failed where it is expected."""
    made = tmp_path_factory.mktemp("host") / "host"
    found = subprocess.run(
        [tool("cc"), *INCLUDES, "-E", "-o", made, "-xc", "-"], input=f"#include <{HEADER}>\n", text=True, capture_output=True
    )
    if found.returncode and HEADER in EXPECTED:
        pytest.fail(f"{HEADER} was to be installed here")
    if found.returncode:
        pytest.skip(f"no {HEADER} here")
    source = Path(__file__).with_name("onnx_host.c")
    subprocess.run([tool("cc"), *STRICT, "-O1", *INCLUDES, source, "-o", made, "-lonnxruntime"], check=True, timeout=120)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_golden_codes_and_y_are_equal(host: Path, name: str, tmp_path: Path) -> None:
    bundle = Bundle.open(extract_runs(tmp_path) / name / "bundle")
    golden, io = bundle.golden(), bundle.manifest.io
    x = io.samples(golden["x"])
    if io.dtype == "float32" and io.folded is None:
        x = bundle.manifest.data.scaling.apply(x)
    x.tofile(tmp_path / "x")
    paths = [tmp_path / each for each in ("x", "code", "y")]
    model = bundle.path / f"{bundle.manifest.name}.int8.onnx"
    command = [host, model, paths[0], len(x), x[0].size, *paths[1:]]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-500:]  # Debian's library writes of its own there, about schemas
    np.testing.assert_array_equal(np.fromfile(paths[1], np.uint8), golden["code"].ravel())
    y = golden["y"]
    np.testing.assert_array_equal(np.fromfile(paths[2], y.dtype), y.ravel())


def test_a_file_that_is_no_model_is_refused(host: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    done = subprocess.run(
        [host, tmp_path / "model.onnx", "x", "1", "3", "code", "y"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1 and "Protobuf parsing failed" in done.stderr
