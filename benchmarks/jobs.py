"""Whole jobs, as users run them: guides, pairs of options, gate and verdict on bundles made worse.

TIEDAE_DATA=... python benchmarks/jobs.py --json jobs.json [--only guides]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from rows import Row, arguments_of, report

from tiedae.report.console import Console

MODULES: Mapping[str, str] = {
    "guides": "jobs_guides",
    "matrix": "jobs_matrix",
    "gate": "jobs_gate",
    "verdict": "jobs_verdict",
    "sources": "jobs_sources",
}
"""The module whose `rows(console)` measures each part; one part needs none of the packages of another."""


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--only", choices=MODULES, action="append", help="measure only this part (can be repeated)")
    arguments = parser.parse_args()

    def measure(console: Console) -> Sequence[Row]:
        return [row for name in arguments.only or MODULES for row in import_module(MODULES[name]).rows(console)]

    return report("Jobs", measure, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
