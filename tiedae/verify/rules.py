"""The rules that collected numbers are judged by: pure functions, each (ok, the limit as text)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tiedae.bundle.results import Check, Parity, finite
from tiedae.config.config import VerifyConfig
from tiedae.export.kinds import Kind
from tiedae.export.targets import tolerances_of

from .checks import row_of

ROUNDING = 0.01
"""Rounding error of a dequantized output, in LSB."""

Judged = tuple[bool, str]
Judge = Callable[[VerifyConfig], Judged]


@dataclass(frozen=True)
class Observation:
    """A check before its limit is applied, of a row of `CHECKS`.

    `text` says what was found, `failure`, where it is given, what is wrong. `of`: file, signature, runtime, detail and peer.
    `target`: of the files, whose own tolerances replace the defaults.
    """

    kind: Kind
    value: float | int | str
    text: str
    judge: Judge
    of: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    failure: str = ""

    def __post_init__(self) -> None:
        row_of(self.kind, self.of.get("detail", ""))

    def judged(self, limits: VerifyConfig) -> Check:
        ok, limit = self.judge(tolerances_of(self.target, limits) if self.target else limits)
        text = self.text if ok or not self.failure else self.failure
        return Check(self.kind, bool(ok), finite(self.value), limit, text, **self.of)


def stated(ok: bool, limit: str, _limits: VerifyConfig) -> Judged:
    """A fact that no setting changes."""
    return ok, limit


def within_operation(row: Parity, exact: bool, more: int, limits: VerifyConfig) -> Judged:
    """An int8 comparison within `operation_max_lsb` and `more` LSB; of `exact` values without difference."""
    most = (0 if exact else limits.operation_max_lsb) + more
    return row.within(max_lsb=most), f"<= {most} LSB"


def output(value: float, same_rounding: bool, allowed: float, outside: int | None, limits: VerifyConfig) -> Judged:
    """An int8 output within the limit and `allowed`. `value`: its largest difference in LSB, its mean one without
    `same_rounding`. Where the mean is larger, no value may be `outside` of what the limit allows in each operation."""
    most = limits.operation_max_lsb
    limit = f"<= {most} LSB{'' if same_rounding else ' on average (rounds differently)'}"
    if outside is None:
        return value <= most + ROUNDING + allowed, limit
    return outside == 0, f"{limit}, or each value within what {most} LSB in every operation allows"


def codes(row: Parity, same_rounding: bool, kernels: int, limits: VerifyConfig) -> Judged:
    """Codes of a runtime against the program's."""
    most, least = limits.codes_max_lsb, limits.codes_equal_share
    if same_rounding:
        return row.within(max_lsb=most, equal_fraction=least), f">= {least}, <= {most} LSB"
    return row.within(max_lsb=most * kernels), f"<= {most * kernels} LSB (rounds differently)"


def codes_of_formats(row: Parity, same_rounding: bool, kernels: int, limits: VerifyConfig) -> Judged:
    """Codes of two runtimes against each other; `same_rounding`: both round as the program does."""
    most = limits.codes_max_lsb * (1 if same_rounding else 2 * kernels)
    least = limits.codes_equal_share if same_rounding else 0.0
    return row.within(max_lsb=most, equal_fraction=least), f">= {least}, <= {most} LSB"


def close(row: Parity, _limits: VerifyConfig) -> Judged:
    """A float comparison within the tolerances that it states."""
    return row.close(), f"<= {row.rtol or 0:g} of full scale"
