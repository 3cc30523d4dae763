"""Every check that a verification can report is seen red: a damaged bundle fails it, and its text names what is wrong."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest

from tiedae.bundle.results import Metrics
from tiedae.cli.verification import verify
from tiedae.export.kinds import Kind
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.storage_check import prove
from tiedae.export.targets import read_model
from tiedae.verify.checks import CHECKS, STORAGE, CheckRow, row_of
from tiedae.verify.verify import verify_bundle

from ..apps.c.test_bundle import with_c
from ..codec.conftest import extract_runs
from ..program.convolution_nets import Layer, net_program
from ..tree import ROOT, product_files
from ..without_openvino import without_openvino
from .damages import CASES, Case
from .damaging import constant


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The bundle of a name, as it was written: `bytes`, `table`, or with a detector and a C file `bytes c`, `table c`."""
    runs = extract_runs(tmp_path_factory.mktemp("runs"))

    def of(name: str) -> Path:
        run, _, source = name.partition(" ")
        if not source:
            return runs / run / "bundle"
        folder = runs / source / run
        if not folder.exists():
            with pytest.warns(UserWarning, match="pairs of neighbours"):
                shutil.copytree(runs / run, folder, ignore=shutil.ignore_patterns("bundle"), dirs_exist_ok=True)
                with_c(runs / run, folder, ("tflite", "onnx", "c"), detects=True)
        return folder / "bundle"

    return of


@pytest.mark.parametrize("name", sorted({case.bundle for case in CASES.values()}))
def test_a_bundle_that_is_whole_holds(name: str, whole: Callable[[str], Path]) -> None:
    with without_openvino():
        assert [check.text for check in verify_bundle(whole(name)).failed] == []


@pytest.mark.parametrize("what", CASES)
def test_a_damage_turns_its_checks_red(what: str, whole: Callable[[str], Path], tmp_path: Path) -> None:
    case = CASES[what]
    source = whole(case.bundle)
    bundle = Path(shutil.copytree(source, tmp_path / "bundle"))
    case.damage(bundle)
    with without_openvino():
        metrics = verified(case, bundle, source)
    for red in case.red:
        found = [check for check in metrics.failed if (check.kind, check.detail) == (red.kind, red.detail)]
        texts = [check.text for check in found if red.file in ("", check.file)]
        if red.statement:
            rows = [row for row in metrics.storage if not row.ok and row.statement == red.statement]
            texts = [row.text for row in rows if texts and row.file == red.file]
        assert any(red.text in text for text in texts), f"{red}: got {texts or [check.name for check in metrics.failed]}"


def verified(case: Case, bundle: Path, source: Path) -> Metrics:
    name = case.bundle.partition(" ")[0]
    run = next(folder for folder in source.parents if (folder / f"{name}.toml").is_file())
    data = run / ("bytes.npy" if name == "bytes" else "table.csv")
    if case.measure is not None:
        return case.measure(bundle, data)
    if not case.data and not case.baseline:
        return verify_bundle(bundle)
    baseline = source / "metrics.json" if case.baseline else None
    given = str(data) if case.data else None
    return verify(bundle, model=None, data=given, baseline=baseline, announce=lambda _text: None)


def rows_seen() -> Iterator[CheckRow]:
    for case in CASES.values():
        for red in case.red:
            yield row_of(red.kind, red.detail)


def test_every_check_has_a_damage_that_turns_it_red() -> None:
    seen = set(rows_seen())
    assert [row.name for row in CHECKS if row not in seen] == []
    statements = {red.statement for case in CASES.values() for red in case.red} | {"order"}
    assert statements - {""} == set(STORAGE)


def test_a_kernel_in_another_order_of_its_axes_is_named(tmp_path: Path) -> None:
    """The statement that only convolutions have: the same numbers, but as [units, sizes, channels]."""
    program, _ = net_program("net", (6, 6, 1), [Layer(4, 3), Layer(4, 3)])
    path = tmp_path / "net.onnx"
    path.write_bytes(to_onnx(program))
    model = onnx.load(path)
    name = next(each.name for each in model.graph.initializer if list(each.dims) == [4, 4, 3, 3])
    constant(name, lambda values: values.reshape(4, 4, 9).transpose(0, 2, 1).reshape(4, 4, 3, 3))(model.graph)
    onnx.save(model, path)
    wrong = {row.statement: row.text for row in prove(read_model(path), program) if not row.ok}
    assert f"{name} differ from the program's, first at " in wrong["order"]


def created(path: Path) -> Iterator[tuple[str, str]]:
    """(function, statement or kind) of the calls in a module that make a `Check`, or a statement of a file's storage."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            if node.func.id in ("_finding", "StorageFinding") and isinstance(node.args[1], ast.Constant):
                yield node.func.id, str(node.args[1].value)
            if node.func.id == "Check":
                yield "Check", ast.unparse(node.args[0])


def test_the_tables_have_what_the_code_makes() -> None:
    """`Observation` looks for the row of each check itself; here are those that are made without, and the statements."""
    calls = {path: list(created(path)) for path in product_files()}
    made = {
        (path.relative_to(ROOT).as_posix(), kind) for path, found in calls.items() for name, kind in found if name == "Check"
    }
    assert made == {
        ("tiedae/verify/rules.py", "self.kind"),
        ("tiedae/verify/baseline.py", "Kind.BASELINE"),
        ("tiedae/verify/stated_figures.py", "Kind.MANIFEST"),
        ("tiedae/tasks/from_files.py", "Kind.TASK"),
        ("tiedae/tasks/judging.py", "Kind.VERDICT"),
        ("tiedae/tasks/losses.py", "Kind.QUALITY"),
    }
    statements = {kind for found in calls.values() for name, kind in found if name != "Check"}
    assert statements | {"scaling", "score"} == set(STORAGE)  # these two go through `_prove_constants`


@pytest.mark.parametrize(("kind", "detail"), [(Kind.SHA256, "text"), (Kind.BENCH, ""), (Kind.TRACE, "x")])
def test_a_check_that_has_no_row_is_refused(kind: Kind, detail: str) -> None:
    with pytest.raises(ValueError, match=rf"a check of kind {kind} and detail '{detail}': must have a row in CHECKS"):
        row_of(kind, detail)
