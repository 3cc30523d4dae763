"""Trust: what strangers, kills and damage can do to a command or a bundle.

    python benchmarks/trust.py [--only PART] --json trust.json

docs/trust.md says what each row means.
"""

from __future__ import annotations

import sys

from rows import report_parts
from trust_kills import kill_rows

if __name__ == "__main__":
    sys.exit(report_parts(__doc__ or "", "Trust", {"kills": kill_rows}))
