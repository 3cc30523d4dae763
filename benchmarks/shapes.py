"""Whether manifest and files keep the shapes of tensors: the programs of tests/export/shapes.py, written and read.

python benchmarks/shapes.py --json shapes.json
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rows import Row, arguments_of, report

ROOT = Path(__file__).resolve().parent.parent
SHAPED, SEED = 200, 30
"""Programs of random axes and views beside those of the grid, and the seed that draws them."""


def shapes_row() -> Row:
    """`shapes_lost`: programs whose tensors differ after manifest, TFLite, ONNX or C."""
    sys.path.insert(0, str(ROOT))
    from tests.export.shapes import lost_of, programs, registered

    lost, count = [], 0
    with registered():
        for program in programs(SHAPED, SEED):
            with TemporaryDirectory() as folder:
                lost += lost_of(program, Path(folder))[:1]
            count += 1
    detail = f"of {count}, behind manifest, TFLite, ONNX and C: {'; '.join(lost[:3]) or 'none'}"
    return Row("shapes_lost", len(lost), "programs", "== 0", "", detail)


if __name__ == "__main__":
    arguments = arguments_of(__doc__ or "").parse_args()
    sys.exit(report("Shapes", lambda console: [shapes_row()], arguments.json))
