"""What a value of a configuration must be, said in one line where it is not."""

from __future__ import annotations

from typing import get_args

from .errors import RecipeError


def require(condition: bool, key: str, got: object, right: str) -> None:
    """Raise RecipeError naming the key, what it got and what would be right, unless the condition holds."""
    if not condition:
        raise RecipeError(f"{key}: got {got!r}, must be {right}")


def require_choice(key: str, got: object, choices: object) -> None:
    names = get_args(choices)
    require(got in names, key, got, "one of " + ", ".join(names))
