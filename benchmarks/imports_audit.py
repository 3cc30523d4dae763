"""What is proven of hand-made layers, live and saved, against what is so: `audit_right`. The table is that of the tests.

python benchmarks/imports_audit.py --json audit.json
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from rows import Row, arguments_of, report

from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.live import audit
from tiedae.compress.imports.pairs import Pair, pairs

sys.path.append(str(Path(__file__).parent.parent))
from tests.compress.imports.hand_made import KERAS, SUFFIXES, VARIANTS, Variant


def audit_row() -> Row:
    """`audit_right`: the fraction of the models, live and as files, whose pairs all have the status of the table."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = [each for variant in VARIANTS for keras in KERAS for each in _results(variant, keras, Path(folder))]
    wrong = [place for place, right in results if not right]
    count = f"of {len(results)}: {len(VARIANTS)} variants in Keras 2 and 3, live, .h5 and .keras"
    return Row("audit_right", 1 - len(wrong) / len(results), "", "== 1", "", f"{count}; wrong: {', '.join(wrong) or 'none'}")


def _results(variant: Variant, keras: str, folder: Path) -> Iterator[tuple[str, bool]]:
    """(place, whether it is right) of a model and its files."""
    model = variant.model(keras)
    yield f"{variant.name}, {keras}", _are(audit(model), variant.live)
    for suffix in SUFFIXES:
        path = folder / f"model{suffix}"
        model.save(path)
        yield f"{variant.name}, {keras}, {suffix}", _are(pairs(read_model(path)), variant.saved)


def _are(found: tuple[Pair, ...], status: str) -> bool:
    """Whether all pairs have a status; a layer that is a whole autoencoder is one pair where it is unknown."""
    return {pair.status for pair in found} == {status} and len(found) in ((1, 2) if status == "unknown" else (2,))


if __name__ == "__main__":
    arguments = arguments_of(__doc__ or "").parse_args()
    sys.exit(report("Audit", lambda console: [audit_row()], arguments.json))
