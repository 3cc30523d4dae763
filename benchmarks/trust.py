"""Whether files of strangers do no harm, and what was there stays whole.

    python benchmarks/trust.py --json trust.json

It runs from a checkout, since it takes the readers' targets of the tests.
"""

from __future__ import annotations

import sys

from rows import report_parts
from trust_fuzz import fuzz

PARTS = {"fuzz": fuzz}

if __name__ == "__main__":
    sys.exit(report_parts(__doc__ or "", "Trust", PARTS))
