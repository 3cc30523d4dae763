"""Numbers of README and docs that are no recorded figures, each with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Exemption:
    """Numbers within a match of `pattern` on a page (a regular expression of its path) are no figures, for this reason."""

    pages: str
    pattern: str
    reason: str


ANY = r".*"
EXCEPTIONS: Sequence[Exemption] = (
    Exemption(r"docs/format\.md", r".+", "the specification: its constants, and examples that tests compute again"),
    Exemption(ANY, r"\b(?:[2-8]|16|24|32|64|128) bits\b", "a width of integers, floats or vectors"),
    Exemption(ANY, r"\b(?:50|75|90) %", "the sparsity that was asked for"),
    Exemption(ANY, r"\b(?:95|99\.9|0\.01|1|10) %(?: fewer)?", "a level, quantile or limit that the code states"),
    Exemption(ANY, r"\b(?:150|300|11) bits\b|\b12\.7 %|\b784 bytes\b", "where the comparison is made, not its result"),
    Exemption(ANY, r"\b(?:64 bytes|64 MiB|1 GiB|4 GiB|200 MB|16 kB)", "a default, a bound or a size that an example takes"),
    Exemption(ANY, r"\d times (?:our|that of|the most)|\b(?:100|500|1,000) times|\b40 ms", "a setting of the code"),
    Exemption(r"docs/calibration\.md", r"twice the range, or 1\.5 or 1\.25 times", "margins that the code tries, MARGINS"),
    Exemption(
        r"docs/(?:c|codec|command-line)\.md",
        r"\d (?:bytes|kB|MB) (?:per|for)\b.*|^\| flash .*",
        "follows from the format of what is stored",
    ),
    Exemption(r"docs/c\.md", r"\b4 to 15 times", "gcc's loops with variable bounds, measured once before they became literals"),
    Exemption(r"docs/apps\.md", r"\b(?:464 MB|2\.2 GB)", "the package of another project, looked up"),
    Exemption(
        r"docs/trust\.md",
        r"^\| (?:a|an|tables|images|structure|manifest,|`\.\w+`,?) .*|10 × the file|up to 16 GiB in our tests",
        "limits of the code, which test_limits.py and tests/fuzz hold",
    ),
    Exemption(
        r"docs/trust\.md", r"^\| .* \| [0-9a-f]{8} \|$", "mutation tests: whole rows of runs whose outcomes are not kept"
    ),
    Exemption(r"docs/ci\.md", r"\b0\.043 dB", "10 · log₁₀(1 + 0.01)"),
)
