"""The stages of a bundle: few parameters, one frozen value each, which the next one takes."""

from __future__ import annotations

import dataclasses
import inspect
from itertools import pairwise
from typing import get_type_hints

from tiedae.pipeline.assemble import STAGES

MOST = 5
TYPES = [list(get_type_hints(stage).values()) for stage in STAGES]


def test_no_stage_takes_more_than_five_things() -> None:
    assert max(len(inspect.signature(stage).parameters) for stage in STAGES) <= MOST


def test_each_stage_returns_a_frozen_value_of_few_fields_that_the_next_one_takes() -> None:
    values = [types[-1] for types in TYPES]
    assert all(value.__dataclass_params__.frozen and len(dataclasses.fields(value)) <= MOST for value in values)
    assert all(value is types[0] for value, (_, types) in zip(values, pairwise(TYPES), strict=False))
