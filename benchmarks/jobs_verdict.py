"""The row `verdict_wrong`: 30 bundles, eight good ones and 22 that are no good although their files are right.

Each is trained, quantized, written and judged as a run does it; a run's verification and stock converters are left out.
A good one is wrong where its verdict has a finding, a bad one where its verdict lacks the reason that is stated here. All seeds
are 0; the data are Fashion-MNIST's test file and the ECG, which ship with the package, or drawn here.
"""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jobs_verdict_opponents import OPPONENTS
from rows import Row

from tiedae.bundle.verdict import Reason, Verdict
from tiedae.calibration.calibration_file import read_calibration
from tiedae.config.tasks import task_kind
from tiedae.data.data_sets import ASSETS
from tiedae.pipeline.assemble import exported_of, write_bundle
from tiedae.pipeline.recipe import check_inputs, parse_recipe
from tiedae.pipeline.runs import CALIBRATION, Stages, load_model
from tiedae.pipeline.sources import recipe_data
from tiedae.pipeline.trained import Trained, TrainedModels
from tiedae.report.console import Console
from tiedae.report.verdict import texts
from tiedae.tasks.judging import judge
from tiedae.tasks.table import TASKS

Arrays = Callable[[np.random.Generator], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Case:
    """A recipe, the `reason` why it is no good (None: good), and the `arrays` of its data where they are drawn here.

    `subjects`: the baselines of which the findings of that reason have to name one; empty: any.
    """

    recipe: Mapping[str, Any]
    reason: Reason | None = None
    arrays: Arrays | None = field(default=None, repr=False)
    subjects: tuple[str, ...] = ()


def _shipped(name: str) -> dict[str, Any]:
    """The recipe of `tiedae demo --data NAME`."""
    return tomllib.loads((ASSETS / f"{name}.toml").read_text(encoding="utf-8"))


def _recipe(source: str, layers: Sequence[Any], epochs: int, **tables: Any) -> dict[str, Any]:
    """A recipe for .onnx files alone, without weight decay; `tables` are merged into it."""
    recipe: dict[str, Any] = {
        "data": {"source": source},
        "model": {"layers": list(layers)},
        "train": {"epochs": epochs, "weight_decay": 0.0},
        "quantize": {"epochs": 2, "weight_decay": 0.0},
        "export": {"targets": ["onnx"]},
    }
    for name, table in tables.items():
        recipe[name] = {**recipe.get(name, {}), **table}
    return recipe


def _noise_and_pictures(rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    """Noise is normal, a smooth picture an anomaly: what is simple is reconstructed better than what is trained on."""
    label = (rng.random(2_000) < 0.3).astype(int)
    noise = rng.integers(0, 256, (2_000, 12, 12))
    smooth = np.clip(128 + 40 * rng.normal(size=(2_000, 1, 1)) + np.linspace(-20, 20, 12)[:, None], 0, 255) + np.zeros(12)
    return {"x": np.where(label[:, None, None] == 1, smooth, noise).astype(np.uint8), "label": label}


def _curved(rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    """Rows of a table on a curved surface of two dimensions in sixteen, which no two directions describe."""
    angles = rng.uniform(-1.5, 1.5, (3_000, 2)) @ rng.normal(size=(2, 16)) + rng.uniform(-3, 3, 16)
    return {"x": np.sin(angles).astype(np.float32)}


def _drifting(rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    """Rows of a table whose noise doubles in the last fifth, the test set; one in four of them is an anomaly."""
    rows = np.tanh(rng.normal(size=(3_000, 3)) @ rng.normal(size=(3, 16)))
    late = np.arange(3_000) >= 2_400
    label = ((rng.random(3_000) < 0.25) & late).astype(int)
    noise = rng.normal(size=rows.shape) * np.where(late, 0.2, 0.1)[:, None]
    odd = rng.normal(size=rows.shape) * label[:, None]
    return {"x": (rows + noise + odd).astype(np.float32), "label": label}


PICTURES = {"output_activation": "sigmoid"}
TABLE = {"output_activation": "linear"}
TROUSERS = {"kind": "anomaly", "normal": [1], "quantile": 0.99, "score": "standardized"}
FEW = {"test": 0.04}
"""400 images: image formats and denoisers take milliseconds for each."""
HELD = {"validation": 0.2, "test": 0.2}
UNTRAINED = {"learning_rate": 1e-9, "start": "random"}
CASES: dict[str, Case] = {
    "images, trained for rate": Case(_shipped("fashion")),
    "a record, trained for rate": Case(_shipped("ecg")),
    "a table": Case(
        _recipe(
            "drawn.npz",
            [{"units": 64, "activation": "tanh"}, {"units": 32, "activation": "tanh"}, 2],
            60,  # after 20 it has three times the error: no better than PCA of six components at its bytes
            data={"test": 0.2},
            model=TABLE,
            train={"batch_size": 32},
        ),
        arrays=_curved,
    ),
    "anomalies, trousers": Case(_recipe("fashion", [64, 16], 20, data=HELD, train={"batch_size": 32}, task=TROUSERS)),
    "anomalies, sneakers": Case(
        _recipe(
            "fashion",
            [128, 16],
            30,
            data={**HELD, "test": 0.4},  # of 2,000 samples the interval against IsolationForest holds 0
            train={"batch_size": 32},
            task={**TROUSERS, "normal": [7]},
        )
    ),
    "Gaussian noise": Case(
        _recipe(
            "fashion",
            [{"units": 256, "activation": "tanh"}, 128],
            8,
            data={**FEW, "validation": 0.05},
            train={"batch_size": 128, "noise": {"kind": "gaussian", "level": 0.3}},
            task={"kind": "denoising"},
        )
    ),
    "masked pixels": Case(
        _recipe(
            "fashion",
            [256, 128],
            8,
            data={**FEW, "validation": 0.05},
            train={"batch_size": 128, "noise": {"kind": "masking", "level": 0.5}},
            task={"kind": "denoising"},
        )
    ),
    "codes of 8 values": Case(_recipe("fashion", [256, 8], 12, data={"test": 0.2}, task={"kind": "reduction"})),
    "images, trained for the error alone": Case(_recipe("fashion", [64, 16], 2, data=FEW), Reason.WORSE),
    "a table, untrained": Case(
        _recipe("ecg-table", [32, 4], 1, model=TABLE, train=UNTRAINED, quantize={"method": "ptq"}), Reason.WORSE
    ),
    "steps too large": Case(
        _recipe(
            "fashion",
            [64, 16],
            1,
            data=FEW,
            train={"learning_rate": 10.0, "schedule": "constant", "start": "random"},
            quantize={"method": "ptq"},
        ),
        Reason.WORSE,
    ),
    "dead units of the code": Case(
        _recipe("fashion", [64, {"units": 32, "activation": "relu", "activity_l1": 0.3}], 3, data=FEW), Reason.DEAD_UNITS
    ),
    "codes of one step of training": Case(
        _recipe(
            "fashion", [256, 8], 1, data={"test": 0.2}, train=UNTRAINED, quantize={"method": "ptq"}, task={"kind": "reduction"}
        ),
        Reason.WORSE,
    ),
    "noise that is smaller than the loss": Case(
        _recipe(
            "fashion",
            [64, 16],
            3,
            data={**FEW, "validation": 0.05},
            train={"noise": {"kind": "gaussian", "level": 0.02}, "start": "random"},
            task={"kind": "denoising"},
        ),
        Reason.WORSE,
    ),
    "simple anomalies": Case(
        _recipe("drawn.npz", [32, 8], 10, data=HELD, task={"kind": "anomaly", "normal": [0], "quantile": 0.95}),
        Reason.BELOW_CHANCE,
        _noise_and_pictures,
    ),
    "an alarm rate after a drift": Case(
        _recipe(
            "drawn.npz",
            [{"units": 32, "activation": "tanh"}, 4],
            40,
            data={**HELD, "split": "tail"},
            model=TABLE,
            task={"kind": "anomaly", "normal": [0], "quantile": 0.99},
        ),
        Reason.ALARM_RATE,
        _drifting,
    ),
}
CASES |= {
    name: Case(_recipe("drawn.npz", layers, epochs, **tables), reason, arrays, subjects)
    for name, (layers, epochs, tables, reason, subjects, arrays) in OPPONENTS.items()
}
"""By name. Nets and epochs were chosen so that the eight good ones are trained, not so that the verdict agrees."""


def verdict_of(case: Case, folder: Path, console: Console) -> Verdict:
    """The verdict on the bundle of a case, written into `folder`."""
    folder.mkdir(parents=True)
    if case.arrays is not None:
        drawn: dict[str, Any] = dict(case.arrays(np.random.default_rng(0)))
        np.savez(folder / "drawn.npz", **drawn)
    recipe = parse_recipe(dict(case.recipe), "case")
    splits = recipe_data(recipe, folder)
    recipe = check_inputs(recipe, splits.train.shape)
    models = Stages(recipe, splits, lambda _: folder / "model", console.progress).run()
    floating, quantized = (load_model(path) for path in list(models.values())[-2:])
    calibration = read_calibration(folder / "model" / CALIBRATION)
    models = TrainedModels({"train": floating, "quantize": quantized}, calibration)
    written = write_bundle(Trained(models, splits, recipe, folder / "stock"), folder / "bundle", console.note)
    measured = TASKS[task_kind(recipe.task)].measure(exported_of(written, None))
    fitted = written.fitted
    return judge(measured, fitted.backend, fitted.tested, fitted.data.test, recipe.data.seed, for_rate=recipe.train.for_rate)


def is_wrong(case: Case, verdict: Verdict) -> bool:
    """Whether a verdict finds fault with a good case, or not the stated one with a bad one."""
    if case.reason is None:
        return bool(verdict.findings)
    subjects = {finding.subject for finding in verdict.findings if finding.reason is case.reason}
    return not subjects or (bool(case.subjects) and not subjects & set(case.subjects))


def rows(console: Console) -> Sequence[Row]:
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, case) in enumerate(CASES.items()):
            verdict = verdict_of(case, Path(folder) / str(i), console)
            shutil.rmtree(Path(folder) / str(i))
            console.note(f"{name}: {'; '.join(texts(verdict)) or 'good'}")
            wrong += [name] if is_wrong(case, verdict) else []
    bad = sum(case.reason is not None for case in CASES.values())
    detail = f"{len(CASES)} bundles, {bad} of them no good" + "".join(f"; wrong: {name}" for name in wrong)
    return [Row("verdict_wrong", len(wrong), "", "== 0", "", detail)]
