"""The benchmark of strangers' data: its sets are files that `tiedae` reads, and none of its rows hides a bad run."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import CheckError, DataError
from tiedae.base.records import encode
from tiedae.data.data_sets import VARIABLE
from tiedae.data.readers import read
from tiedae.report.console import Console


@pytest.fixture
def sets() -> Any:
    return importlib.import_module("carry_sets")


PICTURE = np.arange(2 * 17 * 35, dtype=np.uint8).reshape(17, 35, 2)
IMAGES = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)


def test_both_halves_have_ten_sets_together_of_each_kind(sets: Any) -> None:
    assert len(sets.SETS) >= 10 and len({row.name for row in sets.SETS}) == len(sets.SETS)
    for half in sets.HALVES:
        assert {".csv", ".npz", ".npy"} <= {row.suffix for row in sets.SETS if row.half == half}
        assert {"compression", "anomaly", "denoising", "reduction"} == {
            task for row in sets.SETS if row.half == half for task in row.tasks
        }
    assert all(row.normal for row in sets.SETS if "anomaly" in row.tasks)


@pytest.mark.parametrize(
    ("suffix", "content", "values", "labels"),
    [
        (".npy", np.arange(6, dtype=np.int16), np.arange(6, dtype=np.int16), None),
        (".npz", {"x": IMAGES, "labels": np.array([1, 2, 1])}, IMAGES, ["1", "2", "1"]),
        (".csv", (["a", "b", "label"], [["1", "2.5", "good"], ["3", "4", "bad"]]), [[1, 2.5], [3, 4]], ["good", "bad"]),
        ("", {"left": IMAGES[:1], "right": IMAGES[1:]}, IMAGES, ["left", "right", "right"]),
    ],
)
def test_a_written_set_is_read_as_it_was(
    sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, content: Any, values: Any, labels: list[str] | None
) -> None:
    made = sets.Table(*content) if suffix == ".csv" else content
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    row = sets.StrangersSet("some", suffix, "", "", "choice", (), lambda _member: made)
    arrays = read(sets.write(row, tmp_path / "sets", tmp_path))
    assert np.array_equal(np.squeeze(arrays.values), values)
    assert (arrays.labels is None) == (labels is None)
    assert labels is None or [str(label) for label in arrays.labels] == labels


def test_what_is_written_stays(sets: Any, tmp_path: Path) -> None:
    (tmp_path / "some.npy").write_bytes(b"mine")
    row = sets.StrangersSet("some", ".npy", "a==1", "", "choice", (), lambda _member: pytest.fail("made again"))
    assert sets.write(row, tmp_path, tmp_path).read_bytes() == b"mine"


def test_squares_of_a_picture_lie_side_by_side(sets: Any) -> None:
    squares = sets.patches(PICTURE, 8)
    assert squares.shape == (8, 8, 8, 2)
    assert np.array_equal(squares[5], PICTURE[8:16, 8:16])
    rows = [np.concatenate(squares[4 * row : 4 * row + 4], axis=1) for row in range(2)]
    assert np.array_equal(np.concatenate(rows), PICTURE[:16, :32])


def test_a_problem_has_the_channels_and_labels_of_training_and_test(sets: Any) -> None:
    texts: Mapping[str, bytes] = {
        "aeon/datasets/data/P/P_TRAIN.ts": b"# data of\n@classLabel true a b\n@data\n1,2:3,4:a\n",
        "aeon/datasets/data/P/P_TEST.ts": b"@data\n5,6:7,-8.5e-1:b\n",
    }
    series, labels = sets.problem(texts.__getitem__, "P")
    assert series.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, -0.85]]]
    assert labels.tolist() == ["a", "b"]


def test_a_package_is_read_without_a_second_download(sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some==1").mkdir()
    with zipfile.ZipFile(tmp_path / "some==1" / "some-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some/data.csv", "1,2\n")
    assert sets.member_of("some==1", tmp_path)("some/data.csv") == b"1,2\n"
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(DataError, match=f"{VARIABLE} is not set"):
        sets.member_of("", tmp_path)


@pytest.fixture
def carry() -> Any:
    return importlib.import_module("carry")


@pytest.fixture
def outcome(carry: Any) -> Callable[..., Any]:
    """A good run of a set of 1,500 samples, with what differs."""
    runs, methods = importlib.import_module("carry_runs"), importlib.import_module("carry_methods")

    def made(name: str = "wine", task: str = "compression", seed: int = 0, **changed: Any) -> Any:
        figures = {"run_exit": 0, "measure": "error", "floating": 2.0, "int8": 2.0, "recipe_exit": 0}
        figures["methods"] = methods.Methods(1_500, "qat", 1.0, 1.0)
        figures["pca"] = runs.PcaGain(0.9, 1.0, 0.05, 0.15)
        return runs.Outcome(name, task, seed, **(figures | changed))

    return made


def value_of(carry: Any, name: str, *outcomes: Any) -> tuple[float, bool]:
    row = next(row for row in carry.rows_of(outcomes) if row.name == name)
    return row.value, row.ok


def pca(low: float, high: float, ours: float = 1.2) -> Any:
    return importlib.import_module("carry_runs").PcaGain(ours, 1.0, low, high)


def methods(samples: int, ptq: float, qat: float) -> Any:
    return importlib.import_module("carry_methods").Methods(samples, "ptq", ptq, qat)


def test_good_runs_reach_every_row(carry: Any, outcome: Callable[..., Any]) -> None:
    rows = carry.rows_of([outcome(), outcome("digits")])
    assert [row.name for row in rows if not row.ok] == []
    assert {row.name: row.value for row in rows}["pca_gain_median"] == 0.9


def test_without_a_figure_no_row_of_figures_is_met(carry: Any, outcome: Callable[..., Any]) -> None:
    nothing = outcome(run_exit=2, floating=None, int8=None, methods=None, pca=None, message="refused")
    assert [row.name for row in carry.rows_of([nothing]) if not row.ok] == [
        "runs_failed",
        "int8_loss_worst",
        "int8_loss_median",
        "qat_vs_ptq_worst",
        "pca_gain_median",
    ]


@pytest.mark.parametrize(
    ("name", "changed", "value"),
    [
        ("runs_failed", {"recipe_exit": 2, "run_exit": None}, 1),
        ("runs_failed", {"run_exit": 1}, 1),
        ("int8_loss_worst", {"int8": 2.5}, 1.25),
        ("int8_loss_worst", {"measure": "ROC-AUC", "floating": 0.9, "int8": 0.7}, 1.2),
        ("int8_loss_worst", {"measure": "error", "floating": 0.0, "int8": 0.7}, float("inf")),
        ("qat_vs_ptq_worst", {"methods": (200, 2.0, 2.2)}, 1.1),
        ("pca_lost", {"pca": (-0.3, -0.1)}, 1),
    ],
)
def test_one_bad_run_is_not_hidden_by_others(
    carry: Any, outcome: Callable[..., Any], name: str, changed: dict[str, Any], value: float
) -> None:
    records = {"methods": methods, "pca": pca}
    changed = {key: records[key](*figures) if key in records else figures for key, figures in changed.items()}
    found, ok = value_of(carry, name, outcome(), outcome(seed=1, **changed), outcome(seed=2))
    assert found == pytest.approx(value) and not ok


def test_a_run_that_passed_above_the_default_limit_is_named(carry: Any, outcome: Callable[..., Any]) -> None:
    lenient = [
        outcome(int8=2.2, limit=0.11),
        outcome(seed=1, int8=2.09),
        outcome(seed=2, int8=2.2, run_exit=1),
        outcome(seed=3, int8=2.2),
    ]
    assert [each.lenient for each in lenient] == ["wider limit", "", "", "noise"]
    assert carry.rows_of(lenient)[0].detail == (
        "of 4; wine compression 2; wine compression 0 passed by wider limit; wine compression 3 passed by noise"
    )
    assert "| **0 (wider limit)**, 0, **1**, **0 (noise)** |" in carry.table_of(lenient)


def test_what_the_verdict_says_or_noise_may_be_is_not_lost_to_pca(carry: Any, outcome: Callable[..., Any]) -> None:
    said = outcome(pca=pca(-0.3, -0.1), findings=("worse than a baseline: pca",))
    assert value_of(carry, "pca_lost", said, outcome(seed=1, pca=pca(-0.3, 0.1))) == (0, True)
    assert value_of(carry, "pca_lost", outcome(pca=pca(-0.3, -0.1), findings=("dead units: code",))) == (1, False)


def test_small_sets_do_not_count_in_the_gain_and_seeds_of_a_set_count_once(carry: Any, outcome: Callable[..., Any]) -> None:
    small = outcome("wine", pca=pca(0, 0, 9.0), methods=methods(178, 1.0, 1.0))
    seeds = [outcome("digits", seed=seed, pca=pca(0, 0, gain)) for seed, gain in enumerate((0.5, 0.6, 5.0))]
    assert value_of(carry, "pca_gain_median", small, *seeds, outcome("italy", pca=pca(0, 0, 0.8)))[0] == pytest.approx(0.7)


def test_the_table_has_a_row_of_each_set_and_task_with_bad_figures_in_bold(carry: Any, outcome: Callable[..., Any]) -> None:
    bad = outcome(seed=1, run_exit=1, int8=2.4, message="error 2.4", pca=pca(-0.3, -0.1))
    _, _, *lines = carry.table_of([outcome(), bad, outcome(task="reduction", findings=("dead units: code",))]).splitlines()
    assert lines == [
        "| wine, compression | choice | 1,500 | qat | 0, **1** | 1.000, **1.200** | 1.000, 1.000 | 0.900, **1.200** | good |",
        "| wine, reduction | choice | 1,500 | qat | 0 | 1.000 | 1.000 | 0.900 | dead units: code |",
        "",
        "- wine compression 1: error 2.4",
    ]


def test_a_finished_run_is_not_made_again(carry: Any, outcome: Callable[..., Any], tmp_path: Path) -> None:
    runs, kept = importlib.import_module("carry_runs"), outcome(seed=2, findings=("dead units: code",))
    (tmp_path / "outcome.json").write_bytes(encode(kept))
    job = runs.Job(carry.SETS[0], "compression", 2, tmp_path / "absent.csv", tmp_path)
    assert carry.made([job], 1, 60, Console(verbosity=-1)) == [kept]


def test_no_run_starts_after_the_last_minute_and_the_rows_say_so(
    carry: Any, outcome: Callable[..., Any], tmp_path: Path
) -> None:
    runs, kept = importlib.import_module("carry_runs"), outcome()
    folders = [tmp_path / str(seed) for seed in range(3)]
    folders[1].mkdir()
    (folders[1] / "outcome.json").write_bytes(encode(kept))
    jobs = [
        runs.Job(carry.SETS[0], "compression", seed, tmp_path / "absent.csv", folder) for seed, folder in enumerate(folders)
    ]
    assert carry.made(jobs, 2, -1, Console(verbosity=-1)) == [kept]
    assert carry.rows_of([kept], 2)[0].detail == "of 1, 2 more were not made"


def test_a_recipe_that_is_refused_is_an_outcome(carry: Any, tmp_path: Path) -> None:
    runs = importlib.import_module("carry_runs")
    job = runs.Job(carry.SETS[0], "compression", 0, tmp_path / "absent.csv", tmp_path / "run")
    made = job.outcome()
    assert (made.recipe_exit, made.run_exit, made.failed) == (2, None, True)
    assert "absent.csv" in made.message and job.outcome() == made


def test_a_run_that_was_interrupted_after_its_recipe_starts_again(carry: Any, tmp_path: Path) -> None:
    runs = importlib.import_module("carry_runs")
    (tmp_path / "recipe.toml").write_text("of before")
    made = runs.Job(carry.SETS[0], "compression", 0, tmp_path / "absent.csv", tmp_path).outcome()
    assert "absent.csv" in made.message


def test_anomaly_recipes_state_the_normal_label_and_every_recipe_its_seeds(carry: Any, tmp_path: Path) -> None:
    runs, row = importlib.import_module("carry_runs"), next(row for row in carry.SETS if row.name == "motions")
    command = runs.Job(row, "anomaly", 2, tmp_path / "x.csv", tmp_path).recipe_command
    assert [value for option, value in pairwise(command) if option == "--set"] == [
        "train.seed=2",
        "data.seed=2",
        'task.normal=["Standing"]',
    ]


@pytest.mark.parametrize("end", ["exit 130", "kill -TERM $$"])
def test_an_interrupted_command_leaves_no_outcome(carry: Any, end: str) -> None:
    with pytest.raises(CheckError, match=r"-c .*: was interrupted"):
        carry.call(["sh", "-c", end])
    assert carry.call(["sh", "-c", "exit 2"]).returncode == 2
