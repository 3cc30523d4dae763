"""Records: what is refused is one line with the full key, whatever lies between the record and the value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from tiedae.base.errors import FormatError, RecipeError
from tiedae.base.records import FINITE, Checked, Record, checked, decode, encode, load_json, plain, require, within


@dataclass(frozen=True)
class Step:
    scale: float
    bits: int = 8


class Inner(Record, frozen=True):
    size: Annotated[int, Meta(ge=1)]
    share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    kind: Literal["a", "b"] = "a"

    def __post_init__(self) -> None:
        require(self.size != 7, "size", self.size, "another than 7")
        if self.size == 8:
            raise ValueError("no 8")


class Outer(Record, frozen=True):
    inner: Inner | None = None
    items: tuple[Inner, ...] = ()
    pair: tuple[int, Annotated[float, Meta(ge=0, le=FINITE)]] = (1, 1.0)
    named: Mapping[str, Inner] = {}
    digests: Mapping[str, str] = {}
    step: Step | None = None
    scale: float | tuple[float, ...] = 1.0
    free: Any = None
    losses: Mapping[str, Annotated[float, Meta(ge=0, le=FINITE)]] = {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "got 3, must be a table of inner, items, pair"),
        ({"inner": {}}, "inner.size: is missing, must be an integer, 1 or more"),
        ({"inner": {"size": 7}}, "inner.size: got 7, must be another than 7"),
        ({"inner": {"size": 8}}, "inner: no 8"),
        ({"inner": True}, "inner: got True, must be a table of size, share, kind"),
        ({"inner": {"size": 1, "kidn": "a"}}, "inner.kidn: unknown key; did you mean kind?"),
        ({"items": [{"size": 1}, {"size": 0}]}, "items[1].size: got 0, must be an integer, 1 or more"),
        ({"items": [{"size": 1, "share": 0}]}, "items[0].share: got 0, must be a number in (0, 1]"),
        ({"items": [{"size": 1, "kind": "c"}]}, "items[0].kind: got 'c', must be one of a, b"),
        ({"pair": [1]}, "pair: got [1], must be a list of 2: an integer, a finite number, 0 or more"),
        ({"pair": [1, float("inf")]}, "pair[1]: got inf, must be a finite number, 0 or more"),
        ({"named": {"x": {"size": 1}, "y.z": {"size": "1"}}}, "named.y.z.size: got '1', must be an integer, 1 or more"),
        ({"named": []}, "named: got [], must be a table"),
        ({"digests": {"a": "b", "c": 3}}, "digests.c: got 3, must be a string"),
        ({"losses": {"a": 1.0, "b": -1.0}}, "losses.b: got -1.0, must be a finite number, 0 or more"),
        ({"losses": {"a": 1.0, "b": float("nan")}}, "losses.b: got nan, must be a finite number, 0 or more"),
        ({"losses": {"a": float("inf")}}, "losses.a: got inf, must be a finite number, 0 or more"),
        ({"step": {"scale": None}}, "step.scale: got None, must be a number"),
        ({"step": {}}, "step.scale: is missing, must be a number"),
        ({"scale": "1"}, "scale: got '1', must be a number or a list, each a number"),
        ({"scale": [1, "x"]}, "scale[1]: got 'x', must be a number"),
        ({"item": 3}, "item: unknown key; did you mean items?"),
        ({"zzz": 3}, "zzz: unknown key; the keys here are inner, items"),
        ({3: 4}, "got {3: 4}, must be a table"),
        ({"inner": {"size": 1, "kind": "\ud800"}}, "a text: got '\\ud800', must be Unicode without lone surrogates"),
    ],
)
def test_what_is_refused_is_named(value: object, text: str) -> None:
    with pytest.raises(RecipeError) as raised:
        checked(Outer, value)
    assert str(raised.value).startswith(text)
    with pytest.raises(FormatError) as damaged:
        decode(Outer, value, "f.json")
    assert str(damaged.value) == f"f.json: damaged: {raised.value}"


def test_a_record_crosses_json() -> None:
    outer = Outer(Inner(2), (Inner(3, 1.0, "b"),), (4, 5.0), {"x": Inner(6)}, {"y": "z"}, Step(0.5), (1.0, 2.0), [1, None])
    assert decode(Outer, load_json(encode(outer), "it"), "it") == outer
    assert plain(outer)["named"] == {"x": {"size": 6, "share": 0.5, "kind": "a"}}


@pytest.mark.parametrize("text", ["{", '{"a": NaN}', "[" * 100_000, b"\xff"])
def test_what_is_no_json_is_named(text: str | bytes) -> None:
    with pytest.raises(FormatError, match=r"^f\.json: damaged: "):
        load_json(text, "f.json")


def test_numbers_are_read_from_text_where_that_is_asked_for() -> None:
    assert checked(Inner, {"size": "3", "share": "1"}, strict=False) == Inner(3, 1.0)
    with pytest.raises(RecipeError, match=r"^size: got '3\.5', must be an integer, 1 or more"):
        checked(Inner, {"size": "3.5"}, strict=False)


def test_a_checked_record_is_checked_before_its_own_check() -> None:
    class Twice(Checked, frozen=True):
        values: tuple[Annotated[int, Meta(ge=0)], ...]

        def check(self) -> None:
            require(sum(self.values) < 9, "values", list(self.values), "less than 9 together")

    with pytest.raises(RecipeError, match=r"^values\[1\]: got -1, must be an integer, 0 or more"):
        Twice((1, -1))
    with pytest.raises(RecipeError, match=r"^model\.values: got \[5, 5\], must be less than 9 together"), within("model."):
        checked(Twice, {"values": [5, 5]})
