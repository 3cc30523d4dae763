"""Parts of the tests: each is in one, and tests without the marker in all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import pytest_collection_modifyitems
from .variants import in_part

pytest_plugins = ["pytester"]


@given(st.lists(st.integers()), st.integers(1, 9))
def test_each_case_is_in_one_part(cases: list[int], parts: int) -> None:
    found = [in_part(list(enumerate(cases)), f"{k}/{parts}") for k in range(parts)]
    assert sorted(each for part in found for each in part) == list(enumerate(cases))
    assert max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize(("part", "right"), [("", "eabcd"), ("0/2", "ebcd"), ("1/2", "abd"), ("2/2", "ebcd")])
def test_only_marked_tests_are_parted(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, part: str, right: str
) -> None:
    """Of e of jobs/, which is first, and a and c, which are marked."""
    lines = [f"{'@pytest.mark.ci' if name in 'ac' else ''}\ndef test_{name}(): pass" for name in "abcd"]
    pytester.makepyfile(test_x="\n".join(["import pytest", *lines]))
    pytester.mkdir("jobs").joinpath("test_e.py").write_text("def test_e(): pass")
    monkeypatch.setenv("TIEDAE_PART", part)
    items, _ = pytester.inline_genitems("test_x.py", "jobs")
    pytest_collection_modifyitems(items[0].config, items)
    assert "".join(item.name[-1] for item in items) == right
