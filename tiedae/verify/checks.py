"""Every check that a verification can report: its kind, its detail, and what it claims."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tiedae.export.kinds import Kind


@dataclass(frozen=True)
class CheckRow:
    """Checks of one `kind` whose `detail` is this expression, and what each claims of its file, signature and runtime."""

    kind: Kind
    detail: str
    claim: str

    @property
    def name(self) -> str:
        return f"{self.kind} {self.detail}".strip()


CHECKS = (
    CheckRow(Kind.SHA256, "", "a file has the sha256 that the manifest states"),
    CheckRow(Kind.FORMAT, "", "a model file, or the tables of codes or residuals, can be read"),
    CheckRow(Kind.PROGRAM, "", "the integer programs, masks and golden samples can be read"),
    CheckRow(Kind.PROGRAM, "text", "a source file is what this version writes of the program"),
    CheckRow(Kind.PROGRAM, "c", "the source files can be written again"),
    CheckRow(Kind.PROGRAM, "made for", "tables, figures and sections of the manifest were made for this program"),
    CheckRow(Kind.STORAGE, "", "a file stores every kernel once, with the program's values: see STORAGE"),
    CheckRow(Kind.MANIFEST, "", "the manifest states the inputs, outputs and size of a file"),
    CheckRow(Kind.MANIFEST, "kernels", "the manifest's kernels are the program's"),
    CheckRow(Kind.MANIFEST, "tensors", "the manifest's tensors are the program's"),
    CheckRow(Kind.MANIFEST, "interleave", "the manifest's groups are the program's"),
    CheckRow(Kind.MANIFEST, "integer_maps", "the manifest's maps of integer samples give what the files' operations do"),
    CheckRow(Kind.MANIFEST, "golden", "the manifest describes the golden arrays"),
    CheckRow(Kind.MANIFEST, "files", "the manifest lists every file that the recipe implies"),
    CheckRow(Kind.MANIFEST, "figures", "the figures of metrics.json that can be measured again are those measured"),
    CheckRow(Kind.MANIFEST, "folder", "the folder holds the manifest's files and no others, and all of known kinds"),
    CheckRow(Kind.GOLDEN, "arrays", "the golden arrays are those that the files imply"),
    CheckRow(Kind.GOLDEN, r"(code|y|score|anomaly)(\.\w+)?", "a golden array is the program's output"),
    CheckRow(Kind.OPENS, r"(int8|f32) \w+", "a runtime opens the files of a precision and format"),
    CheckRow(Kind.RUNS, "", "a file takes the samples and gives every output"),
    CheckRow(Kind.TRACES, "", "a runtime shows what a file computes inside"),
    CheckRow(Kind.CODES, "", "codes are the program's"),
    CheckRow(Kind.INPUTS, "", "inputs are quantized to the program's integers"),
    CheckRow(Kind.OUTPUT, "", "outputs are the program's of the same codes"),
    CheckRow(Kind.OPERATIONS, "", "every operation is the program's on equal inputs"),
    CheckRow(Kind.TRACE, "code|y", "what is seen inside is what the plain run computes"),
    CheckRow(Kind.SCORE, "", "files of a target with scores have a signature score"),
    CheckRow(Kind.SCORE, "score of (test |golden )?samples", "scores are those of the detector"),
    CheckRow(Kind.SCORE, "anomaly of (test |golden )?samples", "flags are those of the detector"),
    CheckRow(
        Kind.SCORE, "NaN and infinity in (test |golden )?samples", "a sample that is not finite is flagged, without a score"
    ),
    CheckRow(Kind.FLOAT, "program", "float files hold constants that give the golden vectors of Keras"),
    CheckRow(Kind.FLOAT, "constants", "all float files hold the same biases"),
    CheckRow(Kind.FLOAT, "code|y", "codes and outputs of float files are the float model's"),
    CheckRow(Kind.LAYERS, "", "every layer of a float file is the float model's"),
    CheckRow(Kind.FORMATS, "code|y", "two formats give the same codes, and float files the same outputs"),
    CheckRow(Kind.CROSSING, "", "integer files decode the codes of the other format as the program does"),
    CheckRow(Kind.CROSSING, "own codes", "the codes of the other format give what a runtime's own, equal codes give"),
    CheckRow(Kind.CROSSING, "y", "float files decode the codes of the other format as the float model does"),
    CheckRow(Kind.QUALITY, "", "the error of int8 files is the float model's, but for a stated loss"),
    CheckRow(Kind.QUALITY, ".+", "a figure of the task is the float model's, but for a stated loss"),
    CheckRow(Kind.TASK, "compression|denoising|anomaly|reduction", "the figures of the task can be measured"),
    CheckRow(Kind.TASK, "threshold (split|fused)", "a detector's threshold is that of the held-out samples"),
    CheckRow(Kind.VERDICT, ".+", "the program is better than a baseline that the recipe names"),
    CheckRow(Kind.BASELINE, "runtime .+", "a runtime of earlier metrics still runs"),
    CheckRow(Kind.BASELINE, "checks", "every check of earlier metrics was made again"),
    CheckRow(Kind.BASELINE, "unmeasured", "all that earlier metrics measured was measured"),
    CheckRow(Kind.BASELINE, ".+", "no figure of a file is worse than in earlier metrics"),
)
"""The first row that matches a check is its row."""

STORAGE = {
    "copies": "each kernel is stored once, or twice where the recipe asks for it",
    "values": "its values are the program's",
    "order": "a kernel of convolutions has the order of axes of its operator",
    "sha256": "a source file states the sha256 of the kernel's values",
    "scales": "each use of a kernel has the kernel's scales and zero point",
    "pairs": "neighbours do not saturate the int16 sums of old processors",
    "zeros": "pruned weights are zero",
    "pattern": "zeros follow the pattern of the recipe",
    "clusters": "a clustered kernel has few distinct values",
    "weights": "a file holds no weights but the kernels",
    "scaling": "offset and scale are the manifest's",
    "account": "every byte is accounted for: little is left over beside kernels, constants of the program and structure",
    "score": "the constants of the score are those of the manifest's detector",
}
"""The statements on a file that the check of kind storage sums up, and `Metrics.storage` lists."""


def row_of(kind: Kind, detail: str) -> CheckRow:
    """The row of a check; ValueError for a check that no row has."""
    for row in CHECKS:
        if row.kind is kind and re.fullmatch(row.detail, detail):
            return row
    raise ValueError(f"a check of kind {kind} and detail {detail!r}: must have a row in CHECKS")
