"""The layer kind `blocks` of tests/kinds against the wheel, in which no line knows it: `kind_failed`.

python benchmarks/kind_steps.py --json kinds.json
"""

from __future__ import annotations

import sys

from rows import Row, arguments_of, report
from wheel_target import wheel_steps

TESTS = "tests/kinds"


def kind_row() -> Row:
    """`kind_failed`: steps from training to the report that fail, or are skipped, for `blocks`."""
    failed, count = wheel_steps(TESTS)
    return Row("kind_failed", len(failed), "steps", "== 0", "", f"of {count}, against the wheel: {', '.join(failed) or 'none'}")


if __name__ == "__main__":
    arguments = arguments_of(__doc__ or "").parse_args()
    sys.exit(report("Kinds", lambda console: [kind_row()], arguments.json))
