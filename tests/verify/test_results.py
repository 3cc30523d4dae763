"""Any metrics that can be written are read again as they were."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect
from msgspec.structs import replace

from tiedae.base.records import decode
from tiedae.bundle.results import LABELS, SCHEMA, Check, Kind, Metrics, Parity, finite, read_metrics, to_json
from tiedae.bundle.task_results import INPUT, PROGRAM, Denoised, DenoisingResult
from tiedae.bundle.verdict import Finding, LayerUse, Reason, Verdict
from tiedae.compress import FormatError, InputError

TEXTS = st.text(max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
LARGEST = 2**63 - 1


def lists(items: st.SearchStrategy) -> st.SearchStrategy[list]:
    return st.lists(items, max_size=2)


HEX_OR_NONE = r"^([0-9a-f]{64})?$(?!\n)"
LINES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | FLOATS | TEXTS
JSON = st.recursive(SCALARS, lambda inner: lists(inner) | st.dictionaries(TEXTS, inner, max_size=2))


def _denoising(row: Denoised, rows: tuple[Denoised, ...], level: float | None, **fields: Any) -> DenoisingResult:
    """One that has the rows of the input and of the program at its level."""
    least = tuple(replace(row, method=method, level=level) for method in (INPUT, PROGRAM))
    return DenoisingResult(rows=(*least, *rows), level=level, **fields)


def _verdict(layers: tuple[LayerUse, ...], findings: tuple[Finding, ...], **fields: Any) -> Verdict:
    """One whose findings about dead units name a layer."""
    named = [replace(each, subject=layer.layer) for each, layer in zip(findings, layers, strict=False)]
    kept = (*named, *(each for each in findings[len(layers) :] if each.reason is not Reason.DEAD_UNITS))
    return Verdict(layers=layers, findings=kept, **fields)


def values(kind: inspect.Type) -> st.SearchStrategy:
    """Values of a type that a record may have, within its bounds."""
    match kind:
        case inspect.StructType():
            fields = {field.name: values(field.type) for field in kind.fields}
            if kind.cls is DenoisingResult:
                return st.builds(_denoising, row=values(inspect.type_info(Denoised)), **fields)
            if kind.cls is Verdict:
                return st.builds(_verdict, **fields)
            compared = {"kind": st.sampled_from([*LABELS])} if kind.cls is Parity else {}
            return st.builds(kind.cls, **fields | compared)
        case inspect.UnionType():
            return st.one_of([values(each) for each in kind.types])
        case inspect.VarTupleType():
            return lists(values(kind.item_type)).map(tuple)
        case inspect.TupleType():
            return st.tuples(*map(values, kind.item_types))
        case inspect.ListType():
            return lists(values(kind.item_type))
        case inspect.DictType():
            return st.dictionaries(values(kind.key_type), values(kind.value_type), max_size=2)
        case inspect.EnumType():
            return st.sampled_from([*kind.cls])
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.IntType():
            return st.integers(-LARGEST if kind.ge is None else kind.ge, LARGEST if kind.le is None else kind.le)
        case inspect.FloatType():
            least = -sys.float_info.max if kind.ge is None else kind.ge
            open_end = kind.lt is not None
            most = kind.lt if open_end else sys.float_info.max if kind.le is None else kind.le
            return st.floats(least, most, exclude_max=open_end, allow_nan=False, allow_infinity=False)
        case inspect.Metadata():
            return values(kind.type)
        case inspect.StrType():
            if kind.pattern is None:
                return TEXTS
            if kind.pattern == HEX_OR_NONE:
                return st.one_of(st.just(""), st.text("0123456789abcdef", min_size=64, max_size=64))
            return st.from_regex(kind.pattern) if "[0-9]" in kind.pattern else LINES
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType():
            return JSON
    raise AssertionError(f"no values of {kind}")


def read(text: str) -> Metrics:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.json"
        path.write_text(text, encoding="utf-8")
        return read_metrics(path)


@settings(max_examples=50)
@given(values(inspect.type_info(Metrics)))
def test_any_metrics_come_back_equal(metrics: Metrics) -> None:
    text = to_json(metrics)
    assert read(text) == metrics and to_json(read(text)) == text
    assert json.loads(text)["schema"] == SCHEMA


EMPTY = Metrics("toy", (), (), (), (), (), (), (), {})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_have_is_never_written(number: float) -> None:
    check = Check(Kind.FLOAT, False, number, "<= 1", "far")
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(replace(EMPTY, checks=(check,)))
    named = replace(EMPTY, checks=(replace(check, value=finite(number)),))
    assert read(to_json(named)).checks[0].value == str(number)


def test_a_text_that_utf_8_does_not_have_is_written_with_its_replacement() -> None:
    assert read(to_json(replace(EMPTY, name="a\ud800b"))).name == "a\ufffdb"


def test_a_key_that_no_record_has_is_named_with_its_place() -> None:
    found = json.loads(to_json(replace(EMPTY, checks=(Check(Kind.FLOAT, True, 1, "== 1", "it holds"),))))
    found["checks"][0]["colour"] = "red"
    with pytest.raises(FormatError, match=r"checks\[0\]\.colour: unknown key"):
        read(json.dumps(found))


def test_metrics_of_no_file_are_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: no such file, must be metrics of a verification"):
        read_metrics(tmp_path / "none.json")


def test_rows_are_frozen() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        EMPTY.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_comparison_of_a_kind_that_nothing_compares_is_refused() -> None:
    with pytest.raises(FormatError, match="kind: got 'sha256', must be one of golden, codes"):
        decode(Parity, {"kind": "sha256", "precision": "int8", "tensor": "y"}, "metrics.json")
