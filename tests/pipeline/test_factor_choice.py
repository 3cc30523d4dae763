"""`tiedae rescale --fidelity`: the coarsest scale of the codes that keeps a limit on parts of the validation samples."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tiedae as ta
from tiedae.base.errors import InputError
from tiedae.bundle.bundle import Bundle, write_files
from tiedae.bundle.manifest import FILE
from tiedae.cli import main
from tiedae.pipeline.derive import EarlierBundle
from tiedae.pipeline.factor_choice import COARSEST, PARTS, PER_OCTAVE, choose_factor


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("tiedae:")]
    return line.removeprefix("tiedae: ")


@pytest.fixture(scope="module")
def origin(finished_run: Path, recipe_file: Path) -> EarlierBundle:
    """The finished run, with a fifth of its data as validation samples."""
    data = ta.load_data(recipe_file.parent / "samples.npy", validation=0.2)
    return EarlierBundle.of(Bundle.open(finished_run / "bundle"), data, "samples.npy")


def psnr_of_parts(origin: EarlierBundle, factor: float) -> list[float]:
    """Of bytes, by its formula."""
    assert origin.data.validation is not None
    x = origin.data.validation.take(slice(None))
    backend = origin.backend_of(origin.scaled(factor).reference)
    y = backend.samples(backend.reconstruct(x)[1]).astype(np.float64)
    squared = np.square(y - x).mean(axis=1)
    return [10 * np.log10(255**2 / part.mean()) for part in np.array_split(squared, PARTS)]


@pytest.mark.parametrize("lost", [0.002, 0.005, 0.01])
def test_the_factor_is_the_coarsest_that_keeps_the_limit(origin: EarlierBundle, lost: float) -> None:
    """Fidelity by its formula, of samples that are rounded to bytes."""
    wanted = min(psnr_of_parts(origin, 1)) - lost
    choice = choose_factor(origin, wanted, print)
    np.testing.assert_allclose(choice.values, psnr_of_parts(origin, choice.factor), atol=0.01)
    assert choice.measure == "PSNR" and choice.samples == 20
    assert min(choice.values) == choice.worst >= wanted
    coarser = psnr_of_parts(origin, choice.factor * 2 ** (1 / PER_OCTAVE))
    assert choice.factor > 1 and min(coarser) < wanted


def test_no_factor_above_the_coarsest_is_tried(origin: EarlierBundle) -> None:
    assert choose_factor(origin, 5.0, print).factor == 2 ** (COARSEST / PER_OCTAVE)


def test_a_bundle_of_it_is_written(
    finished_run: Path, recipe_file: Path, origin: EarlierBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out, report = Path(shutil.copytree(finished_run, tmp_path / "run")), tmp_path / "out", tmp_path / "out.json"
    written = json.loads((run / "bundle" / FILE).read_bytes())
    written["recipe"]["data"]["validation"] = 0.2
    write_files(run / "bundle", {FILE: json.dumps(written).encode()})
    wanted = min(psnr_of_parts(origin, 1)) - 0.02
    options = ["--data", recipe_file.parent / "samples.npy", "--fidelity", wanted, "-o", out, "--json", report]
    assert call("rescale", run, *options) in (0, 1)
    choice = choose_factor(origin, wanted, print)
    assert choice.text in capsys.readouterr().err
    found = json.loads(report.read_text())
    assert found["factor"] == found["choice"]["factor"] == choice.factor and found["bits"] < found["bits_before"]
    assert [row.factor for row in Bundle.open(out).manifest.derived] == [choice.factor]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "fidelity: got nan, must be a PSNR"),
        (90.0, "fidelity: got 90, which no factor keeps; closest is factor "),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(origin: EarlierBundle, value: float, text: str) -> None:
    with pytest.raises(InputError) as error:
        choose_factor(origin, value, print)
    assert str(error.value).startswith(text)


def test_validation_samples_are_needed(
    finished_run: Path, recipe_file: Path, origin: EarlierBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = recipe_file.parent / "samples.npy", tmp_path / "out"
    assert call("rescale", finished_run, "--data", data, "--fidelity", 20, "-o", out) == 2
    right = "must be 8 or more: train with `validation = 0.2` in [data]"
    assert error_of(capsys) == f"fidelity: got no validation samples of the bundle's recipe, {right}"
    assert not out.exists()
    assert origin.data.validation is not None
    few = dataclasses.replace(origin.data, validation=origin.data.validation.select(np.arange(7)))
    with pytest.raises(InputError, match="fidelity: got 7 validation samples of the bundle's recipe, must be 8 or more"):
        choose_factor(dataclasses.replace(origin, data=few), 20, print)


def test_factor_and_fidelity_exclude_each_other(
    finished_run: Path, origin: EarlierBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("rescale", finished_run, "--data", "x", "--factor", 2, "--fidelity", 20, "-o", tmp_path / "out") == 2
    assert "argument --fidelity: not allowed with argument --factor" in error_of(capsys)
    bundle = ta.ExportedBundle.open(finished_run / "bundle")
    with pytest.raises(InputError, match="factor: got 2 beside a fidelity, must be left out"):
        bundle.derive(tmp_path / "out", origin.data, factor=2, fidelity=20)
