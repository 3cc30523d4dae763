"""`tiedae search`: the front it leaves, what it answers when it is interrupted, repeated, or asked for too much."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy.event
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tiedae.base.errors import FormatError, InputError, RecipeError
from tiedae.bundle.fidelity import fit_text
from tiedae.cli import main
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.opening import load
from tiedae.config.config import (
    DataConfig,
    ExportConfig,
    PruneConfig,
    QuantizeConfig,
    Recipe,
    SearchConfig,
    TrainConfig,
    VerifyConfig,
)
from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.tasks import NoiseConfig
from tiedae.data.dataset import Dataset
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.searching import early_stopping as stopping
from tiedae.pipeline.searching.constraints import SearchLimits, parse_bytes, parse_fraction
from tiedae.pipeline.searching.early_stopping import EarlyStopping
from tiedae.pipeline.searching.front import FloatBaseline, bits_count, describe, pareto
from tiedae.pipeline.searching.space import key_of, space_of
from tiedae.pipeline.searching.study import Trials
from tiedae.pipeline.searching.trial import Outcome, TrialBuilder, kept_losses
from tiedae.pipeline.sources import load_dataset

from ..conftest import build_program

RECIPE = """
name = "tiny"
[data]
source = "samples.npy"
[model]
layers = [ {units = 8, activation = "relu"}, {units = 4} ]
[train]
epochs = 3
batch_size = 100
[quantize]
epochs = 1
samples = 32
[export]
stock = false
targets = ["tflite"]
[verify]
max_quality_loss = 20.0
[search]
code = [2, 4]
hidden = [0.5, 1.0]
bits = [8]
"""
WANTED = ["--max-bytes", "60k", "--max-quality-loss", "900%"]


@pytest.fixture(scope="module")
def tiny(recipe_file: Path) -> Path:
    path = recipe_file.with_name("tiny.toml")
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def searched(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DIR of a search of two trials that was not interrupted."""
    out = tmp_path_factory.mktemp("search") / "whole"
    assert main(["search", str(tiny), *WANTED, "--trials", "2", "--out", str(out), "-q"]) == 0
    return out


def front_of(out: Path, *, timed: bool = False) -> dict:
    """front.json, without latencies: they are another measurement each time."""
    front = json.loads((out / "front.json").read_text())
    for row in [] if timed else [*front["front"], *front["trials"], front["reference"]]:
        row.pop("latency_us")
    return front


def test_a_search_leaves_its_front_with_a_recipe_and_a_file_for_each_point(searched: Path) -> None:
    front = front_of(searched, timed=True)
    assert [row["state"] for row in front["trials"]] == ["complete"] * 2
    assert front["trials"][0]["point"] == {"code": 4, "hidden_0": 8}, "the recipe as it is comes first"
    assert front["chosen"] == min(front["front"], key=lambda row: row["error"])["name"]
    assert front["reference"]["latency_us"] > 0
    for row in front["front"]:
        assert (searched / f"{row['name']}.tflite").stat().st_size == row["bytes"] and row["latency_us"] > 0
        recipe = load_recipe(searched / f"{row['name']}.toml")
        units = [layer.units for layer in recipe.model.layers]
        assert units == [row["point"]["hidden_0"], row["point"]["code"]] and recipe.search is None
    for row in [*front["front"], *front["trials"], front["reference"]]:
        quality = row["fidelity"]
        assert (quality["measure"], quality["unit"]) == ("PSNR", "dB")
        mse = row["error"] * 255**2 / 24
        assert quality["mse"] == pytest.approx(mse, rel=1e-5)
        assert quality["value"] == pytest.approx(10 * math.log10(255**2 / mse), rel=1e-5)
    page = (searched / "front.html").read_text()
    shown = front["front"][0]["fidelity"]
    assert f"PSNR {shown['value']:.4g} dB, MSE {shown['mse']:.4g}" in page
    assert page.count("<circle") >= 2 and f"{front['chosen']} is chosen" in page and "<script" not in page


@pytest.mark.ci
def test_the_recipe_of_a_point_makes_the_file_that_was_measured(searched: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["run", str(searched / "point-01.toml"), "--out", str(out), "-q"]) == 0
    assert (out / "bundle" / "tiny-point-01.int8.tflite").read_bytes() == (searched / "point-01.tflite").read_bytes()


def test_the_same_call_answers_from_what_is_done(searched: Path, tiny: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("tiedae.compress.train.fit", None)
    assert main(["search", str(tiny), *WANTED, "--trials", "2", "--out", str(searched), "--resume", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"][1]["state"] == "complete"


@pytest.mark.ci
def test_an_interrupted_search_goes_on_to_the_same_front(
    searched: Path, tiny: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    out = tmp_path / "out"

    def interrupt(_stopping: EarlyStopping, epoch: int, *_: object) -> str:
        if epoch == 2:
            raise KeyboardInterrupt
        return ""

    call = ["search", str(tiny), *WANTED, "--trials", "2", "--out", str(out)]
    with monkeypatch.context() as patched:
        patched.setattr(EarlyStopping, "stop_reason", interrupt)
        assert main(call) == 130
    assert "interrupted; the same command with --resume continues" in capsys.readouterr().err
    assert list(out.rglob("checkpoint.safetensors")) and not (out / "front.json").exists()
    assert main([*call, "--resume"]) == 0
    assert "trial 1/2" not in capsys.readouterr().err
    assert front_of(out) == front_of(searched)
    assert main(["search", str(tiny), "--max-bytes", "1k", "--out", str(out)]) == 2
    assert "holds a search for other limits; choose another --out, or --force" in capsys.readouterr().err


@pytest.mark.ci
def test_what_cannot_be_met_says_what_came_closest(tiny: Path, tmp_path: Path, capsys) -> None:
    """Not even the smallest kernels fit into 50 bytes: one trial shows how far that is."""
    assert main(["search", str(tiny), "--max-bytes", "50", "--out", str(tmp_path / "out"), "--trials", "9"]) == 1
    front = front_of(tmp_path / "out")
    (row,) = front["front"]
    assert row["point"] == {"code": 2, "hidden_0": 4} and not row["meets"] and front["chosen"] is None
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"nothing found within --max-bytes 50; the closest is point-01: error {100 * row['error_increase']:+.1f} %" in line
    assert f"at {row['bytes']:,} bytes" in line


def test_points_that_make_no_model_are_refused_before_they_are_trained(tiny: Path, tmp_path: Path, capsys) -> None:
    path = tiny.with_name("refused.toml")
    path.write_text(RECIPE.replace("hidden = [0.5, 1.0]", 'hidden = []\npatterns = ["5:7"]'))
    assert main(["search", str(path), "--max-bytes", "1k", "--out", str(tmp_path / "out")]) == 1
    assert "none of 2 trials gave a file; --max-bytes 1,000 cannot be judged" in capsys.readouterr().err
    front = front_of(tmp_path / "out")
    assert [row["state"] for row in front["trials"]] == ["refused"] * 2 and front["front"] == []
    assert "got '5:7', must be one that divides kernel 0, 24 × 8" in front["trials"][0]["note"]
    assert len(list((tmp_path / "out" / "models").iterdir())) == 1, "the float model of the recipe"


@pytest.mark.parametrize(
    ("options", "old", "new", "text"),
    [
        ([], "", "", "nothing to search for: give --max-bytes, --max-quality-loss, --max-bits or --max-latency-us"),
        (["--max-bytes", "60x"], "", "", "--max-bytes: got '60x', must be a size such as 60000, 60k, 64Ki or 1.5M"),
        (["--max-bytes", "0"], "", "", "--max-bytes: got '0'"),
        (["--max-quality-loss=-5 %"], "", "", "--max-quality-loss: got '-5 %', must be a fraction of 0 or more"),
        (["--max-quality-loss", "5"], "", "", "--max-quality-loss: got '5', must be 5% or, as a fraction, at most 1"),
        (["--max-latency-us", "0"], "", "", "--max-latency-us: got '0', must be microseconds above 0"),
        (["--max-bits", "0"], "", "", "--max-bits: got '0', must be bits per sample above 0, such as 150"),
        (
            ["--max-bits", "9"],
            "bits =",
            "rate = [-0.1]\nbits =",
            "search.rate[0]: got -0.1, must be a finite number, 0 or more",
        ),
        (["--max-bits", "9"], "bits =", "rate = [1, 1.0]\nbits =", "search.rate: got [1.0, 1.0], must be a list of different"),
        (["--max-bytes", "1k", "--trials", "0"], "", "", "--trials: got 0, must be 1 or more"),
        (["--max-bytes", "1k", "--timeout", "0"], "", "", "--timeout: got 0, must be seconds above 0"),
        (["--max-bytes", "1k"], "hidden", "hiden", "search.hiden: unknown key; did you mean hidden?"),
        (["--max-bytes", "1k"], "[0.5, 1.0]", "[-0.5]", "search.hidden[0]: got -0.5, must be a finite number, above 0"),
        (["--max-bytes", "1k"], "[2, 4]", "[2, 2]", "search.code: got [2, 2], must be a list of different values"),
        (["--max-bytes", "1k"], "[2, 4]", "[0]", "search.code[0]: got 0, must be an integer, 1 or more"),
        (
            ["--max-bytes", "1k"],
            "[0.5, 1.0]",
            "[1.0]\nvalidation = 0.95",
            "search.validation: got 0.95, must be less than 1 − test",
        ),
        (
            ["--max-bytes", "1k"],
            "[2, 4]",
            str([*range(1, 40_000)]),
            "search: holds 79,998 combinations, must be 50,000 or fewer",
        ),
        (["--max-bytes", "1k"], "bits = [8]", "bits = [9]", "search.bits[0]: got 9, must be an integer in [2, 8]"),
        (
            ["--max-bytes", "1k"],
            "bits =",
            'patterns = ["4:2"]\nbits =',
            "search.patterns: got '4:2', must be unstructured, block,",
        ),
        (
            ["--max-bytes", "1k"],
            "bits =",
            'patterns = ["n:m"]\nbits =',
            "search.patterns: got 'n:m', must be unstructured, block,",
        ),
        (["--max-bytes", "1k"], '["tflite"]', '["onnx"]', "export.targets: got ['onnx'], must include \"tflite\""),
        (["--max-bytes", "1k"], "samples.npy", "sample.npy", "sample.npy: no such file or folder"),
    ],
)
def test_a_wrong_call_is_one_line_and_leaves_nothing(tiny: Path, tmp_path: Path, capsys, options, old, new, text) -> None:
    path = tiny.with_name("wrong.toml")
    path.write_text(RECIPE.replace(old, new))
    assert main(["search", str(path), *options, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert text in line and not (tmp_path / "out").exists()


def test_without_optuna_the_line_says_what_brings_it(tiny: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["search", str(tiny), *WANTED, "--out", str(tmp_path / "out")]) == 2
    assert "optuna is not installed: pip install 'tiedae[search,train]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "count"),
    [("60k", 60_000), ("64Ki", 65_536), ("1.5M", 1_500_000), ("1Mi", 1 << 20), ("777", 777), ("60kB", 60_000)],
)
def test_sizes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "fraction"), [("2%", 0.02), ("0.02", 0.02), ("12.5 %", 0.125), ("0", 0.0), ("1", 1.0), ("150%", 1.5)]
)
def test_fractions(text: str, fraction: float) -> None:
    assert parse_fraction(text) == fraction


@pytest.mark.parametrize("text", ["k60", "-1", "nan", "inf", "1e3", "", "6 0k"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--max-bytes: got"):
        parse_bytes(text)


def outcome(number: int, size: int, error: float | None, state: str = "complete", losses: list[float] | None = None) -> Outcome:
    return Outcome(number, {"code": number}, state, "", error, size, size, None, {"train": losses or []})


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), max_size=12))
def test_no_trial_beats_a_point_of_the_front_and_every_other_is_beaten(costs: list[tuple[int, int]]) -> None:
    trials = [outcome(number, size, float(error)) for number, (size, error) in enumerate(costs)]
    front = pareto([*trials, outcome(99, 1, None, "stopped")], "file", timed=False)
    on = {costs[point.number or 0] for point in front}
    assert len(on) == len(front)
    for size, error in costs:
        beaten = any(a <= size and b <= error and (a, b) != (size, error) for a, b in on)
        assert beaten != ((size, error) in on)


def test_latency_makes_a_point_where_it_is_more_than_noise() -> None:
    times = {1: 10.0, 2: 9.8, 3: 8.0}
    trials = [structs.replace(outcome(number, 10 * number, float(number)), latency_us=time) for number, time in times.items()]
    assert [point.number for point in pareto(trials, "file", timed=True)] == [1, 3]
    assert [point.number for point in pareto(trials, "file", timed=False)] == [1]


def test_bits_make_a_point_where_they_count() -> None:
    costs = {1: 9.0, 2: 9.5, 3: 8.0}
    trials = [structs.replace(outcome(number, 10 * number, float(number)), bits=bits) for number, bits in costs.items()]
    assert [point.number for point in pareto(trials, "file", timed=False, rated=True)] == [1, 3]
    assert [point.number for point in pareto(trials, "file", timed=False)] == [1]


@pytest.mark.parametrize(
    ("rates", "limits", "counts", "chosen"),
    [
        ((), SearchLimits(bytes=99), False, "point-03"),
        ((0.1,), SearchLimits(bytes=99), False, "point-03"),
        ((0.1, 0.2), SearchLimits(bytes=99), True, "point-03"),
        ((0.1, 0.2), SearchLimits(error_increase=9), True, "point-02"),
        ((), SearchLimits(error_increase=9), False, "point-01"),
        ((), SearchLimits(bits=8.5), True, "point-02"),
    ],
    ids=["bytes", "one rate", "rates within bytes", "rates", "no rate", "bits"],
)
def test_bits_count_where_something_asks_for_them(rates, limits: SearchLimits, counts: bool, chosen: str) -> None:
    """Of three points, each the best in one of bytes, bits and error."""
    space = space_of(whole_recipe(rate=rates))
    costs = {10: (3.0, 10.0), 20: (2.0, 8.0), 30: (1.0, 9.0)}
    trials = [structs.replace(outcome(size, size, error), bits=bits) for size, (error, bits) in costs.items()]
    front = describe(trials, trials, {}, limits, FloatBaseline(1.0, 40), space)
    assert (bits_count(space, limits), front["chosen"]) == (counts, chosen)


FINISHED = [outcome(n, size, error, losses=[4.0, 2.0]) for n, (size, error) in enumerate([(10, 1.6), (20, 1.2), (30, 1.0)], 1)]
"""Each halved its loss in the second epoch; a loss of 2 is an error of 2, and what came after halved the best one's."""


@pytest.mark.parametrize(
    ("finished", "least", "limits", "epoch", "loss", "stopped"),
    [
        (FINISHED, 20, SearchLimits(bytes=99), 2, 4.0, True),
        (FINISHED, 19, SearchLimits(bytes=99), 2, 3.0, False),
        (FINISHED, 20, SearchLimits(bytes=99), 2, 2.4, False),
        (FINISHED[:2], 20, SearchLimits(bytes=99), 2, 9.0, False),
        (FINISHED, 9, SearchLimits(bytes=99), 2, 9.0, False),
        (FINISHED, 9, SearchLimits(bytes=99, error_increase=0.5), 2, 9.0, True),
        (FINISHED, 9, SearchLimits(bytes=9, error_increase=0.5), 2, 9.0, False),
        (FINISHED, 20, SearchLimits(bytes=99), 1, 80.0, False),
    ],
    ids=["beaten", "larger ones only", "may still win", "too few to tell", "small", "limit", "limit nothing meets", "grace"],
)
def test_a_trial_is_stopped_where_even_a_flattering_estimate_is_beaten(finished, least, limits, epoch, loss, stopped) -> None:
    stopping_rule = EarlyStopping(finished, least, "file", limits, float_error=2.0, float_losses=[3.0, 2.0])
    assert bool(stopping_rule.stop_reason(epoch, 8, loss)) == stopped


def test_the_estimate_takes_the_best_that_was_seen_of_each_part() -> None:
    """Half the loss goes in what remains of float training, half the error in what comes after."""
    stopping_rule = EarlyStopping(FINISHED, 0, "file", SearchLimits(bytes=9), float_error=2.0, float_losses=[3.0, 2.0])
    assert stopping_rule.estimate(1, 8.0) == pytest.approx(stopping.OPTIMISM * 8.0 * 0.5 * 0.5)
    costly = [structs.replace(trial, error=5.0) for trial in FINISHED]
    assert dataclasses.replace(stopping_rule, finished=costly).estimate(2, 8.0) == pytest.approx(stopping.OPTIMISM * 8.0), (
        "at worst it costs nothing"
    )


def whole_recipe(**search: object) -> Recipe:
    layers = (LayerConfig(64, "relu"), LayerConfig(32, "relu"), LayerConfig(16))
    return Recipe("x", DataConfig("x.npy"), ModelConfig(layers, inputs=100), search=SearchConfig(**search))


def play(path: Path, recipe: Recipe, count: int, most_bytes: float = math.inf) -> list[tuple]:
    """Trials of a made-up objective, gone on from what the file holds: the larger the net, the lower its error."""
    space = space_of(recipe)
    trials = Trials(path, space, lambda outcome: {"bytes": (outcome.number or 0) % 2 - 0.5})
    while trials.trained < count and (proposal := trials.propose(most_bytes)) is not None:
        size, number = space.min_bytes[key_of(proposal.point)], trials.trained + 1
        error, state = (1e4 / size, "complete") if proposal.fits else (None, "impossible")
        trials.record(proposal, Outcome(number, proposal.point, state, "", error, size, size))
    return [(each.state, *each.point.values()) for each in trials.outcomes]


@pytest.mark.ci
def test_the_same_seed_proposes_the_same_points_interrupted_or_not_and_another_does_not(tmp_path: Path) -> None:
    whole = play(tmp_path / "a.db", whole_recipe(), 16)
    assert len(set(whole)) == 16 and whole[0] == ("complete", 16, 64, 32, "8")
    for count in (3, 11, 16):
        parts = play(tmp_path / "b.db", whole_recipe(), count)
        assert parts == whole[:count]
    assert play(tmp_path / "c.db", whole_recipe(seed=1), 16) != whole


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({"name": "other", "verify": VerifyConfig(0.5)}, ["train", "prune", "quantize"]),
        ({"quantize": QuantizeConfig(bits=(4,))}, ["train", "prune"]),
        ({"export": ExportConfig(("onnx",))}, ["train", "prune"]),
        ({"prune": PruneConfig(sparsity=0.25)}, ["train"]),
        ({"train": TrainConfig(epochs=7)}, []),
        ({"data": DataConfig("x.npy", seed=1)}, []),
    ],
    ids=["name", "bits", "targets", "sparsity", "epochs", "seed of the data"],
)
def test_stages_are_shared_by_recipes_that_agree_so_far(tmp_path: Path, change: dict, shared: list[str]) -> None:
    builder = TrialBuilder(None, tmp_path, "0")
    recipe = structs.replace(whole_recipe(), prune=PruneConfig())
    folders = [builder.stages(each, lambda *_: None).folder for each in (recipe, structs.replace(recipe, **change))]
    assert [stage for stage in ("train", "prune", "quantize") if folders[0](stage) == folders[1](stage)] == shared


@pytest.mark.parametrize("most_bytes", [1200, 2000])
def test_impossible_points_cost_no_trial_and_every_possible_one_comes_in_the_end(tmp_path: Path, most_bytes: int) -> None:
    recipe = whole_recipe(code=[8, 16], hidden=[0.125, 0.25, 0.5], bits=[8])
    possible = sum(least <= most_bytes for least in space_of(recipe).min_bytes.values())
    states = [state for state, *_ in play(tmp_path / "a.db", recipe, 99, most_bytes)]
    assert 0 < possible < 18 and states.count("complete") == possible and len(states) <= 18


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")
def test_a_study_is_open_only_while_it_is_read_or_written(tmp_path: Path) -> None:
    trials = Trials(tmp_path / "study.db", space_of(whole_recipe()), lambda _: {})
    proposal = trials.propose(math.inf)
    assert proposal is not None
    trials.record(proposal, Outcome(1, proposal.point, "complete", "", 1.0, 100, 100))
    opened = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert tmp_path / "study.db" not in opened


def test_a_damaged_study_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(FormatError, match=r"study\.db: damaged .*--force starts a new search"):
        Trials(tmp_path / "study.db", space_of(whole_recipe()), lambda _: {})


@pytest.mark.parametrize(
    ("pragma", "expected"), [("max_page_count = 1", errno.ENOSPC), ("query_only = 1", errno.EACCES)], ids=["full", "read-only"]
)
def test_a_study_that_cannot_be_written_is_not_called_damaged(tmp_path: Path, pragma: str, expected: int) -> None:
    trials = Trials(tmp_path / "study.db", space_of(whole_recipe()), lambda _: {})
    proposal = trials.propose(math.inf)
    assert proposal is not None

    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA {pragma}")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", limit)
    try:
        with pytest.raises(OSError, match=r"study\.db") as caught:
            trials.record(proposal, Outcome(1, proposal.point, "refused", "too long for the pages there are" * 1000))
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", limit)
    assert caught.value.errno == expected
    assert Trials(tmp_path / "study.db", space_of(whole_recipe()), lambda _: {}).outcomes == []


@pytest.mark.parametrize(
    ("search", "point", "prune", "least"),
    [
        ({}, {}, None, 100 * 64 + 64 * 32 + 32 * 16),
        ({}, {"bits": "4"}, None, (100 * 64 + 64 * 32 + 32 * 16) // 2),
        ({"sparsity": (0, 0.5)}, {"pruning": "unstructured 0.5"}, ("unstructured", 0.5, ()), 8960),
        ({"patterns": ("2:4", "block"), "sparsity": (0.75,)}, {"pruning": "block 0.75"}, ("block", 0.75, ()), 8960),
        (
            {"patterns": ("2:4",), "code": (18,)},
            {"pruning": "2:4", "code": 18},
            ("2:4", 0.5, (2,)),
            100 * 64 + 64 * 32 + 32 * 18,
        ),
        ({"rate": (0.0, 0.1)}, {"rate": 0.1}, None, 100 * 64 + 64 * 32 + 32 * 1),
        ({"patterns": ("structured",), "sparsity": (0.25,)}, {}, ("structured", 0.25, ()), 100 * 48 + 48 * 24 + 24 * 16),
    ],
    ids=["as it is", "packed", "sparsity", "blocks", "2:4 leaves what it does not divide", "a rate", "structured"],
)
def test_a_point_becomes_a_recipe_whose_kernels_take_known_bytes(search: dict, point: dict, prune, least: int) -> None:
    space = space_of(whole_recipe(**search))
    whole = {axis.name: axis.own if axis.own in axis.values else axis.values[0] for axis in space.axes} | point
    recipe = space.recipe_of(whole)
    assert (None if recipe.prune is None else (recipe.prune.pattern, recipe.prune.sparsity, recipe.prune.skip)) == prune
    assert space.min_bytes[key_of(whole)] == least


def test_a_code_of_fixed_scale_has_no_rate() -> None:
    layers = (LayerConfig(8, "relu"), LayerConfig(4, "tanh"))
    recipe = Recipe("x", DataConfig("x.npy"), ModelConfig(layers, inputs=24), search=SearchConfig(rate=(0.1,)))
    with pytest.raises(
        RecipeError, match=r"train\.rate: got 0\.1, must be 0, since tanh or sigmoid fixes the scale of the code"
    ):
        space_of(recipe)


@pytest.fixture(scope="module")
def rated(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DIR of a search of two rates, with classes, which early stopping would end at once."""
    path, axes = tiny.with_name("rated.toml"), "[codec]\nclasses = 2\n[search]\ncode = [4]\nrate = [0, 1e-3]\nhidden = []"
    path.write_text(RECIPE.replace("[search]\ncode = [2, 4]\nhidden = [0.5, 1.0]", axes))
    out = tmp_path_factory.mktemp("rated") / "out"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(EarlyStopping, "stop_reason", lambda *_: "at once")
        call = ["search", str(path), "--max-bits", "4000", "--trials", "5", "--out", str(out), "-q"]
        assert main(call) == 0
    return out


@pytest.mark.ci
def test_rates_are_searched_and_drawn_beside_pca(rated: Path) -> None:
    front = front_of(rated)
    assert [(row["point"], row["state"]) for row in front["trials"]] == [({"rate": rate}, "complete") for rate in (0, 1e-3)]
    assert front["limits"]["bits"] == 4000 and front["trials"][0]["bits"] != front["trials"][1]["bits"]
    assert {point["coder"] for point in front["others"]["points"]} == {"pca"}
    page = (rated / "front.html").read_text()
    assert "Rate and distortion" in page and page.count('<svg class="chart"') == 2
    assert f"{front['front'][0]['bits']:.4g}" in page


@pytest.mark.ci
def test_bits_are_those_of_the_file_that_the_bundle_writes(rated: Path, tmp_path: Path) -> None:
    row = front_of(rated)["front"][-1]
    assert main(["run", str(rated / f"{row['name']}.toml"), "--out", str(tmp_path / "run"), "-q"]) == 0
    recipe = load_recipe(rated / f"{row['name']}.toml")
    validation = load_dataset(recipe.data, "sigmoid").validation
    assert validation is not None
    data = load(tmp_path / "run").compress(validation.take(slice(None)))
    assert row["bits"] == 8 * len(data) / len(validation) < 4000


@pytest.mark.ci
def test_what_exceeds_the_bits_says_what_came_closest(tiny: Path, tmp_path: Path, capsys) -> None:
    call = ["search", str(tiny), "--max-bits", "0.5", "--out", str(tmp_path / "out"), "--trials", "1"]
    assert main(call) == 1
    (row,) = front_of(tmp_path / "out")["front"]
    line = capsys.readouterr().err.splitlines()[-1]
    assert "nothing found within --max-bits 0.5; the closest is point-01" in line
    assert f"at {row['bytes']:,} bytes, {row['bits']:.4g} bits per sample" in line


def test_a_table_names_its_worst_column(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(200, 20)).astype(np.float32)
    splits = Dataset.from_array(table, validation=0.2)
    quality = TrialBuilder(splits, tmp_path, "").quality(build_program(byte_data=False), TrainConfig())
    (worst,) = quality.fidelity.columns
    assert worst.r2 is not None and quality.fidelity.value is not None and worst.r2 < quality.fidelity.value
    assert fit_text(quality.fidelity).endswith(f"worst {worst.r2:.3g} ({worst.name})")


@pytest.mark.parametrize("pairs", [False, True], ids=["noise", "pairs"])
def test_a_trial_of_noisy_samples_is_judged_against_clean_ones(pairs: bool, tmp_path: Path) -> None:
    clean = np.random.default_rng(0).integers(0, 256, (200, 20), dtype=np.uint8)
    splits = Dataset.from_array(255 - clean if pairs else clean, clean=clean if pairs else None, validation=0.2)
    train = TrainConfig(noise=None if pairs else NoiseConfig("gaussian", 0.3))
    builder, program = TrialBuilder(splits, tmp_path, ""), build_program()
    given, wanted = builder.samples(train)
    assert (wanted == splits.validation.wanted.take(slice(None))).all() and (given != wanted).mean() > 0.8
    y = ProgramBackend(program, splits.spec).reconstruct(given)[1] / 255
    right = float(np.square(y - wanted / 255).sum(axis=1).mean())
    assert builder.quality(program, train).error == pytest.approx(right, rel=1e-5)
    assert builder.quality(program, train) == builder.quality(program, train)


def test_a_start_that_counts_as_an_epoch_bounds_what_follows() -> None:
    records = [{"validation_loss": each} for each in (3.0, 1.0, 2.0)]
    assert kept_losses(records) == [3.0, 1.0, 2.0] and kept_losses([]) == []
    for loss, right in ((1.5, [1.5, 1.0, 1.5]), (None, [3.0, 1.0, 2.0])):
        assert kept_losses([{**records[0], "begun": {"loss": loss}}, *records[1:]]) == right
