"""Tests by example are the same ones in every run: the profile in conftest.py."""

from hypothesis import settings


def test_hypothesis_draws_the_same_examples_each_time():
    assert settings().derandomize and settings.get_current_profile_name() == "tiedae"
