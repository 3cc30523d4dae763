"""Trust: what strangers' files, kills and damage do to the toolkit.

    python benchmarks/trust.py --json trust.json

It runs from a checkout, since it takes the grids and the documents of the tests.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rows import report_parts
from trust_payloads import payloads

PARTS = {"payloads": payloads}

if __name__ == "__main__":
    sys.exit(report_parts(__doc__ or "", "Trust", PARTS))
