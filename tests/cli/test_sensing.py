"""`tiedae sensitivity`: its tables, its files, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tiedae.cli import main


def test_tables_json_and_a_page(finished_run: Path, recipe_file: Path, tmp_path: Path, capsys) -> None:
    files = {kind: tmp_path / f"sensitivity.{kind}" for kind in ("json", "html")}
    call = ["sensitivity", str(recipe_file), "--model", str(finished_run / "model")]
    assert main([*call, "--json", str(files["json"]), "--html", str(files["html"])]) == 0
    shown = capsys.readouterr().out
    for text in ("Kernel bits", "Kernel sparsity", "Activation bits", "kernel_1", "decoder_1", "75 %", "3 bits"):
        assert text in shown
    measured = json.loads(files["json"].read_text())
    assert measured["samples"] == 64 and measured["widths"] == [24, 12, 4]
    assert {row["place"] for row in measured["rows"]} >= {"kernel_0", "kernel_1", "x", "code", "y"}
    assert all(row["error"] / row["float_error"] - 1 == pytest.approx(row["increase"]) for row in measured["rows"])
    page = files["html"].read_text()
    assert page.count('<svg class="chart"') == 3 and "http" not in page.replace("http-equiv", "")
    first = files["json"].read_bytes()
    assert main([*call, "--json", str(files["json"]), "--samples", "64", "-q", "--force"]) == 0
    assert files["json"].read_bytes() == first


def test_a_wrong_call_is_one_line_and_writes_nothing(finished_run: Path, recipe_file: Path, tmp_path: Path, capsys) -> None:
    other = tmp_path / "model"
    other.mkdir()
    damaged = shutil.copytree(finished_run / "model", tmp_path / "damaged")
    (damaged / "train.safetensors").write_bytes(b"PK")
    wide = recipe_file.with_name("wide.toml")
    wide.write_text(recipe_file.read_text().replace('"samples.npy"', '"fashion"'))
    cases = [
        (
            [str(recipe_file), "--model", str(other)],
            f"{other}: holds no train.safetensors; must be the folder OUT/model of a run",
        ),
        ([str(recipe_file), "--model", str(damaged)], "not a tiedae-model file, or damaged"),
        ([str(recipe_file), "--model", str(finished_run / "model"), "--samples", "0"], "--samples: got 0, must be at least 1"),
        ([str(wide), "--model", str(finished_run / "model")], "samples have shape [64, 784], must be [samples, 24]"),
        ([str(tmp_path / "none.toml")], "no such recipe"),
    ]
    for call, text in cases:
        assert main(["sensitivity", *call, "--json", str(tmp_path / "rows.json")]) == 2
        error = capsys.readouterr().err
        assert text in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "rows.json").exists()
