"""What a verification finds, as the rows of metrics.json, and what it is measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...compress.errors import TiedaeError
from ..expected import Expected, Floats
from ..formats.contents import Contents
from ..inputs import Conversion, program_input
from ..program import Program
from ..runtimes.session import Session
from ..runtimes.table import RUNTIMES, rounds_as_program
from .comparison import Parity
from .fidelity import Fidelity

SCHEMA = 1
"""Of metrics.json."""

Values = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Check:
    """One thing that holds or does not; `limit` is what `value` had to satisfy."""

    name: str
    ok: bool
    value: float | int | str
    limit: str
    text: str


@dataclass
class Findings:
    """The rows of metrics.json as they come in."""

    checks: list[Check] = field(default_factory=list)
    storage: list[dict[str, Any]] = field(default_factory=list)
    parity: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    quality: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def check(self, name: str, ok: bool, value: float | int | str, limit: str, text: str) -> None:
        self.checks.append(Check(name, bool(ok), value, limit, text))

    def same(self, name: str, stated: object, found: object) -> None:
        """Check that what is stated is what was found."""
        ok = stated == found
        text = f"{name}: what is stated is what is there" if ok else f"{name}: says {stated}, but there is {found}"
        self.check(name, ok, int(ok), "== 1", text[:400])

    def skip(self, what: str, reason: str, *, absent: str = "") -> None:
        """One row, however often the same is skipped for the same reason.

        `absent` names what this machine or call lacks, a package or an input, where that is why: no fault of the files.
        """
        row = {"what": what, "reason": reason} | ({"absent": absent} if absent else {})
        if row not in self.skipped:
            self.skipped.append(row)


@dataclass(frozen=True)
class Evidence:
    """What is measured on: `x` in the user's unit and `scaled` to model units; what the float model answers, where it is known.

    `floats` are those of the last float stage, from which the float files come; `float_error` is the test error of the float
    model before any compression, which quality is measured against. `fidelity` measures in the user's unit, where the manifest
    says what the data are.
    """

    x: np.ndarray
    scaled: np.ndarray
    floats: Floats | None
    float_error: float | None
    measures_quality: bool
    fidelity: Fidelity | None = None

    def in_user_units(self, y: np.ndarray) -> dict[str, Any]:
        """What a row of `quality` says of `y`, [n, inputs] in model units, beside its error."""
        return {} if self.fidelity is None else {"fidelity": self.fidelity.measure(self.x, y)}


@dataclass(frozen=True)
class Subject:
    """Files of one precision in one runtime: which file serves a signature, and the program that they were written from."""

    session: Session
    files: Mapping[str, str]
    contents: Mapping[str, Contents]
    program: Program

    @property
    def runtime(self) -> str:
        return self.session.runtime

    @property
    def format(self) -> str:
        return self.contents[next(iter(self.files.values()))].format

    @property
    def rounds_alike(self) -> bool:
        """Whether the runtime rounds products as the program does."""
        return rounds_as_program(self.runtime)

    def row(self, signature: str, parity: Parity, **more: str) -> dict[str, Any]:
        """The comparison as a row of metrics.json."""
        identity = {"runtime": self.runtime, "provider": self.session.provider, "signature": signature}
        return {"file": self.files[signature], **identity, **more, **parity.to_json()}

    def name(self, kind: str, signature: str) -> str:
        """The name of a check."""
        return f"{kind} {self.files[signature]} {signature} {self.runtime}"

    def check(
        self, findings: Findings, name: str, signature: str, ok: bool, value: float | int | str, limit: str, text: str
    ) -> None:
        """Record a check of one signature; where it fails, beside a known fault of the runtime."""
        told = text if ok else self.blamed(signature, text)
        findings.check(name, ok, value, limit, f"{self.files[signature]} in {self.runtime}: {told}")

    def blamed(self, signature: str, text: str) -> str:
        """The text, and what is known to be wrong with the runtime itself on such a file."""
        return "; ".join(filter(None, (text, self.fault(signature))))

    def fault(self, signature: str) -> str:
        """What is known to be wrong with the runtime itself on such a file, else nothing."""
        return RUNTIMES[self.runtime].fault(self.program, signature)

    def input(self, signature: str, evidence: Evidence) -> np.ndarray:
        """The samples in the dtype of the signature's `x`."""
        dtype = self._input_dtype(signature)
        if dtype == "float32":
            return evidence.scaled
        return self.program.quantization("x").to_port(program_input(self.program, evidence.scaled), dtype)

    @property
    def conversion(self) -> Conversion:
        """How the samples become integers: as the runtime does it where the files take floats, else as the program does."""
        signature = next((name for name in ("reconstruct", "encode") if name in self.files), None)
        converts = signature is not None and self._input_dtype(signature) == "float32"
        return RUNTIMES[self.runtime].converts if converts else "divide"

    def _input_dtype(self, signature: str) -> str:
        (found,) = [each for each in self.contents[self.files[signature]].signatures if each.name == signature]
        return found.inputs[0].dtype

    def traced_signatures(self) -> tuple[str, ...]:
        """The signatures that show every operation: encode and decode, else reconstruct, else the half that there is."""
        halves = tuple(signature for signature in ("encode", "decode") if signature in self.files)
        return ("reconstruct",) if len(halves) < 2 and "reconstruct" in self.files else halves

    def run(self, signature: str, x: np.ndarray, findings: Findings) -> dict[str, np.ndarray]:
        """The outputs that the program has too; a refusal or a missing output is a failed check, never an exception."""
        try:
            got = self.session.run(signature, x)
        except TiedaeError as error:
            self.check(findings, self.name("runs", signature), signature, False, "refused", "runs", str(error))
            return {}
        outputs = self.program.part(signature)[2]
        missing = [name for name in outputs if name not in got]
        if missing:
            text = f"gives {', '.join(got)}, expected {', '.join(outputs)}"
            self.check(findings, self.name("runs", signature), signature, False, "no " + missing[0], "runs", text)
        return {name: got[name] for name in outputs if name in got}

    def trace(self, signature: str, x: np.ndarray, findings: Findings) -> dict[str, np.ndarray]:
        """The program's tensors inside the file; nothing, and a skipped row, where the runtime shows none."""
        try:
            traced = self.session.trace(signature, x)
        except TiedaeError as error:
            self.check(findings, self.name("traces", signature), signature, False, "refused", "traces", str(error))
            return {}
        if not traced:
            files = dict.fromkeys(self.files[each] for each in self.traced_signatures())
            what = f"{self.runtime}: operations of {' and '.join(files)}"
            findings.skip(what, "this runtime does not show what is inside; its outputs are compared")
        return traced


@dataclass(frozen=True)
class Measured:
    """A subject after its measurement, as far as others compare with it; what it could not give is absent.

    `expected`: what the program makes of the integers that the runtime makes of the samples; None for float files.
    `values`: `code` and `y` (reconstructed from that code) for all samples; uint8 in int8 files, else float32.
    `layers`: the output of every layer for the first samples, likewise; codes and y at least.
    """

    subject: Subject
    values: Values
    layers: Values
    expected: Expected | None = None
