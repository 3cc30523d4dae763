"""The codec on Fashion-MNIST, 784-512-256-30.

TIEDAE_DATA=... python benchmarks/codec.py --json codec.json [--run OUT]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from program_speed import program_row
from proof import train
from rows import Row, arguments_of, report
from tiedae.console import Console


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--run", type=Path, metavar="OUT", help="measure this finished run (default: train one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:

        def measure(console: Console) -> Sequence[Row]:
            return rows((arguments.run or train(Path(temporary) / "run", console)) / "bundle")

        return report("Codec", measure, arguments.json)


def rows(bundle: Path) -> Sequence[Row]:
    return [program_row(bundle)]


if __name__ == "__main__":
    sys.exit(main())
