"""The pins are those of what `pyproject.toml` asks for, at both ends of the versions that it allows."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LISTS = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
REQUIREMENTS = [each for each in (Requirement(text) for listed in LISTS for text in listed) if each.name != PROJECT["name"]]


def pins(name: str) -> Mapping[str, Version]:
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    found = dict(line.split("==") for line in lines)
    return {canonicalize_name(name): Version(version) for name, version in found.items()}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_the_oldest_pin_is_the_lower_bound(requirement: Requirement) -> None:
    (bound,) = requirement.specifier
    assert bound.operator == ">="
    stated = Version(bound.version).release
    pin = pins("constraints-oldest.txt")[canonicalize_name(requirement.name)]
    assert pin in requirement.specifier and pin.release[: len(stated)] == stated


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_the_newest_pin_is_allowed(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    assert pins("constraints.txt")[name] in requirement.specifier
    assert pins("constraints.txt")[name] >= pins("constraints-oldest.txt")[name]
