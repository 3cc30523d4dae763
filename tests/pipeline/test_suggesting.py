"""`tiedae recipe --data`: a recipe for any data that a run takes, by training samples alone, with a reason for each value."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tiedae.base.errors import DataError, RecipeError
from tiedae.cli import main
from tiedae.config.config import DataConfig
from tiedae.config.tasks import Anomaly
from tiedae.data.dataset import split
from tiedae.data.samples import Samples
from tiedae.pipeline.recipe import check_inputs, load_recipe, parse_recipe
from tiedae.pipeline.sources import recipe_data
from tiedae.pipeline.suggesting import Wish, suggest
from tiedae.pipeline.suggesting.choices import CHOICES, EARLY, STEPS, window_of
from tiedae.pipeline.suggesting.facts import Facts
from tiedae.pipeline.suggesting.plan import KEPT, RecipePlan, kept_by_default, leading, power_of_two, water_level

TASKS = tuple(KEPT)


def image(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, rng.integers(2, 257), (n, 5, 4), np.uint8)


def table(rng: np.random.Generator, n: int) -> np.ndarray:
    return (rng.standard_normal((n, 6)) @ rng.standard_normal((6, 6)) * 10.0 ** np.arange(-2, 4)).astype(np.float64)


def heavy(rng: np.random.Generator, n: int) -> np.ndarray:
    values = rng.standard_t(1.1, (n, 4)).clip(-1e6, 1e6)
    values[:, 1] = 7.0
    return values


def duplicated(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.repeat(rng.integers(-9, 9, (2, 3)), [n // 2, n - n // 2], axis=0) + np.eye(n, 3, dtype=np.int64)


def signals(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.cumsum(rng.standard_normal((n, 24)), axis=1).astype(np.float32)


def record(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.cumsum(rng.integers(-9, 10, 32 * n)).astype(np.int16)


KINDS = {function.__name__: function for function in (image, table, heavy, duplicated, signals, record)}


@settings(max_examples=40)
@given(st.sampled_from(sorted(KINDS)), st.sampled_from(TASKS), st.integers(40, 400), st.integers(0, 99))
def test_any_data_have_a_recipe_that_their_run_accepts(tmp_path_factory, kind: str, task: str, n: int, seed: int) -> None:
    folder = tmp_path_factory.mktemp("any")
    np.save(folder / "x.npy", KINDS[kind](np.random.default_rng(seed), n))
    suggestion = suggest(Wish.of("x.npy", task), base=folder, to=folder)
    recipe = parse_recipe(tomllib.loads(suggestion.text), "x")
    splits = recipe_data(recipe, folder)
    recipe = check_inputs(recipe, splits.train.shape, splits.spec.dtype)
    assert max(layer.units for layer in recipe.model.layers[-1:]) <= splits.inputs
    assert recipe.codec.classes <= len(splits.train)
    assert len(splits.train) == suggestion.facts.training and recipe.task.__struct_config__.tag == task
    assert suggestion.facts.samples == len(splits.train.disjoint) + sum(len(s) for s in (splits.validation, splits.test) if s)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", TASKS)
def test_every_value_has_its_reason_above_it(tmp_path: Path, kind: str, task: str) -> None:
    np.save(tmp_path / "x.npy", KINDS[kind](np.random.default_rng(1), 300))
    suggestion = suggest(Wish.of("x.npy", task), base=tmp_path, to=tmp_path)
    lines = suggestion.text.splitlines()
    assert all(len(line) <= 128 for line in lines if line.startswith("#"))
    keys = [i for i, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(keys) == len(suggestion.choices) and all(lines[i - 1].startswith("# ") for i in keys)
    assert all(choice.reason for choice in suggestion.choices)
    assert "PCA" in suggestion.baseline and suggestion.baseline in suggestion.text.replace("\n# ", " ")
    parsed = tomllib.loads(suggestion.text)
    for choice in suggestion.choices:
        table_name, _, name = choice.key.partition(".")
        assert parsed[table_name][name] == choice.value


def test_each_row_of_the_tables_is_used(tmp_path: Path) -> None:
    used = set()
    rng = np.random.default_rng(0)
    for kind, make in KINDS.items():
        np.save(tmp_path / f"{kind}.npy", make(rng, 300) % 100 if kind == "image" else make(rng, 300))
        for task in TASKS:
            used |= {choice.key for choice in suggest(Wish.of(f"{kind}.npy", task), base=tmp_path).choices}
    np.savez(tmp_path / "few.npz", x=rng.standard_normal((60, 5)), labels=np.arange(60) % 2)
    for task in ("anomaly", "reduction"):
        used |= {choice.key for choice in suggest(Wish.of("few.npz", task), base=tmp_path).choices}
    np.save(tmp_path / "many.npy", rng.standard_normal((1_600, 5)) * np.arange(1, 6))
    used |= {choice.key for choice in suggest(Wish.of("many.npy"), base=tmp_path).choices}
    axes = np.cumsum(rng.standard_normal((9_000, 3)), axis=0)
    np.save(tmp_path / "axes.npy", axes / axes.std(axis=0))
    wish = Wish.of("axes.npy", settings=["data.kind=record", "data.window=32"])
    used |= {choice.key for choice in suggest(wish, base=tmp_path).choices}
    np.save(tmp_path / "far.npy", 1e9 + rng.standard_normal((300, 5)))
    used |= {choice.key for choice in suggest(Wish.of("far.npy"), base=tmp_path).choices}
    assert used - {"data.source", "data.window", "data.kind"} == set(CHOICES) | set(EARLY)


@pytest.mark.parametrize(("samples", "held"), [(1_249, False), (1_250, True)])
def test_a_recipe_states_the_samples_that_its_run_would_hold_out(tmp_path: Path, samples: int, held: bool) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((samples, 3)))
    text = suggest(Wish.of("x.npy"), base=tmp_path, to=tmp_path).text
    assert ("validation = 0.1" in text) == held
    splits = recipe_data(parse_recipe(tomllib.loads(text), "x"), tmp_path)
    assert (splits.validation is not None) == held


def test_no_test_sample_is_looked_at(tmp_path: Path) -> None:
    x = np.random.default_rng(3).standard_normal((200, 8))
    np.save(tmp_path / "x.npy", x)
    before = suggest(Wish.of("x.npy", "anomaly"), base=tmp_path)
    recipe = parse_recipe(tomllib.loads(before.text), "x")
    _, validation, test = split(Samples(x), (recipe.data.validation, recipe.data.test), "x", seed=recipe.data.seed)
    for part in (validation, test):
        assert part is not None
        x[part.rows] = 1e6
    np.save(tmp_path / "x.npy", x)
    assert suggest(Wish.of("x.npy", "anomaly"), base=tmp_path) == before


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40).filter(any), st.floats(0.01, 0.99))
def test_the_water_level_keeps_the_stated_fraction(values: list[float], kept: float) -> None:
    variances = np.sort(values)[::-1]
    level = water_level(variances, kept)
    assert np.minimum(variances, level).sum() == pytest.approx((1 - kept) * variances.sum(), rel=1e-9)
    count = leading(variances, kept)
    assert variances[:count].sum() >= kept * variances.sum() * (1 - 1e-12)
    assert count == 1 or variances[: count - 1].sum() < kept * variances.sum() * (1 + 1e-12)


@given(st.floats(0, 1e9))
def test_a_power_of_two_is_at_or_below_a_value(value: float) -> None:
    power = power_of_two(value, 4, 64)
    assert power in (4, 8, 16, 32, 64) and (power <= value or power == 4) and (2 * power > value or power == 64)


@pytest.mark.parametrize(("values", "window"), [(400, 32), (15_000, 64), (108_000, 256), (10_000_000, 256)])
def test_a_record_is_cut_into_windows(values: int, window: int) -> None:
    assert window_of(values, values).value == window
    assert window_of(values, 40).value == 32


def test_more_that_is_kept_takes_more_units_and_a_lower_rate(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", signals(np.random.default_rng(0), 300))
    plans = [
        parse_recipe(tomllib.loads(suggest(Wish.of("x.npy", kept=kept), base=tmp_path).text), "x") for kept in (0.8, 0.95, 0.99)
    ]
    units = [plan.model.layers[-1].units for plan in plans]
    rates = [plan.train.rate for plan in plans]
    assert units == sorted(units) and units[0] < units[-1] and rates == sorted(rates, reverse=True) and rates[0] > rates[-1]


def test_kinds_are_told_apart_by_their_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, expected in {"image": "image", "table": "table", "signals": "record", "record": "record"}.items():
        np.save(tmp_path / f"{kind}.npy", KINDS[kind](rng, 300))
        facts = suggest(Wish.of(f"{kind}.npy", task="denoising"), base=tmp_path).facts
        assert facts.kind == expected and facts.output == ("sigmoid" if kind == "image" else "linear")
    np.save(tmp_path / "heavy.npy", heavy(rng, 300))
    facts = suggest(Wish.of("heavy.npy"), base=tmp_path).facts
    assert facts.heavy and facts.constants == 1 and facts.duplicates == 0
    np.save(tmp_path / "twice.npy", duplicated(rng, 300))
    assert suggest(Wish.of("twice.npy"), base=tmp_path).facts.duplicates > 200


def test_tails_that_no_byte_holds_are_not_trained_for_rate(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((20_000, 4))
    np.save(tmp_path / "x.npy", x)
    assert parse_recipe(tomllib.loads(suggest(Wish.of("x.npy"), base=tmp_path).text), "x").train.rate > 0
    x[:3, 2] = 1e4
    np.save(tmp_path / "x.npy", x)
    wish = Wish.of("x.npy", settings=["data.scaling=standard"])
    recipe = parse_recipe(tomllib.loads(suggest(wish, base=tmp_path).text), "x")
    assert recipe.train.rate == 0 and recipe.codec.classes == 1


def test_classes_are_for_codes_of_many_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for columns, many in ((3, False), (40, True)):
        np.save(tmp_path / "x.npy", rng.standard_normal((1000, columns)))
        recipe = parse_recipe(tomllib.loads(suggest(Wish.of("x.npy"), base=tmp_path).text), "x")
        assert (recipe.codec.classes > 1) == many


def test_what_is_stated_stays_and_decides_the_rest(tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "x.npz", x=signals(np.random.default_rng(0), 300), labels=np.arange(300) % 3 + 4)
    call = ["recipe", "--data", str(tmp_path / "x.npz"), "--task", "anomaly", "-o", str(tmp_path / "r.toml")]
    assert main(call) == 2
    asked = "which of its labels are normal? State them, such as --set 'task.normal=[{}]', the most frequent of {}"
    assert asked.format("4", "4, 5, 6") in capsys.readouterr().err
    np.savez(tmp_path / "texts.npz", x=signals(np.random.default_rng(0), 99), labels=np.tile(["fine", "worn", "torn"], 33))
    assert main(["recipe", "--data", str(tmp_path / "texts.npz"), "--task", "anomaly"]) == 2
    assert asked.format('"torn"', "fine, torn, worn") in capsys.readouterr().err
    stated = ["--set", "task.normal=[5, 6]", "--set", "task.score=max", "--set", "model.output_activation=tanh"]
    assert main([*call, *stated]) == 0
    recipe = load_recipe(tmp_path / "r.toml")
    assert isinstance(recipe.task, Anomaly) and recipe.task.normal == (5, 6) and recipe.task.score == "max"
    assert recipe.model.output_activation == "tanh"
    assert "# stated by --set\nscore" in (tmp_path / "r.toml").read_text(encoding="utf-8")
    assert len(recipe_data(recipe, tmp_path).train) == pytest.approx(0.6 * 200, abs=10)


@pytest.mark.parametrize(
    ("labels", "normal"),
    [
        ([0] * 200 + [1] * 100, (0,)),
        ([0] * 60 + [1] * 240, (1,)),  # 0 is malignant in scikit-learn's breast cancer
        (["benign"] * 200 + ["malignant"] * 100, ("benign",)),
        (["fault"] * 200 + ["normal"] * 100, ("normal",)),
        ([True] * 250 + [False] * 50, (1,)),
        ([2.0] * 250 + [3.0] * 50, (2,)),
    ],
)
def test_the_class_to_train_on_is_the_most_frequent_one(tmp_path: Path, labels: list, normal: tuple) -> None:
    np.savez(tmp_path / "x.npz", x=signals(np.random.default_rng(0), 300), labels=np.random.default_rng(0).permutation(labels))
    suggestion = suggest(Wish.of("x.npz", "anomaly"), base=tmp_path)
    recipe = parse_recipe(tomllib.loads(suggestion.text), "x")
    assert isinstance(recipe.task, Anomaly) and recipe.task.normal == normal


def test_no_class_is_chosen_that_is_not_most_of_the_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=signals(np.random.default_rng(0), 300), labels=np.repeat([3, 9, 7], [90, 130, 80]))
    with pytest.raises(DataError, match=r"--set 'task\.normal=\[9\]', the most frequent of 3, 7, 9"):
        suggest(Wish.of("x.npz", "anomaly"), base=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--task", "compress"], "--task: got 'compress', must be one of compression, anomaly, denoising, reduction"),
        (["--keep", "1"], "--keep: got 1.0, must be a fraction of the variance, in (0, 1)"),
        (["--set", "window=3"], "--set: got 'window=3', must be KEY=VALUE with a key such as data.window"),
        (["--set", "data.window"], "--set: got 'data.window', must be KEY=VALUE"),
        (["--set", "task.kind=anomaly"], "--set: got 'task.kind=anomaly'; --task states it"),
        (["--set", "data.windw=3"], "data.windw: unknown key; did you mean window?"),
        (["--task", "anomaly", "--set", "task.normal=5"], "task.normal: got 5, must be a list, each an integer or a string"),
        (["--set", "train.epochs=-1"], "train.epochs: got -1, must be an integer, 0 or more"),
        (["--set", 'data.columns=["a"]'], "`columns` in [data] is for a .csv file"),
    ],
)
def test_a_wrong_wish_is_one_line(tmp_path: Path, capsys, arguments: list[str], text: str) -> None:
    np.save(tmp_path / "x.npy", signals(np.random.default_rng(0), 60))
    assert main(["recipe", "--data", str(tmp_path / "x.npy"), *arguments, "-o", str(tmp_path / "r.toml")]) == 2
    error = capsys.readouterr().err
    assert text in error and len(error.strip().splitlines()) == 1 and not (tmp_path / "r.toml").exists()


@pytest.mark.parametrize("option", [["--task", "anomaly"], ["--set", "data.window=3"], ["--keep", "0.9"], ["--json", "-"]])
def test_what_goes_with_data_alone_is_refused_without(capsys, option: list[str]) -> None:
    assert main(["recipe", *option]) == 2
    assert f"{option[0]}: goes with --data SOURCE, which is missing" in capsys.readouterr().err


def test_missing_data_and_data_without_any_sample_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.npy: no such file or folder"):
        suggest(Wish.of("nothing.npy"), base=tmp_path)
    np.save(tmp_path / "few.npy", np.arange(12.0).reshape(4, 3))
    for task in TASKS:
        with pytest.raises(DataError, match=r"few\.npy: has . training samples beside 1 test samples, must be 16 or more"):
            suggest(Wish.of("few.npy", task), base=tmp_path)
    np.savez(tmp_path / "rare.npz", x=signals(np.random.default_rng(0), 200), y=np.arange(200) > 9)
    with pytest.raises(DataError, match=r"rare\.npz: has . training samples beside 40 test samples, must be 16 or more"):
        suggest(Wish.of("rare.npz", "anomaly", settings=["task.normal=[0]"]), base=tmp_path)
    for name, values in {"short": np.arange(500), "none": np.zeros(0), "rows": np.zeros((0, 5))}.items():
        np.save(tmp_path / f"{name}.npy", values)
    with pytest.raises(DataError, match=r"short\.npy: is a record of 500 values, must be 512 or more for 16 windows of 32; or"):
        suggest(Wish.of("short.npy"), base=tmp_path)
    for name, shape in {"none": r"\[0\]", "rows": r"\[0, 5\]"}.items():
        with pytest.raises(DataError, match=rf"{name}\.npy: (is empty \(shape|has shape) {shape}"):
            suggest(Wish.of(f"{name}.npy"), base=tmp_path)
    with pytest.raises(RecipeError, match=r"^--task: got 'x'"):
        Wish.of("few.npy", "x")


def test_a_recipe_names_its_data_from_its_own_folder(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "deep").mkdir()
    np.save(tmp_path / "x.npy", signals(np.random.default_rng(0), 100))
    monkeypatch.chdir(tmp_path)
    assert main(["recipe", "--data", "x.npy", "-o", "deep/r.toml"]) == 0
    recipe = load_recipe(Path("deep/r.toml"))
    assert recipe.data.source == "../x.npy" and recipe_data(recipe, Path("deep")).inputs == 24
    assert main(["recipe", "--data", "x.npy", "-o", "deep/r.toml"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["recipe", "--data", "x.npy", "-o", "x.npy", "--force"]) == 2
    stated = ["--set", "data.clean=x.npy", "--task", "denoising", "-o", "deep/clean.toml"]
    assert main(["recipe", "--data", "x.npy", *stated]) == 0
    assert load_recipe(Path("deep/clean.toml")).data.clean == "../x.npy"
    capsys.readouterr()
    assert main(["recipe", "--data", "ecg-table", "--json", "-"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert parse_recipe(tomllib.loads(printed["text"]), "x").data.source == "ecg-table"
    assert printed["facts"]["inputs" if "inputs" in printed["facts"] else "shape"] == [8]
    assert {choice["key"] for choice in printed["choices"]} >= {"model.layers", "train.epochs", "quantize.method"}


def test_a_source_with_a_test_set_has_no_fraction_for_one(tmp_path: Path) -> None:
    x = signals(np.random.default_rng(0), 300)
    np.savez(tmp_path / "own.npz", x_train=x[:200], x_test=x[200:])
    np.save(tmp_path / "x.npy", x[:200])
    np.save(tmp_path / "test.npy", x[200:])
    own = suggest(Wish.of("own.npz"), base=tmp_path)
    elsewhere = suggest(Wish.of("x.npy", settings=["data.test=test.npy"]), base=tmp_path, to=tmp_path)
    assert own.facts == elsewhere.facts and (own.facts.training, own.facts.tested) == (200, 100)
    assert "data.test" not in {choice.key for choice in own.choices}
    assert parse_recipe(tomllib.loads(elsewhere.text), "x").data.test == "test.npy"


def test_neither_tensorflow_nor_keras_is_imported(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", signals(np.random.default_rng(0), 90))
    call = f"main(['recipe', '--data', {str(tmp_path / 'x.npy')!r}, '-o', {str(tmp_path / 'r.toml')!r}])"
    code = f"import sys; from tiedae.cli import main; print({call}, {{'tensorflow', 'tf_keras', 'onnx'}} & {{*sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "0 set()"


FACTS = Facts(
    kind="image",
    dtype="uint8",
    shape=(8, 8),
    samples=2000,
    training=1600,
    overlap=1,
    held_out=0,
    tested=400,
    low=0.0,
    high=255.0,
    deviation=70.0,
    channels=(70.0, 70.0),
    tail=2.5,
    reach=2.5,
    constants=0,
    duplicates=0,
    labels=(),
    scaling="auto",
    per_feature="auto",
    output="sigmoid",
    spread=0.3,
    variances=(4.0,) * 40 + (0.25,) * 24,
    looked_at=1600,
)


def test_channels_of_one_unit_have_one_scale(tmp_path: Path) -> None:
    """PRDN adds their errors up; a constant channel has no part, what is stated stays."""
    steps = np.random.default_rng(0).standard_normal((9_000, 4)).cumsum(axis=0)
    steps = steps / steps.std(axis=0) * [1, 2, 3, 0] + [0, 0, 0, 0.1]
    np.save(tmp_path / "x.npy", steps)
    for stated, per_feature, scales in (([], False, 1), (["data.per_feature=true"], True, 128)):
        wish = Wish.of("x.npy", settings=["data.kind=record", "data.window=32", *stated])
        suggestion = suggest(wish, base=tmp_path, to=tmp_path)
        recipe = parse_recipe(tomllib.loads(suggestion.text), "x")
        assert recipe.data.per_feature is per_feature and np.size(recipe_data(recipe, tmp_path).scaling.scale) == scales
        assert suggestion.facts.per_feature is per_feature and suggestion.facts.one_unit
    np.save(tmp_path / "x.npy", steps + np.array([0, 0, 1_000, 0]))
    apart = suggest(Wish.of("x.npy", settings=["data.kind=record", "data.window=32"]), base=tmp_path, to=tmp_path)
    assert apart.facts.per_feature == "auto" and not apart.facts.one_unit


@pytest.mark.parametrize(
    ("key", "task", "changes", "value"),
    [
        # 0.95 of 40 · 4 + 24 · 0.25 = 166: θ with 64 θ = 8.3; 40 components keep 160 ≥ 157.7
        ("train.rate", "compression", {}, round(2 * np.log(2) * 8.3 / 64, 2)),
        ("model.layers", "compression", {}, [256, 40]),
        ("model.layers", "compression", {"training": 100}, [128, 40]),
        ("model.layers", "compression", {"training": 10**6}, [512, 40]),
        ("model.layers", "compression", {"variances": (9.0,) + (0.001,) * 63}, [256, 4]),
        ("model.layers", "compression", {"shape": (3,), "variances": (9.0, 0.01, 0.0)}, [32, 3]),
        ("model.layers", "denoising", {"variances": (9.0,) + (0.001,) * 63}, [256, 1]),
        ("model.layers", "compression", {"shape": (9,), "variances": (1.0,) * 9, "training": 10**6}, [128, 9]),
        ("model.layers", "anomaly", {}, [256, 34]),  # 34 · 4 ≥ 0.8 · 166
        ("model.layers", "reduction", {}, [256, 8]),
        ("train.epochs", "compression", {}, 160),  # 25 steps an epoch
        ("train.epochs", "compression", {"training": 54_000}, 5),
        ("train.epochs", "compression", {"training": 90}, 600),
        ("train.batch_size", "compression", {"training": 499}, 32),
        ("quantize.method", "compression", {}, "qat"),
        ("quantize.epochs", "compression", {"held_out": 160}, 40),
        ("quantize.epochs", "compression", {}, 24),
        ("quantize.learning_rate", "compression", {"held_out": 160}, 1e-4),
        ("quantize.learning_rate", "compression", {}, 6e-4),
        ("quantize.rate_fraction", "compression", {}, 0.5),
        ("quantize.rate_fraction", "anomaly", {}, None),
        ("quantize.method", "compression", {"kind": "table", "reach": 1000.0}, "ptq"),
        ("quantize.epochs", "compression", {"kind": "table", "reach": 1000.0}, None),
        ("quantize.method", "anomaly", {}, "ptq"),
        ("verify.max_quality_loss", "compression", {"kind": "table"}, None),
        # 6 · 64 · (2 · 25.5 / 255)² / 12 = 1.28 of half of 8.3: 30.8 % beside 5 %
        ("verify.max_quality_loss", "compression", {"kind": "table", "reach": 25.5}, 0.36),
        ("verify.max_quality_loss", "compression", {"kind": "record", "reach": 25.5}, 0.36),
        ("verify.max_quality_loss", "compression", {"reach": 25.5}, None),
        ("verify.max_quality_loss", "anomaly", {"kind": "table", "reach": 25.5}, None),
        ("data.per_feature", "compression", {"kind": "record"}, None),
        ("data.per_feature", "compression", {"kind": "record", "channels": (9.0, 20.0), "dtype": "int16"}, False),
        ("data.per_feature", "compression", {"kind": "record", "channels": (9.0, 20.0), "dtype": "uint8"}, None),
        ("data.per_feature", "compression", {"kind": "record", "channels": (9.0, 20.0), "scaling": "none"}, None),
        ("data.per_feature", "compression", {"kind": "record", "channels": (6.9, 20.0), "dtype": "int16"}, None),  # 70 of all
        (
            "data.per_feature",
            "compression",
            {"kind": "record", "channels": (2.0, 20.0), "deviation": 20.0, "dtype": "int16"},
            False,
        ),
        (
            "data.per_feature",
            "compression",
            {"kind": "record", "channels": (2.0, 20.5), "deviation": 20.0, "dtype": "int16"},
            None,
        ),
        ("data.per_feature", "compression", {"kind": "record", "channels": (0.0, 0.0)}, None),
        ("data.per_feature", "compression", {"kind": "table", "channels": (2.0, 20.0), "deviation": 20.0}, None),
        ("data.per_feature", "anomaly", {"kind": "record", "channels": (2.0, 20.0), "deviation": 20.0, "dtype": "int16"}, None),
        ("codec.classes", "compression", {}, 16),
        ("codec.classes", "compression", {"overlap": 8}, 2),
        ("codec.classes", "denoising", {}, None),
        ("train.rate", "anomaly", {}, None),
        ("train.noise", "denoising", {}, {"kind": "gaussian", "level": 0.15}),
        ("task.quantile", "anomaly", {"held_out": 100}, None),
        ("task.quantile", "anomaly", {"held_out": 99}, 0.95),
        ("task.quantile", "anomaly", {"held_out": 20}, 0.95),
        ("task.quantile", "anomaly", {"held_out": 3}, 0.5),
        ("task.neighbours", "reduction", {"tested": 20}, 9),
        ("task.neighbours", "reduction", {"tested": 21}, None),
    ],
)
def test_values_follow_from_the_facts(key: str, task: str, changes: dict, value: object) -> None:
    plan = RecipePlan(task, DataConfig("x.npy"), (), KEPT[task], replace(FACTS, **changes))
    chosen = CHOICES[key](plan)
    assert (None if chosen is None else chosen.value) == value


@pytest.mark.parametrize(
    ("task", "changes", "kept"),
    [
        ("compression", {"kind": "record"}, 0.97),
        ("compression", {"kind": "record"}, 0.97),
        # 6 · 64 · (2 · 12 / 255)² / 12 = 0.2834, and 0.5 · 0.05 of 166 is 4.15
        ("compression", {"kind": "record", "reach": 9.0}, 0.962),
        ("compression", {"kind": "record", "reach": 12.0}, 0.95),
        ("compression", {"kind": "image"}, 0.95),
        ("compression", {"kind": "table"}, 0.95),
        ("denoising", {"kind": "record"}, 0.95),
    ],
)
def test_signals_keep_what_rounding_leaves(task: str, changes: dict, kept: float) -> None:
    assert kept_by_default(task, replace(FACTS, **changes)) == kept


def test_dark_pictures_have_a_linear_output(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (300, 6, 6), np.uint8)
    np.save(tmp_path / "bright.npy", x)
    np.save(tmp_path / "dark.npy", np.where(rng.random(x.shape) < 0.01, x, x // 16))
    wishes = {name: Wish.of(f"{name}.npy", task="denoising") for name in ("bright", "dark")}
    outputs = {name: suggest(wish, base=tmp_path).facts.output for name, wish in wishes.items()}
    assert outputs == {"bright": "sigmoid", "dark": "linear"}


def test_epochs_come_from_the_number_of_steps(tmp_path: Path) -> None:
    for n in (150, 1000, 9000):
        np.save(tmp_path / "x.npy", table(np.random.default_rng(0), n))
        recipe = parse_recipe(tomllib.loads(suggest(Wish.of("x.npy"), base=tmp_path, to=tmp_path).text), "x")
        steps = recipe.train.epochs * -(-len(recipe_data(recipe, tmp_path).train) // recipe.train.batch_size)
        assert 0.5 * STEPS <= steps <= 1.1 * STEPS
