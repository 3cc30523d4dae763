"""Trust: what strangers' files, kills and damage can do, and whether values are the same everywhere.

    python benchmarks/trust.py [--only PART] --json trust.json

docs/explanation/trust.md says what each row means. It runs from a checkout, since it takes
readers, grids and documents of the tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from install import ROOT
from rows import Row, report_parts

from tiedae.report.console import Console

sys.path.insert(0, str(ROOT))

from trust_checks import check_rows
from trust_fuzz import fuzz
from trust_imports import import_rows
from trust_kills import kill_rows
from trust_payloads import payloads
from trust_values import values

PARTS: Mapping[str, Callable[[Console], Sequence[Row]]] = {
    "fuzz": fuzz,
    "imports": import_rows,
    "payloads": payloads,
    "kills": kill_rows,
    "checks": lambda _: check_rows(),
    "values": values,
}

if __name__ == "__main__":
    sys.exit(report_parts(__doc__ or "", "Trust", PARTS))
