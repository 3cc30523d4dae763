"""What a verification collects: rows found so far, the samples, and the files under test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import TiedaeError
from tiedae.bundle.fidelity import Fidelity, squared_errors
from tiedae.bundle.reference_outputs import KERAS_FLOAT, Expected, Floats
from tiedae.bundle.results import Alarms, Check, Fit, LayerError, ModelFile, Parity, Proof, Quality, samples_text
from tiedae.compress.start_or_end import BEYOND_NOISE, standard_error
from tiedae.config.config import VerifyConfig
from tiedae.data.normal import measured_rows
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.export.model_file import Contents
from tiedae.program.file_io import SCALED_IO, FileIO
from tiedae.program.interpreter import Conversion, program_input
from tiedae.program.program import Program
from tiedae.program.score_graph import ANOMALY, SCORE
from tiedae.program.tensors import flat
from tiedae.runtimes.session import Session, Values
from tiedae.runtimes.table import RUNTIMES, rounds_as_program

from .parity.comparison import compare
from .rules import Judge, Observation, close, stated, within_operation


@dataclass
class Findings:
    """The rows of metrics.json found so far; `observed` become its checks."""

    observed: list[Observation] = field(default_factory=list)
    storage: list[Proof] = field(default_factory=list)
    parity: list[Parity] = field(default_factory=list)
    errors: list[LayerError] = field(default_factory=list)
    quality: list[Quality] = field(default_factory=list)
    files: list[ModelFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    alarms: list[Alarms] = field(default_factory=list)

    def rows(self, limits: VerifyConfig) -> dict[str, Any]:
        """The rows as fields of `Metrics`, with what was observed judged by these limits."""
        rows = {table: tuple(rows) for table, rows in vars(self).items() if table != "observed"}
        return {"checks": self.judged(limits), **rows}

    def judged(self, limits: VerifyConfig) -> tuple[Check, ...]:
        """What was observed, held to these limits."""
        return tuple(each.judged(limits) for each in self.observed)

    def add(self, more: Findings) -> None:
        """Add the rows of others."""
        for table, rows in vars(more).items():
            known = getattr(self, table)
            known += [row for row in rows if table != "skipped" or row not in known]

    def check(self, kind: Kind, ok: bool, value: float | int | str, limit: str, text: str, **of: str) -> None:
        """Add a check of a fact, which no setting changes; `of` are its file, signature, runtime, detail and peer."""
        self.observed.append(Observation(kind, value, text, partial(stated, bool(ok), limit), of))

    def same(self, kind: Kind, stated: object, found: object, **of: str) -> None:
        """Check that a stated value equals the found one."""
        ok, name = stated == found, " ".join([kind, *of.values()])
        text = f"{name}: as stated" if ok else f"{name}: states {stated}, found {found}"
        self.check(kind, ok, int(ok), "== 1", text[:400], **of)

    def skip(self, kind: Kind, why: Why, what: str, reason: str, *, runtime: str = "") -> None:
        """Add a skipped row, once per reason."""
        row = Skipped(kind, why, what, reason, runtime)
        if row not in self.skipped:
            self.skipped.append(row)


@dataclass(frozen=True)
class Evidence:
    """The samples: `x` in the data's unit of measure, `scaled` as the files compute them; and the float model's outputs.

    `clean`: what the model shall give for them, where inputs are noisy; else None. `exact`: what it shall give in scaled
    values, taken from the data's dtype, which float32 in the data's unit of measure may round; None: `scaled`.

    `floats` are the outputs of the last float stage, the source of the float files. `float_error` is the test error of the
    float model before compression by `float_source`, the reference of quality, and `float_fit` its fidelity, if known;
    `float_errors` are those of its samples, float64 [n], `groups` equal for equal samples; else `noises` those of `Original`.
    `fidelity` measures in
    the data's unit of measure, if the kind of data is known. `normal`: which samples are normal, bool [n], of an anomaly
    task with labels; quality is measured on them. `left_out`: how many test samples are not among `x`.
    """

    x: np.ndarray
    scaled: np.ndarray
    floats: Floats | None
    float_error: float | None
    measures_quality: bool
    fidelity: Fidelity | None = None
    clean: np.ndarray | None = None
    exact: np.ndarray | None = None
    normal: np.ndarray | None = None
    float_fit: Fit | None = None
    left_out: int = 0
    float_errors: np.ndarray | None = None
    groups: np.ndarray | None = None
    noises: Mapping[tuple[str, str], float] = field(default_factory=dict)
    float_source: str = KERAS_FLOAT

    @property
    def wanted_scaled(self) -> np.ndarray:
        """What the model shall give, in scaled values."""
        return self.scaled if self.exact is None else self.exact

    @property
    def measured(self) -> np.ndarray:
        """The samples that quality is measured on, by index."""
        return measured_rows(len(self.x), self.normal)

    def leading(self, count: int) -> Evidence:
        """The first samples, on which quality is not measured; these where they are no more."""
        if count >= len(self.x):
            return self
        keys = ("x", "scaled", "clean", "exact", "normal")
        parts = {key: values[:count] for key in keys if (values := getattr(self, key)) is not None}
        floats = None if self.floats is None else self.floats.leading(count)
        return dataclasses.replace(self, **parts, floats=floats, measures_quality=False, float_errors=None, groups=None)

    @property
    def samples_text(self) -> str:
        return samples_text(len(self.measured), normal=self.normal is not None and bool(self.normal.any()))

    def error(self, y: np.ndarray) -> float:
        """The squared error of reconstructions `y`, [n, *shape] in scaled values."""
        return float(self.errors(y).mean())

    def errors(self, y: np.ndarray) -> np.ndarray:
        """The squared error of each measured sample, float64 [n]."""
        return squared_errors(self._measured(self.wanted_scaled), self._measured(flat(y)))

    def noise(self, file: str, runtime: str, y: np.ndarray) -> float | None:
        """`Quality.noise` of a file's reconstructions in a runtime, if it is known."""
        if self.float_errors is None:
            return self.noises.get((file, runtime))
        return BEYOND_NOISE * standard_error(self.errors(y) - self.float_errors, self.groups)

    def fit(self, y: np.ndarray) -> Fit | None:
        """The fidelity of reconstructions `y`, [n, *shape] in scaled values; None if the kind of data is unknown."""
        if self.fidelity is None:
            return None
        wanted = self.x if self.clean is None else self.clean
        return self.fidelity.measure(self._measured(wanted), self._measured(flat(y)))

    def _measured(self, values: np.ndarray) -> np.ndarray:
        return values if self.normal is None else values[self.measured]


@dataclass(frozen=True)
class Subject:
    """Files of one precision in one runtime: the file of each signature, their program, and their `x` and `y`.

    Measurements are recorded in `findings`; comparisons of floats state those `tolerances`.
    """

    session: Session
    files: Mapping[str, str]
    contents: Mapping[str, Contents]
    program: Program
    tolerances: VerifyConfig
    findings: Findings
    io: FileIO = SCALED_IO

    @property
    def runtime(self) -> str:
        return self.session.runtime

    @property
    def format(self) -> str:
        return self.contents[next(iter(self.files.values()))].format

    @property
    def same_rounding(self) -> bool:
        """Whether the runtime rounds products as the program does."""
        return rounds_as_program(self.runtime)

    def identity(self, signature: str) -> dict[str, Any]:
        """The fields of a row that identify file and runtime."""
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
        """Record a comparison; `options` are those of `comparison.compare`, `problem` one that it does not detect."""
        row = compare(kind, tensor, expected, got, **self.identity(signature), **options)
        row = replace(row, problem=row.problem or problem)
        self.findings.parity.append(row)
        return row

    def check(self, kind: Kind, signature: str, ok: bool, value: float | int | str, limit: str, text: str, **more: str) -> None:
        """Record a check of a fact about one signature. `more`: detail and peer."""
        self.observe(kind, signature, value, text, partial(stated, bool(ok), limit), **more)

    def observe(
        self, kind: Kind, signature: str, value: float | int | str, text: str, judge: Judge, *, failure: str = "", **more: str
    ) -> None:
        """Record what is judged later, about one signature. `failure`: the text if it fails; `more`: detail and peer."""
        file, where = self.files[signature], f"{self.files[signature]} in {self.runtime}: "
        of = {"file": file, "signature": signature, "runtime": self.runtime, **more}
        failure = where + failure if failure else ""
        self.findings.observed.append(Observation(kind, value, where + text, judge, of, self.format, failure))

    def hold(self, row: Parity, *, exact: bool = False, more: int = 0, **of: str) -> None:
        """Record an int8 comparison, see `within_operation`."""
        self.observe(row.kind, row.signature, row.max_lsb, row.text, partial(within_operation, row, exact, more), **of)

    def hold_float(self, row: Parity, **of: str) -> None:
        """Record a float comparison, which states its tolerances."""
        self.observe(row.kind, row.signature, row.relative, row.text, partial(close, row), detail=row.tensor, **of)

    def input(self, signature: str, evidence: Evidence) -> np.ndarray:
        """The samples in the dtype and unit of the signature's `x`."""
        dtype = self._input_dtype(signature)
        if dtype == "float32":
            return self.program.tensors["x"].shaped(evidence.scaled if self.io.folded is None else self.io.samples(evidence.x))
        return self.program.quantization("x").to_io(program_input(self.program, evidence.scaled), dtype)

    @property
    def conversion(self) -> Conversion:
        """How inputs are quantized: by the runtime if the files take floats, else by the program."""
        signature = next((name for name in ("reconstruct", "encode") if name in self.files), None)
        converts = signature is not None and self._input_dtype(signature) == "float32"
        return RUNTIMES[self.runtime].converts if converts else "divide"

    def _input_dtype(self, signature: str) -> str:
        (found,) = [each for each in self.contents[self.files[signature]].signatures if each.name == signature]
        return found.inputs[0].dtype

    def traced_signatures(self) -> tuple[str, ...]:
        """The signatures that cover every operation: encode and decode, else reconstruct, else the only half."""
        halves = tuple(signature for signature in ("encode", "decode") if signature in self.files)
        return ("reconstruct",) if len(halves) < 2 and "reconstruct" in self.files else halves

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name, float `y` scaled. A refusal or a missing output is a failed check, not an exception."""
        try:
            got = self.session.run(signature, x)
        except TiedaeError as error:
            self.check(Kind.RUNS, signature, False, "refused", "runs", str(error))
            return {}
        outputs = (SCORE, ANOMALY) if signature == SCORE else self.program.part(signature)[2]
        missing = [name for name in outputs if name not in got]
        if missing:
            text = f"gives {', '.join(got)}, expected {', '.join(outputs)}"
            self.check(Kind.RUNS, signature, False, "no " + missing[0], "runs", text)
        values = {name: got[name] for name in outputs if name in got}
        if "y" in values and values["y"].shape[1:] == self.program.tensors["y"].shape:
            values["y"] = self.io.scaled_values(values["y"])
        return values

    def float_tolerance(self, tensor: str, expected: np.ndarray) -> float:
        """`float_max_abs`, and for `y` the resolution of float32 in the data's unit of measure."""
        return self.tolerances.float_max_abs + (self.io.relative_resolution(expected) if tensor == "y" else 0.0)

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """The program's tensors inside the file; empty, with a skipped row, if the runtime exposes none."""
        try:
            traced = self.session.trace(signature, x)
        except TiedaeError as error:
            self.check(Kind.TRACES, signature, False, "refused", "traces", str(error))
            return {}
        if not traced:
            files = dict.fromkeys(self.files[each] for each in self.traced_signatures())
            what = f"{self.runtime}: operations of {' and '.join(files)}"
            reason = "the runtime exposes no inner tensors; only its outputs are compared"
            self.findings.skip(Kind.TRACES, Why.NOT_SHOWN, what, reason, runtime=self.runtime)
        return traced


@dataclass(frozen=True)
class Outputs:
    """The outputs of a subject, for comparison with other subjects; outputs that it did not give are absent.

    `values`: `code` and `y` (decoded from that code) for all samples; uint8 in int8 files, else float32.
    `layers`: the outputs of the layers for the first `TRACED_SAMPLES` samples, with the same dtypes.
    `expected`: the program's results for the inputs as the runtime quantizes them; None for float files.
    """

    subject: Subject
    values: Values
    layers: Values
    expected: Expected | None = None

    @property
    def count(self) -> int:
        """Samples that it has outputs for."""
        return min(map(len, self.values.values()), default=0)

    def leading(self, count: int) -> Outputs:
        """Those of the first samples."""
        expected = None if self.expected is None else self.expected.leading(count)
        values = {name: each[:count] for name, each in self.values.items()}
        return Outputs(self.subject, values, self.layers, expected)
