"""The three sizes of the code that `tiedae recipe --data` shows, and the trial that decides on a hidden layer."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from tiedae.base.errors import DivergedError, RecipeError
from tiedae.cli import main
from tiedae.compress.start_or_end import Change
from tiedae.config.config import DataConfig
from tiedae.data.dataset import split
from tiedae.data.samples import Samples
from tiedae.pipeline.recipe import load_recipe, parse_recipe
from tiedae.pipeline.sources import load_dataset
from tiedae.pipeline.suggesting import Suggestion, Wish, suggest, suggestion, trial
from tiedae.pipeline.suggesting.choices import CHOICES
from tiedae.pipeline.suggesting.plan import HiddenTrial, RecipePlan
from tiedae.pipeline.suggesting.sizes import CodeSize, proposals_of, table_lines

from ..samples import shared_data
from .test_suggesting import FACTS

COLUMNS = 12


def gaussian(n: int = 1_600) -> np.ndarray:
    """float32 [n, 12] of covariance of rank 3, and a little noise: PCA is the best code of it."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 3)) @ rng.standard_normal((3, COLUMNS)) + 0.05 * rng.standard_normal((n, COLUMNS))
    return x.astype(np.float32)


def curves(n: int = 1_600) -> np.ndarray:
    """float32 [n, 12] along a curve, of one parameter: four principal components and more."""
    rng = np.random.default_rng(0)
    phase, speed = rng.uniform(0, 2 * np.pi, COLUMNS), rng.uniform(2, 9, COLUMNS)
    return np.sin(rng.uniform(0, 1, (n, 1)) * speed + phase).astype(np.float32)


def patches(n: int = 4_000) -> np.ndarray:
    """uint8 [n, 8, 8] of ten photographs."""
    cut = []
    for file in sorted(shared_data("photos").glob("*.png")):
        gray = np.asarray(Image.open(file).convert("L"))
        rows, columns = (side // 8 for side in gray.shape)
        cut.append(gray[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8))
    whole = np.concatenate(cut)
    return whole[np.random.default_rng(0).permutation(len(whole))[:n]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Suggestion]:
    """The recipe for samples, made once for each."""
    folder, cache = tmp_path_factory.mktemp("sets"), {}

    def suggested(make: Callable[[], np.ndarray], *settings: str, **options: object) -> Suggestion:
        key = (make.__name__, settings, *options.items())
        if key not in cache:
            np.save(folder / "x.npy", make())
            cache[key] = suggest(Wish.of("x.npy", settings=settings, **options), base=folder, to=folder)  # type: ignore[arg-type]
        return cache[key]

    return suggested


def layers_of(suggestion: Suggestion) -> list[int]:
    return tomllib.loads(suggestion.text)["model"]["layers"]


def reasons_of(suggestion: Suggestion) -> dict[str, str]:
    return {choice.key: choice.reason for choice in suggestion.choices}


def test_a_hidden_layer_that_gains_nothing_is_left_out(found) -> None:
    suggestion = found(gaussian)
    (only,) = suggestion.trials
    assert not only.gains and only.output == "linear" and only.samples == 200
    recipe = parse_recipe(tomllib.loads(suggestion.text), "x")
    assert recipe.train.start == "pca" and recipe.model.output_activation == "linear"
    assert layers_of(suggestion) == [4]  # three of them keep 0.95
    assert "No hidden layer, which gained nothing beyond noise: squared error" in reasons_of(suggestion)["model.layers"]
    assert all(row.error == row.pca_error for row in suggestion.proposals)


def rare(n: int = 1_600) -> np.ndarray:
    """float32 [n, 12]: three Gaussian columns, and three of a fiftieth of their variance, which few samples have."""
    rng = np.random.default_rng(0)
    x = np.zeros((n, COLUMNS))
    x[:, :3], x[:, 3:6] = rng.standard_normal((n, 3)), rng.choice([0, -1, 1], (n, 3), p=[0.98, 0.01, 0.01])
    return x.astype(np.float32)


def test_a_linear_net_has_the_components_that_pca_codes(found) -> None:
    """By their variances the rare columns would be left to the error; their few values cost few bits."""
    suggestion = found(rare, "data.per_feature=false")
    assert layers_of(suggestion) == [5] and suggestion.baseline.startswith("PCA with 5 components")
    assert "with the least error on samples that they were not fitted to" in reasons_of(suggestion)["model.layers"]


def test_a_hidden_layer_that_helps_is_kept(found) -> None:
    suggestion = found(curves)
    (only,) = suggestion.trials
    assert only.gains and only.error.end < 0.5 * only.error.start
    assert layers_of(suggestion) == list(only.layers) and "start" not in tomllib.loads(suggestion.text)["train"]
    gain = only.error.end / only.error.start
    assert [row.error for row in suggestion.proposals] == [gain * row.pca_error for row in suggestion.proposals]
    assert f"the net's estimated as {gain:.2g} of it" in suggestion.text.replace("\n# ", " ")


def test_patches_of_photographs_get_four_units_or_more_and_no_hidden_layer(found) -> None:
    suggestion = found(patches)
    (units,) = layers_of(suggestion)
    assert units >= 4
    assert [row.output for row in suggestion.trials] == ["sigmoid", "linear"]
    table = tomllib.loads(suggestion.text)
    assert (table["model"]["output_activation"], table["train"]["start"]) == ("linear", "pca")
    assert suggestion.facts.output == "linear"
    assert [row.units >= 4 for row in suggestion.proposals] == [True] * 3


def clothes() -> np.ndarray:
    """uint8 [2500, 28, 28] of Fashion-MNIST."""
    return load_dataset(DataConfig("fashion"), "linear").train.values[:2_500]


def test_pictures_of_clothes_keep_their_hidden_layer(found) -> None:
    suggestion = found(clothes, kept=0.8)
    (only,) = suggestion.trials
    assert only.gains and only.output == "sigmoid" and layers_of(suggestion) == list(only.layers)


def test_the_same_samples_give_the_same_recipe_whatever_the_test_samples_are(tmp_path: Path, found) -> None:
    x, before = curves().astype(np.float64), found(curves)
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    assert suggest(Wish.of("x.npy"), base=tmp_path, to=tmp_path) == before
    recipe = parse_recipe(tomllib.loads(before.text), "x")
    _, validation, test = split(Samples(x), (recipe.data.validation, recipe.data.test), "x", seed=recipe.data.seed)
    for part in (validation, test):
        assert part is not None
        x[part.rows] = 1e6
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    assert suggest(Wish.of("x.npy"), base=tmp_path, to=tmp_path) == before


@pytest.mark.parametrize(
    ("task", "settings", "reason"),
    [
        ("anomaly", [], "a task of anomaly has none"),
        ("denoising", [], "a task of denoising has none"),
        ("compression", ["train.noise={kind='gaussian', level=0.1}"], "train.noise is stated"),
        ("compression", ["model.output_activation=tanh"], "model.output_activation tanh is stated, and a linear net needs"),
    ],
)
def test_without_a_trial_the_hidden_layer_stays_and_the_reason_says_why(found, task: str, settings: list, reason: str) -> None:
    suggestion = found(gaussian, *settings, task=task)
    assert suggestion.trials == () and len(layers_of(suggestion)) == 2
    assert f"; no trial without it: {reason}" in reasons_of(suggestion)["model.layers"]
    assert all(row.error is None and row.pca_error is not None for row in suggestion.proposals)
    assert "the net's is not known without a trial" in suggestion.text.replace("\n# ", " ")


@pytest.mark.parametrize("kind", ["table", "image"])
def test_a_hidden_layer_that_nothing_can_judge_is_left_out(kind: str, tmp_path: Path, monkeypatch) -> None:
    """With and without TensorFlow, which it does not need."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(90, 12)) if kind == "table" else rng.integers(0, 256, (90, 6, 6), np.uint8))
    suggestion = suggest(Wish.of("x.npy"), base=tmp_path)
    assert suggestion.facts.kind == kind and suggestion.trials == () and suggestion.facts.output == "linear"
    assert len(layers_of(suggestion)) == 1 and parse_recipe(tomllib.loads(suggestion.text), "x").train.start == "pca"
    reason = "No hidden layer, which nothing could judge: 72 training samples, 80 would be enough to hold some out"
    assert reason in reasons_of(suggestion)["model.layers"]
    assert all(row.error == row.pca_error for row in suggestion.proposals)
    assert "the linear net's, an estimate, is the same" in suggestion.text.replace("\n# ", " ")
    monkeypatch.setattr(trial, "find_spec", lambda _: None)
    assert suggest(Wish.of("x.npy"), base=tmp_path) == suggestion


@pytest.mark.parametrize(("make", "hidden"), [(gaussian, 1), (curves, 2)])
def test_of_few_samples_a_fifth_judges_a_longer_trial(tmp_path: Path, make: Callable[[int], np.ndarray], hidden: int) -> None:
    np.save(tmp_path / "x.npy", make(150))
    suggestion = suggest(Wish.of("x.npy", task="reduction"), base=tmp_path)
    (tried,) = suggestion.trials
    assert tried.samples == 24 and tried.steps > 900 and len(layers_of(suggestion)) == hidden


def test_without_tensorflow_or_where_the_trial_diverges_the_hidden_layer_stays(tmp_path: Path, monkeypatch) -> None:
    np.save(tmp_path / "x.npy", gaussian())

    def diverging(*_: object) -> tuple[HiddenTrial, ...]:
        raise DivergedError("train: the loss is nan in epoch 1, step 1; lower the learning rate")

    monkeypatch.setattr(suggestion, "trials_of", diverging)
    reasons = reasons_of(suggest(Wish.of("x.npy"), base=tmp_path))
    assert "no trial without it: train: the loss is nan" in reasons["model.layers"]
    monkeypatch.setattr(trial, "find_spec", lambda _: None)
    reasons = reasons_of(suggest(Wish.of("x.npy"), base=tmp_path))
    assert "no trial without it: tensorflow is not installed" in reasons["model.layers"]


def test_of_groups_a_third_judges(tmp_path: Path) -> None:
    """Whole groups, more than one of them."""
    np.savez(tmp_path / "x.npz", x=gaussian(), groups=np.arange(1_600) % 8)
    splits = load_dataset(DataConfig("x.npz", groups="groups"), "linear", base=tmp_path)
    judged = trial._judged(splits)
    assert judged.validation is not None and judged.train.groups is not None and judged.validation.groups is not None
    judges, rest = set(judged.validation.groups.tolist()), set(judged.train.groups.tolist())
    assert not judges & rest and len(judges) >= 2 and abs(len(judges) / len(judges | rest) - 1 / 3) < 0.15


@pytest.mark.parametrize("stated", ["model.layers=[16, 5]", "train.rate=0.1"])
def test_a_size_that_is_stated_leaves_no_choice_of_three(tmp_path: Path, stated: str) -> None:
    np.save(tmp_path / "x.npy", gaussian(90))
    suggestion = suggest(Wish.of("x.npy", settings=[stated]), base=tmp_path)
    assert suggestion.proposals == () and suggestion.trials == () and "--keep" not in suggestion.text


def test_each_row_is_the_recipe_of_its_fraction(found) -> None:
    """Twice the error that is asked for, that error, and half of it: more units, more bytes, less error."""
    rows = found(curves).proposals
    assert [row.keep for row in rows] == [0.9, 0.95, 0.975]
    assert [row.units for row in rows] == sorted(row.units for row in rows)
    assert rows[0].bytes < rows[1].bytes < rows[2].bytes
    assert rows[0].pca_error > rows[1].pca_error > rows[2].pca_error
    other = found(curves, kept=rows[2].keep)
    middle = other.proposals[1]
    assert (middle.keep, middle.units, middle.bytes) == (rows[2].keep, rows[2].units, rows[2].bytes)
    assert layers_of(other)[-1] == middle.units


@pytest.mark.parametrize(
    ("kept", "fractions"), [(0.97, [0.94, 0.97, 0.985]), (0.4, [0.2, 0.4, 0.7]), (0.01, [0.005, 0.01, 0.505])]
)
def test_fractions_stay_between_nothing_and_all(kept: float, fractions: list[float]) -> None:
    class NoBaseline:
        def sized(self, plan: RecipePlan) -> RecipePlan:
            return plan

        def error(self, _: RecipePlan) -> None:
            return None

    plan = RecipePlan("compression", DataConfig("x.npy"), (), kept, FACTS)
    rows = proposals_of(plan, NoBaseline())  # type: ignore[arg-type]
    assert [row.keep for row in rows] == fractions and all(row.error is None for row in rows)
    assert table_lines(rows)[2].startswith("> ")


@pytest.mark.parametrize(
    ("field", "value"), [("keep", 1.5), ("units", 0), ("bytes", -1.0), ("error", float("nan")), ("pca_error", -0.1)]
)
def test_a_wrong_proposal_is_refused(field: str, value: float) -> None:
    good = {"keep": 0.95, "units": 4, "bytes": 1.5, "error": 0.05, "pca_error": None}
    assert CodeSize(**good).cells == ("0.95", "4", "1.5", "5 %", "-")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=f"^{field}: got"):
        CodeSize(**{**good, field: value})  # type: ignore[arg-type]


def trial_of(end: float, *, noise: float = 0.01, output: str = "linear") -> HiddenTrial:
    return HiddenTrial((256, 40), output, 600, 200, Change(1.0, end, noise))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("end", "noise", "gains"), [(0.9, 0.01, True), (0.9, 0.06, False), (1.1, 0.01, False), (0.9999, 0.0, False)]
)
def test_a_gain_is_one_beyond_noise_and_rounding(end: float, noise: float, gains: bool) -> None:
    assert trial_of(end, noise=noise).gains == gains


def test_the_last_trial_decides_layers_and_output() -> None:
    sigmoid, worse, better = trial_of(1.2, output="sigmoid"), trial_of(1.0), trial_of(0.8)
    plan = RecipePlan("compression", DataConfig("x.npy"), (), 0.95, replace(FACTS, output="linear"), trials=(sigmoid, better))
    assert CHOICES["model.layers"](plan).value == [256, 40] and CHOICES["train.start"](plan) is None  # type: ignore[union-attr]
    output = CHOICES["model.output_activation"](plan)
    assert output is not None and output.value == "linear" and output.reason.startswith("with sigmoid the trial gained nothing")
    plan = RecipePlan("compression", DataConfig("x.npy"), (), 0.95, replace(FACTS, output="linear"), trials=(sigmoid, worse))
    # rounded to the water level of 0.95, all 64 components are worth bits: see `train.rate` in test_suggesting
    assert CHOICES["model.layers"](plan).value == [64] and CHOICES["train.start"](plan).value == "pca"  # type: ignore[union-attr]


@pytest.mark.parametrize("units", [1, 16, 17, 40, 256, 257, 300])
def test_a_hidden_layer_has_two_units_for_each_of_the_code(units: int) -> None:
    facts = replace(FACTS, shape=(400,), variances=(1.0,) * units + (0.0,) * (400 - units), training=100)
    plan = RecipePlan("denoising", DataConfig("x.npy"), (), 0.9999, facts)
    assert plan.units == units and 2 * units <= plan.hidden and plan.hidden.bit_count() == 1


def test_the_table_is_in_the_file_on_the_terminal_and_in_json(tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "x.npy", gaussian())
    call = ["recipe", "--data", str(tmp_path / "x.npy"), "-o", str(tmp_path / "r.toml"), "--json", str(tmp_path / "r.json")]
    assert main(call) == 0
    said = capsys.readouterr()
    rows = json.loads((tmp_path / "r.json").read_text())["proposals"]
    lines = (tmp_path / "r.toml").read_text().splitlines()
    heading = next(i for i, line in enumerate(lines) if line.startswith("#   --keep"))
    assert [line[:3] for line in lines[heading + 1 : heading + 4]] == ["#  ", "# >", "#  "]
    for line, row in zip(lines[heading + 1 : heading + 4], rows, strict=True):
        assert line[3:].split()[:2] == [f"{row['keep']:g}", str(row["units"])]
        assert " ".join(line[3:].split()) in " ".join(said.out.split())
    assert "Three sizes of the code" in said.out and "hidden layer  epoch" in said.err
    assert load_recipe(tmp_path / "r.toml").model.layers[-1].units == rows[1]["units"]
    assert main(["recipe", "--data", str(tmp_path / "x.npy"), "--set", "data.test=0.5"]) == 0
    tomllib.loads(capsys.readouterr().out)  # the recipe alone


def test_an_interrupted_trial_ends_in_one_line_and_writes_nothing(tmp_path: Path, capsys, monkeypatch) -> None:
    np.save(tmp_path / "x.npy", gaussian())

    def interrupted(*_: object) -> tuple[HiddenTrial, ...]:
        raise KeyboardInterrupt

    monkeypatch.setattr(suggestion, "trials_of", interrupted)
    assert main(["recipe", "--data", str(tmp_path / "x.npy"), "-o", str(tmp_path / "r.toml")]) == 130
    assert capsys.readouterr().err.strip() == "tiedae: interrupted" and not (tmp_path / "r.toml").exists()
