"""Whether readers, pages, stages, checks and tests can be trusted: the rows of docs/trust.md.

python benchmarks/trust.py --json trust.json
python benchmarks/trust.py --only checks
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from rows import Row, report_parts
from tiedae.console import Console
from trust_checks import check_rows, mutation_rows

PARTS: Mapping[str, Callable[[Console], Sequence[Row]]] = {
    "checks": lambda _console: check_rows(),
    "mutants": lambda _console: mutation_rows(),
}

if __name__ == "__main__":
    sys.exit(report_parts(__doc__ or "", "Trust", PARTS))
