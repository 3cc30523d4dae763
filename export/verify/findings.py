"""What a verification finds as it comes in, and what it is measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace

from ...compress.config import VerifyConfig
from ...compress.errors import TiedaeError
from ..formats.model_file import Contents
from ..interpreter import Conversion, program_input
from ..parity.comparison import compare
from ..parity.fidelity import Fidelity
from ..parity.reference_outputs import Expected, Floats
from ..program import Program
from ..runtimes.session import Session
from ..runtimes.table import RUNTIMES, rounds_as_program
from .results import Check, Fit, Kind, LayerError, ModelFile, Parity, Proof, Quality, Skipped, Why, finite

Values = Mapping[str, np.ndarray]


@dataclass
class Findings:
    """The rows of metrics.json as they come in."""

    checks: list[Check] = field(default_factory=list)
    storage: list[Proof] = field(default_factory=list)
    parity: list[Parity] = field(default_factory=list)
    errors: list[LayerError] = field(default_factory=list)
    quality: list[Quality] = field(default_factory=list)
    files: list[ModelFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def rows(self) -> dict[str, Any]:
        """The tables of `Metrics`."""
        return {table: tuple(rows) for table, rows in vars(self).items()}

    def check(self, kind: Kind, ok: bool, value: float | int | str, limit: str, text: str, **of: str) -> None:
        """`of`: file, signature, runtime, detail and peer of the check."""
        self.checks.append(Check(kind, bool(ok), finite(value), limit, text, **of))

    def same(self, kind: Kind, stated: object, found: object, **of: str) -> None:
        """Check that what is stated is what was found."""
        ok, name = stated == found, " ".join([kind, *of.values()])
        text = f"{name}: what is stated is what is there" if ok else f"{name}: says {stated}, but there is {found}"
        self.check(kind, ok, int(ok), "== 1", text[:400], **of)

    def skip(self, kind: Kind, why: Why, what: str, reason: str, *, runtime: str = "") -> None:
        """One row, however often the same is skipped for the same reason."""
        row = Skipped(kind, why, what, reason, runtime)
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

    def fit(self, y: np.ndarray) -> Fit | None:
        """How well `y`, [n, inputs] in model units, is `x`; None where it is not known what the data are."""
        return None if self.fidelity is None else self.fidelity.measure(self.x, y)


@dataclass(frozen=True)
class Subject:
    """Files of one precision in one runtime: which file serves a signature, and the program that they were written from.

    What is measured of them is held to `tolerances` and recorded in `findings`.
    """

    session: Session
    files: Mapping[str, str]
    contents: Mapping[str, Contents]
    program: Program
    tolerances: VerifyConfig
    findings: Findings

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

    def identity(self, signature: str) -> dict[str, Any]:
        """What a row says of this file and runtime."""
        provider = self.session.provider
        return {"file": self.files[signature], "runtime": self.runtime, "provider": provider, "signature": signature}

    def compare(
        self,
        kind: Kind,
        signature: str,
        tensor: str,
        expected: np.ndarray,
        got: np.ndarray,
        *,
        problem: str = "",
        **options: Any,
    ) -> Parity:
        """Record a comparison; `options` as `comparison.compare` takes them, a `problem` that it does not see itself."""
        row = compare(kind, tensor, expected, got, **self.identity(signature), **options)
        row = replace(row, problem=row.problem or problem)
        self.findings.parity.append(row)
        return row

    def check(self, kind: Kind, signature: str, ok: bool, value: float | int | str, limit: str, text: str, **more: str) -> None:
        """Record a check of one signature; where it fails, beside a known fault of the runtime. `more`: detail and peer."""
        file = self.files[signature]
        text = f"{file} in {self.runtime}: {text if ok else self.blamed(signature, text)}"
        self.findings.check(kind, ok, value, limit, text, file=file, signature=signature, runtime=self.runtime, **more)

    def hold(self, row: Parity, most: int, **more: str) -> None:
        """Record that an int8 comparison differs by at most so many LSB."""
        self.check(row.kind, row.signature, row.within(max_lsb=most), row.max_lsb, f"<= {most} LSB", row.text, **more)

    def hold_float(self, row: Parity, **more: str) -> None:
        """Record that a comparison of floats is within its own tolerances."""
        limit = f"<= {row.rtol or 0:g} of full scale"
        self.check(row.kind, row.signature, row.close(), row.relative, limit, row.text, detail=row.tensor, **more)

    def blamed(self, signature: str, text: str) -> str:
        """The text, and what is known to be wrong with the runtime itself on such a file."""
        return "; ".join(filter(None, (text, self.fault(signature))))

    def fault(self, signature: str) -> str:
        """What is known to be wrong with the runtime itself on such a file, else nothing."""
        return RUNTIMES[self.runtime].fault(self.program, signature)

    def input(self, signature: str, scaled: np.ndarray) -> np.ndarray:
        """Samples in model units in the dtype of the signature's `x`."""
        dtype = self._input_dtype(signature)
        if dtype == "float32":
            return scaled
        return self.program.quantization("x").to_io(program_input(self.program, scaled), dtype)

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

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs that the program has too; a refusal or a missing output is a failed check, never an exception."""
        try:
            got = self.session.run(signature, x)
        except TiedaeError as error:
            self.check(Kind.RUNS, signature, False, "refused", "runs", str(error))
            return {}
        outputs = self.program.part(signature)[2]
        missing = [name for name in outputs if name not in got]
        if missing:
            text = f"gives {', '.join(got)}, expected {', '.join(outputs)}"
            self.check(Kind.RUNS, signature, False, "no " + missing[0], "runs", text)
        return {name: got[name] for name in outputs if name in got}

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """The program's tensors inside the file; nothing, and a skipped row, where the runtime shows none."""
        try:
            traced = self.session.trace(signature, x)
        except TiedaeError as error:
            self.check(Kind.TRACES, signature, False, "refused", "traces", str(error))
            return {}
        if not traced:
            files = dict.fromkeys(self.files[each] for each in self.traced_signatures())
            what = f"{self.runtime}: operations of {' and '.join(files)}"
            reason = "this runtime does not show what is inside; its outputs are compared"
            self.findings.skip(Kind.TRACES, Why.NOT_SHOWN, what, reason, runtime=self.runtime)
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
